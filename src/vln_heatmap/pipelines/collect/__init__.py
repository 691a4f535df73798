"""Record walks through scenes."""

from vln_heatmap.pipelines.collect.pipeline import create_pipeline

__all__ = ["create_pipeline"]
