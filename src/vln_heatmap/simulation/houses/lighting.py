"""Soft light baked into a coarse grid of ambient cubes.

Invariant: light comes from emitting instances by exact shadow rays and is passed on by diffuse bounces along
one set of rays that is traced once; a voxel inside a solid or outdoors takes the light of the nearest voxel
within a room; the light of a scene is the sum of that of its sources. Before exposure, a radiance of 1 from
all sides is an irradiance of 1 in all six directions.

Ambient cubes: Mitchell, McTaggart, Green, *Shading in Valve's Source Engine*, 2006.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vln_heatmap.simulation.houses.shading import face_normals
from vln_heatmap.simulation.scene import LightSource, LightVolume, Scene

_AXES = np.concatenate([np.eye(3), -np.eye(3)])  # [6, 3]: +x +y +z -x -y -z
_SKY = 0.8  # radiance where a ray leaves the scene
_BOUNCES = 3
_SAMPLES = 8  # points an emitting instance is sampled at
_REACH = 0.006  # weaker direct light than this is not traced
_INSIDE = 0.2  # share of rays that hit the back of a face from which on a voxel is inside a solid
_COMPRESSION = 0.5  # exponent that tames the contrast between places, as an eye adapts
_DARKEST, _BRIGHTEST = 0.25, 1.9  # bounds of irradiance, times the exposure
_GLOW = 1.3  # least irradiance of what shines itself, times the exposure


@dataclass(frozen=True)
class _Grid:
    """Voxels: lower corner, edge and count along x, y, z."""

    origin: NDArray[np.float64]
    edge: float
    shape: tuple[int, int, int]

    def centres(self) -> NDArray[np.float64]:
        """[P, 3] in C order."""
        index = np.indices(self.shape).reshape(3, -1).T
        return self.origin + (index + 0.5) * self.edge

    def voxel_at(self, points: NDArray[np.float32]) -> NDArray[np.int64]:
        """Flat index of the voxel around each point [..., 3]; points outside count to the border."""
        index = ((points - self.origin.astype(np.float32)) * np.float32(1 / self.edge)).astype(np.int32)
        i, j, k = (np.clip(index[..., a], 0, self.shape[a] - 1) for a in range(3))
        return (i * self.shape[1] + j) * self.shape[2] + k


@dataclass(frozen=True)
class _Rays:
    """What the rays from all voxels [P, K] hit: voxel and cube side that light the hit, its albedo."""

    source: NDArray[np.int64]  # flat index into an irradiance [P * 6], of the light that the hit sends back
    albedo: NDArray[np.float32]  # 0 where nothing or the back of a face was hit
    escaped: NDArray[np.bool_]
    inside: NDArray[np.bool_]  # [P]


def bake_light(
    scene: Scene,
    emissions: Mapping[str, NDArray[np.float64]],
    *,
    voxel: float = 0.3,
    rays: int = 40,
    exposure: float = 0.9,
) -> tuple[LightSource, ...]:
    """Irradiance of a scene lit by groups of its instances, one light source a group.

    The contrast of the scene with all lights on is compressed, and each source keeps its share of every
    voxel's light; so the sources add up to what an eye that is used to all of them sees.

    Args:
        scene: closed solids with outward faces; where rays leave it they meet a dim sky.
        emissions: by name of the source, [instances + 1] radiance by instance id; the sky belongs to the first.
        voxel: edge of a voxel in metres.
        rays: directions a voxel.
        exposure: mean irradiance inside the rooms (in the whole volume if the scene has none), before the
            brightest spots are clipped.

    Raises:
        ValueError: an array of ``emissions`` has the wrong length.
    """
    for emission in emissions.values():
        if len(emission) != len(scene.instances) + 1:
            raise ValueError(f"emission must have {len(scene.instances) + 1} entries, got {len(emission)}")
    embree, mesh = _ray_scene(scene)
    grid = _grid(scene, voxel)
    directions = fibonacci_sphere(rays)
    weights = np.clip(directions @ _AXES.T, 0, None)  # [K, 6]
    weights = (weights / weights.sum(axis=0)).astype(np.float32)
    hits = _trace(embree, scene, grid, directions)
    skies = (_SKY * (k == 0) for k in range(len(emissions)))
    direct = [_direct_light(embree, scene, grid, emission, ~hits.inside) for emission in emissions.values()]
    del mesh  # alive until here: embree may still read its buffers
    parts = np.stack(
        [_bounced(d, hits, weights, sky) for d, sky in zip(direct, skies, strict=True)]
    )  # [S, P, 6]
    good = ~hits.inside & _indoors(scene, grid)
    parts = np.stack([_fill(p, ~good, grid.shape) for p in _expose(parts, good, exposure)])
    volumes = parts.reshape(-1, *grid.shape, 6)
    for k, emission in enumerate(emissions.values()):
        _glow(volumes, k, scene, grid, emission, _GLOW * exposure)
    origin, size = grid.origin.astype(np.float32), (np.array(grid.shape) * voxel).astype(np.float32)
    return tuple(
        LightSource(name, LightVolume(part, origin, size))
        for name, part in zip(emissions, volumes, strict=True)
    )


def total_light(sources: Sequence[LightSource]) -> LightVolume:
    """What all sources together give."""
    volume = sources[0].light
    parts = [source.light.irradiance for source in sources]
    return LightVolume(np.sum(parts, axis=0), volume.origin, volume.size)


def _bounced(
    direct: NDArray[np.float32], hits: _Rays, weights: NDArray[np.float32], sky: float
) -> NDArray[np.float32]:
    """Direct light [P, 6] and what a few diffuse bounces and the sky add to it."""
    light = direct
    outdoors = (sky * hits.escaped).astype(np.float32)  # [P, K]
    for _ in range(_BOUNCES):
        returned = hits.albedo * light.ravel()[hits.source] + outdoors  # [P, K]
        light = (direct + returned @ weights).astype(np.float32)
    return light


def _ray_scene(scene: Scene) -> tuple[Any, Any]:
    """An embree scene and the mesh in it."""
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    embree = EmbreeScene()
    return embree, TriangleMesh(embree, scene.vertices[scene.faces])


def _grid(scene: Scene, edge: float) -> _Grid:
    """Voxels over the whole scene, centred on it."""
    low, high = scene.vertices.min(axis=0).astype(float), scene.vertices.max(axis=0).astype(float)
    shape = [int(n) + 1 for n in np.ceil((high - low) / edge)]
    return _Grid((low + high - np.array(shape) * edge) / 2, edge, (shape[0], shape[1], shape[2]))


def fibonacci_sphere(count: int) -> NDArray[np.float64]:
    """Evenly spread unit vectors [count, 3]."""
    i = np.arange(count) + 0.5
    y, angle = 1 - 2 * i / count, i * math.pi * (3 - math.sqrt(5))
    radius = np.sqrt(1 - y * y)
    return np.stack([radius * np.cos(angle), y, radius * np.sin(angle)], axis=1)


def _trace(embree: Any, scene: Scene, grid: _Grid, directions: NDArray[np.float64]) -> _Rays:
    """Follow all rays from all voxel centres once."""
    centres = grid.centres().astype(np.float32)  # [P, 3]
    points, count = len(centres), len(directions)
    along = np.tile(directions.astype(np.float32), (points, 1))  # [P K, 3]
    start = np.repeat(centres, count, axis=0)
    found = embree.run(start, along, output=True)
    hit = found["primID"].astype(np.int64)
    missed = found["geomID"] != 0
    hit[missed] = 0
    normals = face_normals(scene.vertices.astype(np.float64), scene.faces.astype(np.int64))
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    unit = normals.astype(np.float32)[hit]  # [P K, 3]
    facing = np.einsum("ij,ij->i", unit, along) < 0
    tone = scene.textures.reshape(len(scene.textures), -1).mean(axis=1) / 255  # [N]
    albedo = (0.85 * tone)[scene.face_texture].astype(np.float32)[hit] * (facing & ~missed)
    place = start + along * np.where(missed, 0, found["tfar"])[:, None] + unit * np.float32(0.6 * grid.edge)
    axis = np.abs(normals).argmax(axis=1)
    side = axis + 3 * (normals[np.arange(len(axis)), axis] < 0)
    source = grid.voxel_at(place) * 6 + side[hit]
    inside = (~facing & ~missed).reshape(points, count).mean(axis=1) > _INSIDE
    pack = (points, count)
    return _Rays(source.reshape(pack), albedo.reshape(pack), missed.reshape(pack), inside)


def _emitters(
    scene: Scene, emission: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Points [M, 3] just before emitting faces, their normals [M, 3] and irradiance at 1 m head-on [M]."""
    weighted = face_normals(scene.vertices.astype(np.float64), scene.faces.astype(np.int64)) / 2  # [F, 3]
    areas = np.linalg.norm(weighted, axis=1)
    points, normals, powers = [], [], []
    k = np.arange(_SAMPLES) + 0.5
    for instance in np.flatnonzero(emission > 0):
        faces = np.flatnonzero(scene.face_instance == instance)
        total = np.cumsum(areas[faces])
        chosen = faces[np.searchsorted(total, k / _SAMPLES * total[-1])]  # [S] in proportion to area
        u, v = np.sqrt(k * 0.7548776662 % 1), k * 0.5698402910 % 1  # low-discrepancy, uniform on a triangle
        barycentric = np.stack([1 - u, u * (1 - v), u * v], axis=1)  # [S, 3]
        normal = weighted[chosen] / areas[chosen][:, None]
        corners = scene.vertices[scene.faces[chosen]].astype(np.float64)
        points.append(np.einsum("sk,ski->si", barycentric, corners) + 0.02 * normal)
        normals.append(normal)
        powers.append(np.full(_SAMPLES, emission[instance] * total[-1] / _SAMPLES / math.pi))
    if not points:
        return np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0)
    return np.concatenate(points), np.concatenate(normals), np.concatenate(powers)


