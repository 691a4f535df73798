"""Graph of the predict stage: a user's clip to heatmaps and pictures."""

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.predict import predict_clip, render_prediction


def create_pipeline(**_: object) -> Pipeline:
    outputs = ["prediction_overlays", "prediction_sheet", "prediction_arrays", "prediction_summary"]
    return Pipeline(
        [
            node(
                predict_clip,
                ["finetuned_model", "clip", "params:predict", "params:model"],
                "prediction",
                name="predict_clip",
            ),
            node(
                render_prediction, ["prediction", "clip", "params:predict"], outputs, name="render_prediction"
            ),
        ]
    )
