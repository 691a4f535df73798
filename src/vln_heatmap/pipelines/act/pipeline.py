"""Graph of the act stage, which is no part of the default road: one moment of a robot to a chunk of actions."""

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.policy.act import act


def create_pipeline(**_: object) -> Pipeline:
    outputs = ["act_actions", "act_summary", "act_figure"]
    return Pipeline([node(act, ["policy_model", "observation", "params:act"], outputs, name="act")])
