"""Filming the looks that a model is measured on: the same houses and walks in every look, and real recordings.

Looks that differ in the camera's faults alone are one film, spoilt in several ways. Invariant: what a sequence is
depends on the parameters and its own place in the plan, so that a look can be added without changing the others;
a walk's geometry is the same in all looks that share camera and house.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import zlib
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vln_heatmap import __version__
from vln_heatmap.datasets.sequence import SCHEMA_VERSION, Sequence
from vln_heatmap.datasets.sequence_files import EncodedSequence, encode_sequence
from vln_heatmap.datasets.sequence_shards import CollectionStream, StorePlan
from vln_heatmap.interchange.incoming import Stated
from vln_heatmap.interchange.rgbd_folders import RgbdFolders
from vln_heatmap.nodes.collect import collect_scene, resolve_simulator
from vln_heatmap.nodes.executors import stream_results
from vln_heatmap.nodes.import_sequences import fingerprint
from vln_heatmap.nodes.plan import SceneTask, plan_collection
from vln_heatmap.params import (
    CollectParams,
    GeneralityParams,
    ImportParams,
    LookParams,
    PlanPart,
    SensorParams,
)
from vln_heatmap.simulation.sensor import film_with_sensor

logger = logging.getLogger(__name__)

_OTHER = {"raster": "raycast", "raycast": "raster", "habitat": "raycast"}


@dataclass(frozen=True)
class Film:
    """What is filmed once: how, and the looks that are made of it, each with the strength of its faults."""

    params: CollectParams
    looks: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class HouseTask:
    """One house and all films of it, those with the same walls and furniture one after the other."""

    scenes: tuple[tuple[SceneTask, Film], ...]


@dataclass(frozen=True)
class RecordingTask:
    """A folder with recordings of a real camera, as one look."""

    look: str
    folder: Path
    stated: Stated
    ids: tuple[str, ...]


@dataclass(frozen=True)
class LookPlan:
    """Everything that is filmed and read.

    Attributes:
        store: fingerprint and ids, ``<look>.<id of the sequence>``.
        tasks: independent of each other.
        params: of the stage.
    """

    store: StorePlan
    tasks: tuple[HouseTask | RecordingTask, ...]
    params: GeneralityParams


def look_of(sequence_id: str) -> str:
    """The look that a sequence belongs to."""
    return sequence_id.partition(".")[0]


def plan_looks(params: GeneralityParams, collect: CollectParams) -> LookPlan:
    """What is filmed for which look.

    Args:
        params: of the stage.
        collect: how the collection is filmed: what no look changes is as there.

    Raises:
        ValueError: the seed of the collection, or a look of which the values do not fit together.
        FileNotFoundError: a recording that is not there.
        RefusedError: a folder without a recording.
    """
    if params.seed == collect.seed:
        raise ValueError(f"generality.seed must not be that of collect ({collect.seed}): houses must be new")
    films = _films(params, collect)
    plans = [(film, plan_collection(film.params)) for film in films]
    number = len(plans[0][1].scenes)
    tasks: list[HouseTask | RecordingTask] = [
        HouseTask(tuple((plan.scenes[k], film) for film, plan in plans)) for k in range(number)
    ]
    tasks += _recordings(params)
    order = {look: place for place, look in enumerate(params.looks)}
    ids = sorted(
        (key for task in tasks for key in _ids(task)), key=lambda key: order.get(look_of(key), len(order))
    )
    return LookPlan(StorePlan(_fingerprint(params, films), tuple(ids)), tuple(tasks), params)


def film_looks(plan: LookPlan, unfinished: Mapping[str, frozenset[str]]) -> CollectionStream:
    """A stream that films and reads what the plan lists, but for what an interrupted run left.

    Args:
        plan: from ``plan_looks``.
        unfinished: finished ids of interrupted runs, by fingerprint.
    """
    finished = unfinished.get(plan.store.fingerprint, frozenset())
    return CollectionStream(plan.store, _Filming(plan, finished))


class _Filming:
    """Lazy iterable of the missing sequences; work starts when it is iterated."""

    def __init__(self, plan: LookPlan, finished: frozenset[str]) -> None:
        self.plan, self.finished = plan, finished

    def __iter__(self) -> Iterator[EncodedSequence]:
        params = self.plan.params
        tasks = [task for task in self.plan.tasks if not set(_ids(task)) <= self.finished]
        work = partial(make_looks, sensor=params.sensor, video=params.video.model_dump())
        with tqdm(total=len(tasks), unit="scene", desc="film", disable=None) as progress:
            for made in stream_results(work, tasks, workers=params.workers):
                yield from (sequence for sequence in made if sequence.id not in self.finished)
                progress.update()


def make_looks(
    task: HouseTask | RecordingTask, *, sensor: SensorParams, video: Mapping[str, Any]
) -> list[EncodedSequence]:
    """Film a house in all looks, or read a recording: the work of one worker."""
    if isinstance(task, RecordingTask):
        source = RgbdFolders(task.folder, task.stated)
        return [_encoded(source.read(key), task.look, video) for key in source.ids]
    made: list[EncodedSequence] = []
    for scene, film in task.scenes:
        encode = partial(_in_looks, looks=film.looks, sensor=sensor, video=video)
        for result in collect_scene(
            scene, params=film.params, simulator=film.params.simulator, encode=encode
        ):
            made += result if isinstance(result, list) else _skipped(result, film)
    return made


def _in_looks(
    sequence: Sequence, *, looks: Items[tuple[str, float]], sensor: SensorParams, video: Mapping[str, Any]
) -> list[EncodedSequence]:
    """One recording in all looks that are made of it."""
    made = []
    for look, strength in looks:
        rng = np.random.default_rng([zlib.crc32(look.encode()), zlib.crc32(sequence.id.encode())])
        faults = sensor.model_copy(update={"strength": strength})
        spoilt = replace(sequence, rgb=film_with_sensor(sequence.rgb, rng, faults))
        made.append(_encoded(spoilt, look, video))
    return made


def _encoded(sequence: Sequence, look: str, video: Mapping[str, Any]) -> EncodedSequence:
    named = replace(sequence, id=f"{look}.{sequence.id}", metadata={**sequence.metadata, "look": look})
    return encode_sequence(named, **video)


def _skipped(record: EncodedSequence, film: Film) -> list[EncodedSequence]:
    """The record of a walk that could not be filmed, for each of its looks."""
    return [EncodedSequence(f"{look}.{record.id}", record.files) for look, _ in film.looks]


def _ids(task: HouseTask | RecordingTask) -> list[str]:
    if isinstance(task, RecordingTask):
        return [f"{task.look}.{key}" for key in task.ids]
    return [f"{look}.{key}" for scene, film in task.scenes for look, _ in film.looks for key in scene.ids]


def _films(params: GeneralityParams, collect: CollectParams) -> list[Film]:
    """Films of all looks, in an order in which a house is made once for all that share it."""
    simulator = _simulator(collect)
    films: dict[str, Film] = {}
    for name, look in params.looks.items():
        renderer = simulator if look.renderer == "same" else _OTHER[simulator]
        if renderer != simulator and not _works(renderer, collect):
            logger.warning("The look %s is left out: the renderer %s does not work here.", name, renderer)
            continue
        filmed = look_collection(look, params, collect, simulator=renderer)
        key = filmed.model_dump_json()
        looks = films[key].looks if key in films else ()
        films[key] = Film(filmed, (*looks, (name, look.sensor)))
    return sorted(films.values(), key=lambda film: film.params.house.model_dump_json())  # stable


def look_collection(
    look: LookParams, params: GeneralityParams, collect: CollectParams, *, simulator: str
) -> CollectParams:
    """How a look is filmed: the collection's parameters with those of the look."""
    camera, variation = collect.camera.model_dump(), collect.variation.model_dump()
    if look.aspect is not None:
        camera["height"] = 2 * round(camera["width"] / look.aspect / 2)
    if look.hfov is not None:
        camera["hfov"] = look.hfov
    if look.pitch is not None:
        variation["pitch"] = look.pitch
    agent = collect.agent.model_dump()
    if look.camera_height is not None:
        agent["camera_height"] = look.camera_height
    part = PlanPart(count=1, scenarios=params.scenarios)
    changes = {
        "seed": params.seed,
        "sequences": params.scenes * params.walks_per_scene,
        "walks_per_scene": params.walks_per_scene,
        "length": params.length,
        "plan": {"generality": part},
        "parts": ("generality",),
        "levels": {},
        "retries": 0,  # what another renderer makes of a walk must not decide whether it is filmed again
        "scenes_folder": None,
        "habitat": {},
        "simulator": simulator,
        "camera": camera,
        "variation": variation,
        "agent": agent,
        "house": {**collect.house.model_dump(), **look.house},
    }
    return CollectParams.model_validate({**collect.model_dump(), **changes})


