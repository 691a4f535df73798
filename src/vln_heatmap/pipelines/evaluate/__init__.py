"""The evaluate stage."""

from vln_heatmap.pipelines.evaluate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
