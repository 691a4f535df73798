"""The policy in closed loop: who walks, what it is worth beside others, and how its walks look.

Invariant: all controllers walk the same unseen episodes as the discrete agent; every interval resamples whole
houses, and every number follows from the records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vln_heatmap.datasets.checkpoint import Checkpoint
from vln_heatmap.nodes.metrics.bootstrap import scene_weights, summary
from vln_heatmap.nodes.metrics.navigation import MEASURES
from vln_heatmap.nodes.navigation.episodes import NavigationEpisode, read_episode_table
from vln_heatmap.nodes.navigation.evaluate_navigation import OBJECT, mean_measure, paired, record_table
from vln_heatmap.nodes.navigation.rollout import Entrant, RecordStore, roll_out
from vln_heatmap.nodes.navigation.scenes import OpenScenes
from vln_heatmap.nodes.navigation.videos import showcase
from vln_heatmap.nodes.navigation.worlds import EpisodeRecord
from vln_heatmap.nodes.policy.closed_loop_world import (
    OBJECT_GOAL,
    POINT_GOAL,
    BlindWorld,
    ContinuousWorld,
    task_episodes,
)
from vln_heatmap.nodes.policy.controllers import chunk_policy, controllers
from vln_heatmap.nodes.policy.demonstrations import loop_params
from vln_heatmap.params.navigation import NavigationParams
from vln_heatmap.params.policy_navigation import PolicyNavigationParams
from vln_heatmap.reporting.closed_loop_figure import closed_loop_plot
from vln_heatmap.reporting.floor_plans import FloorPlan, Way

POLICY = "policy"
#: By task, who walked it: a record per episode.
TaskRecords = Mapping[str, Mapping[str, Sequence[EpisodeRecord]]]
_SPACING, _PIXELS = 0.1, 420
_SHOWN = ("sr", "spl", "osr", "ne", "ndtw", "steps", "collisions")


def walk_controllers(
    episodes: pd.DataFrame,
    checkpoint: Checkpoint,
    store: RecordStore,
    navigation: NavigationParams,
    own: PolicyNavigationParams,
) -> dict[str, dict[str, list[EpisodeRecord]]]:
    """Let the policy and its baselines walk.

    Args:
        episodes: from ``plan_episodes``.
        checkpoint: of the policy.
        store: of finished episodes.
        navigation: episodes, limits, slots, simulators.
        own: tasks, camera, baselines.

    Returns:
        Records by task and name; the straight controller walks point-goals only.
    """
    params = loop_params(navigation, own)
    read = read_episode_table(episodes)
    policy = chunk_policy(checkpoint, execute=own.execute)
    known = controllers(own.baselines, params.agent, [episode.actions for episode in read])
    blind, seeing = dict[tuple[str, str], Entrant](), dict[tuple[str, str], Entrant]()
    for task in own.tasks:
        walked = task_episodes(task, read)
        seeing[task, POLICY] = Entrant(policy, walked)
        names = [name for name in known if task == POINT_GOAL or name != "straight"]
        blind |= {(task, name): Entrant(known[name], walked) for name in names}
    records = _rolled(blind, store, params, BlindWorld) | _rolled(seeing, store, params, ContinuousWorld)
    return {task: {name: records[t, name] for t, name in records if t == task} for task in own.tasks}


def _rolled(
    entrants: Mapping[tuple[str, str], Entrant], store: RecordStore, params: NavigationParams, world: Any
) -> dict[tuple[str, str], list[EpisodeRecord]]:
    """``roll_out`` of entrants that have episodes; no records for others."""
    named = {" ".join(key): entrant for key, entrant in entrants.items() if entrant.episodes}
    found = roll_out(named, store, params, world=world) if named else {}
    return {key: found.get(" ".join(key), []) for key in entrants}


def measure_closed_loop(
    records: TaskRecords,
    so_far: Mapping[str, Any],
    navigation: NavigationParams,
    own: PolicyNavigationParams,
) -> tuple[dict[str, Any], dict[str, Any], pd.DataFrame]:
    """All numbers of the closed loop.

    Args:
        records: from ``walk_controllers``.
        so_far: results of other stages, of which the discrete agents' are shown beside the policy's.
        navigation: bootstrap, limits.
        own: how the policy was driven.

    Returns:
        The section twice (for a versioned and the latest file), ``{"policy_navigation": {"tasks": {task:
        {"policies": {name: {measure: value, measure_ci: [low, high], …}}, "comparisons": {…}, "discrete": {…}}},
        …}}``; and a table with a row for each task, controller and episode.
    """
    tasks = {task: _task(task, walked, so_far, navigation) for task, walked in records.items()}
    section = {
        "tasks": tasks,
        "execute": own.execute,
        "success_distance": navigation.success_distance,
        "max_steps": navigation.max_steps,
        "seed": navigation.seed,
    }
    tables = [record_table(walked).assign(task=task) for task, walked in records.items()]
    results = {"policy_navigation": section}
    return results, results, pd.concat(tables, ignore_index=True)


def _task(
    task: str,
    records: Mapping[str, Sequence[EpisodeRecord]],
    so_far: Mapping[str, Any],
    navigation: NavigationParams,
) -> dict[str, Any]:
    scenes = sorted({record.scene for record in records[POLICY]})
    if not scenes:
        return {"policies": {}, "comparisons": {}, "discrete": {}, "episodes": 0, "houses": 0}
    weights = scene_weights(len(scenes), navigation.resamples, navigation.seed)
    others = [name for name in records if name != POLICY]
    return {
        "policies": {name: _numbers(walked, scenes, weights) for name, walked in records.items()},
        "comparisons": {name: paired(records[POLICY], records[name], scenes, weights) for name in others},
        "discrete": discrete_agents(task, so_far),
        "episodes": len(records[POLICY]),
        "houses": len(scenes),
    }


def _numbers(
    records: Sequence[EpisodeRecord], scenes: list[str], weights: NDArray[np.float64]
) -> dict[str, Any]:
    lost = sum(not np.isfinite(record.measures.ne) for record in records)
    statistics = {name: mean_measure(records, scenes, name) for name in MEASURES}
    return {"episodes": len(records), "unreachable": lost, **summary(statistics, weights)}


def discrete_agents(task: str, so_far: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What the stage "navigation" measured of its policies on the same episodes, by name; {} if it was not run.

    Object-goals are those of its episodes that name a thing. Point-goals are all of them, though the discrete
    agents were told the way or the thing, and not the point.
    """
    policies = so_far.get("navigation", {}).get("policies", {})
    kind = {name: numbers.get("kinds", {}).get(OBJECT) for name, numbers in policies.items()}
    found = kind if task == OBJECT_GOAL else policies
    keys = [key for name in _SHOWN for key in (name, f"{name}_ci")]
    return {
        name: {key: numbers[key] for key in keys if key in numbers}
        for name, numbers in found.items()
        if numbers is not None
    }


