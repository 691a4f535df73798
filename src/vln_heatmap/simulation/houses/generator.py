"""From a seed to a scene: plan, palette, structure, furniture, and all of it as one triangle soup.

Invariant: a house depends on its seed and parameters only; each concern draws from a stream of its own, so
that one more chair in the bedroom changes nothing in the kitchen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.params import HouseParams
from vln_heatmap.simulation.houses.clutter import AMOUNTS, movable
from vln_heatmap.simulation.houses.drafting import draw_plans
from vln_heatmap.simulation.houses.furnish import furnish_room
from vln_heatmap.simulation.houses.lighting import bake_light, total_light
from vln_heatmap.simulation.houses.palette import Palette
from vln_heatmap.simulation.houses.patterns import palette_for
from vln_heatmap.simulation.houses.pieces import Placed
from vln_heatmap.simulation.houses.shading import box_sides, box_uvs, corner_normals, weld
from vln_heatmap.simulation.houses.structure import build_structure
from vln_heatmap.simulation.scene import STRUCTURE, Instance, Room, Scene

#: Streams of a seed; those of structure and rooms take the storey, and the room, as well.
_PLAN, _PALETTE, _STRUCTURE, _OFFSETS, _LIGHT, _ROOM = range(6)


def generate_house(seed: int, params: HouseParams) -> Scene:
    """Generate one house.

    Args:
        seed: at least 0; it alone decides the house (light to within rounding on another CPU).
        params: size, furniture, texture and light settings.

    Returns:
        A scene named ``house_<seed>`` with rooms, instances, textures and, if ``params.light``, baked light.

    Raises:
        ValueError: a negative seed, or parameters for which no floor plan exists.
    """
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    plans = draw_plans(np.random.default_rng([seed, _PLAN]), params)
    palette = palette_for(np.random.default_rng([seed, _PALETTE]), params.pattern)
    placed: list[Placed] = []
    rooms: list[Room] = []
    for storey, plan in enumerate(plans):
        items = build_structure(np.random.default_rng([seed, _STRUCTURE, storey]), plan, palette)
        for room in range(len(plan.cells)):
            rng = np.random.default_rng([seed, _ROOM, storey, room])
            items += furnish_room(
                rng, plan, room, palette, share=params.furniture, clutter=AMOUNTS[params.clutter]
            )
        placed += [replace(p, y=p.y + plan.floor, room=p.room + len(rooms)) for p in items]
        rooms += [Room(name, plan.inner(k), plan.floor) for k, name in enumerate(plan.names)]
    scene = _assemble(seed, placed, palette, tuple(rooms), params)
    return _lit(scene, np.random.default_rng([seed, _LIGHT]), params) if params.light else scene


def _lit(scene: Scene, rng: np.random.Generator, params: HouseParams) -> Scene:
    """The scene with daylight through its windows and its ceiling lights on."""
    strength = {"window": rng.uniform(1.5, 6.0), "ceiling light": rng.uniform(3.0, 12.0)}
    emissions = {name: np.zeros(len(scene.instances) + 1) for name in ("daylight", "lamps")}
    for instance in scene.instances:
        source = emissions["daylight" if instance.category == "window" else "lamps"]
        source[instance.id] = strength.get(instance.category, 0.0) * rng.uniform(0.6, 1.4)
    exposure = rng.uniform(0.75, 1.0)
    sources = bake_light(
        scene, emissions, voxel=params.light_voxel, rays=params.light_rays, exposure=exposure
    )
    return replace(scene, light=total_light(sources), sources=sources)


def _assemble(
    seed: int, placed: list[Placed], palette: Palette, rooms: tuple[Room, ...], params: HouseParams
) -> Scene:
    """Concatenate, shade and place all parts."""
    parts = [part for item in placed for part in item.piece.parts]
    counts = np.array([len(item.piece.parts) for item in placed])
    part_item = np.repeat(np.arange(len(placed)), counts)  # [P]
    names = sorted({part.material for part in parts})
    sizes = np.array([len(part.vertices) for part in parts])
    face_part = np.repeat(np.arange(len(parts)), [len(part.faces) for part in parts])  # [F]
    vertices = np.concatenate([part.vertices for part in parts])  # [V, 3] local
    faces = np.concatenate([part.faces for part in parts]) + (np.cumsum(sizes) - sizes)[face_part][:, None]
    sides = box_sides(vertices, faces)
    normals = corner_normals(vertices, faces)  # [F, 3, 3]
    uvs = _texture_coordinates(seed, placed, part_item, palette, vertices, faces, sides, face_part)
    chosen, welded = weld(vertices, faces, normals, sides)
    source = faces.ravel()[chosen]  # [V'] local vertex of each kept corner
    item = part_item[np.repeat(np.arange(len(parts)), sizes)[source]]
    turn, shift = _placements(placed)
    world = (np.einsum("vij,vj->vi", turn[item], vertices[source]) + shift[item]).astype(np.float32)
    material = np.array([names.index(part.material) for part in parts])
    return Scene(
        name=f"house_{seed:05d}",
        seed=seed,
        vertices=world,
        normals=np.einsum("vij,vj->vi", turn[item], normals.reshape(-1, 3)[chosen]).astype(np.float32),
        uvs=uvs.reshape(-1, 2)[chosen].astype(np.float32),
        faces=welded.astype(np.int32),
        face_instance=(part_item[face_part] + 1).astype(np.int32),
        face_texture=material[face_part].astype(np.int32),
        textures=np.stack([palette.texture(name, seed, params.texture_size) for name in names]),
        instances=_instances(placed, palette, world, item),
        rooms=rooms,
    )


def _placements(placed: Sequence[Placed]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation [N, 3, 3] and translation [N, 3] of every piece."""
    yaw = np.array([p.yaw for p in placed])
    turn = np.zeros((len(placed), 3, 3))
    turn[:, 0, 0] = turn[:, 2, 2] = np.cos(yaw)
    turn[:, 0, 2], turn[:, 2, 0], turn[:, 1, 1] = np.sin(yaw), -np.sin(yaw), 1.0
    return turn, np.array([[p.x, p.y, p.z] for p in placed])