def _direct_light(
    embree: Any, scene: Scene, grid: _Grid, emission: NDArray[np.float64], wanted: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Irradiance [P, 6] straight from the emitters: power cos cos / distance^2 where nothing is between."""
    centres = grid.centres()
    light = np.zeros((len(centres), 6), dtype=np.float32)
    candidates = np.flatnonzero(wanted)
    softening = (0.5 * grid.edge) ** 2  # no voxel is a point
    for point, normal, power in zip(*_emitters(scene, emission), strict=True):
        offset = point - centres[candidates]  # [C, 3]
        square = np.einsum("ij,ij->i", offset, offset)
        reach = -(offset @ normal) / np.sqrt(square) * power / (square + softening)  # [C]
        lit = reach > _REACH
        chosen, towards = candidates[lit], offset[lit].astype(np.float32)
        if not len(chosen):
            continue
        ends = np.full(len(chosen), 1.0, dtype=np.float32)  # the ray's direction spans the whole way
        blocked = embree.run(centres[chosen].astype(np.float32), towards, dists=ends, query="OCCLUDED") == 0
        cosine = np.clip(offset[lit] / np.sqrt(square[lit])[:, None] @ _AXES.T, 0, None)  # [C', 6]
        light[chosen] += (cosine * (reach[lit] * ~blocked)[:, None]).astype(np.float32)
    return light


def _fill(
    light: NDArray[np.float32], bad: NDArray[np.bool_], shape: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Bad voxels take the light of the nearest good one."""
    if bad.all() or not bad.any():
        return light
    nearest = ndimage.distance_transform_edt(bad.reshape(shape), return_distances=False, return_indices=True)
    return light[np.ravel_multi_index(tuple(nearest), shape).ravel()]


def _glow(
    parts: NDArray[np.float32],
    source: int,
    scene: Scene,
    grid: _Grid,
    emission: NDArray[np.float64],
    least: float,
) -> None:
    """Make windows and lamps bright themselves: raise the light before their large faces to ``least``.

    Args:
        parts: [S, X, Y, Z, 6] light by source, changed in place.
        source: the one that shines and takes what is missing.
    """
    weighted = face_normals(scene.vertices.astype(np.float64), scene.faces.astype(np.int64))  # [F, 3]
    for instance in scene.instances:
        if emission[instance.id] <= 0:
            continue
        area = np.abs(weighted[scene.face_instance == instance.id]).sum(axis=0)  # [3]
        wide = area > 0.4 * area.max()
        reach = np.where(wide, 1.5, 0.3) * grid.edge
        first = np.ceil((np.array(instance.box_min) - reach - grid.origin) / grid.edge - 0.5).astype(int)
        last = np.floor((np.array(instance.box_max) + reach - grid.origin) / grid.edge - 0.5).astype(int)
        i, j, k = (slice(max(int(a), 0), int(b) + 1) for a, b in zip(first, last, strict=True))
        for axis in np.flatnonzero(np.tile(wide, 2)):
            missing = least - parts[:, i, j, k, axis].sum(axis=0)
            parts[source, i, j, k, axis] += np.maximum(missing, 0)


def _indoors(scene: Scene, grid: _Grid) -> NDArray[np.bool_]:
    """Voxels [P] whose centre lies within a room, below its ceiling; all if the scene has no rooms."""
    centres = grid.centres()
    if not scene.rooms:
        return np.ones(len(centres), dtype=bool)
    x, y, z = centres.T
    ceilings = [i for i in scene.instances if i.category == "ceiling"]
    inside = np.zeros(len(centres), dtype=bool)
    for index, room in enumerate(scene.rooms):
        x0, z0, x1, z1 = room.rectangle
        own = [i.box_min[1] for i in ceilings if i.room == index] or [i.box_min[1] for i in ceilings]
        top = max(own, default=math.inf)
        inside |= (x > x0) & (x < x1) & (z > z0) & (z < z1) & (y > room.floor) & (y < top)
    return inside


def _expose(parts: NDArray[np.float32], good: NDArray[np.bool_], exposure: float) -> NDArray[np.float32]:
    """Compress the contrast between voxels, scale to the mean over the good ones, and bound.

    Args:
        parts: [S, P, 6] light by source; what is done to the whole is shared out in proportion.
    """
    light = np.maximum(parts.sum(axis=0), 1e-9)  # [P, 6]
    shares = np.where(light > 1e-8, parts / light, np.float32(1 / len(parts)))
    if not good.any():
        return (shares * np.float32(exposure)).astype(np.float32)
    level = np.maximum(light.mean(axis=1, keepdims=True), 1e-4)
    compressed = light * level ** (_COMPRESSION - 1)
    scaled = compressed * (exposure / float(compressed[good].mean()))
    bounded = np.clip(scaled, _DARKEST * exposure, _BRIGHTEST * exposure)
    return (shares * bounded).astype(np.float32)
