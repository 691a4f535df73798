"""Walks of the closed loop as sequences: what experts showed and students did wrong becomes data like all other.

Invariant: a film is the walk, seen by the camera of the closed loop; it depends on the walk alone, and an
interrupted filming goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from vln_heatmap.datasets.sequence_files import EncodedSequence, encode_sequence
from vln_heatmap.datasets.sequence_shards import CollectionStream, StorePlan
from vln_heatmap.nodes.executors import stream_results
from vln_heatmap.nodes.navigation.dialogues import CORRECTED
from vln_heatmap.nodes.navigation.episodes import NavigationEpisode, SceneSource, make_episodes
from vln_heatmap.nodes.navigation.perturbed import perturbed_walk
from vln_heatmap.nodes.navigation.scenes import open_scene
from vln_heatmap.params import HouseParams, VideoParams
from vln_heatmap.params.navigation import EpisodeParams, NavigationParams
from vln_heatmap.params.navigation_training import PerturbationParams
from vln_heatmap.simulation.instructions import instruction
from vln_heatmap.simulation.recording import Mount, record
from vln_heatmap.simulation.simulators.base import STOP, AgentState, Simulator
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories import Walk, WalkStep

_FPS = 4.0


@dataclass(frozen=True)
class Film:
    """A walk to film.

    Attributes:
        id: of the sequence.
        scene: where.
        start: where the walk begins.
        actions: what is done.
        stopped: whether the last of them is a STOP.
        details: metadata, the instructions among them.
        perturbed: the episode to walk, and how, if it is not known yet what is done.
    """

    id: str
    scene: SceneSource
    start: AgentState
    actions: tuple[int, ...]
    stopped: bool
    details: Mapping[str, Any]
    perturbed: tuple[NavigationEpisode, PerturbationParams] | None = None


def demonstrations(
    wanted: EpisodeParams,
    params: NavigationParams,
    perturbed: PerturbationParams,
    unfinished: Mapping[str, frozenset[str]] | None = None,
) -> CollectionStream:
    """The expert's walks of generated episodes, to train on.

    Args:
        wanted: which; the split must be "train".
        params: camera, agent, simulator and workers.
        perturbed: in how many of them something else is done now and then.
        unfinished: finished ids of interrupted filmings, by fingerprint.

    Raises:
        ValueError: episodes that are kept for measuring.
    """
    if wanted.split != "train":
        raise ValueError(f"demonstrations must be of the split 'train', got {wanted.split!r}")
    episodes = make_episodes(wanted, params)
    films = [
        _perturbed(episode, perturbed) if spread(number, perturbed.share) else _demonstration(episode)
        for number, episode in enumerate(episodes)
    ]
    return filmed(films, params, wanted.house, unfinished)


def filmed(
    films: Sequence[Film],
    params: NavigationParams,
    house: HouseParams,
    unfinished: Mapping[str, frozenset[str]] | None = None,
) -> CollectionStream:
    """A stream that films walks, all of a house in one task.

    Args:
        films: what; those of a scene stand together.
        params: camera, agent, simulator and workers.
        house: of generated scenes.
        unfinished: finished ids of interrupted filmings, by fingerprint.
    """
    looks = params.model_dump(mode="json", include={"camera", "agent", "simulator"})
    content = [
        (film.id, film.scene, film.start, film.actions, film.details, film.perturbed and film.perturbed[1])
        for film in films
    ]
    fingerprint = hashlib.sha256(repr((looks, house, content)).encode()).hexdigest()[:16]
    plan = StorePlan(fingerprint, tuple(film.id for film in films))
    finished = (unfinished or {}).get(fingerprint, frozenset())
    left = [film for film in films if film.id not in finished]
    return CollectionStream(plan, _Filming(left, params, house))


@dataclass(frozen=True)
class _Filming:
    """Lazy iterable of encoded sequences; work starts when it is iterated."""

    films: Sequence[Film]
    params: NavigationParams
    house: HouseParams

    def __iter__(self) -> Iterator[EncodedSequence]:
        scenes: dict[SceneSource, list[Film]] = {}
        for film in self.films:
            scenes.setdefault(film.scene, []).append(film)
        work = partial(_film_scene, params=self.params, house=self.house)
        results = stream_results(work, list(scenes.values()), workers=self.params.workers, losses=2)
        with tqdm(total=len(self.films), desc="film", unit="sequence", disable=None) as progress:
            for encoded in results:
                for sequence in encoded:
                    yield sequence
                    progress.update()


def _film_scene(films: list[Film], *, params: NavigationParams, house: HouseParams) -> list[EncodedSequence]:
    sim, scene = open_scene(films[0].scene, params, house)
    try:
        walked = [_walked(sim, film, params) for film in films]
        return [
            encode_sequence(
                record(
                    sim,
                    scene,
                    Take(replay(sim, film)),
                    np.random.default_rng(0),  # no instruction is drawn
                    sequence_id=film.id,
                    mount=Mount(params.agent.camera_height, 0.0),
                    fps=_FPS,
                    instructions=0,
                    details=film.details,
                ),
                **VideoParams().model_dump(),
            )
            for film in walked
        ]
    finally:
        sim.close()


def _demonstration(episode: NavigationEpisode) -> Film:
    said = [
        {**instruction(text, "route", (), level=3), "actions": list(episode.actions)}
        for text in episode.texts
    ]
    details = {"trajectory": "expert", "instructions": said, "episode": episode.id}
    name = f"expert_{episode.id}"
    return Film(name, episode.scene, episode.start, episode.actions, True, details)


def spread(number: int, share: float) -> bool:
    """Whether a number is one of those that are spread evenly over all numbers and make up a share of them."""
    return int((number + 1) * share) > int(number * share)


def _perturbed(episode: NavigationEpisode, how: PerturbationParams) -> Film:
    said = [instruction(text, CORRECTED, (), level=3) for text in episode.texts]
    details = {"trajectory": "perturbed", "instructions": said, "episode": episode.id}
    given = (episode, how)
    return Film(f"perturbed_{episode.id}", episode.scene, episode.start, (), False, details, given)


def _walked(sim: Simulator, film: Film, params: NavigationParams) -> Film:
    """The film with what is done in it."""
    if film.perturbed is None:
        return film
    walk = perturbed_walk(sim, film.perturbed[0], params, film.perturbed[1])
    details = {**film.details, CORRECTED: {"expert": list(walk.expert)}}
    return replace(film, actions=walk.actions, stopped=walk.stopped, details=details)


def replay(sim: Simulator, film: Film) -> Walk:
    """The walk of a film: as many frames as actions, and one more if it does not end by STOP."""
    state, steps = film.start, list[WalkStep]()
    for action in film.actions:
        result = sim.step(state, action)
        steps.append(WalkStep(state, action, result.collided))
        state = result.state
    if not film.stopped:
        steps.append(WalkStep(state, STOP, False))
    return Walk(tuple(steps), film.stopped)
