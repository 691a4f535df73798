"""The inspect_data stage."""

from vln_heatmap.pipelines.inspect_data.pipeline import create_pipeline

__all__ = ["create_pipeline"]
