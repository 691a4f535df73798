"""Record what the collection plan lists, in parallel, each sequence as often as it takes to be good.

Invariant: a sequence depends on the parameters, its scene and its number only, never on workers, order or how
often the collection was interrupted. Nothing here imports torch, and what workers import is kept small.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.datasets.sequence_files import EncodedSequence, encode_sequence, skipped_sequence
from vln_heatmap.datasets.sequence_shards import CollectionStream
from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.nodes.attempts import Attempt, film_walk
from vln_heatmap.nodes.collect_report import index_row
from vln_heatmap.nodes.executors import stream_results
from vln_heatmap.nodes.plan import NEXT_SEED, CollectionPlan, PlannedWalk, SceneTask, sequence_id
from vln_heatmap.params import CollectParams, HouseParams
from vln_heatmap.simulation.scene import Scene
from vln_heatmap.simulation.simulators.base import NoNavigableFloorError, Simulator

logger = logging.getLogger(__name__)

#: Houses without floor to stand on that may follow each other.
_REPLACEMENTS = 4


def collect_sequences(
    plan: CollectionPlan, unfinished: Mapping[str, frozenset[str]], params: CollectParams
) -> CollectionStream:
    """A stream that records the planned sequences, without those that an interrupted run left.

    Args:
        plan: from ``plan_collection``.
        unfinished: finished ids of interrupted collections, by fingerprint.
        params: of the stage.
    """
    finished = unfinished.get(plan.fingerprint, frozenset())
    return CollectionStream(plan.store, _Recording(plan, finished, params), index_row)


class _Recording:
    """Lazy iterable of the missing sequences; work starts when it is iterated."""

    def __init__(self, plan: CollectionPlan, finished: frozenset[str], params: CollectParams) -> None:
        self.plan, self.finished, self.params = plan, finished, params

    def __iter__(self) -> Iterator[EncodedSequence]:
        params = self.params
        tasks = [task for scene in self.plan.scenes if (task := _without(scene, self.finished)).walks]
        total = len(self.plan.store.ids)
        done = total - sum(len(task.walks) for task in tasks)
        if done:
            logger.info("Going on after %d of %d sequences that an interrupted run left.", done, total)
        if not tasks:
            return
        work = partial(collect_scene, params=params, simulator=resolve_simulator(params))
        with tqdm(total=total, initial=done, unit="sequence", desc="collect", disable=None) as progress:
            made = stream_results(
                work, tasks, workers=params.workers, executor=params.executor, losses=params.losses
            )
            for encoded in made:
                for sequence in encoded:
                    yield sequence
                    progress.update()


def collect_scene(
    task: SceneTask,
    *,
    params: CollectParams,
    simulator: str,
    encode: Callable[[Sequence], Any] | None = None,
) -> list[Any]:
    """Make one scene, record its walks and encode them: the work of one worker.

    A walk for which a generated house gives no occasion is filmed in the next house (the scene's name stays,
    the house's seed is in the metadata). What cannot be filmed at all gives a ``skipped_sequence``.

    Args:
        task: scene and walks.
        params: of the stage.
        simulator: name of the one that works here.
        encode: what is made of each recording; the files of the store by default (``EncodedSequence``).

    Raises:
        NoNavigableFloorError: several houses in a row have none (the agent is too large for them).
    """
    from vln_heatmap.simulation.simulators import make_simulator

    rng = np.random.default_rng([params.seed, zlib.crc32(task.name.encode())])
    hfov = params.camera.hfov + params.variation.hfov * rng.uniform(-1, 1)
    camera = PinholeCamera(params.camera.width, params.camera.height, round(float(hfov), 3))
    sim = make_simulator(simulator, camera, agent=params.agent, habitat=params.habitat)
    try:
        return _collect(sim, task, params, encode or partial(encode_sequence, **params.video.model_dump()))
    except NoNavigableFloorError as error:
        if task.file is None:
            raise
        return [skipped_sequence(each, str(error)) for each in task.ids]
    finally:
        sim.close()


def _collect(
    sim: Simulator, task: SceneTask, params: CollectParams, encode: Callable[[Sequence], Any]
) -> list[Any]:
    """Film all walks in the first scene, those for which it gives no occasion in the next, and so on."""
    waiting: dict[PlannedWalk, int] = dict.fromkeys(task.walks, 0)  # attempts that were made
    made: dict[PlannedWalk, Any] = {}
    for scene in _walkable_scenes(sim, task, params):
        for walk in list(waiting):
            tried = film_walk(sim, scene, walk, params, first=waiting[walk])
            if tried.sequence is not None:
                made[walk] = encode(tried.sequence)
            elif tried.attempts > params.retries:
                made[walk] = _impossible(task, walk, tried)
            waiting[walk] = tried.attempts
            if walk in made:
                del waiting[walk]
        if not waiting:
            break
    return [made[walk] for walk in task.walks]


def _impossible(task: SceneTask, walk: PlannedWalk, tried: Attempt) -> EncodedSequence:
    reason = f"{walk.shot.scenario} is not possible in {tried.attempts} attempts: {tried.reason}"
    logger.warning("%s is skipped: %s", sequence_id(task.name, walk.number), reason)
    return skipped_sequence(sequence_id(task.name, walk.number), reason)


def _walkable_scenes(sim: Simulator, task: SceneTask, params: CollectParams) -> Iterator[Scene]:
    """The task's scene, loaded; then, if it is generated, others like it, else the same again."""
    number = barren = 0
    while barren <= _REPLACEMENTS:
        scene = _load(sim, task, number, params)
        try:
            sim.random_navigable_point(np.random.default_rng(0))
        except NoNavigableFloorError as error:
            logger.warning("%s (seed %s): %s", task.name, scene.seed, error)
            if task.file is not None:
                raise
            barren, number, reason = barren + 1, number + 1, str(error)
            continue
        barren, number = 0, number + 1
        yield scene
    raise NoNavigableFloorError(f"{task.name}: {reason} ({barren} scenes tried)")


def _load(sim: Simulator, task: SceneTask, number: int, params: CollectParams) -> Scene:
    """Load the scene of a task; ``number`` > 0 are houses that replace it."""
    if params.habitat.dataset is not None and task.file is not None:
        from vln_heatmap.simulation.simulators.habitat import HabitatSimulator

        if not isinstance(sim, HabitatSimulator):
            raise ValueError(f"scenes of a data set need the simulator 'habitat', got {sim.name!r}")
        return replace(sim.load_scene(Path(params.habitat.dataset), task.file), name=task.name)
    scene = _make_scene(task, number)
    sim.load(scene)
    return scene


def _make_scene(task: SceneTask, number: int) -> Scene:
    """The scene of a task; ``number`` > 0 are houses that replace it."""
    if task.file is not None:
        from vln_heatmap.simulation.gltf import load_scene

        return replace(load_scene(Path(task.file)), name=task.name)
    from vln_heatmap.simulation.houses import generate_house

    if task.seed is None:
        raise ValueError(f"scene {task.name} has neither a seed nor a file")
    return replace(_house(generate_house, task.seed + number * NEXT_SEED, task.house), name=task.name)


@lru_cache(maxsize=1)
def _house(generate: Callable[[int, HouseParams], Scene], seed: int, params: HouseParams) -> Scene:
    """A house, kept for when it is asked for again: some are filmed in several ways, one after the other."""
    return generate(seed, params)


def resolve_simulator(params: CollectParams) -> str:
    """The name of the simulator that works here, so that ``auto`` is decided, and logged, once."""
    from vln_heatmap.simulation.simulators import make_simulator

    camera = PinholeCamera(**params.camera.model_dump())
    sim = make_simulator(params.simulator, camera, agent=params.agent, habitat=params.habitat)
    sim.close()
    return sim.name


def _without(task: SceneTask, finished: frozenset[str]) -> SceneTask:
    pairs = zip(task.walks, task.ids, strict=True)
    return replace(task, walks=tuple(walk for walk, each in pairs if each not in finished))
