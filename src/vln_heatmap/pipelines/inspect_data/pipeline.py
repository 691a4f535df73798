"""Graph of the inspect_data stage, which is no part of the default road: what is in a data set for the policy."""

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.policy.inspection import draw_inspection, inspect_data


def create_pipeline(**_: object) -> Pipeline:
    return Pipeline(
        [
            node(
                inspect_data,
                ["own_episodes", "params:inspect_data"],
                ["inspection_report", "inspection_problems"],
                name="inspect_data",
            ),
            node(draw_inspection, "inspection_report", "inspection_figure", name="draw_inspection"),
        ]
    )
