"""The pretrain_geometry stage."""

from vln_heatmap.pipelines.pretrain_geometry.pipeline import create_pipeline

__all__ = ["create_pipeline"]
