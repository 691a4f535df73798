"""Episodes of R2R-CE and RxR-CE as recorded walks: the expert goes there in a simulator and is filmed.

Invariant: every frame of such a walk follows from the one before by an action that a dialogue can say, in the
steps of the agent that is trained, whatever the benchmark's own agent does; and it stops at its goal.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby

import numpy as np

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.episodes import SETTINGS, Episode, replay
from vln_heatmap.simulation.instructions import instruction
from vln_heatmap.simulation.recording import Mount, record
from vln_heatmap.simulation.scene import Scene
from vln_heatmap.simulation.simulators.base import (
    LOOK_DOWN,
    LOOK_UP,
    TURN_LEFT,
    TURN_RIGHT,
    Simulator,
)
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories import NoRouteError, Walk, WalkRequest
from vln_heatmap.simulation.trajectories.walker import Walker

_LOOKS = (LOOK_UP, LOOK_DOWN)
logger = logging.getLogger(__name__)

#: Loads the scene of an episode: a simulator with the trained agent's steps and camera, and what is in it.
Load = Callable[[Episode], tuple[Simulator, Scene]]


def expert_sequences(
    episodes: Iterable[Episode], load: Load, agent: AgentParams, *, length: int = 500, fps: float = 10.0
) -> Iterator[Sequence]:
    """Film the expert on every trajectory, once, with the instructions of all its episodes.

    Args:
        episodes: of one benchmark; those of a scene should stand together, so that it is loaded once.
        load: see ``Load``.
        agent: steps of the simulator's agent, and the height of its camera.
        length: greatest number of frames; longer walks are left out, for they have no end to learn.

    Yields:
        Sequences ``<benchmark>_<scene>_<trajectory>`` with their instructions as routes. Trajectories that cannot
        be walked are told in the log and left out.
    """
    ordered = sorted(episodes, key=lambda e: (e.benchmark, e.scene, e.trajectory, e.id))
    for _, of_scene in groupby(ordered, key=lambda e: (e.benchmark, e.scene)):
        loaded: tuple[Simulator, Scene] | None = None
        for _, same_way in groupby(of_scene, key=lambda e: e.trajectory or e.id):
            told = list(same_way)
            loaded = load(told[0]) if loaded is None else loaded
            try:
                yield expert_sequence(*loaded, told, agent, length=length, fps=fps)
            except NoRouteError as error:
                logger.warning("episode %s is left out: %s", told[0].id, error)


def expert_sequence(
    sim: Simulator,
    scene: Scene,
    told: list[Episode],
    agent: AgentParams,
    *,
    length: int = 500,
    fps: float = 10.0,
) -> Sequence:
    """The expert's walk along one trajectory.

    Args:
        sim: with the scene loaded.
        told: episodes of the same trajectory.

    Raises:
        NoRouteError: it does not stop at its goal within ``length`` frames.
    """
    episode = told[0]
    walk = expert_walk(sim, episode, agent, length=length)
    name = f"{episode.benchmark}_{episode.scene_name}_{episode.trajectory or episode.id}"
    recorded = record(
        sim,
        scene,
        Take(walk),
        np.random.default_rng(0),  # no instruction is drawn
        sequence_id=name,
        mount=Mount(agent.camera_height, 0.0),
        fps=fps,
        instructions=0,
        details={"trajectory": "expert", "episodes": [each.id for each in told]},
    )
    texts = dict.fromkeys(each.instruction for each in told)
    spoken = [instruction(text, "route", (), level=3) for text in texts]
    return replace(recorded, metadata={**recorded.metadata, "instructions": spoken})


def expert_walk(sim: Simulator, episode: Episode, agent: AgentParams, *, length: int = 500) -> Walk:
    """What the expert does, in our agent's steps: the published actions, else along the reference path.

    Raises:
        NoRouteError: it does not stop at its goal within ``length`` frames.
    """
    if episode.actions:
        ours = replace(episode, actions=translated(episode, agent.turn_angle))
        walk = replay(sim, ours, length=length)
    else:
        walk = _followed(sim, episode, agent, length)
    success = SETTINGS[episode.benchmark].success_distance
    end = np.asarray(walk.steps[-1].state.position)
    missed = min((sim.geodesic_distance(end, np.asarray(goal)) for goal in episode.goals), default=math.inf)
    if not walk.stopped or missed > success:
        raise NoRouteError(
            f"after {len(walk.steps)} frames (at most {length}) the goal is {missed:.2f} m away, it must be "
            f"within {success:g} m"
        )
    return walk


def translated(episode: Episode, turn_angle: float) -> tuple[int, ...]:
    """The published actions without looks up and down, each turn as several of ``turn_angle`` degrees.

    Raises:
        ValueError: the benchmark's turn is no whole number of ours.
    """
    theirs = SETTINGS[episode.benchmark].agent.turn_angle
    times = round(theirs / turn_angle)
    if times < 1 or not math.isclose(times * turn_angle, theirs):
        raise ValueError(f"turns of {theirs:g} degrees cannot be made of turns of {turn_angle:g}")
    return tuple(
        action
        for step in episode.actions
        if step not in _LOOKS
        for action in [step] * (times if step in (TURN_LEFT, TURN_RIGHT) else 1)
    )


def _followed(sim: Simulator, episode: Episode, agent: AgentParams, length: int) -> Walk:
    """From way point to way point, and to the nearest goal."""
    walker = Walker(sim, episode.start, WalkRequest(max(2, length), agent))
    for point in episode.reference_path[1:]:
        walker.go_to(point)  # the next one may still be reached where this one is not
    here = np.asarray(walker.state.position)
    goals = sorted(episode.goals, key=lambda goal: sim.geodesic_distance(here, np.asarray(goal)))
    arrived = bool(goals) and walker.go_to(goals[0])
    return walker.finish(stopped=arrived, goal=goals[0] if goals else None)