def _simulator(collect: CollectParams) -> str:
    """The renderer of the collection; generated houses alone are filmed, for which Habitat is not needed."""
    wanted = "auto" if collect.simulator == "habitat" else collect.simulator
    return resolve_simulator(collect.model_copy(update={"simulator": wanted}))


def _works(simulator: Any, collect: CollectParams) -> bool:
    try:
        resolve_simulator(collect.model_copy(update={"simulator": simulator}))
    except Exception as error:  # a missing driver raises anything
        logger.info("%s: %s", simulator, error)
        return False
    return True


def _recordings(params: GeneralityParams) -> list[RecordingTask]:
    tasks: list[RecordingTask] = []
    for place in map(Path, params.recordings):
        if not place.is_dir():
            raise FileNotFoundError(f"generality.recordings: there is no folder {place}")
        taken = {*params.looks, *(task.look for task in tasks)}
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", place.resolve().name).strip("-_") or "recording"
        while name in taken:
            name += "-again"
        stated = Stated(fps=params.fps, rgbd=params.rgbd)
        tasks.append(RecordingTask(name, place, stated, RgbdFolders(place, stated).ids))
    return tasks


def _fingerprint(params: GeneralityParams, films: Items[Film]) -> str:
    """Of everything that decides the content of the store."""
    recordings = [
        fingerprint(Path(place), ImportParams(format="rgbd", fps=params.fps, rgbd=params.rgbd))
        for place in params.recordings
    ]
    no_content = {"workers", "executor", "losses"}
    content = [__version__, SCHEMA_VERSION, params.sensor.model_dump(), params.video.model_dump(), recordings]
    content += [[film.params.model_dump(mode="json", exclude=no_content), film.looks] for film in films]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
