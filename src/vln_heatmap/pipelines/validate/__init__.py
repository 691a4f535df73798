"""Check what was collected, and put what is bad aside."""

from vln_heatmap.pipelines.validate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
