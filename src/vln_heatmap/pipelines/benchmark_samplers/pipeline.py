"""Graph of the benchmark_samplers stage, which is no part of the default road: keyframe samplers side by side."""

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.benchmark_samplers import (
    answer_choices,
    choose_keyframes,
    draw_samplers,
    measure_samplers,
)
from vln_heatmap.nodes.evaluation_model import model_method


def create_pipeline(**_: object) -> Pipeline:
    own, data = "params:benchmark_samplers", ["sequences", "frame_features"]
    return Pipeline(
        [
            node(
                choose_keyframes,
                ["samples", "frame_features", "params:model", "params:evaluate", own],
                "sampler_choices",
                name="choose_keyframes",
            ),
            node(model_method, ["finetuned_model", "params:model"], "model_method", name="model_method"),
            node(
                answer_choices,
                ["sampler_choices", *data, "model_method", "params:evaluate"],
                "sampler_answers",
                name="answer_choices",
            ),
            node(
                measure_samplers,
                ["sampler_answers", "params:evaluate", own],
                ["sampler_results", "sampler_table"],
                name="measure_samplers",
            ),
            node(draw_samplers, "sampler_results", "sampler_figure", name="draw_samplers"),
        ]
    )