def draw_closed_loop(
    results: Mapping[str, Any],
    records: TaskRecords,
    episodes: pd.DataFrame,
    navigation: NavigationParams,
    own: PolicyNavigationParams,
) -> Figure:
    """Success by controller, and some of the policy's walks from above."""
    params, read = loop_params(navigation, own), read_episode_table(episodes)
    scenes = OpenScenes(params, params.episodes.house)
    try:
        walks = {
            task: [
                plan_of(scenes, {e.id: e for e in task_episodes(task, read)}[record.id], record)
                for record in showcase(walked[POLICY], own.drawn)
            ]
            for task, walked in records.items()
        }
    finally:
        scenes.close()
    return closed_loop_plot(results["policy_navigation"]["tasks"], walks)


def plan_of(
    scenes: OpenScenes, episode: NavigationEpisode, record: EpisodeRecord
) -> tuple[NDArray[np.uint8], str]:
    """A walk from above [S, S, 3], and what it was."""
    sim, scene = scenes.get(episode.scene)
    states = np.array(record.states)  # [T + 1, 4]
    bumps = states[:-1][np.array(record.collided, bool), :3]
    way = Way(episode.reference, states[:, :3], float(states[-1, 3]), np.array(episode.goals), bumps)
    plan = FloorPlan(
        scene, sim.navigable_points(_SPACING), spacing=_SPACING, size=_PIXELS, target=episode.target
    )
    outcome = "arrived" if record.measures.sr else "stopped elsewhere" if record.stopped else "did not stop"
    return plan.draw(way), f"{record.instruction}: {outcome}"
