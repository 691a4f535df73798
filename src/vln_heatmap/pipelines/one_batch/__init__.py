"""The one_batch stage."""

from vln_heatmap.pipelines.one_batch.pipeline import create_pipeline

__all__ = ["create_pipeline"]
