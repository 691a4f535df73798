"""Graph of the evaluate stage."""

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.evaluate import answer_windows, draw_windows, measure, model_method, training_means
from vln_heatmap.nodes.evaluate_success import measure_costs, measure_success
from vln_heatmap.nodes.evaluation_figures import draw_examples, draw_methods
from vln_heatmap.nodes.evaluation_views import answer_views


def create_pipeline(**_: object) -> Pipeline:
    drawn, data = "evaluation_windows", ["sequences", "frame_features"]
    return Pipeline(
        [
            node(draw_windows, ["samples", "params:evaluate"], drawn, name="draw_windows"),
            node(training_means, [drawn, *data, "params:evaluate"], "mean_maps", name="training_means"),
            node(model_method, ["finetuned_model", "params:model"], "model_method", name="model_method"),
            node(
                answer_windows,
                [drawn, *data, "model_method", "mean_maps", "params:evaluate"],
                "evaluation_answers",
                name="answer_windows",
            ),
            node(
                answer_views,
                [drawn, *data, "model_method", "params:evaluate"],
                "view_answers",
                name="answer_views",
            ),
            node(
                measure_costs,
                [drawn, "sequences", "model_method", "view_answers", "params:evaluate"],
                "costs",
                name="measure_costs",
            ),
            node(
                measure_success,
                ["evaluation_answers", "view_answers", "costs", "params:evaluate"],
                ["success", "success_table"],
                name="measure_success",
            ),
            node(
                measure,
                ["evaluation_answers", "params:evaluate", "success"],
                ["results", "results_latest", "evaluation_table"],
                name="measure",
            ),
            node(draw_examples, "evaluation_answers", "figure_sheet", name="draw_examples"),
            node(draw_methods, "results", "method_figure", name="draw_methods"),
        ]
    )
