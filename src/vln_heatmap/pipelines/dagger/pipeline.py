"""Graph of a further round of DAgger: the newest agent is corrected, learns from all rounds, and walks again."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.navigation.dagger import further_corrections, join_rounds
from vln_heatmap.pipelines.navigation.pipeline import OWN, closed_loop, corrections


def create_pipeline(**_: object) -> Pipeline:
    inputs = ["student_model", "navigation_store", OWN, "unfinished_corrections", "navigation_rounds"]
    fresh, rounds = "navigation_corrections", "every_correction"
    return (
        Pipeline(
            [
                node(further_corrections, inputs, fresh, name="correct_again"),
                node(join_rounds, [fresh, "navigation_rounds"], rounds, name="join_rounds"),
            ]
        )
        + corrections("student_model", rounds)
        + closed_loop("student_model")
    )