def _texture_coordinates(
    seed: int,
    placed: Sequence[Placed],
    part_item: NDArray[np.int64],
    palette: Palette,
    vertices: NDArray[np.float64],
    faces: NDArray[np.int64],
    sides: NDArray[np.int64],
    face_part: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Texture coordinates of all face corners [F, 3, 2].

    Furniture starts each part at a random point of its texture, the building is continuous in the world, and
    fitted parts show their image once.
    """
    parts = [part for item in placed for part in item.piece.parts]
    low = np.array([part.vertices.min(axis=0) for part in parts])  # [P, 3]
    span = np.maximum(np.array([part.vertices.max(axis=0) for part in parts]) - low, 1e-6)
    looks = [palette.materials[part.material] for part in parts]
    grain = span * np.array([look.grain for look in looks])[:, None]
    uvs = box_uvs(vertices, faces, sides, grain[face_part])
    uvs /= np.array([look.metres for look in looks])[face_part][:, None, None]
    loose = np.array([p.piece.category not in STRUCTURE for p in placed])[part_item]
    offset = np.random.default_rng([seed, _OFFSETS]).random((len(parts), 2)) * loose[:, None]
    uvs += offset[face_part][:, None]
    for fit, (u, v, sign) in {"front": (0, 1, -1), "top": (0, 2, 1)}.items():
        chosen = np.flatnonzero(np.array([part.fit == fit for part in parts])[face_part])
        place = (vertices[faces[chosen]] - low[face_part[chosen]][:, None]) / span[face_part[chosen]][:, None]
        down = place[..., v] if sign > 0 else 1 - place[..., v]
        uvs[chosen] = 0.004 + 0.992 * np.stack([place[..., u], down], axis=-1)
    return uvs


def _instances(
    placed: Sequence[Placed], palette: Palette, world: NDArray[np.float32], item: NDArray[np.int64]
) -> tuple[Instance, ...]:
    """What there is, with boxes measured on the final vertices."""
    low = np.full((len(placed), 3), math.inf)
    high = -low
    np.minimum.at(low, item, world)
    np.maximum.at(high, item, world)
    result = []
    for k, p in enumerate(placed):
        colour = palette.materials[p.piece.main].colour if p.piece.main else ""
        box = [tuple(float(v) for v in corner) for corner in (low[k], high[k])]
        loose = movable(p, placed)
        result.append(Instance(k + 1, p.piece.category, colour, p.room, box[0], box[1], loose))  # type: ignore[arg-type]
    return tuple(result)
