"""Graph of the ablate_training stage, no part of the default road: one model, trained in several ways."""

from kedro.pipeline import Pipeline

from vln_heatmap.pipelines.ablate.pipeline import comparison


def create_pipeline(**_: object) -> Pipeline:
    return comparison("ablate_training", "training_ablation", "_of_training")
