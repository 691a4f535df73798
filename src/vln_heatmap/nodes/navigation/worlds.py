"""Simulators side by side: many episodes in progress, in this process or in several.

Invariant: what happens in an episode is the same however many others are walked beside it, and wherever. A
simulator's process holds scenes only; everything that is worth keeping of an episode comes back in its record.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from vln_heatmap.nodes.executors.local import WorkerContext, end_with_parent
from vln_heatmap.nodes.metrics.navigation import NavigationMeasures, measure_path
from vln_heatmap.nodes.navigation.episodes import NavigationEpisode, SceneSource
from vln_heatmap.nodes.navigation.expert import Expert
from vln_heatmap.nodes.navigation.policy import Observation
from vln_heatmap.nodes.navigation.scenes import OpenScenes
from vln_heatmap.params import HouseParams
from vln_heatmap.params.navigation import NavigationParams
from vln_heatmap.simulation.recording import camera_pose
from vln_heatmap.simulation.simulators.base import STOP, AgentState, Simulator, StepResult


@dataclass(frozen=True)
class EpisodeRecord:
    """What became of an episode.

    Attributes:
        id, scene, kind, instruction: of the episode; the instruction is the one that the policy was given.
        actions: [T], STOP among them if it was said; numbers, or lists of numbers in a world of such actions.
        states: [T + 1][4] floor point x, y, z and heading before each action and at the end; the last repeats
            the one before after a STOP.
        collided: [T].
        stopped: whether it ended by STOP.
        measures: of ``NavigationMeasures``.
        notes: of the policy.
    """

    id: str
    scene: str
    kind: str
    instruction: str
    actions: list[Any]
    states: list[list[float]]
    collided: list[bool]
    stopped: bool
    measures: NavigationMeasures
    notes: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON; an infinite error becomes None."""
        document = asdict(self)
        if math.isinf(self.measures.ne):
            document["measures"]["ne"] = None
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> EpisodeRecord:
        """The record of ``as_json``."""
        measures = dict(document["measures"])
        measures["ne"] = math.inf if measures["ne"] is None else measures["ne"]
        return cls(**{**document, "measures": NavigationMeasures(**measures)})


class Step(NamedTuple):
    """What an action led to."""

    observation: Observation
    done: bool


class World:
    """One episode in progress.

    Args:
        sim: with the episode's scene; other worlds may use it too.
        episode: to walk.
        params: agent, greatest number of steps, what the policy is shown.
        expert: show what the expert would do.
    """

    def __init__(
        self, sim: Simulator, episode: NavigationEpisode, params: NavigationParams, *, expert: bool
    ) -> None:
        self.sim, self.episode, self.params = sim, episode, params
        self.states, self.actions, self.collided = [episode.start], list[Any](), list[bool]()
        self._expert = self._guide() if expert else None
        self._seen = self._look()

    @property
    def stopped(self) -> bool:
        return self.actions[-1:] == [STOP]

    @property
    def done(self) -> bool:
        return self.stopped or len(self.actions) >= self.params.max_steps

    def step(self, action: Any) -> Step:
        """Do an action and look.

        Raises:
            ValueError: no such action, or the episode is over.
        """
        if self.done:
            raise ValueError(f"episode {self.episode.id} is over after {len(self.actions)} actions")
        result = self._do(action)
        self.states.append(result.state)
        self.collided.append(result.collided)
        if not self.done:
            self._seen = self._look()
        return Step(self._seen, self.done)

    def observation(self) -> Observation:
        return self._seen

    def record(self) -> EpisodeRecord:
        """What became of it so far, with its measures."""
        episode, states = self.episode, self.states
        path = np.array([state.position for state in states[: len(states) - self.stopped]])
        measures = measure_path(
            path,
            episode.reference,
            episode.goals,
            self.sim.geodesic_distance,
            shortest=episode.geodesic,
            stopped=self.stopped,
            success_distance=self.params.success_distance,
            collisions=sum(self.collided),
        )
        return EpisodeRecord(
            *(episode.id, episode.scene.name, episode.kind, episode.instruction),
            actions=self.actions,
            states=[[*map(float, state.position), float(state.yaw)] for state in states],
            collided=self.collided,
            stopped=self.stopped,
            measures=measures,
        )

    def _do(self, action: Any) -> StepResult:
        """Where an action leads, which is noted."""
        result = self.sim.step(self.states[-1], int(action))
        self.actions.append(int(action))
        return result

    def _guide(self) -> Any:
        """Who knows the way: ``action(state)``."""
        return Expert(self.sim, self.params.agent, self.episode.goals, self.episode.target)

    def _look(self) -> Observation:
        state = self.states[-1]
        pose = state_pose(state, self.params.agent.camera_height)
        view = self.sim.render(pose)
        return Observation(
            rgb=view.rgb,
            depth=view.depth if self.params.depth else None,
            camera_to_world=pose if self.params.depth else None,
            expert=None if self._expert is None else self._expert.action(state),
        )


