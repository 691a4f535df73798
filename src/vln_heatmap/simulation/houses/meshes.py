"""Parts of which everything in a house is made, and their shading.

Invariant: every part is a closed surface, wound counter-clockwise seen from outside (positive signed volume),
whose vertices are shared between its faces, so that normals can be smoothed without welding anything.

Local frame of a piece: x to the right, y up from the floor, z to the front (away from the wall it leans on).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float, float]

_BOX_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 7, 5], [4, 6, 7], [0, 4, 5], [0, 5, 1],
     [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)  # fmt: skip
_BOX_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (0.0, 1.0) for z in (-0.5, 0.5)])


@dataclass(frozen=True)
class Part:
    """A closed mesh of one material.

    Attributes:
        vertices: [V, 3] metres, local frame of its piece.
        faces: [F, 3] indices, counter-clockwise seen from outside.
        material: name of a material of the house's palette.
        fit: "" box-projects the texture in metres; "front" stretches it once over the part's x-y extent,
            "top" over its x-z extent.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    material: str
    fit: str = ""

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Part:
        return replace(self, vertices=self.vertices + (x, y, z))

    def rotated(self, axis: str, angle: float) -> Part:
        """Turned by ``angle`` radians about the local x, y or z axis through the origin."""
        return replace(self, vertices=self.vertices @ rotation(axis, angle).T)

    @property
    def volume(self) -> float:
        """Signed volume in cubic metres (divergence theorem)."""
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def rotation(axis: str, angle: float) -> NDArray[np.float64]:
    """Right-handed rotation matrix [3, 3] about "x", "y" or "z" by ``angle`` radians."""
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[[i, i, j, j], [i, j, i, j]] = math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
    return matrix


def box(size: Point, at: Point, material: str, fit: str = "") -> Part:
    """Box of size (width x, height y, depth z) standing on ``at`` (centre of its bottom)."""
    return Part(_BOX_CORNERS * size + at, _BOX_FACES, material, fit)


def box_between(low: Point, high: Point, material: str) -> Part:
    """Box from its lower to its upper corner."""
    size = np.subtract(high, low)
    return Part((_BOX_CORNERS + (0.5, 0.0, 0.5)) * size + low, _BOX_FACES, material)


def circle(radius: float, sections: int) -> NDArray[np.float64]:
    """Outline [sections, 2] in the x-z plane."""
    angle = np.arange(sections) * (2 * math.pi / sections)
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def rounded_rectangle(width: float, depth: float, radius: float, quarter: int = 3) -> NDArray[np.float64]:
    """Outline [4 (quarter + 1), 2] of a rectangle with rounded corners, in the x-z plane."""
    radius = min(radius, 0.499 * width, 0.499 * depth)
    angle = np.linspace(0, math.pi / 2, quarter + 1)
    arc = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    half = np.array([width / 2 - radius, depth / 2 - radius])
    turns = ((1, 1, False), (-1, 1, True), (-1, -1, False), (1, -1, True))
    return np.concatenate(
        [(arc[::-1] if flip else arc) * (sx, sz) + half * (sx, sz) for sx, sz, flip in turns]
    )


def loft(
    outline: NDArray[np.float64], heights: Sequence[float], scales: Sequence[float], at: Point, material: str
) -> Part:
    """Surface through copies of a convex outline, closed by a flat cap at both ends.

    Args:
        outline: [N, 2] in the x-z plane, from +x towards +z.
        heights, scales: height and scale of each copy, from the bottom; heights may turn back down inside
            (a tub), which the caps then close.
        at: what is added to every vertex.
    """
    n, levels = len(outline), len(heights)
    rings = np.empty((levels, n, 3))
    rings[:, :, [0, 2]] = outline * np.asarray(scales, dtype=float)[:, None, None]
    rings[:, :, 1] = np.asarray(heights, dtype=float)[:, None]
    caps = np.array([[0, heights[0], 0], [0, heights[-1], 0]])
    vertices = np.concatenate([rings.reshape(-1, 3), caps]) + at
    return Part(vertices, _loft_faces(n, levels), material)


def _loft_faces(n: int, levels: int) -> NDArray[np.int64]:
    i = np.arange(n)
    j = (i + 1) % n
    low = np.arange(levels - 1)[:, None] * n
    a, b, c, d = low + i, low + j, low + n + j, low + n + i  # [levels - 1, n]
    sides = np.stack([np.stack([a, d, c], -1), np.stack([a, c, b], -1)]).reshape(-1, 3)
    top, bottom, last = np.full(n, n * levels + 1), np.full(n, n * levels), n * (levels - 1)
    return np.concatenate([sides, np.stack([i, j, bottom], -1), np.stack([last + j, last + i, top], -1)])


