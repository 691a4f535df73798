"""sequences + validated_index → splits, statistics, samples and own_episodes."""

from typing import Any

from kedro.pipeline import Pipeline, node, pipeline

from vln_heatmap.nodes.normalize import compute_statistics, index_samples, own_episodes, split_by_scene


def create_pipeline(**_: Any) -> Pipeline:
    """The normalize stage."""
    return pipeline(
        [
            node(split_by_scene, ["validated_index", "params:normalize"], "splits", name="split_by_scene"),
            node(compute_statistics, ["sequences", "splits"], "statistics", name="compute_statistics"),
            node(own_episodes, ["sequences", "splits"], "own_episodes", name="own_episodes"),
            node(
                index_samples,
                ["sequences", "splits", "params:normalize", "params:collect"],
                "samples",
                name="index_samples",
            ),
        ]
    )
