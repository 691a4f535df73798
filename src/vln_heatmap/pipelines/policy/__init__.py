"""The policy stage."""

from vln_heatmap.pipelines.policy.pipeline import create_pipeline

__all__ = ["create_pipeline"]
