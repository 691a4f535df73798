"""The navigation stage."""

from vln_heatmap.pipelines.navigation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
