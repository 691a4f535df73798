"""params → plan → sequences → index and report."""

from typing import Any

from kedro.pipeline import Pipeline, node, pipeline

from vln_heatmap.nodes.collect import collect_sequences
from vln_heatmap.nodes.collect_report import summarise_collection
from vln_heatmap.nodes.plan import plan_collection


def create_pipeline(**_: Any) -> Pipeline:
    """The collect stage."""
    return pipeline(
        [
            node(plan_collection, "params:collect", "collection_plan", name="plan_collection"),
            node(
                collect_sequences,
                ["collection_plan", "unfinished_sequences", "params:collect"],
                "sequences",
                name="collect_sequences",
            ),
            node(
                summarise_collection,
                ["sequences", "params:collect"],
                ["sequence_index", "collect_report"],
                name="summarise_collection",
            ),
        ]
    )
