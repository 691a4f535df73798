"""Nodes of the collect stage: plan the walks, record them in parallel, sum up what is stored.

Invariant: a sequence depends on the parameters, its scene and its number only, never on workers, order or how
often the collection was interrupted. Nothing here imports torch, and what workers import is kept small.
"""

from __future__ import annotations

import hashlib
import logging
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from vln_heatmap import __version__
from vln_heatmap.datasets.sequence import SCHEMA_VERSION
from vln_heatmap.datasets.sequence_files import (
    EncodedSequence,
    StoredSequence,
    check_id,
    encode_sequence,
    skipped_sequence,
)
from vln_heatmap.datasets.sequence_shards import CollectionStream, SequenceStore, StorePlan
from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.nodes.workers import stream_results
from vln_heatmap.params import CollectParams
from vln_heatmap.simulation.instructions import read_rooms
from vln_heatmap.simulation.recording import Mount, record
from vln_heatmap.simulation.routes import room_visits
from vln_heatmap.simulation.scene import STRUCTURE, Scene
from vln_heatmap.simulation.simulators.base import NoNavigableFloorError, Simulator
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories import TRAJECTORIES, NoRouteError, Walk, WalkRequest, path_length

logger = logging.getLogger(__name__)

#: A generated house without floor to stand on is replaced by the one this many seeds further, so many times.
_NEXT_SEED, _REPLACEMENTS = 20_000, 4
_SEEDS = 100_000  # house seeds of one collection seed


