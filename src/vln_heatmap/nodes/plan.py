"""The collection plan: which scenario is filmed in which house, for how long, and which levels it serves.

Invariant: a plan depends on the parameters alone. Every part has its share of the sequences, and every level
of the spatial losses the share that the parameters ask for, or there is no plan but an error with the numbers.
"""

from __future__ import annotations

import hashlib
import logging
import math
import zlib
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from vln_heatmap import __version__
from vln_heatmap.datasets.sequence import SCHEMA_VERSION
from vln_heatmap.datasets.sequence_files import check_id
from vln_heatmap.datasets.sequence_shards import StorePlan
from vln_heatmap.nodes.level_shares import meet_levels
from vln_heatmap.params import CollectParams, HouseParams
from vln_heatmap.simulation.filming import filmable

logger = logging.getLogger(__name__)

SEEDS = 1_000_000  # house seeds of one collection seed
#: A house that is replaced is replaced by the one so many seeds further.
NEXT_SEED = 200_000
#: What decides how the work is done, but not what comes out.
_NO_CONTENT = {"workers", "executor", "losses", "scenes_folder"}
Key = TypeVar("Key", bound=Hashable)


class Shot(NamedTuple):
    """What is filmed, and as which part of the plan."""

    part: str
    scenario: str


@dataclass(frozen=True)
class PlannedWalk:
    """One sequence to record: its number in the scene, what it shows, the levels it serves, its frames."""

    number: int
    shot: Shot
    strategy: str
    levels: tuple[str, ...]
    length: int


