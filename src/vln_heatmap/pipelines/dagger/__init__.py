"""The dagger stage."""

from vln_heatmap.pipelines.dagger.pipeline import create_pipeline

__all__ = ["create_pipeline"]
