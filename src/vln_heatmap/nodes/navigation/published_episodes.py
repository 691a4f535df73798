"""Episodes of R2R-CE and RxR-CE as episodes of the closed loop, in the steps of the agent that walks them.

Invariant: what comes out can be walked: its scene was opened, and the expert arrived in it. An episode depends on
the file, its scene and the parameters alone, and whatever is left out is told in the log, with the reason.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vln_heatmap.nodes.executors import stream_results
from vln_heatmap.nodes.navigation.episodes import NavigationEpisode, SceneSource
from vln_heatmap.nodes.navigation.expert_episodes import expert_walk
from vln_heatmap.nodes.navigation.scenes import open_scene
from vln_heatmap.params import AgentParams
from vln_heatmap.params.navigation import NavigationParams
from vln_heatmap.params.navigation_episodes import PublishedEpisodeParams
from vln_heatmap.simulation.episodes import SETTINGS, Episode, read_episodes
from vln_heatmap.simulation.simulators.base import Simulator
from vln_heatmap.simulation.trajectories import NoRouteError, Walk
from vln_heatmap.simulation.trajectories.walks import as_point

logger = logging.getLogger(__name__)

_Scene = tuple[SceneSource, tuple[Episode, ...]]
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]")


def read_published_episodes(
    wanted: PublishedEpisodeParams, params: NavigationParams
) -> list[NavigationEpisode]:
    """Read a published split, and let the expert walk it in our agent's steps; those of a scene stand together.

    The instructions are the published ones. ``reference`` is the published expert's path where there is ground
    truth, as VLN-CE measures nDTW, else that of our expert along the way points; ``actions`` are those of our
    expert, who does the published actions, or follows the way points where these do not lead to the goal here.

    Args:
        wanted: files, languages, and how many.
        params: agent, simulator, camera and workers.

    Raises:
        FileNotFoundError: no such file, or no scene of any episode.
        EpisodeFileError: see ``read_episodes``.
        ValueError: ids that occur twice, or not one episode that can be walked.
    """
    path = Path(wanted.path)
    truth = Path(wanted.ground_truth) if wanted.ground_truth else ground_truth_beside(path)
    published = read_episodes(
        path, ground_truth=truth, benchmark=wanted.benchmark, languages=wanted.languages
    )
    chosen = _spread(published, wanted.most)
    scenes = _by_scene(chosen, wanted, params)
    work = partial(_of_scene, params=params, length=wanted.length)
    made: dict[SceneSource, list[NavigationEpisode]] = {}
    reasons: Counter[str] = Counter()
    for source, episodes, failures in tqdm(
        stream_results(work, scenes, workers=params.workers, losses=2),
        *("published episodes", len(scenes)),
        unit="scene",
        disable=None,
    ):
        made[source] = episodes
        reasons.update(failures)
    for reason, count in reasons.most_common(10):
        logger.warning("%d episodes of %s are left out: %s", count, path, reason)
    found = [episode for source, _ in scenes for episode in made[source]]
    _check(found, chosen, params, path)
    return found


def ground_truth_beside(path: Path) -> Path | None:
    """``<split>_gt.json.gz`` beside ``<split>.json.gz``; None if it is not there."""
    stem, dot, suffixes = path.name.partition(".")
    beside = path.with_name(f"{stem}_gt{dot}{suffixes}")
    return beside if beside.is_file() else None


def navigation_episode(
    sim: Simulator, episode: Episode, walk: Walk, source: SceneSource
) -> NavigationEpisode:
    """An episode as the closed loop knows it.

    Args:
        sim: with its scene; its metres are those that are measured later.
        episode: published.
        walk: the expert's, in our agent's steps.
        source: where the scene is from.
    """
    start = np.asarray(episode.start.position, np.float64)
    ways = [sim.geodesic_distance(start, np.asarray(goal, np.float64)) for goal in episode.goals]
    walked = np.array([step.state.position for step in walk.steps], np.float64)
    return NavigationEpisode(
        id=_name(episode),
        scene=source,
        kind="route",
        instruction=episode.instruction,
        start=episode.start,
        goals=tuple(as_point(goal) for goal in episode.goals),
        target=None,
        geodesic=float(min(ways)),
        reference=episode.locations if len(episode.locations) else walked,
        actions=tuple(int(step.action) for step in walk.steps),
    )


def _name(episode: Episode) -> str:
    plain = _NOT_IN_A_NAME.sub("-", f"{episode.scene_name}_{episode.id}")
    return f"{episode.benchmark}_{plain}"


def _spread(episodes: Sequence[Episode], most: int | None) -> list[Episode]:
    if most is None or most >= len(episodes):
        return list(episodes)
    return [episodes[int(i)] for i in np.linspace(0, len(episodes) - 1, most).round()]


def _by_scene(
    episodes: Sequence[Episode], wanted: PublishedEpisodeParams, params: NavigationParams
) -> list[_Scene]:
    """The episodes of each scene that is there, in the order of the file."""
    scenes: dict[str, list[Episode]] = {}
    for episode in episodes:
        scenes.setdefault(episode.scene, []).append(episode)
    found, missing = list[_Scene](), list[str]()
    for scene, own in scenes.items():
        file = Path(wanted.scenes) / scene
        if params.habitat.dataset is not None:
            found.append((SceneSource(own[0].scene_name, file=own[0].scene_name), tuple(own)))
        elif file.is_file():
            found.append((SceneSource(own[0].scene_name, file=str(file)), tuple(own)))
        else:
            missing.append(scene)
    if missing:
        logger.warning(
            "%d of %d scenes are not in %s (%s)", len(missing), len(scenes), wanted.scenes, missing[0]
        )
    if scenes and not found:
        raise FileNotFoundError(
            f"none of the {len(scenes)} scenes of {wanted.path} is in {wanted.scenes}, such as {missing[0]}"
        )
    return found


def _of_scene(
    work: _Scene, *, params: NavigationParams, length: int
) -> tuple[SceneSource, list[NavigationEpisode], list[str]]:
    """A scene, its episodes that can be walked, and why the others cannot."""
    source, episodes = work
    sim, _ = open_scene(source, params)
    walks: dict[object, Walk | str] = {}  # of each trajectory
    made, failures = list[NavigationEpisode](), list[str]()
    try:
        for episode in episodes:
            key = episode.trajectory or episode.id, episode.start, episode.actions
            if key not in walks:
                walks[key] = _walked(sim, episode, params.agent, length)
            walk = walks[key]
            if isinstance(walk, str):
                failures.append(walk)
            else:
                made.append(navigation_episode(sim, episode, walk, source))
    finally:
        sim.close()
    return source, made, failures


def _walked(sim: Simulator, episode: Episode, agent: AgentParams, length: int) -> Walk | str:
    """The expert's walk, or why there is none."""
    if not episode.goals:
        return "no goals"
    start = np.asarray(episode.start.position, np.float64)
    if not any(np.isfinite(sim.geodesic_distance(start, np.asarray(goal))) for goal in episode.goals):
        return "no way leads from the start to a goal in this scene (is its file in world axes, +Y up?)"
    try:
        try:
            return expert_walk(sim, episode, agent, length=length)
        except NoRouteError:
            if not episode.actions:
                raise
            return expert_walk(sim, replace(episode, actions=()), agent, length=length)
    except NoRouteError:
        metres = SETTINGS[episode.benchmark].success_distance
        return f"the expert does not stop within {metres:g} m of the goal in {length} actions"


def _check(
    found: Sequence[NavigationEpisode], chosen: Sequence[Episode], params: NavigationParams, path: Path
) -> None:
    """Refuse what cannot be used, and tell what differs from the benchmark."""
    twice = [name for name, count in Counter(episode.id for episode in found).items() if count > 1]
    if twice:
        raise ValueError(f"{path}: episode ids must differ, {twice[0]} occurs more than once")
    if not found:
        raise ValueError(f"not one of the {len(chosen)} episodes of {path} can be walked; see the warnings")
    settings = SETTINGS[chosen[0].benchmark]
    if params.success_distance != settings.success_distance:
        logger.warning(
            "success_distance is %g m, but %g m in the published measures of %s",
            *(params.success_distance, settings.success_distance, chosen[0].benchmark),
        )
