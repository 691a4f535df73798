"""Graph of the finetune stage."""

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.finetune import finetune


def create_pipeline(**_: object) -> Pipeline:
    inputs = [
        "samples",
        "frame_features",
        "pretrained_model",
        "params:model",
        "params:finetune",
        "finetune_state",
        "tracker",
    ]
    return Pipeline([node(finetune, inputs, ["finetuned_model", "finetune_history"], name="finetune")])