def cylinder(
    radius: float, height: float, at: Point, material: str, *, top: float | None = None, sections: int = 12
) -> Part:
    """Upright cylinder, or a cone's frustum where ``top`` gives another radius at its top."""
    scale = 1.0 if top is None else top / radius
    return loft(circle(radius, sections), (0, height), (1, scale), at, material)


def rod(radius: float, start: Point, end: Point, material: str, *, sections: int = 8) -> Part:
    """Cylinder between two points."""
    direction = np.subtract(end, start)
    length = float(np.linalg.norm(direction))
    up = direction / length
    side = np.cross(up, (0.0, 0.0, 1.0) if abs(up[2]) < 0.9 else (1.0, 0.0, 0.0))
    side /= np.linalg.norm(side)
    part = cylinder(radius, length, (0, 0, 0), material, sections=sections)
    return replace(part, vertices=part.vertices @ np.stack([side, up, np.cross(side, up)]) + start)


def ball(radius: float, at: Point, material: str, *, squash: float = 1.0, sections: int = 10) -> Part:
    """Sphere around ``at``; ``squash`` scales its height."""
    angle = np.linspace(-1.35, 1.35, 6)
    heights = radius * squash * np.sin(angle)
    return loft(circle(radius, sections), list(heights), list(np.cos(angle)), at, material)


def slab(size: Point, at: Point, material: str, *, radius: float = 0.05) -> Part:
    """Box with rounded vertical edges."""
    outline = rounded_rectangle(size[0], size[2], radius)
    return loft(outline, (0, size[1]), (1, 1), at, material)


def pillow(size: Point, at: Point, material: str, *, radius: float = 0.08, bulge: float = 0.12) -> Part:
    """Soft box: rounded vertical edges, and narrower towards its bottom and top by ``bulge``."""
    outline = rounded_rectangle(size[0], size[2], radius)
    heights = [size[1] * t for t in (0, 0.15, 0.5, 0.85, 1.0)]
    return loft(outline, heights, (1 - bulge, 1 - bulge / 4, 1, 1 - bulge / 4, 1 - bulge), at, material)


def tub(size: Point, at: Point, material: str, *, rim: float = 0.06, floor: float = 0.12) -> Part:
    """Open container: rounded box whose surface turns inside at the rim; ``floor`` is the inner bottom."""
    outline = rounded_rectangle(size[0], size[2], 0.3 * min(size[0], size[2]))
    inner = 1 - 2 * rim / min(size[0], size[2])
    heights, scales = (0, size[1], size[1], floor), (0.94, 1, inner, 0.85 * inner)
    return loft(outline, heights, scales, at, material)


def ribbon(
    path: NDArray[np.float64], thickness: float, bottom: float, top: float, material: str, fit: str = ""
) -> Part:
    """Upright sheet of some thickness along a path [N, 2] in the x-z plane, drawn towards +x (a curtain)."""
    n = len(path)
    front, back = path + (0, thickness / 2), path - (0, thickness / 2)
    flat = np.concatenate([front, back])  # [2N, 2]
    low, high = np.insert(flat, 1, bottom, axis=1), np.insert(flat, 1, top, axis=1)
    i = np.arange(n - 1)
    f, b, up = i, i + n, 2 * n
    quads = [
        (f, f + 1, f + 1 + up, f + up),
        (b + 1, b, b + up, b + 1 + up),
        (f + up, f + 1 + up, b + 1 + up, b + up),
        (b, b + 1, f + 1, f),
        *(
            tuple(np.array([v]) for v in end)
            for end in ((n, 0, up, n + up), (n - 1, 2 * n - 1, 4 * n - 1, 3 * n - 1))
        ),
    ]
    faces = [np.stack([q[0], q[k], q[k + 1]], -1) for q in quads for k in (1, 2)]
    return Part(np.concatenate([low, high]), np.concatenate(faces), material, fit)


def extent(parts: Sequence[Part]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper corner [3] of the parts' common bounding box."""
    lows = [p.vertices.min(axis=0) for p in parts]
    highs = [p.vertices.max(axis=0) for p in parts]
    return np.min(lows, axis=0), np.max(highs, axis=0)
