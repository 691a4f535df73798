"""Graph of the navigation stage, which is no part of the default road: episodes walked in closed loop."""

from kedro.pipeline import Pipeline, node

from vln_heatmap.nodes.navigation.episodes import plan_episodes
from vln_heatmap.nodes.navigation.evaluate_navigation import measure_navigation, walk_baselines
from vln_heatmap.nodes.navigation.report import draw_navigation
from vln_heatmap.nodes.navigation.videos import film_navigation


def create_pipeline(**_: object) -> Pipeline:
    own, episodes = "params:navigation", "navigation_episodes"
    return Pipeline(
        [
            node(plan_episodes, own, episodes, name="plan_episodes"),
            node(
                walk_baselines,
                [episodes, "navigation_store", own],
                "navigation_baselines",
                name="walk_baselines",
            ),
            node(
                measure_navigation,
                [own, "navigation_baselines"],
                ["navigation_results", "navigation_results_latest", "navigation_table"],
                name="measure_navigation",
            ),
            node(draw_navigation, "navigation_results", "navigation_figure", name="draw_navigation"),
            node(
                film_navigation,
                [episodes, own, "navigation_baselines"],
                "navigation_videos",
                name="film_navigation",
            ),
        ]
    )
