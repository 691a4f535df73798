"""Graph of the policy's closed loop, no part of the default road: demonstrations, training, walks, measures."""

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.navigation.episodes import plan_episodes
from vln_heatmap.nodes.policy.closed_loop import draw_closed_loop, measure_closed_loop, walk_controllers
from vln_heatmap.nodes.policy.data import learn_policy_tokenizer, policy_statistics
from vln_heatmap.nodes.policy.demonstrations import record_demonstrations
from vln_heatmap.nodes.policy.training import train_policy


def create_pipeline(**_: object) -> Pipeline:
    loop, own = "params:navigation", "params:policy_navigation"
    data, settings = "policy_navigation_demonstrations", "policy_navigation_settings"
    statistics, tokenizer = "policy_navigation_statistics", "policy_navigation_tokenizer"
    model, episodes, records = (f"policy_navigation_{name}" for name in ("model", "episodes", "records"))
    return Pipeline(
        [
            node(
                record_demonstrations,
                ["policy_navigation_files", loop, own, "params:policy"],
                [data, "policy_navigation_index", settings],
                name="record_demonstrations",
            ),
            node(policy_statistics, [data, settings], statistics, name="demonstration_statistics"),
            node(learn_policy_tokenizer, [data, settings], tokenizer, name="demonstration_tokenizer"),
            node(
                train_policy,
                [data, statistics, tokenizer, settings, "policy_navigation_state", "tracker"],
                [model, "policy_navigation_history"],
                name="train_closed_loop_policy",
            ),
            node(plan_episodes, loop, episodes, name="plan_closed_loop"),
            node(
                walk_controllers,
                [episodes, model, "navigation_store", loop, own],
                records,
                name="walk_controllers",
            ),
            node(
                measure_closed_loop,
                [records, "results_so_far", loop, own],
                ["policy_navigation_results", "policy_navigation_results_latest", "policy_navigation_table"],
                name="measure_closed_loop",
            ),
            node(
                draw_closed_loop,
                ["policy_navigation_results", records, episodes, loop, own],
                "policy_navigation_figure",
                name="draw_closed_loop",
            ),
        ]
    )
