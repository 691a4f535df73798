"""Graph of the one_batch stage, which is no part of the default road: one batch of the policy, step by step."""

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.policy.one_batch import analyse_batch


def create_pipeline(**_: object) -> Pipeline:
    outputs = ["one_batch_table", "one_batch_report"]
    return Pipeline([node(analyse_batch, ["own_episodes", "params:policy"], outputs, name="analyse_batch")])
