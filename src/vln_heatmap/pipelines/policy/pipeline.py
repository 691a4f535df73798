"""Graph of the policy stage, which is no part of the default road: episodes to continuous actions."""

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.policy.data import gather_episodes, learn_policy_tokenizer, policy_statistics
from vln_heatmap.nodes.policy.evaluation import draw_errors, predict_actions, score_actions
from vln_heatmap.nodes.policy.training import train_comparisons, train_policy


def create_pipeline(**_: object) -> Pipeline:
    params, episodes, statistics = "params:policy", "policy_episodes", "policy_statistics"
    tokenizer, model, table = "policy_tokenizer", "policy_model", "policy_predictions"
    trained = [episodes, statistics, tokenizer, params]
    return Pipeline(
        [
            node(
                gather_episodes, ["own_episodes", params], [episodes, "policy_index"], name="gather_episodes"
            ),
            node(policy_statistics, [episodes, params], statistics, name="policy_statistics"),
            node(learn_policy_tokenizer, [episodes, params], tokenizer, name="learn_policy_tokenizer"),
            node(
                train_policy,
                [*trained, "policy_state", "tracker"],
                [model, "policy_history"],
                name="train_policy",
            ),
            node(train_comparisons, [*trained, "tracker"], "policy_comparisons", name="train_comparisons"),
            node(
                predict_actions,
                [model, "policy_comparisons", episodes, statistics, params],
                table,
                name="predict_actions",
            ),
            node(
                score_actions,
                [table, model, episodes, statistics, params],
                ["policy_results", "policy_results_latest"],
                name="score_actions",
            ),
            node(draw_errors, "policy_results", "policy_figure", name="draw_errors"),
        ]
    )
