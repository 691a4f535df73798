"""sequences + sequence_index → validated_index, quarantine and reports."""

from typing import Any

from kedro.pipeline import Pipeline, node, pipeline

from vln_heatmap.nodes.training_effect import predict_training_effect
from vln_heatmap.nodes.validate import (
    inspect_sequences,
    judge_sequences,
    require_good_share,
    sort_sequences,
    summarize_validation,
)


def create_pipeline(**_: Any) -> Pipeline:
    """The validate stage."""
    return pipeline(
        [
            node(
                inspect_sequences,
                ["sequences", "sequence_index", "params:validate"],
                ["frame_facts", "sequence_facts"],
                name="inspect_sequences",
            ),
            node(
                judge_sequences,
                ["sequence_index", "frame_facts", "sequence_facts", "params:validate"],
                ["broken_limits", "expectation_outcomes", "data_docs"],
                name="judge_sequences",
            ),
            node(
                sort_sequences,
                ["sequence_index", "frame_facts", "sequence_facts", "broken_limits", "expectation_outcomes"],
                ["judged_index", "quarantine", "validation_report"],
                name="sort_sequences",
            ),
            node(
                summarize_validation,
                ["validation_report", "judged_index", "sequences", "params:validate"],
                "validation_summary",
                name="summarize_validation",
            ),
            node(
                require_good_share,
                ["judged_index", "validation_report", "validation_summary", "params:validate"],
                "validated_index",
                name="require_good_share",
            ),
            node(
                predict_training_effect,
                ["validated_index", "params:validate", "tracker"],
                "training_effect",
                name="predict_training_effect",
            ),
        ]
    )
