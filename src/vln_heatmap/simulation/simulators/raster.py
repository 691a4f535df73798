"""Rasteriser: OpenGL 3.3 through EGL, on a GPU or on Mesa's software driver.

Invariant: one pass, one sample a pixel, three attachments (colour, z-depth, instance id), so depth and ids
are never blended. All simulators of a process share one context, which is never made at import and never used
in a process other than the one that made it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera, invert_pose
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.scene import LightVolume, Scene
from vln_heatmap.simulation.simulators import shading
from vln_heatmap.simulation.simulators.base import Observation, SimulatorUnavailableError
from vln_heatmap.simulation.simulators.draw_order import Parts, by_instance
from vln_heatmap.simulation.simulators.embedded import EmbeddedSimulator
from vln_heatmap.simulation.simulators.solids import Solids

RECORD = 10  # floats of a vertex
TEXTURES, LIGHT_POSITIVE, LIGHT_NEGATIVE = range(3)  # texture units


class RasterSimulator(EmbeddedSimulator):
    """Renders with moderngl; see ``EmbeddedSimulator``.

    Raises:
        SimulatorUnavailableError: moderngl or an EGL driver is missing.
    """

    name = "raster"

    def __init__(self, camera: PinholeCamera, *, agent: AgentParams) -> None:
        super().__init__(camera, agent=agent)
        self._context = _acquire_context()
        self.version = f"moderngl {version('moderngl')}, {self._context.info['GL_RENDERER']}"
        self._target: list[Any] = []  # freed by close()
        self._held: list[Any] = []  # freed by the next load()
        self._surfaces: dict[bool, Any] = {}  # by lit
        self._make_target()

    def close(self) -> None:
        """Free the scene, the framebuffer and, with the last simulator of the process, the context."""
        if self._context is None:
            return
        if _shared.process == os.getpid():  # a forked process must not touch what is its parent's
            super().close()
            _release(self._target)
            _release_context()
        self._context = None

    def _make_target(self) -> None:
        size = (self.camera.width, self.camera.height)
        gl = self._context
        attachments = [gl.texture(size, 4), gl.texture(size, 1, dtype="f4"), gl.texture(size, 1, dtype="i4")]
        depth = gl.depth_renderbuffer(size)
        self._framebuffer = gl.framebuffer(attachments, depth)
        sky = _program(gl, "background")
        sky["sky"] = tuple(channel / 255 for channel in shading.SKY)
        self._background = gl.vertex_array(sky, [])
        self._target = [self._background, sky, self._framebuffer, depth, *attachments]
        self._rgba = np.empty((self.camera.height, self.camera.width, 4), np.uint8)
        self._lens = _clip_matrix(self.camera)
        corner = np.abs(self.camera.directions()).max((0, 1))  # [3]
        self._reach = 1.1 * shading.NEAR * float(np.linalg.norm(corner))  # farthest point of the near plane

    def _upload(self, scene: Scene) -> None:
        gl = _same_process(self._context)
        self._surface = self._surface_program(lit=scene.light is not None)
        scene = by_instance(scene)
        records, indices = _vertex_records(scene)
        self._rest = _Rest(records, Parts.of(scene), Solids.of(scene))
        self._parts, self._solids, self._moved = self._rest.parts, self._rest.solids, set[int]()
        self._vertex_buffer, index_buffer = gl.buffer(records), gl.buffer(indices)
        layout = [(self._vertex_buffer, "3f4 3f4 2f4 2i4", "in_position", "in_normal", "in_uv", "in_ids")]
        self._vertex_array = gl.vertex_array(self._surface, layout, index_buffer)
        self._textures = _texture_array(gl, scene.textures)
        self._volumes = _light_textures(gl, scene.light)
        if scene.light is not None:
            self._surface["volume_offset"] = shading.light_offset(scene.light)
            self._surface["volume_origin"] = tuple(map(float, scene.light.origin))
            self._surface["volume_size"] = tuple(map(float, scene.light.size))
        self._held = [self._vertex_array, index_buffer, self._vertex_buffer, self._textures, *self._volumes]

    def _place(self, motions: Mapping[int, NDArray[np.float64]]) -> None:
        _same_process(self._context)
        boxes = {}
        for instance in self._moved | set(motions):
            first, records = self._rest.of_instance(instance)
            if instance in motions and len(records):
                records = _moved_records(records, motions[instance])
                boxes[instance] = np.stack([records[:, :3].min(0), records[:, :3].max(0)])
            self._vertex_buffer.write(records.tobytes(), offset=first * records.itemsize * RECORD)
        self._parts, self._solids = self._rest.parts.with_boxes(boxes), self._rest.solids.moved(motions)
        self._moved = set(motions)

    def _relight(self, light: LightVolume | None) -> None:
        _same_process(self._context)
        for volume, texels in zip(self._volumes, _light_texels(light), strict=True):
            volume.write(texels.tobytes())

    def _surface_program(self, *, lit: bool) -> Any:
        """The program that draws surfaces with a light volume or with plain light; compiled once."""
        if lit not in self._surfaces:
            program = _program(self._context, "surface", *(["LIGHT_VOLUME"] if lit else []))
            program["textures"], program["knee"] = TEXTURES, shading.KNEE
            if lit:
                program["light_positive"], program["light_negative"] = LIGHT_POSITIVE, LIGHT_NEGATIVE
            else:
                program["plain_light"] = (shading.AMBIENT, shading.HEMISPHERE, shading.HEADLIGHT)
            self._surfaces[lit] = program
            self._target.append(program)
        return self._surfaces[lit]

    def _release_scene(self) -> None:
        _release(self._held)

    def _draw(self, scene: Scene, pose: NDArray[np.float64]) -> Observation:
        gl = _same_process(self._context)
        hidden = self._solids.hide_back_faces(pose[:3, 3], self._reach)
        gl.enable_only(gl.DEPTH_TEST | (gl.CULL_FACE if hidden else 0))
        gl.depth_func, gl.front_face = "<=", "cw"  # rows run downwards, which mirrors the winding
        for unit, texture in enumerate([self._textures, *self._volumes]):
            texture.use(unit)
        world_to_clip = self._lens @ invert_pose(pose)
        self._surface["world_to_clip"].write(world_to_clip.T.astype("f4").tobytes())
        self._surface["eye"] = tuple(pose[:3, 3])
        self._framebuffer.use()
        self._framebuffer.clear()
        for first, count in self._parts.in_sight(pose[:3, 3], world_to_clip):
            self._vertex_array.render(vertices=count, first=first)
        self._background.render(vertices=3)
        return self._read()

    def _read(self) -> Observation:
        shape = (self.camera.height, self.camera.width)
        depth, instance = np.empty(shape, np.float32), np.empty(shape, np.int32)
        self._framebuffer.read_into(self._rgba, components=4, attachment=0)
        self._framebuffer.read_into(depth, components=1, attachment=1, dtype="f4")
        self._framebuffer.read_into(instance, components=1, attachment=2, dtype="i4")
        return Observation(np.ascontiguousarray(self._rgba[..., :3]), depth, instance)


def _clip_matrix(camera: PinholeCamera) -> NDArray[np.float64]:
    """OpenCV camera frame to clip space [4, 4], far plane at infinity, image row 0 at framebuffer row 0."""
    x, y = 2 * camera.focal / camera.width, 2 * camera.focal / camera.height
    return np.array([[x, 0, 0, 0], [0, y, 0, 0], [0, 0, 1, -2 * shading.NEAR], [0, 0, 1, 0]])


@dataclass(frozen=True)
class _Rest:
    """A scene at rest: vertex records [U, 10] by instance, its parts and its solids."""

    records: NDArray[np.float32]
    parts: Parts
    solids: Solids

    def of_instance(self, instance: int) -> tuple[int, NDArray[np.float32]]:
        """Number of an instance's first record, and its records."""
        first, end = np.searchsorted(self.records[:, 8].view(np.int32), [instance, instance + 1])
        return int(first), self.records[first:end]


