"""The predict stage."""

from vln_heatmap.pipelines.predict.pipeline import create_pipeline

__all__ = ["create_pipeline"]
