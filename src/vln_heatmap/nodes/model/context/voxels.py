"""Which remembered tokens are worth keeping: of those that show the same place in space, the latest.

Invariant: a token whose place is unknown is kept, and so is the latest view of every voxel, unless its frame is
left out because hardly anything of it remained.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.geometry.projection import transform
from vln_heatmap.params.navigation_model import VoxelParams


def kept_tokens(points: NDArray[np.floating], params: VoxelParams) -> NDArray[np.bool_]:
    """Which tokens [T, m, m] of frames in order of time are kept, by the places [T, m, m, 3] that they show.

    Args:
        points: in one world, metres if they were given; not finite where unknown.
        params: size of the voxels.
    """
    known = np.isfinite(points).all(-1)  # [T, m, m]
    if not known.any():
        return np.ones(known.shape, bool)
    found = points[known].astype(np.float64)  # [M, 3]
    edge = params.edge
    if params.source == "vggt":
        edge = max(float(np.ptp(found, axis=0).max()) / params.divisions, 1e-9)
    kept = ~known
    kept[known] = _latest(found, np.nonzero(known)[0], edge)
    shares = kept.mean(axis=(1, 2))  # [T]
    kept[shares < params.least] = False
    return kept


def _latest(points: NDArray[np.float64], frame: NDArray[np.int64], edge: float) -> NDArray[np.bool_]:
    """Of the points [M, 3] of each voxel the first one of the latest ``frame`` [M]."""
    cells = np.floor(points / edge).astype(np.int64)  # [M, 3]
    order = np.lexsort((np.arange(len(frame)), -frame))  # the latest frame first
    _, first = np.unique(cells[order], axis=0, return_index=True)
    chosen = np.zeros(len(points), bool)
    chosen[order[first]] = True
    return chosen


def cell_points(
    depth: NDArray[np.floating], pose: NDArray[np.floating], hfov: float, grid: int
) -> NDArray[np.float32]:
    """World points [grid, grid, 3] in the middle of each cell of a view; NaN without depth.

    Args:
        depth: z-depth in metres [H, W], 0 = unknown.
        pose: camera_to_world [4, 4], OpenCV axes.
        hfov: horizontal field of view in degrees.
        grid: cells along a side.
    """
    near = regrid(np.asarray(depth, np.float64)[..., None], grid)  # [grid, grid, 1]
    rays = _cell_rays(*depth.shape, hfov, grid)
    points = transform((rays * near).reshape(-1, 3), np.asarray(pose, np.float64)).reshape(rays.shape)
    return np.where(near > 0, points, np.nan).astype(np.float32)


@lru_cache(maxsize=8)
def _cell_rays(height: int, width: int, hfov: float, grid: int) -> NDArray[np.floating]:
    """What ``cell_points`` are at a depth of 1 m, in the camera's frame [grid, grid, 3]."""
    return regrid(PinholeCamera(width=width, height=height, hfov=hfov).directions(), grid)


def regrid(points: NDArray[np.floating], grid: int) -> NDArray[np.floating]:
    """Of points [..., H, W, 3] those in the middle of each of ``grid`` x ``grid`` cells."""
    rows, columns = (((np.arange(grid) + 0.5) * side / grid).astype(int) for side in points.shape[-3:-1])
    return points[..., rows[:, None], columns, :]


@torch.no_grad()
def vggt_points(vggt: Any, frames: Tensor, grid: int) -> NDArray[np.float32]:
    """What VGGT's point head sees in the middle of each cell of T frames [T, 3, S, S], in one world
    [T, grid, grid, 3].

    Raises:
        ValueError: VGGT has no point head.
    """
    points = vggt(frames[None], heads=("points",)).points[0]  # [T, S, S, 3]
    return regrid(points.float().numpy(force=True), grid)
