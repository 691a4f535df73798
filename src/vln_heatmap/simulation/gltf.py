"""Scenes as binary glTF: what we generate can be opened anywhere, and anybody's building can be loaded.

Invariant: what ``save_scene`` wrote, ``load_scene`` gives back: the same triangles, ids, textures, rooms and
light by source; in any other file, each node with a mesh is one instance. What glTF has no word for travels in
``extras``: id, category, colour, room and movability of a node, and the rest of the scene under the key
``vln_heatmap``, of which older files may lack some.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image
from trimesh.exchange.gltf import load_glb, load_gltf
from trimesh.visual.material import PBRMaterial

from vln_heatmap.simulation.scene import Instance, LightSource, LightVolume, Room, Scene

_KEY = "vln_heatmap"
_PLAIN_SIZE = 4  # pixels of the textures of a scene without images


class SceneFileError(ValueError):
    """A file that no scene can be made from; the message names the file and what is wrong with it."""


# --- writing --------------------------------------------------------------------------------------------


def save_scene(scene: Scene, path: Path) -> None:
    """Write a scene as .glb with embedded PNG textures.

    Raises:
        ValueError: another suffix than ".glb".
    """
    if path.suffix != ".glb":
        raise ValueError(f"scenes are written as .glb, got {path.name!r}")
    tree = trimesh.Scene(base_frame="world", metadata={_KEY: _scene_extras(scene)})
    materials = [
        PBRMaterial(
            name=f"texture_{k:03d}",
            baseColorTexture=Image.fromarray(texture),
            metallicFactor=0.0,
            roughnessFactor=1.0,
        )
        for k, texture in enumerate(scene.textures)
    ]
    for instance in scene.instances:
        extras = {
            "id": instance.id,
            "category": instance.category,
            "colour": instance.colour,
            "room": instance.room,
            "movable": instance.movable,
        }
        tree.graph.update(_node_name(instance), metadata=extras)
    for instance_id, texture, faces in _primitives(scene):
        parent = _node_name(scene.instances[instance_id - 1])
        mesh = _primitive_mesh(scene, faces, materials[texture])
        name = f"{parent} {texture:03d}"
        tree.add_geometry(mesh, node_name=name, geom_name=name, parent_node_name=parent)
    path.write_bytes(tree.export(file_type="glb", include_normals=True))


def _node_name(instance: Instance) -> str:
    return f"{instance.id:04d} {instance.category}"


def _primitives(scene: Scene) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
    """(instance id, texture, face indices) of every pair that occurs, in order."""
    key = scene.face_instance.astype(np.int64) * len(scene.textures) + scene.face_texture
    order = np.argsort(key, kind="stable")
    for faces in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        yield int(scene.face_instance[faces[0]]), int(scene.face_texture[faces[0]]), faces


def _primitive_mesh(scene: Scene, faces: NDArray[np.int64], material: PBRMaterial) -> trimesh.Trimesh:
    used, corners = np.unique(scene.faces[faces], return_inverse=True)
    uv = scene.uvs[used].astype(np.float64)  # float64, so that flipping v twice changes nothing
    uv[:, 1] = 1 - uv[:, 1]
    return trimesh.Trimesh(
        vertices=scene.vertices[used],
        faces=corners.reshape(-1, 3),
        vertex_normals=scene.normals[used],
        visual=trimesh.visual.TextureVisuals(uv=uv, material=material),
        process=False,
    )


def _scene_extras(scene: Scene) -> dict[str, Any]:
    extras: dict[str, Any] = {"name": scene.name, "seed": scene.seed}
    extras["rooms"] = [
        {"name": room.name, "rectangle": list(room.rectangle), "floor": room.floor} for room in scene.rooms
    ]
    if scene.light is not None:
        extras["light"] = _light_extras(scene.light)
    if scene.sources:
        extras["sources"] = [{"name": s.name, "light": _light_extras(s.light)} for s in scene.sources]
    return extras


def _light_extras(light: LightVolume) -> dict[str, Any]:
    data = zlib.compress(light.irradiance.astype("<f4").tobytes())
    return {
        "shape": list(light.irradiance.shape),
        "origin": light.origin.tolist(),
        "size": light.size.tolist(),
        "irradiance": base64.b64encode(data).decode("ascii"),
    }


# --- reading --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Primitive:
    """Triangles of one material in the world, and the node that they belong to."""

    owner: str
    vertices: NDArray[np.float64]  # [V, 3]
    normals: NDArray[np.float64]  # [V, 3]
    uvs: NDArray[np.float64]  # [V, 2]
    faces: NDArray[np.int64]  # [F, 3]
    material: PBRMaterial


def load_scene(path: Path, *, texture_limit: int = 512) -> Scene:
    """Read a scene from .glb or .gltf.

    Categories come from a node's extras ("category"), else from its name ("Chair.001" is a chair). Colours
    without an image become flat textures; all images are resized to one square size.

    Args:
        path: a file in world axes (+Y up, metres), as glTF has them.
        texture_limit: largest edge of a texture in pixels.

    Raises:
        FileNotFoundError: there is no such file.
        SceneFileError: not a glTF file, no triangles in it, or vertices that are not finite.
    """
    content = _read(path)
    nodes = {edge["frame_to"]: edge for edge in content["graph"]}
    primitives = list(_read_primitives(content["geometry"], nodes))
    if not sum(len(p.faces) for p in primitives):
        raise SceneFileError(f"{path} has no triangles; a scene needs at least one mesh")
    broken = sum(int((~np.isfinite(p.vertices)).any(axis=1).sum()) for p in primitives)
    if broken:
        raise SceneFileError(f"{path} has {broken} vertices with NaN or infinite coordinates")
    extras = content["metadata"].get(_KEY, {})
    try:
        return _to_scene(path.stem, primitives, nodes, extras, texture_limit)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise SceneFileError(f"{path} has damaged {_KEY!r} extras: {error!r}") from error


def _read(path: Path) -> dict[str, Any]:
    """Decode a file to meshes, nodes and extras."""
    data = path.read_bytes()
    binary = data[:4] == b"glTF"
    if not binary and b'"asset"' not in data:
        raise SceneFileError(f"{path} is not a glTF file: neither the magic 'glTF' nor an 'asset' is in it")
    try:
        with path.open("rb") as stream:
            if binary:
                return load_glb(stream)
            return load_gltf(stream, resolver=trimesh.resolvers.FilePathResolver(str(path)))
    except (ValueError, KeyError, IndexError, TypeError, OSError, json.JSONDecodeError) as error:
        raise SceneFileError(f"{path} cannot be read as glTF: {error}") from error


def _read_primitives(geometry: dict[str, Any], nodes: dict[str, Any]) -> Iterator[_Primitive]:
    for name, node in nodes.items():
        mesh = geometry.get(node.get("geometry"), {})
        if not len(mesh.get("faces", ())):
            continue
        matrix = _world_matrix(name, nodes)
        vertices = np.asarray(mesh["vertices"], dtype=np.float64)
        faces = np.asarray(mesh["faces"], dtype=np.int64)
        if np.linalg.det(matrix[:3, :3]) < 0:
            faces = faces[:, ::-1]
        visual = mesh.get("visual")
        uvs = getattr(visual, "uv", None)
        flipped = np.zeros((len(vertices), 2)) if uvs is None else np.asarray(uvs) * (1, -1) + (0, 1)
        yield _Primitive(
            owner=_owner(name, nodes, mesh["metadata"].get("from_gltf_primitive", False)),
            vertices=vertices @ matrix[:3, :3].T + matrix[:3, 3],
            normals=_normals(mesh, vertices) @ np.linalg.pinv(matrix[:3, :3]),
            uvs=flipped,
            faces=faces,
            material=_material(mesh),
        )


def _world_matrix(name: str, nodes: dict[str, Any]) -> NDArray[np.float64]:
    """Product of the transforms from the root to a node [4, 4]."""
    matrix = np.eye(4)
    while name in nodes:
        matrix = np.asarray(nodes[name]["matrix"]) @ matrix
        name = nodes[name]["frame_from"]
    return matrix


def _owner(name: str, nodes: dict[str, Any], is_primitive: bool) -> str:
    """The node that is the instance: the nearest that says so, else the one with the mesh."""
    ancestor = name
    while ancestor in nodes:
        if "category" in (nodes[ancestor].get("metadata") or {}) and not (is_primitive and ancestor == name):
            return ancestor
        ancestor = nodes[ancestor]["frame_from"]
    return nodes[name]["frame_from"] if is_primitive else name


def _normals(mesh: dict[str, Any], vertices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normals of the file [V, 3], or of its faces where it has none."""
    if "vertex_normals" in mesh:
        return np.asarray(mesh["vertex_normals"], dtype=np.float64)
    return np.array(trimesh.Trimesh(vertices, mesh["faces"], process=False).vertex_normals)


