"""What a scene data set says about a scene: instances with categories and boxes, and rooms.

Invariant: the description has our ids, 1 to N without gaps, and a table from Habitat's semantic ids to them.
HM3D and MP3D bring semantic annotations; ReplicaCAD and other sets of objects are described by their objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.habitat_dataset import empty_scene
from vln_heatmap.simulation.scene import Instance, Room, Scene
from vln_heatmap.simulation.simulators.habitat_session import get_transform

_NAMELESS = frozenset({"", "unknown", "void", "misc", "objects", "unlabeled"})
_NUMBERED = re.compile(r"[_\-. :]*\d+[_\-. :\d]*$")

Box = tuple[tuple[float, float, float], tuple[float, float, float]]


def list_scenes(dataset: Path, patterns: Iterable[str], *, habitat: Any) -> list[str]:
    """Names of the scene instances of a data set that fit one of the patterns ("00800-*"; none = all).

    Args:
        dataset: ``.scene_dataset_config.json``.
        habitat: the imported ``habitat_sim``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no scene fits.
    """
    if not dataset.is_file():
        raise FileNotFoundError(f"scene data set {dataset} does not exist")
    mediator = habitat.metadata.MetadataMediator()
    mediator.active_dataset = str(dataset)
    wanted = tuple(patterns) or ("*",)
    handles = sorted(map(str, mediator.get_scene_handles()))
    chosen = [handle for handle in handles if any(fnmatch(scene_name(handle), each) for each in wanted)]
    if not chosen:
        names = ", ".join(scene_name(handle) for handle in handles[:5])
        raise ValueError(f"{dataset} has {len(handles)} scenes ({names}…), none that fits {list(wanted)}")
    return chosen


def scene_name(handle: str) -> str:
    """Plain name of a scene handle ("…/apt_0.scene_instance.json" is apt_0)."""
    return Path(handle).name.split(".")[0]


def describe_scene(sim: Any, handle: str) -> tuple[Scene, dict[int, int]]:
    """Description of the scene that is open in a habitat-sim simulator.

    Returns:
        A scene without triangles, and our instance id by Habitat's semantic id.
    """
    annotated = list(getattr(sim.semantic_scene, "objects", None) or ())
    if annotated:
        found = [_annotated(item) for item in annotated if item is not None]
        regions = [region for region in sim.semantic_scene.regions if region is not None]
        rooms = tuple(_room(region) for region in regions)
        places = {str(region.id): index for index, region in enumerate(regions)}
    else:
        bodies = sim.get_rigid_object_manager().get_objects_by_handle_substring("").values()
        found, rooms, places = [_body(body) for body in bodies], (), {}
    table: dict[int, int] = {}
    instances: list[Instance] = []
    for semantic, category, box, region in sorted(found, key=lambda item: item[0]):
        if category in _NAMELESS or semantic in table:
            continue
        table[semantic] = len(instances) + 1
        instances.append(Instance(len(instances) + 1, category, "", places.get(region, -1), *box))
    return empty_scene(scene_name(handle), tuple(instances), rooms), table


def category_name(text: str) -> str:
    """A category as an instruction would say it: "frl_apartment_chair_01" is a chair, "TV_stand" a tv stand."""
    stem = _NUMBERED.sub("", Path(text).name.split(".")[0])
    words = re.sub(r"^frl_apartment_", "", stem.lower()).replace("_", " ").replace("-", " ").split()
    return " ".join(words)


def _annotated(item: Any) -> tuple[int, str, Box, str]:
    category = item.category.name() if item.category is not None else ""
    region = getattr(item, "region", None)
    return int(item.semantic_id), category_name(category), _box(item.aabb), str(region.id) if region else ""


def _body(body: Any) -> tuple[int, str, Box, str]:
    low, high = _range(body.root_scene_node.cumulative_bb)
    corners = np.array(list(product(*zip(low, high, strict=True))))  # [8, 3]
    matrix = get_transform(body)
    world = corners @ matrix[:3, :3].T + matrix[:3, 3]
    return int(body.semantic_id), category_name(body.handle), _to_box(world.min(0), world.max(0)), ""


def _room(region: Any) -> Room:
    low, high = _range(region.aabb)
    name = region.category.name() if region.category is not None else ""
    return Room(category_name(name) or "room", (low[0], low[2], high[0], high[2]), low[1])


def _box(aabb: Any) -> Box:
    low, high = _range(aabb)
    return _to_box(np.array(low), np.array(high))


def _range(aabb: Any) -> tuple[list[float], list[float]]:
    """Lower and upper corner of a bounding box: a Magnum range, or the older type with centre and sizes."""
    if hasattr(aabb, "min") and hasattr(aabb, "max"):
        low, high = (corner() if callable(corner) else corner for corner in (aabb.min, aabb.max))
    else:
        centre, sizes = (
            np.array(value() if callable(value) else value) for value in (aabb.center, aabb.sizes)
        )
        low, high = centre - sizes / 2, centre + sizes / 2
    return [float(value) for value in low], [float(value) for value in high]


def _to_box(low: NDArray[np.float64], high: NDArray[np.float64]) -> Box:
    ordered = np.minimum(low, high), np.maximum(low, high)
    return tuple(tuple(float(value) for value in corner) for corner in ordered)  # type: ignore[return-value]
