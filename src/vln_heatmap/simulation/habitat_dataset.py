"""A generated house as a Habitat scene data set, so that habitat-sim shows the same building with the same ids.

Invariant: ``semantic_id`` of an object is our instance id. Habitat draws a stage with the semantic id 0, so
the stage is one instance, the largest floor, and a file in ``ids`` names it: every pixel's id can be restored.

The files follow Habitat's scene data set format (stage, object and scene instance configurations). All meshes
are in world coordinates, +Y up; a stage without ``up`` and ``front`` would be taken for one with +Z up.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vln_heatmap.simulation.instructions import read_objects, read_rooms
from vln_heatmap.simulation.recording import describe_objects, describe_rooms
from vln_heatmap.simulation.scene import Instance, Room, Scene
from vln_heatmap.simulation.variants import part

STAGES, OBJECTS, SCENES, IDS = "stages", "objects", "scenes", "ids"
_AXES = {"up": [0, 1, 0], "front": [0, 0, -1]}
#: Textures are shown as they are. Without lights, shaded materials would be black.
_FLAT = {"shader_type": "flat", "force_flat_shading": True}


@dataclass(frozen=True)
class HabitatScene:
    """A scene of a data set: its configuration file, its instance, and the id of the stage (0 = unknown)."""

    dataset: Path
    scene: str
    stage_id: int = 0


def export_scenes(scenes: Iterable[Scene], folder: Path, *, name: str = "houses") -> list[HabitatScene]:
    """Write scenes as ``<folder>/<name>.scene_dataset_config.json`` and what it refers to.

    Args:
        scenes: at least one; names must be usable as file names.
        folder: made if it is not there.
        name: of the data set.

    Returns:
        Where Habitat finds each scene.

    Raises:
        ValueError: a scene whose name is not a plain file name, or that has no triangle.
    """
    for kind in (STAGES, OBJECTS, SCENES, IDS):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    config = folder / f"{name}.scene_dataset_config.json"
    _write(
        config,
        {
            "stages": {"paths": {".json": [f"{STAGES}/*.stage_config.json"]}},
            "objects": {"paths": {".json": [f"{OBJECTS}/*.object_config.json"]}},
            "scene_instances": {"paths": {".json": [f"{SCENES}/*.scene_instance.json"]}},
        },
    )
    return [HabitatScene(config, scene.name, _export(scene, folder)) for scene in scenes]


def read_description(dataset: Path, scene: str) -> tuple[Scene, int] | None:
    """Instances and rooms of a scene that we exported, without triangles, and the id of its stage; None for a
    data set of others.

    Raises:
        ValueError: a damaged description.
    """
    path = dataset.parent / IDS / f"{scene}.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
        objects, rooms = read_objects(content), read_rooms(content)
        return empty_scene(scene, objects, rooms), int(content["stage"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not describe a scene ({error}): export it again") from error


def empty_scene(name: str, instances: tuple[Instance, ...], rooms: tuple[Room, ...]) -> Scene:
    """A scene that is described but whose triangles stay with the simulator."""
    return Scene(
        name=name,
        seed=None,
        vertices=np.zeros((0, 3), np.float32),
        normals=np.zeros((0, 3), np.float32),
        uvs=np.zeros((0, 2), np.float32),
        faces=np.zeros((0, 3), np.int32),
        face_instance=np.zeros(0, np.int32),
        face_texture=np.zeros(0, np.int32),
        textures=np.zeros((0, 4, 4, 3), np.uint8),
        instances=instances,
        rooms=rooms,
    )


def _export(scene: Scene, folder: Path) -> int:
    """Write one scene; returns the instance that became the stage."""
    from vln_heatmap.simulation.gltf import save_scene  # which loads trimesh

    if not scene.name or Path(scene.name).name != scene.name or scene.name.startswith("."):
        raise ValueError(f"the name of a scene must be a plain file name, got {scene.name!r}")
    if not len(scene.faces):
        raise ValueError(f"scene {scene.name!r} has no triangles")
    stage = stage_instance(scene)
    placed = []
    for instance in scene.instances:
        alone = single_instance(scene, instance.id)
        if not len(alone.faces):
            continue
        kind, stem = (
            (STAGES, scene.name) if instance.id == stage else (OBJECTS, _object_name(scene, instance))
        )
        mesh = folder / kind / f"{stem}.glb"
        save_scene(alone, mesh)
        content: dict[str, Any] = {"render_asset": mesh.name, "collision_asset": mesh.name, **_AXES, **_FLAT}
        if kind == OBJECTS:
            content |= {"semantic_id": instance.id, "join_collision_meshes": False, "is_collidable": True}
            placed.append(_placement(stem))
        _write(folder / kind / f"{stem}.{kind[:-1]}_config.json", content)
    instance_file = folder / SCENES / f"{scene.name}.scene_instance.json"
    _write(instance_file, {"stage_instance": {"template_name": scene.name}, "object_instances": placed})
    content = {"stage": stage, "objects": describe_objects(scene), "rooms": describe_rooms(scene)}
    _write(folder / IDS / f"{scene.name}.json", content)
    return stage


def stage_instance(scene: Scene) -> int:
    """Id of the floor with the largest box; without a floor, of the instance with the most triangles."""
    floors = [item for item in scene.instances if item.category == "floor"]
    if floors:
        return max(floors, key=lambda item: (_area(item), -item.id)).id
    return int(np.bincount(scene.face_instance).argmax())


def single_instance(scene: Scene, instance_id: int) -> Scene:
    """A scene with the triangles of one instance, which becomes instance 1."""
    own = part(scene, scene.face_instance == instance_id)
    textures, layers = np.unique(own.face_texture, return_inverse=True)
    return replace(
        own,
        face_instance=np.ones(len(own.faces), np.int32),
        face_texture=layers.astype(np.int32),
        textures=scene.textures[textures],
        instances=(replace(scene.instances[instance_id - 1], id=1),),
        rooms=(),
        light=None,
        sources=(),
    )


def _placement(template: str) -> dict[str, Any]:
    """An object where its mesh says; the default origin would be its centre of mass."""
    return {
        "template_name": template,
        "translation": [0.0, 0.0, 0.0],
        "rotation": [1.0, 0.0, 0.0, 0.0],
        "translation_origin": "asset_local",
        "motion_type": "STATIC",
    }


def _object_name(scene: Scene, instance: Instance) -> str:
    return f"{scene.name}_{instance.id:05d}"


def _area(instance: Instance) -> float:
    low, high = instance.box_min, instance.box_max
    return (high[0] - low[0]) * (high[2] - low[2])


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1))


def main(arguments: list[str] | None = None) -> None:
    """Write generated houses as a scene data set."""
    parser = argparse.ArgumentParser(
        prog="python -m vln_heatmap.simulation.habitat_dataset",
        description="Write generated houses as a Habitat scene data set.",
    )
    parser.add_argument("folder", type=Path, help="where to; made if it is not there")
    parser.add_argument("--houses", type=int, default=10, help="how many (default 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the first house (default 0)")
    parser.add_argument("--storeys", type=int, choices=(1, 2), default=1, help="default 1")
    options = parser.parse_args(arguments)
    if options.houses < 1 or options.seed < 0:
        parser.error(
            f"--houses must be at least 1 and --seed at least 0, got {options.houses}, {options.seed}"
        )
    from vln_heatmap.params import HouseParams
    from vln_heatmap.simulation.houses import generate_house

    params = HouseParams(storeys=options.storeys, light=False)
    seeds = range(options.seed, options.seed + options.houses)
    houses = (generate_house(seed, params) for seed in tqdm(seeds, desc="export", unit="house"))
    places = export_scenes(houses, options.folder)
    print(f"{len(places)} scenes: {places[0].dataset}")


if __name__ == "__main__":
    main()
