"""Graph of the generality stage, which is no part of the default road: a model in looks that it never saw."""

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.evaluate import model_method
from vln_heatmap.nodes.generality import (
    draw_look_examples,
    draw_looks,
    encode_looks,
    encoder_settings,
    gather_looks,
    look_windows,
    measure_looks,
)
from vln_heatmap.nodes.generality_looks import film_looks, plan_looks


def create_pipeline(**_: object) -> Pipeline:
    own, shared = "params:generality", "params:evaluate"
    films, drawn, settings = "generality_sequences", "generality_windows", "generality_settings"
    method = "generality_method"
    return Pipeline(
        [
            node(plan_looks, [own, "params:collect"], "generality_plan", name="plan_looks"),
            node(film_looks, ["generality_plan", "generality_unfinished"], films, name="film_looks"),
            node(look_windows, [films, own, shared], drawn, name="look_windows"),
            node(encoder_settings, "generality_model", settings, name="encoder_settings"),
            node(encode_looks, [films, drawn, settings], "generality_features", name="encode_looks"),
            node(
                gather_looks,
                [drawn, films, "generality_features", settings, own, shared],
                "looks",
                name="gather_looks",
            ),
            node(model_method, ["generality_model", "params:model"], method, name="generality_method"),
            node(
                measure_looks,
                [method, "looks"],
                ["generality_results", "generality_table"],
                name="measure_looks",
            ),
            node(draw_looks, "generality_results", "generality_figure", name="draw_looks"),
            node(draw_look_examples, [method, "looks"], "generality_sheet", name="draw_look_examples"),
        ]
    )
