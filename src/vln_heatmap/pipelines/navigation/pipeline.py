"""Graph of the navigation stage, which is no part of the default road: experts show, an agent learns in two
stages with corrections between them, and walks in houses that it has never seen."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.navigation.corpus import (
    cache_walks,
    demonstration_dialogues,
    film_demonstrations,
    split_walks,
)
from vln_heatmap.nodes.navigation.dagger import dialogues_of_corrections, first_corrections
from vln_heatmap.nodes.navigation.episodes import plan_episodes
from vln_heatmap.nodes.navigation.evaluate_navigation import measure_navigation, walk_baselines, walk_model
from vln_heatmap.nodes.navigation.report import draw_navigation
from vln_heatmap.nodes.navigation.stages import cotraining_stage, navigation_stage, open_drawer, open_students
from vln_heatmap.nodes.navigation.videos import film_navigation

OWN, TRAINING = "params:navigation", "params:navigation_training"


def create_pipeline(**_: object) -> Pipeline:
    return learning() + corrections("navigation_model") + closed_loop("navigation_model")


def learning() -> Pipeline:
    """Demonstrations to the first stage of training."""
    walks, finetuned = "navigation_demonstrations", "finetuned_model"
    dialogues, features = "navigation_dialogues", "navigation_features"
    outputs = ["navigation_model", "navigation_history", "navigation_report"]
    return Pipeline(
        [
            node(
                film_demonstrations,
                [OWN, TRAINING, "unfinished_demonstrations"],
                walks,
                name="film_demonstrations",
            ),
            node(split_walks, [walks, TRAINING], "navigation_splits", name="split_walks"),
            node(
                demonstration_dialogues,
                [walks, "navigation_splits", TRAINING],
                dialogues,
                name="demonstration_dialogues",
            ),
            node(cache_walks, [walks, finetuned, TRAINING], features, name="cache_demonstrations"),
            node(
                navigation_stage,
                [dialogues, features, finetuned, TRAINING, "navigation_state", "tracker"],
                outputs,
                name="train_navigation",
            ),
            node(
                first_corrections,
                ["navigation_model", "navigation_store", OWN, "unfinished_corrections"],
                "navigation_corrections",
                name="correct_student",
            ),
        ]
    )


def corrections(student: str, walks: str = "navigation_corrections") -> Pipeline:
    """What was corrected to the second stage of training.

    Args:
        student: data set of the checkpoint to go on with.
        walks: data set of the corrected walks.
    """
    table, features = "correction_dialogues", "correction_features"
    inputs = ["navigation_dialogues", "navigation_features", table, features]
    return Pipeline(
        [
            node(dialogues_of_corrections, [walks, TRAINING], table, name="dialogues_of_corrections"),
            node(cache_walks, [walks, student, TRAINING], features, name="cache_corrections"),
            node(
                cotraining_stage,
                [*inputs, student, TRAINING, "cotraining_state", "tracker"],
                ["cotrained_model", "cotraining_history", "cotraining_report"],
                name="train_cotraining",
            ),
        ]
    )


def closed_loop(before: str) -> Pipeline:
    """The agent in unseen houses, beside baselines and what it was before.

    Args:
        before: data set of the checkpoint before the second stage.
    """
    episodes, baselines, records = "navigation_episodes", "navigation_baselines", "navigation_records"
    store, results = "navigation_store", "navigation_results"
    outputs = [results, "navigation_results_latest", "navigation_table"]
    return Pipeline(
        [
            node(plan_episodes, OWN, episodes, name="plan_episodes"),
            node(walk_baselines, [episodes, store, OWN], baselines, name="walk_baselines"),
            node(
                open_students, ["cotrained_model", before, OWN], "navigation_policies", name="open_students"
            ),
            node(walk_model, [episodes, "navigation_policies", store, OWN], records, name="walk_model"),
            node(measure_navigation, [OWN, baselines, records], outputs, name="measure_navigation"),
            node(draw_navigation, results, "navigation_figure", name="draw_navigation"),
            node(open_drawer, "finetuned_model", "navigation_drawer", name="open_drawer"),
            node(
                film_navigation,
                [episodes, OWN, baselines, records, "navigation_drawer"],
                "navigation_videos",
                name="film_navigation",
            ),
        ]
    )
