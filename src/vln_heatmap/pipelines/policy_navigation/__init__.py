"""The policy in closed loop."""

from vln_heatmap.pipelines.policy_navigation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
