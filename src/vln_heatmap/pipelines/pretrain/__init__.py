"""The pretrain stage."""

from vln_heatmap.pipelines.pretrain.pipeline import create_pipeline

__all__ = ["create_pipeline"]
