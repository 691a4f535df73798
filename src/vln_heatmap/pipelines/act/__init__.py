"""The act stage."""

from vln_heatmap.pipelines.act.pipeline import create_pipeline

__all__ = ["create_pipeline"]
