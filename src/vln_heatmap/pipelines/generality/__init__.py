"""The generality stage."""

from vln_heatmap.pipelines.generality.pipeline import create_pipeline

__all__ = ["create_pipeline"]