def _material(mesh: dict[str, Any]) -> PBRMaterial:
    """Material of a mesh; the mean of its vertex colours where it has none, else the default white."""
    material = getattr(mesh.get("visual"), "material", None)
    if material is None and "vertex_colors" in mesh:
        colours = np.asarray(mesh["vertex_colors"])[:, :3]
        one = 1.0 if colours.dtype.kind == "f" else float(np.iinfo(colours.dtype).max)
        return PBRMaterial(baseColorFactor=np.append(colours.mean(axis=0) / one, 1.0))
    return PBRMaterial() if material is None else material


def _to_scene(
    stem: str, primitives: list[_Primitive], nodes: dict[str, Any], extras: dict[str, Any], texture_limit: int
) -> Scene:
    """Concatenate primitives in order of instance and texture."""
    tags = {name: nodes[name].get("metadata") or {} for name in {p.owner for p in primitives}}
    owners = sorted(tags, key=lambda name: (tags[name].get("id", len(tags) + 1), name))
    primitives = sorted(primitives, key=lambda p: owners.index(p.owner))
    materials = {id(p.material): p.material for p in primitives}
    layers = sorted(materials, key=lambda key: str(materials[key].name))
    rooms = tuple(
        Room(r["name"], tuple(r["rectangle"]), float(r.get("floor", 0.0))) for r in extras.get("rooms", ())
    )
    counts = [len(p.faces) for p in primitives]
    sizes = np.array([len(p.vertices) for p in primitives])
    offsets = np.repeat(np.cumsum(sizes) - sizes, counts)[:, None]
    normals = np.concatenate([p.normals for p in primitives])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return Scene(
        name=extras.get("name", stem),
        seed=extras.get("seed"),
        vertices=np.concatenate([p.vertices for p in primitives]).astype(np.float32),
        normals=np.where(length > 1e-9, normals / np.maximum(length, 1e-9), (0, 1, 0)).astype(np.float32),
        uvs=np.nan_to_num(np.concatenate([p.uvs for p in primitives])).astype(np.float32),
        faces=(np.concatenate([p.faces for p in primitives]) + offsets).astype(np.int32),
        face_instance=np.repeat([owners.index(p.owner) + 1 for p in primitives], counts).astype(np.int32),
        face_texture=np.repeat([layers.index(id(p.material)) for p in primitives], counts).astype(np.int32),
        textures=_texture_array([materials[key] for key in layers], texture_limit),
        instances=_read_instances(owners, tags, primitives),
        rooms=rooms,
        light=_read_light(extras["light"]) if "light" in extras else None,
        sources=tuple(LightSource(s["name"], _read_light(s["light"])) for s in extras.get("sources", ())),
    )


