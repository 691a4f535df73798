"""Ray caster: embree finds the triangle, one compiled kernel shades it. Needs nothing but pip packages.

Invariant: ray directions have z = 1 in the camera frame, so the ray parameter is z-depth; rays start on the
near plane, so both renderers leave out the same things.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.scene import LightVolume, Scene
from vln_heatmap.simulation.simulators import shading
from vln_heatmap.simulation.simulators.base import Observation, SimulatorUnavailableError
from vln_heatmap.simulation.simulators.embedded import EmbeddedSimulator
from vln_heatmap.simulation.variants import moved, part


class RaycastSimulator(EmbeddedSimulator):
    """Renders with embree and numba; see ``EmbeddedSimulator``.

    Raises:
        SimulatorUnavailableError: embreex or numba is missing.
    """

    name = "raycast"

    def __init__(self, camera: PinholeCamera, *, agent: AgentParams) -> None:
        super().__init__(camera, agent=agent)
        self._shade = _load_kernel()
        self.version = f"embreex {version('embreex')}, numba {version('numba')}"
        self._rays = camera.directions().reshape(-1, 3).astype(np.float32)  # [P, 3]
        self._rest: _Meshes | None = None  # all faces at rest
        self._still: _Meshes | None = None  # those of what has not moved
        self._away: _Meshes | None = None  # those of what has
        self._tables: Tables | None = None

    def _upload(self, scene: Scene) -> None:
        self._tables = Tables.of(scene)
        self._rest_maps = self._tables.surface[0]
        self._rest = self._still = _Meshes.of(scene, np.ones(len(scene.faces), bool))
        self._moved: frozenset[int] = frozenset()

    def _place(self, motions: Mapping[int, NDArray[np.float64]]) -> None:
        assert self._tables is not None
        chosen = np.isin(self.scene.face_instance, list(motions))  # [F]
        if frozenset(motions) != self._moved:
            self._still = _Meshes.of(self.scene, ~chosen) if chosen.any() else self._rest
            self._moved = frozenset(motions)
        maps, self._away = self._rest_maps, None
        if chosen.any():
            things = moved(part(self.scene, chosen), motions)
            self._away = _Meshes.of(things, np.ones(len(things.faces), bool), np.flatnonzero(chosen))
            maps = maps.copy()
            maps[chosen] = face_maps(things)
        self._tables = replace(self._tables, surface=(maps, *self._tables.surface[1:]))

    def _relight(self, light: LightVolume | None) -> None:
        assert self._tables is not None
        self._tables = replace(self._tables, light=_light_table(light))

    def _release_scene(self) -> None:
        self._rest = self._still = self._away = self._tables = None

    def _draw(self, scene: Scene, pose: NDArray[np.float64]) -> Observation:
        assert self._tables is not None
        shape = (self.camera.height, self.camera.width)
        directions = self._rays @ pose[:3, :3].T.astype(np.float32)  # [P, 3]
        starts = directions * np.float32(shading.NEAR) + pose[:3, 3].astype(np.float32)  # [P, 3]
        hit = self._hits(starts, directions)  # [P]
        rgb = np.empty((*shape, 3), np.uint8)
        depth, instance = np.empty(shape, np.float32), np.empty(shape, np.int32)
        view = (directions, pose[:3, :2].T / self.camera.focal, tuple(pose[:3, 3]))
        targets = (rgb.reshape(-1, 3), depth.reshape(-1), instance.reshape(-1))
        tables = self._tables
        self._shade(hit, *view, tables.surface, tables.pyramid, tables.light, *_CONSTANTS, *targets)
        return Observation(rgb, depth, instance)

    def _hits(self, starts: NDArray[np.float32], directions: NDArray[np.float32]) -> NDArray[np.int32]:
        """The face that each ray meets first, -1 for none: [P]."""
        assert self._still is not None
        if self._away is None:
            return self._still.hits(starts, directions)[0]
        hit, reach = self._still.hits(starts, directions)
        nearer, _ = self._away.hits(starts, directions, reach)
        return np.where(nearer >= 0, nearer, hit)


_CONSTANTS = ((shading.AMBIENT, shading.HEMISPHERE, shading.HEADLIGHT), shading.KNEE, shading.SKY)


@dataclass(frozen=True)
class _Meshes:
    """Some faces of a scene in a tree of their own; embreex cannot change a tree that is built.

    Attributes:
        scene: embree's scene, None if there are no faces.
        mesh: what it holds, kept alive.
        faces: [N] number of each face.
    """

    scene: Any
    mesh: Any
    faces: NDArray[np.int32]

    @staticmethod
    def of(scene: Scene, chosen: NDArray[np.bool_], numbers: NDArray[np.intp] | None = None) -> _Meshes:
        """The faces in a mask [F]; ``numbers`` [N] are theirs, by default their place in the scene."""
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        faces = np.flatnonzero(chosen) if numbers is None else numbers
        if len(faces) == 0:
            return _Meshes(None, None, faces.astype(np.int32))
        tree = EmbreeScene(robust=True)
        mesh = TriangleMesh(tree, scene.vertices[scene.faces[chosen]].astype(np.float32))
        return _Meshes(tree, mesh, faces.astype(np.int32))

    def hits(
        self,
        starts: NDArray[np.float32],
        directions: NDArray[np.float32],
        reach: NDArray[np.float32] | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Number of the face that each ray [P, 3] meets first within ``reach`` [P], -1 for none, and how far it
        goes, in lengths of its direction: [P] each."""
        if self.scene is None:
            return np.full(len(starts), -1, np.int32), np.full(len(starts), np.inf, np.float32)
        found = self.scene.run(starts, directions, dists=reach, output=1)
        hit = found["primID"]
        return np.where(hit >= 0, self.faces[hit], np.int32(-1)), found["tfar"]


