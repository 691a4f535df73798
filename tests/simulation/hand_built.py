"""Scenes made of axis-aligned boxes: images, free floor and shortest ways are known in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.scene import Instance, LightVolume, Scene

GREY, RED, GREEN, BLUE = range(4)  # layers of PAINTS
PAINTS = np.array([(128, 128, 128), (200, 30, 30), (30, 200, 30), (30, 30, 200)], np.uint8)
Corner = tuple[float, float, float]


@dataclass(frozen=True)
class Box:
    """One instance: a box seen from outside, or with ``inside`` a room seen from within."""

    low: Corner
    high: Corner
    paint: int = GREY
    inside: bool = False


def build(
    *boxes: Box,
    textures: NDArray[np.uint8] | None = None,
    light: LightVolume | None = None,
    name: str = "built",
) -> Scene:
    """Scene of boxes (ids from 1, in order); textures repeat every metre, by default plain ``PAINTS``."""
    meshes = [_mesh(box) for box in boxes]
    counts = [24 * i for i in range(len(boxes))]
    return Scene(
        name=name,
        seed=None,
        vertices=np.concatenate([m[0] for m in meshes]).astype(np.float32),
        normals=np.concatenate([m[1] for m in meshes]).astype(np.float32),
        uvs=np.concatenate([m[2] for m in meshes]).astype(np.float32),
        faces=np.concatenate([m[3] + first for m, first in zip(meshes, counts, strict=True)]).astype(
            np.int32
        ),
        face_instance=np.repeat(np.arange(1, len(boxes) + 1, dtype=np.int32), 12),
        face_texture=np.repeat(np.array([box.paint for box in boxes], np.int32), 12),
        textures=np.tile(PAINTS[:, None, None], (1, 4, 4, 1)) if textures is None else textures,
        instances=tuple(
            Instance(i + 1, "room" if box.inside else "box", "", -1, box.low, box.high)
            for i, box in enumerate(boxes)
        ),
        light=light,
    )


def _mesh(box: Box) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Vertices, normals, uvs (one metre each) [24, .] and faces [12, 3] of six quads, counter-clockwise."""
    low, high = np.array(box.low), np.array(box.high)
    square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
    vertices, normals, uvs, faces = [], [], [], []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3  # u x v = +axis
        for side in (0, 1):
            unit = np.zeros((4, 3))
            unit[:, axis], unit[:, (u, v)] = side, square
            points = low + unit * (high - low)
            out = (2 * side - 1) * (-1 if box.inside else 1)
            normal = np.zeros(3)
            normal[axis] = out
            quad = np.array([(0, 1, 2), (0, 2, 3)]) if out > 0 else np.array([(0, 2, 1), (0, 3, 2)])
            faces.append(quad + 4 * len(vertices))
            vertices.append(points)
            normals.append(np.tile(normal, (4, 1)))
            uvs.append(points[:, (u, v)])
    return np.concatenate(vertices), np.concatenate(normals), np.concatenate(uvs), np.concatenate(faces)


def slab(x0: float, z0: float, x1: float, z1: float) -> Box:
    """A piece of floor whose top is at y = 0."""
    return Box((x0, -0.2, z0), (x1, 0.0, z1))


def wall(x0: float, z0: float, x1: float, z1: float, *, bottom: float = 0.0, top: float = 2.5) -> Box:
    """A wall, or with ``bottom`` a beam, over a rectangle of the floor plan."""
    return Box((x0, bottom, z0), (x1, top, z1))


def cast(boxes: tuple[Box, ...] | list[Box], eye: NDArray, rays: NDArray) -> tuple[NDArray, NDArray]:
    """What rays [..., 3] from a point meet first, by the slab method: share of the ray (0: nothing) and id.

    Boxes are hit from outside at their entry, rooms from within at their exit.
    """
    nearest = np.full(rays.shape[:-1], np.inf)
    ids = np.zeros(rays.shape[:-1], np.int32)
    safe = np.where(np.abs(rays) < 1e-12, 1e-12, rays)
    for number, box in enumerate(boxes, start=1):
        a, b = (np.array(box.low) - eye) / safe, (np.array(box.high) - eye) / safe
        enter, leave = np.minimum(a, b).max(-1), np.maximum(a, b).min(-1)
        t = leave if box.inside else enter
        hit = (enter <= leave) & (t > 0) & (t < nearest)
        nearest, ids = np.where(hit, t, nearest), np.where(hit, number, ids)
    return np.where(np.isfinite(nearest), nearest, 0.0), ids
