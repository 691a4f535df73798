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
        self._rays = camera.directions().reshape(-1, 3)  # [P, 3]
        self._embree: Any = None
        self._tables: _Tables | None = None

    def _upload(self, scene: Scene) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self._embree = EmbreeScene(robust=True)
        self._mesh = TriangleMesh(self._embree, scene.vertices[scene.faces].astype(np.float32))
        self._tables = _Tables.of(scene)

    def _release_scene(self) -> None:
        self._embree = self._mesh = self._tables = None

    def _draw(self, scene: Scene, pose: NDArray[np.float64]) -> Observation:
        assert self._tables is not None
        width, height, tables = self.camera.width, self.camera.height, self._tables
        directions = (self._rays @ pose[:3, :3].T).astype(np.float32)  # [P, 3]
        starts = (pose[:3, 3] + shading.NEAR * directions).astype(np.float32)  # [P, 3]
        hit = self._embree.run(starts, directions)  # [P]
        rgb = np.empty((height, width, 3), np.uint8)
        depth, instance = np.empty((height, width), np.float32), np.empty((height, width), np.int32)
        self._shade(
            hit, directions, pose[:3, :2].T / self.camera.focal, pose[:3, 3], *tables.geometry, *tables.looks,
            rgb.reshape(-1, 3), depth.reshape(-1), instance.reshape(-1),
        )  # fmt: skip
        return Observation(rgb, depth, instance)


@dataclass(frozen=True)
class _Tables:
    """A scene as the kernel reads it: ``geometry`` by face and vertex, ``looks`` by texel and voxel."""

    geometry: tuple[NDArray[Any], ...]
    looks: tuple[Any, ...]

    @staticmethod
    def of(scene: Scene) -> _Tables:
        planes, slopes = _face_frames(scene.vertices[scene.faces].astype(np.float64))
        corner_uv = scene.uvs[scene.faces].astype(np.float64)  # [F, 3, 2]
        uv_edges = corner_uv[:, 1:] - corner_uv[:, :1]  # [F, 2, 2]
        uv_slopes = np.einsum("fbu,fbx->fux", uv_edges, slopes[..., :3])  # [F, 2, 3]
        pyramid = shading.mip_pyramid(scene.textures)
        sizes = np.array([level.shape[1] for level in pyramid])
        starts = np.cumsum([0] + [level.size // 3 for level in pyramid[:-1]])
        texels = np.concatenate([level.reshape(-1, 3) for level in pyramid])  # [T, 3]
        plain = np.array([shading.AMBIENT, shading.HEMISPHERE, shading.HEADLIGHT])
        arrays = (scene.faces, planes, slopes, uv_slopes, scene.uvs, scene.normals, scene.face_instance)
        return _Tables(
            geometry=tuple(np.ascontiguousarray(a) for a in (*arrays, scene.face_texture)),
            looks=(texels, sizes, starts, *_volume(scene.light), plain, shading.KNEE, _SKY),
        )


_SKY = np.array(shading.SKY, np.uint8)


def _face_frames(corners: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Planes [F, 4] (unit normal n, n.p) and barycentric slopes [F, 2, 4] of triangles [F, 3, 3].

    Barycentric coordinate i of point p is ``slopes[:, i, :3] @ p + slopes[:, i, 3]``. Degenerate triangles,
    which no ray meets, get zeros.
    """
    origin, first, second = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    cross = np.cross(first, second)  # [F, 3]
    square = np.maximum((cross**2).sum(1, keepdims=True), 1e-24)  # [F, 1]
    normal = cross / np.sqrt(square)
    planes = np.concatenate([normal, (normal * origin).sum(1, keepdims=True)], axis=1)  # [F, 4]
    gradient = (
        np.stack([np.cross(second, cross), np.cross(cross, first)], axis=1) / square[:, None]
    )  # [F, 2, 3]
    offset = -np.einsum("fbx,fx->fb", gradient, origin)  # [F, 2]
    return planes, np.concatenate([gradient, offset[..., None]], axis=2)


def _volume(light: LightVolume | None) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Voxels [X, Y, Z, 6] (empty without light) and their place [3, 3]: origin, size, offset."""
    if light is None:
        return np.zeros((0, 0, 0, 6), np.float32), np.zeros((3, 3))
    place = np.array([light.origin, light.size, np.full(3, shading.light_offset(light))], np.float64)
    return np.ascontiguousarray(light.irradiance, dtype=np.float32), place


def _load_kernel() -> Any:
    try:
        import embreex.rtcore_scene  # noqa: F401

        from vln_heatmap.simulation.simulators.raycast_kernel import shade
    except ImportError as error:
        raise SimulatorUnavailableError(f"raycast needs embreex and numba ({error})") from error
    return shade
