"""Split by scene, measure, and list the training samples."""

from vln_heatmap.pipelines.normalize.pipeline import create_pipeline

__all__ = ["create_pipeline"]
