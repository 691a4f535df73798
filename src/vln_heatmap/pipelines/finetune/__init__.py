"""The finetune stage."""

from vln_heatmap.pipelines.finetune.pipeline import create_pipeline

__all__ = ["create_pipeline"]