@dataclass(frozen=True)
class Tables:
    """A scene as the kernel reads it.

    Attributes:
        surface: maps [F, 6, 4] (see ``face_maps``), instance ids [F], texture layers [F].
        pyramid: texels [T, 3] of all mip levels, edge length of each level, its first texel.
        light: voxels [X, Y, Z, 6] (none without light), origin, voxels a metre, offset along the normal.
    """

    surface: tuple[NDArray[Any], ...]
    pyramid: tuple[NDArray[Any], ...]
    light: tuple[Any, ...]

    @staticmethod
    def of(scene: Scene) -> Tables:
        levels = shading.mip_pyramid(scene.textures)
        sizes = np.array([level.shape[1] for level in levels])
        starts = np.cumsum([0] + [level.size // 3 for level in levels[:-1]])
        texels = np.concatenate([level.reshape(-1, 3) for level in levels])  # [T, 3]
        ids = (np.ascontiguousarray(scene.face_instance), np.ascontiguousarray(scene.face_texture))
        return Tables((face_maps(scene), *ids), (texels, sizes, starts), _light_table(scene.light))


def face_maps(scene: Scene) -> NDArray[np.float64]:
    """What varies over a face, as affine functions of the world point: [F, 6, 4].

    Row r of a face is ``maps[r, :3] @ point + maps[r, 3]``: the signed distance from its plane, texture u and v,
    normal x, y and z. Degenerate faces, which no ray meets, have zero slopes.
    """
    corners = scene.vertices[scene.faces].astype(np.float64)  # [F, 3, 3]
    values = np.concatenate([scene.uvs, scene.normals], axis=1)[scene.faces].astype(np.float64)  # [F, 3, 5]
    origin, first, second = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    cross = np.cross(first, second)  # [F, 3]
    square = np.maximum((cross**2).sum(1), 1e-24)[:, None, None]  # [F, 1, 1]
    gradients = np.stack([np.cross(second, cross), np.cross(cross, first)], axis=1) / square  # [F, 2, 3]
    slopes = np.einsum("fer,fex->frx", values[:, 1:] - values[:, :1], gradients)  # [F, 5, 3]
    slopes = np.concatenate([cross[:, None] / np.sqrt(square), slopes], axis=1)  # [F, 6, 3]
    start = np.concatenate([np.zeros((len(values), 1)), values[:, 0]], axis=1)  # [F, 6], at the first corner
    offsets = start - np.einsum("frx,fx->fr", slopes, origin)  # [F, 6]
    return np.concatenate([slopes, offsets[..., None]], axis=2)


def _light_table(light: LightVolume | None) -> tuple[Any, ...]:
    if light is None:
        return np.zeros((0, 0, 0, 6), np.float32), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0
    voxels = np.ascontiguousarray(light.irradiance, dtype=np.float32)  # [X, Y, Z, 6]
    density = np.array(voxels.shape[:3]) / np.asarray(light.size, np.float64)  # [3]
    origin = tuple(np.asarray(light.origin, np.float64))
    return voxels, origin, tuple(density), shading.light_offset(light)


def _load_kernel() -> Any:
    try:
        import embreex.rtcore_scene  # noqa: F401

        from vln_heatmap.simulation.simulators.raycast_kernel import shade
    except ImportError as error:
        raise SimulatorUnavailableError(f"raycast needs embreex and numba ({error})") from error
    return shade
