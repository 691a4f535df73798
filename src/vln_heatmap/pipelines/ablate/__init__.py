"""The ablate stage."""

from vln_heatmap.pipelines.ablate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
