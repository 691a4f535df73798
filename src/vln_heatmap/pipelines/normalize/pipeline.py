"""sequences + validated_index → splits, statistics and samples."""

from typing import Any

from kedro.pipeline import Pipeline, node, pipeline

from vln_heatmap.nodes.normalize import compute_statistics, index_samples, split_by_scene


def create_pipeline(**_: Any) -> Pipeline:
    """The normalize stage."""
    return pipeline(
        [
            node(split_by_scene, ["validated_index", "params:normalize"], "splits", name="split_by_scene"),
            node(compute_statistics, ["sequences", "splits"], "statistics", name="compute_statistics"),
            node(
                index_samples,
                ["sequences", "splits", "params:normalize", "params:collect"],
                "samples",
                name="index_samples",
            ),
        ]
    )
