"""Heatmaps carried from one view into another along true depth and poses.

Invariant: a map that paints surfaces is carried onto itself wherever both views see them. Places are in cells
of the maps' grid, whose centres lie at +0.5, as pixel centres do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.geometry.projection import NEAR

Floats = NDArray[np.floating]
#: A surface is the same in both views if its depths differ by at most this share (plain test on cells).
TOLERANCE = 0.05


def cell_intrinsics(camera: PinholeCamera, size: tuple[int, int]) -> NDArray[np.float64]:
    """Intrinsic matrix [3, 3] of a camera in units of the cells of a grid (h, w)."""
    scale = np.diag([size[1] / camera.width, size[0] / camera.height, 1.0])
    return scale @ camera.matrix


def cells_elsewhere(depth: Floats, motion: Floats, intrinsics: Floats) -> tuple[Floats, Floats, Floats]:
    """Where another camera sees what the cells of a view show.

    Args:
        depth: [..., h, w] z-depth of each cell in metres, 0 = unknown.
        motion: [..., 4, 4], takes points from the view's camera frame to the other's.
        intrinsics: [..., 3, 3] of both, in cells.

    Returns:
        Column x and row y in the other's cells and z-depth, each [..., h, w]; NaN where the depth is unknown or
        the point is not in front of the other camera.
    """
    height, width = depth.shape[-2:]
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1).reshape(-1, 3)  # [h * w, 3]
    flat = depth.reshape(*depth.shape[:-2], -1, 1).astype(np.float64)  # [..., h * w, 1]
    rays = pixels @ np.swapaxes(np.linalg.inv(intrinsics), -1, -2)  # [..., h * w, 3]
    points = rays * flat @ np.swapaxes(motion[..., :3, :3], -1, -2) + motion[..., None, :3, 3]
    there = points @ np.swapaxes(intrinsics, -1, -2)  # [..., h * w, 3]: (x z, y z, z)
    z = np.where((flat[..., 0] > 0) & (points[..., 2] > NEAR), points[..., 2], np.nan)
    x, y = there[..., 0] / z, there[..., 1] / z
    return tuple(a.reshape(depth.shape) for a in (x, y, z))  # type: ignore[return-value]


def inside(x: Floats, y: Floats, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which places lie in a grid (h, w)."""
    return (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])


def same_surface(depth: Floats, x: Floats, y: Floats, z: Floats) -> NDArray[np.bool_]:
    """Whether the cells at (x, y) [..., h, w] of a view of depth [..., h, w] show what lies at depth z."""
    size = depth.shape[-2:]
    within = inside(x, y, size)  # [..., h, w]
    row, column = (np.where(within, a, 0).astype(np.intp) for a in (y, x))
    flat = (row * size[1] + column).reshape(*depth.shape[:-2], -1)  # [..., h * w]
    found = np.take_along_axis(depth.reshape(flat.shape), flat, axis=-1).reshape(depth.shape)
    return within & (found > 0) & (np.abs(found - z) <= TOLERANCE * z)


def sampled(maps: Floats, x: Floats, y: Floats) -> Floats:
    """Maps [..., K, h, w] read at places (x, y) [..., h, w] in cells: [..., K, h, w].

    Bilinear, and the border goes on. Where a place is NaN the value means nothing: callers leave it out.
    """
    height, width = maps.shape[-2:]
    flat = maps.reshape(*maps.shape[:-2], -1)  # [..., K, h * w]
    places = []
    for place, count in ((y, height), (x, width)):
        clipped = np.clip(np.nan_to_num(place) - 0.5, 0, count - 1)
        low = np.minimum(clipped.astype(np.intp), max(count - 2, 0))
        places.append((low, np.minimum(low + 1, count - 1), clipped - low))
    (top, bottom, down), (left, right, across) = places

    def at(row: NDArray[np.intp], column: NDArray[np.intp]) -> Any:
        index = (row * width + column).reshape(*row.shape[:-2], 1, -1)  # [..., 1, h * w]
        return np.take_along_axis(flat, np.broadcast_to(index, flat.shape), axis=-1).reshape(maps.shape)

    down, across = down[..., None, :, :], across[..., None, :, :]
    upper = at(top, left) * (1 - across) + at(top, right) * across
    lower = at(bottom, left) * (1 - across) + at(bottom, right) * across
    return upper * (1 - down) + lower * down
