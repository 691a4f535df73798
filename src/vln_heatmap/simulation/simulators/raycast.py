"""Ray caster: embree finds the triangle, one compiled kernel shades it. Needs nothing but pip packages.

Invariant: ray directions have z = 1 in the camera frame, so the ray parameter is z-depth; rays start on the
near plane, so both renderers leave out the same things.
"""

from __future__ import annotations

from dataclasses import dataclass
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
        self._embree: Any = None
        self._tables: Tables | None = None

    def _upload(self, scene: Scene) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self._embree = EmbreeScene(robust=True)
        self._mesh = TriangleMesh(self._embree, scene.vertices[scene.faces].astype(np.float32))
        self._tables = Tables.of(scene)

    def _release_scene(self) -> None:
        self._embree = self._mesh = self._tables = None

    def _draw(self, scene: Scene, pose: NDArray[np.float64]) -> Observation:
        assert self._tables is not None
        shape = (self.camera.height, self.camera.width)
        directions = self._rays @ pose[:3, :3].T.astype(np.float32)  # [P, 3]
        starts = directions * np.float32(shading.NEAR) + pose[:3, 3].astype(np.float32)  # [P, 3]
        hit = self._embree.run(starts, directions)  # [P]
        rgb = np.empty((*shape, 3), np.uint8)
        depth, instance = np.empty(shape, np.float32), np.empty(shape, np.int32)
        view = (directions, pose[:3, :2].T / self.camera.focal, tuple(pose[:3, 3]))
        targets = (rgb.reshape(-1, 3), depth.reshape(-1), instance.reshape(-1))
        tables = self._tables
        self._shade(hit, *view, tables.surface, tables.pyramid, tables.light, *_CONSTANTS, *targets)
        return Observation(rgb, depth, instance)


_CONSTANTS = ((shading.AMBIENT, shading.HEMISPHERE, shading.HEADLIGHT), shading.KNEE, shading.SKY)


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