@dataclass(frozen=True)
class SceneTask:
    """The walks to record in one scene, which is generated from ``seed`` or read from ``file``."""

    name: str
    seed: int | None
    file: str | None
    walks: tuple[int, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(f"{self.name}_{walk:02d}" for walk in self.walks)


@dataclass(frozen=True)
class CollectionPlan:
    """All scenes and walks, and the fingerprint by which an interrupted collection is recognised."""

    fingerprint: str
    scenes: tuple[SceneTask, ...]

    @property
    def store(self) -> StorePlan:
        return StorePlan(self.fingerprint, tuple(i for scene in self.scenes for i in scene.ids))


def plan_collection(params: CollectParams) -> CollectionPlan:
    """List every scene and walk of the collection.

    Raises:
        FileNotFoundError: ``scenes_folder`` does not exist or holds no .glb or .gltf file.
        ValueError: a scene file whose name cannot be part of a sequence id.
    """
    walks = tuple(range(params.walks_per_scene))
    if params.scenes_folder is None:
        seeds = [params.seed * _SEEDS + index for index in range(params.scenes)]
        scenes = tuple(SceneTask(f"house_{seed:05d}", seed, None, walks) for seed in seeds)
        files = []
    else:
        files = _scene_files(Path(params.scenes_folder))
        scenes = tuple(SceneTask(check_id(path.stem), None, str(path), walks) for path in files)
    content = params.model_dump_json(exclude={"workers", "scenes_folder"})
    sizes = [(path.name, path.stat().st_size) for path in files]
    text = f"{__version__} {SCHEMA_VERSION} {content} {sizes}"
    return CollectionPlan(hashlib.sha256(text.encode()).hexdigest()[:16], scenes)


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
    return CollectionStream(plan.store, _Recording(plan, finished, params))


def summarise_collection(
    sequences: SequenceStore, params: CollectParams
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """One row a sequence, and a report of the whole collection.

    Raises:
        ValueError: not one sequence could be recorded.
    """
    for sequence_id, reason in sequences.skipped.items():
        logger.warning("%s was skipped: %s", sequence_id, reason)
    if not len(sequences):
        raise ValueError(
            f"no sequence could be recorded: {next(iter(sequences.skipped.values()), 'no plan')}"
        )
    index = pd.DataFrame([_index_row(sequence) for sequence in sequences.values()])
    index["seed"] = index["seed"].astype("Int64")  # none for scenes from files
    frames, size = int(index["length"].sum()), int(index["bytes"].sum())
    sessions = sequences.sessions()  # of runs that were not killed
    seconds = sum(session["seconds"] for session in sessions)
    timed = sum(session["bytes"] for session in sessions) / size  # share of the data
    report = {
        "sequences": len(index),
        "frames": frames,
        "scenes": int(index["scene"].nunique()),
        "skipped": sequences.skipped,
        "trajectories": index["trajectory"].value_counts().to_dict(),
        "simulator": sorted(index["simulator"].unique()),
        "image_size": [params.camera.width, params.camera.height],
        "workers": params.workers,
        "runs": len(sessions),
        "seconds": round(seconds, 2),
        "frames_per_second": round(timed * frames / seconds, 2) if seconds else None,
        "megabytes": round(size / 1e6, 3),
        "bytes_per_frame": round(size / frames, 1),
        "collisions_per_frame": round(float(index["collisions"].sum()) / frames, 4),
    }
    logger.info("Collected %(sequences)d sequences, %(frames)d frames, %(megabytes).1f MB.", report)
    return index, report


class _Recording:
    """Lazy iterable of the missing sequences; work starts when it is iterated."""

    def __init__(self, plan: CollectionPlan, finished: frozenset[str], params: CollectParams) -> None:
        self.plan, self.finished, self.params = plan, finished, params

    def __iter__(self) -> Iterator[EncodedSequence]:
        tasks = [task for scene in self.plan.scenes if (task := _without(scene, self.finished)).walks]
        total = len(self.plan.store.ids)
        done = total - sum(len(task.walks) for task in tasks)
        if done:
            logger.info("Going on after %d of %d sequences that an interrupted run left.", done, total)
        if not tasks:
            return
        work = partial(collect_scene, params=self.params, simulator=_resolve_simulator(self.params))
        with tqdm(total=total, initial=done, unit="sequence", desc="collect", disable=None) as progress:
            for encoded in stream_results(work, tasks, workers=self.params.workers):
                for sequence in encoded:
                    yield sequence
                    progress.update()


def collect_scene(task: SceneTask, *, params: CollectParams, simulator: str) -> list[EncodedSequence]:
    """Make one scene, record its walks and encode them: the work of one worker.

    A generated house with no navigable floor is replaced by a later seed (its name stays, its seed is in the
    metadata); a scene file without any gives ``skipped_sequence`` records.

    Raises:
        NoNavigableFloorError: several houses in a row have none (the agent is too large for them).
    """
    from vln_heatmap.simulation.simulators import make_simulator

    rng = np.random.default_rng([params.seed, zlib.crc32(task.name.encode())])
    hfov = params.camera.hfov + params.variation.hfov * rng.uniform(-1, 1)
    camera = PinholeCamera(params.camera.width, params.camera.height, round(float(hfov), 3))
    sim = make_simulator(simulator, camera, agent=params.agent)
    try:
        scene = _load_walkable(sim, task, params)
        return [_record_walk(sim, scene, walk, params) for walk in task.walks]
    except NoNavigableFloorError as error:
        if task.file is None:
            raise
        return [skipped_sequence(sequence_id, str(error)) for sequence_id in task.ids]
    finally:
        sim.close()


def _load_walkable(sim: Simulator, task: SceneTask, params: CollectParams) -> Scene:
    """Load the task's scene into the simulator; of houses, the first of a few with floor to stand on."""
    attempts = 1 if task.file else 1 + _REPLACEMENTS
    for attempt in range(attempts):
        scene = _make_scene(task, params, attempt)
        sim.load(scene)
        try:
            sim.random_navigable_point(np.random.default_rng(0))
            return scene
        except NoNavigableFloorError as error:
            logger.warning("%s (seed %s): %s", task.name, scene.seed, error)
            reason = str(error)
    raise NoNavigableFloorError(f"{task.name}: {reason} ({attempts} scenes tried)")


def _make_scene(task: SceneTask, params: CollectParams, attempt: int) -> Scene:
    if task.file is not None:
        from vln_heatmap.simulation.gltf import load_scene

        return replace(load_scene(Path(task.file)), name=task.name)
    from vln_heatmap.simulation.houses import generate_house

    if task.seed is None:
        raise ValueError(f"scene {task.name} has neither a seed nor a file")
    return replace(generate_house(task.seed + attempt * _NEXT_SEED, params.house), name=task.name)


def _record_walk(sim: Simulator, scene: Scene, number: int, params: CollectParams) -> EncodedSequence:
    rng = np.random.default_rng([params.seed, zlib.crc32(scene.name.encode()), number])
    height = params.agent.camera_height + params.variation.camera_height * rng.uniform(-1, 1)
    pitch = math.radians(params.variation.pitch * rng.uniform(-1, 1))
    trajectory, walk = _walk(sim, scene, rng, params)
    sequence = record(
        sim,
        scene,
        Take(walk),
        rng,
        sequence_id=f"{scene.name}_{number:02d}",
        mount=Mount(round(height, 4), round(pitch, 6)),
        fps=params.fps,
        instructions=params.instructions,
        details={"walk": number, "collection_seed": params.seed, "trajectory": trajectory},
    )
    return encode_sequence(sequence, **params.video.model_dump())


def _walk(sim: Simulator, scene: Scene, rng: np.random.Generator, params: CollectParams) -> tuple[str, Walk]:
    """A walk of a kind drawn by the shares; where no route fits, an exploration."""
    names = sorted(params.trajectories)
    shares = np.array([params.trajectories[name] for name in names])
    name = str(rng.choice(names, p=shares / shares.sum()))
    targets = [thing.centre for thing in scene.instances if thing.category not in STRUCTURE]
    request = WalkRequest(params.length, params.agent, params.route_distance, targets)
    try:
        return name, TRAJECTORIES[name](sim, rng, request)
    except NoRouteError as error:
        logger.info("%s: %s; exploring instead", scene.name, error)
        return "random_exploration", TRAJECTORIES["random_exploration"](sim, rng, request)


def _resolve_simulator(params: CollectParams) -> str:
    """The name of the simulator that works here, so that ``auto`` is decided, and logged, once."""
    from vln_heatmap.simulation.simulators import make_simulator

    camera = PinholeCamera(**params.camera.model_dump())
    sim = make_simulator(params.simulator, camera, agent=params.agent)
    sim.close()
    return sim.name


def _without(task: SceneTask, finished: frozenset[str]) -> SceneTask:
    left = (
        walk for walk, sequence_id in zip(task.walks, task.ids, strict=True) if sequence_id not in finished
    )
    return replace(task, walks=tuple(left))


def _scene_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"scenes_folder {folder} does not exist")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".glb", ".gltf"))
    if not files:
        raise FileNotFoundError(f"scenes_folder {folder} holds no .glb or .gltf file")
    if len({path.stem for path in files}) < len(files):
        raise ValueError(f"scenes_folder {folder} holds two files of one name, as .glb and .gltf")
    return files


def _index_row(sequence: StoredSequence) -> dict[str, Any]:
    metadata, frames = sequence.metadata, sequence.frames
    path = np.stack(frames["state"].to_list()).astype(np.float64)  # [T, 5]
    return {
        "id": sequence.id,
        "scene": metadata["scene"],
        "walk": metadata["walk"],
        "seed": metadata["seed"],
        "trajectory": metadata["trajectory"],
        "length": len(frames),
        "stopped": bool(frames["is_terminal"].iloc[-1]),
        "path_metres": path_length(path[:, :3]),
        "collisions": int(frames["collided"].sum()),
        "rooms": len({room for _, room in room_visits(read_rooms(metadata), path)}),
        "instances": len(set().union(*map(set, frames["visible_ids"]))),
        "instructions": len(metadata["instructions"]),
        "width": metadata["camera"]["width"],
        "height": metadata["camera"]["height"],
        "hfov": metadata["camera"]["hfov"],
        "camera_height": metadata["camera_height"],
        "fps": metadata["fps"],
        "simulator": metadata["simulator"]["name"],
        "simulator_version": metadata["simulator"]["version"],
        "bytes": sum(file.stat().st_size for file in sequence.folder.iterdir()),
    }