@dataclass(frozen=True)
class SceneTask:
    """The walks to record in one scene, which is generated from ``seed`` and ``house`` or read from ``file``
    (a glTF file, or the handle of a scene of Habitat's data set)."""

    name: str
    seed: int | None
    file: str | None
    house: HouseParams
    walks: tuple[PlannedWalk, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(sequence_id(self.name, walk.number) for walk in self.walks)


@dataclass(frozen=True)
class CollectionPlan:
    """All scenes and walks, and the fingerprint by which an interrupted collection is recognised."""

    fingerprint: str
    scenes: tuple[SceneTask, ...]

    @property
    def store(self) -> StorePlan:
        return StorePlan(self.fingerprint, tuple(i for scene in self.scenes for i in scene.ids))

    @property
    def walks(self) -> tuple[PlannedWalk, ...]:
        return tuple(walk for scene in self.scenes for walk in scene.walks)


def sequence_id(scene: str, number: int) -> str:
    """Id of a walk of a scene."""
    return f"{scene}_{number:02d}"


def plan_collection(params: CollectParams) -> CollectionPlan:
    """List every scene and walk of the collection.

    Raises:
        FileNotFoundError: ``scenes_folder`` does not exist or holds no .glb or .gltf file; no such data set.
        ValueError: a scene file whose name cannot be part of a sequence id; a name in the plan or a level that
            nothing has; a level that the plan cannot serve with its share.
    """
    _check_names(params)
    counts = _count_shots(params)
    files = _existing_scenes(params)
    groups = _share_files(counts, files, params) if files else _form_scenes(counts, params)
    scenes = tuple(_scene(number, group, params) for number, group in enumerate(groups))
    content = params.model_dump_json(exclude=_NO_CONTENT)
    sizes = [(path.name, path.stat().st_size if path.exists() else 0) for path in files]
    text = f"{__version__} {SCHEMA_VERSION} {content} {sizes}"
    return CollectionPlan(hashlib.sha256(text.encode()).hexdigest()[:16], scenes)


def largest_remainder(total: int, weights: Mapping[Key, float]) -> dict[Key, int]:
    """Whole numbers that add up to ``total``, each within 1 of its exact share (Hamilton's method).

    The greatest remainders are rounded up; among equal ones the first in order.
    """
    whole = sum(weights.values())
    exact = {key: total * weight / whole for key, weight in weights.items()}
    counts = {key: math.floor(share + 1e-9) for key, share in exact.items()}
    order = sorted(exact, key=lambda key: counts[key] - exact[key])  # stable
    for key in order[: total - sum(counts.values())]:
        counts[key] += 1
    return counts


def interleave(counts: Mapping[Key, int]) -> list[Key]:
    """Every key as often as its count, each spread evenly over the list."""
    places = [
        ((2 * turn + 1) / (2 * count), order, key)
        for order, (key, count) in enumerate(counts.items())
        for turn in range(count)
    ]
    return [key for _, _, key in sorted(places, key=lambda place: place[:2])]


def levels_of(scenario: str, params: CollectParams) -> tuple[str, ...]:
    """The levels that a scenario serves, itself or by its strategy."""
    strategy = filmable()[scenario].strategy
    return tuple(
        name
        for name, level in params.levels.items()
        if scenario in level.scenarios or strategy in level.strategies
    )


def describe_plan(plan: CollectionPlan) -> dict[str, Any]:
    """Sequences of the plan by part, scenario and level."""
    walks = plan.walks
    return {
        "parts": dict(Counter(walk.shot.part for walk in walks)),
        "scenarios": dict(Counter(walk.shot.scenario for walk in walks)),
        "levels": dict(Counter(level for walk in walks for level in walk.levels)),
    }


def _check_names(params: CollectParams) -> None:
    known = filmable()
    named: list[tuple[str, Iterable[str]]]
    named = [(f"plan.{part}.scenarios", entry.scenarios) for part, entry in params.plan.items()]
    named += [(f"levels.{name}.scenarios", level.scenarios) for name, level in params.levels.items()]
    named += [(f"levels.{name}.strategies", level.strategies) for name, level in params.levels.items()]
    for place, names in named:
        for name in names:
            if name not in known:
                raise ValueError(f"{place} must be of {', '.join(sorted(known))}; got {name!r}")


def _count_shots(params: CollectParams) -> dict[Shot, int]:
    """How often each scenario is filmed: parts and scenarios by their weights, then what the levels need."""
    names = params.parts or tuple(params.plan)
    parts = largest_remainder(params.sequences, {name: params.plan[name].count for name in names})
    wanted: dict[Shot, int] = {}
    for part, count in parts.items():
        weights = {Shot(part, name): w for name, w in params.plan[part].scenarios.items() if w > 0}
        wanted |= largest_remainder(count, weights) if count else {}
    if params.parts is not None:
        return {shot: count for shot, count in wanted.items() if count}
    served = {shot: levels_of(shot.scenario, params) for shot in wanted}
    shares = {name: level.share for name, level in params.levels.items()}
    counts = meet_levels(wanted, {shot: shot.part for shot in wanted}, served, shares)
    return {shot: count for shot, count in counts.items() if count}


def _form_scenes(
    counts: Mapping[Shot, int], params: CollectParams
) -> list[tuple[HouseParams, str | None, list[Shot]]]:
    """Houses with the shots for which they are made, every kind spread evenly over the collection."""
    houses = {shot: _house(shot.scenario, params) for shot in counts}
    kinds: dict[HouseParams, dict[Shot, int]] = {}
    for shot, count in counts.items():
        kinds.setdefault(houses[shot], {})[shot] = count
    scenes: dict[HouseParams, list[list[Shot]]] = {}
    for house, shots in kinds.items():
        order = interleave(shots)
        number = math.ceil(len(order) / params.walks_per_scene)
        edges = [round(k * len(order) / number) for k in range(number + 1)]
        scenes[house] = [order[low:high] for low, high in pairwise(edges)]
    turns = interleave({house: len(groups) for house, groups in scenes.items()})
    return [(house, None, scenes[house].pop(0)) for house in turns]


def _share_files(
    counts: Mapping[Shot, int], files: Iterable[Path], params: CollectParams
) -> list[tuple[HouseParams, str | None, list[Shot]]]:
    """Scene files with the shots that each gets in turn; files for which none is left are not used."""
    paths, order = list(files), interleave(counts)
    shares = [(params.house, str(path), order[k :: len(paths)]) for k, path in enumerate(paths)]
    if unused := [path for _, path, shots in shares if not shots]:
        logger.warning("%d scene files are not used: there are %d sequences only", len(unused), len(order))
    return [share for share in shares if share[2]]


def _house(scenario: str, params: CollectParams) -> HouseParams:
    changes = dict(filmable()[scenario].house)
    return HouseParams.model_validate({**params.house.model_dump(), **changes})


def _scene(
    number: int, group: tuple[HouseParams, str | None, list[Shot]], params: CollectParams
) -> SceneTask:
    house, file, shots = group
    seed = None if file else params.seed * SEEDS + number
    name = check_id(_scene_name(file, params)) if file else f"house_{seed:05d}"
    walks = tuple(
        PlannedWalk(
            walk,
            shot,
            filmable()[shot.scenario].strategy,
            levels_of(shot.scenario, params),
            _length(sequence_id(name, walk), params),
        )
        for walk, shot in enumerate(shots)
    )
    return SceneTask(name, seed, file, house, walks)


def _length(sequence: str, params: CollectParams) -> int:
    """Frames of a sequence: the density falls linearly from the least to the greatest length."""
    low, high = params.length
    rng = np.random.default_rng([params.seed, zlib.crc32(sequence.encode())])
    return min(int(rng.triangular(low, low, high + 1)), high)


def _existing_scenes(params: CollectParams) -> list[Path]:
    """Scene files of the folder, or handles of the scenes of Habitat's data set; none for generated houses."""
    if params.scenes_folder is not None:
        return _scene_files(Path(params.scenes_folder))
    if params.habitat.dataset is None:
        return []
    from vln_heatmap.simulation.habitat_scenes import list_scenes
    from vln_heatmap.simulation.simulators.habitat_session import import_habitat

    habitat = import_habitat(params.habitat.gpu)
    return [
        Path(handle)
        for handle in list_scenes(Path(params.habitat.dataset), params.habitat.scenes, habitat=habitat)
    ]


def _scene_name(file: str, params: CollectParams) -> str:
    handle = params.habitat.dataset is not None  # "apt_0.scene_instance.json" is apt_0
    return Path(file).name.split(".")[0] if handle else Path(file).stem


def _scene_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"scenes_folder {folder} does not exist")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".glb", ".gltf"))
    if not files:
        raise FileNotFoundError(f"scenes_folder {folder} holds no .glb or .gltf file")
    if len({path.stem for path in files}) < len(files):
        raise ValueError(f"scenes_folder {folder} holds two files of one name, as .glb and .gltf")
    return files