def _moved_records(records: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Vertex records [U, 10] after a rigid transform [4, 4]."""
    result = records.copy()
    result[:, :3] = records[:, :3] @ matrix[:3, :3].T + matrix[:3, 3]
    result[:, 3:6] = records[:, 3:6] @ matrix[:3, :3].T
    return result


def _vertex_records(scene: Scene) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Interleaved vertices (position, normal, uv, instance, texture) [U, 10] and the index buffer.

    A vertex that several instances or textures share becomes one record for each; instances ascend.
    """
    pair = scene.face_instance.astype(np.int64) * len(scene.textures) + scene.face_texture  # [F]
    corner = scene.faces.astype(np.int64) + pair[:, None] * len(scene.vertices)  # [F, 3]
    keys, indices = np.unique(corner, return_inverse=True)
    pair, vertex = np.divmod(keys, len(scene.vertices))  # [U]
    ids = np.stack(np.divmod(pair, len(scene.textures)), axis=1)  # [U, 2]
    columns = [scene.vertices[vertex], scene.normals[vertex], scene.uvs[vertex]]
    records = np.concatenate([*columns, ids.astype("i4").view("f4")], axis=1, dtype="f4")  # [U, 10]
    return records, indices.astype("u4").ravel()


def _texture_array(gl: Any, textures: NDArray[np.uint8]) -> Any:
    count, height, width, _ = textures.shape
    array = gl.texture_array((width, height, count), 3, np.ascontiguousarray(textures), alignment=1)
    array.build_mipmaps()
    array.filter = (gl.LINEAR_MIPMAP_LINEAR, gl.LINEAR)
    return array


def _light_textures(gl: Any, light: LightVolume | None) -> list[Any]:
    """Two 3-D textures, light from +x +y +z and from -x -y -z; none without a volume."""
    volumes = []
    for texels in _light_texels(light):
        volume = gl.texture3d(texels.shape[2::-1], 4, texels.tobytes(), dtype="f4")
        volume.repeat_x = volume.repeat_y = volume.repeat_z = False
        volume.filter = (gl.LINEAR, gl.LINEAR)
        volumes.append(volume)
    return volumes


def _light_texels(light: LightVolume | None) -> list[NDArray[np.float32]]:
    """What the light textures hold, [Z, Y, X, 4] each."""
    if light is None:
        return []
    halves = np.split(light.irradiance.astype(np.float32).transpose(2, 1, 0, 3), 2, axis=3)
    # a fourth channel that nobody reads: software drivers look up texels of 16 bytes faster than of 12
    return [np.pad(half, [(0, 0)] * 3 + [(0, 1)]) for half in halves]


def _program(gl: Any, name: str, *defines: str) -> Any:
    """Compile the two shader files called ``name`` with some preprocessor names defined."""
    here = files(__package__)
    vertex, fragment = ((here / f"{name}.{kind}.glsl").read_text("utf-8") for kind in ("vert", "frag"))
    first, body = fragment.split("\n", 1)  # must stay the first line
    fragment = "\n".join([first, *(f"#define {define}" for define in defines), body])
    return gl.program(vertex_shader=vertex, fragment_shader=fragment)


def _release(resources: list[Any]) -> None:
    for resource in resources:
        resource.release()
    resources.clear()


@dataclass
class _Shared:
    """The context of this process and how many simulators use it."""

    context: Any = None
    users: int = 0
    process: int = 0


_shared = _Shared()


def _acquire_context() -> Any:
    if _shared.context is None:
        _shared.context, _shared.process = _create_context(), os.getpid()
    context = _same_process(_shared.context)
    _shared.users += 1
    return context


def _release_context() -> None:
    _shared.users -= 1
    if _shared.users == 0:
        _shared.context.release()
        _shared.context = None


def _same_process(context: Any) -> Any:
    if context is None:
        raise RuntimeError("simulator 'raster' is closed")
    if _shared.process != os.getpid():
        raise RuntimeError("an OpenGL context does not survive a fork: start workers with the spawn method")
    return context


def _create_context() -> Any:
    try:
        import moderngl
    except ImportError as error:
        raise SimulatorUnavailableError(f"raster needs moderngl ({error})") from error
    reason: Exception | None = None
    by_name: dict[str, Any] = {"libegl": "libEGL.so.1", "libgl": "libGL.so.1"}
    libraries: dict[str, Any]
    for libraries in ({}, by_name):  # as the linker finds them, then by their usual names
        try:
            return moderngl.create_context(require=330, standalone=True, **{"backend": "egl", **libraries})
        except Exception as error:  # moderngl raises the bare Exception class when there is no driver
            reason = reason or error
    raise SimulatorUnavailableError(
        f"raster needs OpenGL 3.3 through EGL ({reason}); on Debian or Ubuntu: "
        "apt install libegl1 libgl1 libgl1-mesa-dri"
    ) from reason
