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
    outputs = ["finetuned_model", "finetune_history", "finetune_report"]
    return Pipeline([node(finetune, inputs, outputs, name="finetune")])