def state_pose(state: AgentState, height: float) -> np.ndarray:
    """camera_to_world [4, 4] of an agent's level camera, ``height`` metres above the floor."""
    return camera_pose(np.array([*state.position, state.yaw, 0.0, height]))


class Worlds(Protocol):
    """Episodes side by side."""

    def begin(self, episodes: Sequence[NavigationEpisode], *, expert: bool) -> list[Observation]:
        """Start these episodes in place of all others."""

    def step(self, actions: Sequence[Any]) -> list[Step]:
        """An action for every episode, None for those that are over."""

    def records(self) -> list[EpisodeRecord]:
        """What became of each."""

    def renew(self) -> None:
        """Open the simulators anew; episodes in progress are lost."""

    def close(self) -> None:
        """Free the simulators."""


class LocalWorlds:
    """Episodes of this process, one after the other.

    Args:
        params: of the worlds.
        house: of generated scenes.
        world: what an episode is walked in.
    """

    def __init__(self, params: NavigationParams, house: HouseParams, world: type[World] = World) -> None:
        self.params, self.world, self._scenes = params, world, OpenScenes(params, house)
        self._worlds: list[World] = []

    def begin(self, episodes: Sequence[NavigationEpisode], *, expert: bool) -> list[Observation]:
        self._scenes.most = max(self._scenes.most, len({episode.scene for episode in episodes}))
        self._worlds = [
            self.world(self._scenes.get(episode.scene)[0], episode, self.params, expert=expert)
            for episode in episodes
        ]
        return [world.observation() for world in self._worlds]

    def step(self, actions: Sequence[Any]) -> list[Step]:
        return [
            Step(world.observation(), world.done) if action is None else world.step(action)
            for world, action in zip(self._worlds, actions, strict=True)
        ]

    def records(self) -> list[EpisodeRecord]:
        return [world.record() for world in self._worlds]

    def renew(self) -> None:
        self.close()

    def close(self) -> None:
        self._worlds = []
        self._scenes.close()


class ParallelWorlds:
    """Episodes in several processes; all those of a scene are in the same one, so that it is opened once.

    Args:
        params: of the worlds.
        house: of generated scenes.
        workers: processes.
        world: see ``LocalWorlds``.
    """

    def __init__(
        self, params: NavigationParams, house: HouseParams, *, workers: int, world: type[World] = World
    ) -> None:
        self._given, self._workers = (params, house, world), workers
        self._open()
        self._places: list[int] = []  # worker of each episode
        self._homes: dict[SceneSource, int] = {}

    def _open(self) -> None:
        self._pools = [
            ProcessPoolExecutor(1, WorkerContext(), initializer=_begin_process, initargs=self._given)
            for _ in range(self._workers)
        ]

    def renew(self) -> None:
        """New processes in place of those that there are, whose episodes are lost."""
        self.close()
        self._open()

    def begin(self, episodes: Sequence[NavigationEpisode], *, expert: bool) -> list[Observation]:
        for episode in episodes:
            self._homes.setdefault(episode.scene, len(self._homes) % len(self._pools))
        self._places = [self._homes[episode.scene] for episode in episodes]
        return self._everywhere("begin", list(episodes), expert=expert)

    def step(self, actions: Sequence[Any]) -> list[Step]:
        return self._everywhere("step", list(actions))

    def records(self) -> list[EpisodeRecord]:
        return self._everywhere("records", None)

    def close(self) -> None:
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)

    def _everywhere(self, method: str, items: list[Any] | None, **options: Any) -> list[Any]:
        """Call a method of the worlds of every process with its share of the items; answers in their order."""
        calls: dict[int, Future[list[Any]]] = {}
        for place in sorted(set(self._places)):
            shares = (
                [] if items is None else [[x for x, p in zip(items, self._places, strict=True) if p == place]]
            )
            calls[place] = self._pools[place].submit(_call, method, *shares, **options)
        answers = {place: iter(call.result()) for place, call in calls.items()}
        return [next(answers[place]) for place in self._places]


def open_worlds(params: NavigationParams, house: HouseParams, world: type[World] = World) -> Worlds:
    """Worlds in ``params.workers`` processes, or in this one."""
    if params.workers <= 1:
        return LocalWorlds(params, house, world)
    return ParallelWorlds(params, house, workers=params.workers, world=world)


_PROCESS: list[LocalWorlds] = []  # the worlds of a simulator's process


def _begin_process(params: NavigationParams, house: HouseParams, world: type[World]) -> None:
    end_with_parent()
    _PROCESS.append(LocalWorlds(params, house, world))


def _call(method: str, *arguments: Any, **options: Any) -> Any:
    return getattr(_PROCESS[0], method)(*arguments, **options)
