"""The ablate_training stage."""

from vln_heatmap.pipelines.ablate_training.pipeline import create_pipeline

__all__ = ["create_pipeline"]