def _read_instances(
    owners: list[str], tags: dict[str, Any], primitives: list[_Primitive]
) -> tuple[Instance, ...]:
    instances = []
    for index, owner in enumerate(owners):
        tag = tags[owner]
        used = [p.vertices[np.unique(p.faces)] for p in primitives if p.owner == owner]
        points = np.concatenate(used).astype(np.float32)
        low, high = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        category = str(tag.get("category", category_of(owner)))
        instances.append(
            Instance(
                index + 1,
                category,
                str(tag.get("colour", "")),
                int(tag.get("room", -1)),
                tuple(low),
                tuple(high),
                bool(tag.get("movable", False)),
            )
        )
    return tuple(instances)


def category_of(node: str) -> str:
    """Category that a node's name suggests: "Kitchen_Chair.001" is a "kitchen chair"."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[_\-.:/]+", " ", node)
    return re.sub(r"(\s*\b\d+)+$", "", words).strip().lower() or "object"


def _texture_array(materials: list[PBRMaterial], limit: int) -> NDArray[np.uint8]:
    """One layer [N, S, S, 3] a material: its image in the common size times its colour."""
    images = [m.baseColorTexture for m in materials]
    size = min(limit, max((max(i.size) for i in images if i is not None), default=_PLAIN_SIZE))
    layers = np.full((len(materials), size, size, 3), 255, dtype=np.uint8)
    for layer, material, image in zip(layers, materials, images, strict=True):
        if image is not None:
            whole = image.convert("RGB")
            layer[:] = whole if whole.size == (size, size) else whole.resize((size, size))
        if material.baseColorFactor is not None:
            factor = np.asarray(material.baseColorFactor, dtype=np.float64)[:3]
            tint = _to_srgb(factor / 255 if material.baseColorFactor.dtype == np.uint8 else factor)
            layer[:] = np.round(layer * tint)
    return layers


def _to_srgb(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB transfer function (IEC 61966-2-1); glTF's colour factors are linear."""
    clipped = np.clip(linear, 0, 1)
    return np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)


def _read_light(light: dict[str, Any]) -> LightVolume:
    data = zlib.decompress(base64.b64decode(light["irradiance"]))
    irradiance = np.frombuffer(data, dtype="<f4").reshape(light["shape"]).astype(np.float32)
    origin, size = (np.asarray(light[key], dtype=np.float32) for key in ("origin", "size"))
    return LightVolume(irradiance, origin, size)
