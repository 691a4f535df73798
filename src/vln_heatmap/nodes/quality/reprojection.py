"""Do depth, poses and motions of neighbouring frames tell of one and the same place?

Invariant: a point behind what the other frame sees is hidden there and says nothing; one in front of it
contradicts it, since it would have to be seen. Points of a moved instance are carried along by its motion, so
that things in motion are as consistent as walls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera, invert_pose
from vln_heatmap.geometry.projection import project, relative_pose, transform

#: Fewest points that two frames must share before their depth is compared.
MIN_POINTS = 32


class Agreement(NamedTuple):
    """How P pairs of frames agree; NaN where fewer than ``MIN_POINTS`` points can be compared.

    Attributes:
        error: [P] median relative error |z / depth - 1| of the points that are not hidden.
        inliers: [P] share of them whose error is at most the tolerance.
        shift: [P] median distance in pixels by which the points move in the image.
    """

    error: NDArray[np.float64]
    inliers: NDArray[np.float64]
    shift: NDArray[np.float64]


def agreement(
    depth: NDArray[np.floating],
    instance: NDArray[np.integer],
    poses: NDArray[np.float64],
    motions: Mapping[int, NDArray[np.float64]],
    pairs: NDArray[np.int64],
    camera: PinholeCamera,
    *,
    stride: int,
    tolerance: float,
) -> Agreement:
    """Move the depth of the frames of each pair into each other and compare.

    Args:
        depth: [N, H, W] z-depth in metres, 0 = nothing.
        instance: [N, H, W] ids.
        poses: [N, 4, 4] camera_to_world; pairs with one that is not finite are NaN in the result.
        motions: rest-to-world transforms [N, 4, 4] of what moves, by id.
        pairs: [P] each frame i of these is compared with frame i + 1.
        camera: of all frames.
        stride: use every n-th pixel of every n-th row.
        tolerance: relative error up to which a point agrees.
    """
    source = np.concatenate([pairs, pairs + 1])  # [2P]
    target = np.concatenate([pairs + 1, pairs])  # [2P]
    finite = np.asarray(np.isfinite(poses).all(axis=(1, 2)))  # [N]
    poses = np.where(finite[:, None, None], poses, np.eye(4))
    points, ids = _points(depth, instance, camera, stride)  # [N, n, 3], [N, n]
    here, moved = points[source], transform(points[source], relative_pose(poses[source], poses[target]))
    _carry_along(moved, here, ids[source], motions, poses, source, target)
    u, v, z = project(moved, camera)  # [2P, n] each
    seen = (here[..., 2] > 0) & (finite[source] & finite[target])[:, None]
    ratio = np.where(seen, z * nearest_inverse(depth, target, u, v, z), np.nan)  # [2P, n]
    start = project(here, camera)[:2]
    shift = np.where(np.isnan(ratio), np.nan, np.hypot(u - start[0], v - start[1]))  # [2P, n]
    return _summary(_both_ways(ratio), _both_ways(shift), tolerance)


def _both_ways(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Values [2P, n] of the pairs forth and back as those of each pair [P, 2n]."""
    half = len(values) // 2
    return np.concatenate([values[:half], values[half:]], axis=1)


def _summary(ratio: NDArray[np.floating], shift: NDArray[np.floating], tolerance: float) -> Agreement:
    with np.errstate(invalid="ignore"):
        error = np.where(ratio <= 1 + tolerance, np.abs(ratio - 1), np.nan)  # [P, 2n], hidden points out
    count = (~np.isnan(error)).sum(axis=1)  # [P]
    enough = count >= MIN_POINTS
    inliers = np.where(enough, (error <= tolerance).sum(axis=1) / np.maximum(count, 1), np.nan)
    return Agreement(
        _row_median(np.where(enough[:, None], error, np.nan)),
        inliers,
        _row_median(np.where(enough[:, None], shift, np.nan)),
    )


def _row_median(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Lower median of each row [P, n] without its NaNs, NaN for a row of NaNs: ``nanmedian``, but fast."""
    count = (~np.isnan(values)).sum(axis=1)  # [P]
    ordered = np.sort(values, axis=1)  # NaNs come last
    return ordered[np.arange(len(values)), np.maximum(count - 1, 0) // 2].astype(np.float64)


def _points(
    depth: NDArray[np.floating], instance: NDArray[np.integer], camera: PinholeCamera, stride: int
) -> tuple[NDArray[np.float32], NDArray[np.integer]]:
    """Camera-frame points [N, n, 3] and ids [N, n] of every ``stride``-th pixel of every such row."""
    every = np.s_[stride // 2 :: stride]
    rays = camera.directions().astype(np.float32)[every, every]  # [h, w, 3]
    points = rays * depth[:, every, every, None].astype(np.float32)  # [N, h, w, 3]
    return points.reshape(len(depth), -1, 3), instance[:, every, every].reshape(len(depth), -1)


def _carry_along(
    moved: NDArray[np.float32],
    here: NDArray[np.float32],
    ids: NDArray[np.integer],
    motions: Mapping[int, NDArray[np.float64]],
    poses: NDArray[np.float64],
    source: NDArray[np.int64],
    target: NDArray[np.int64],
) -> None:
    """Overwrite the points [2P, n, 3] of instances that move between the frames of a pair, in place."""
    for key, motion in motions.items():
        for row in np.flatnonzero((motion[source] != motion[target]).any(axis=(1, 2))):
            mine = ids[row] == key  # [n]
            step = motion[target[row]] @ invert_pose(motion[source[row]])  # world to world
            matrix = invert_pose(poses[target[row]]) @ step @ poses[source[row]]
            moved[row, mine] = transform(here[row, mine], matrix)


def nearest_inverse(
    depth: NDArray[np.floating],
    image: NDArray[np.int64],
    u: NDArray[np.floating],
    v: NDArray[np.floating],
    z: NDArray[np.floating],
) -> NDArray[np.floating]:
    """1 / depth at image coordinates (pixels, first centre at 0.5), of the surface that suits depth ``z`` best.

    That is the plane between the four pixels around (bilinear in inverse depth: exact on a plane) or, where a
    silhouette runs between them, one of the four.

    Args:
        depth: [N, H, W], 0 = nothing.
        image: [B] which of them.
        u, v, z: [B, n].

    Returns:
        [B, n]; NaN outside the centres of the outer pixels, at NaN coordinates and beside pixels without depth.
    """
    height, width = depth.shape[1:]
    with np.errstate(invalid="ignore"):
        inside = (u >= 0.5) & (u <= width - 0.5) & (v >= 0.5) & (v <= height - 0.5)  # [B, n]
    x, y = np.where(inside, u - 0.5, 0), np.where(inside, v - 0.5, 0)
    column = np.minimum(x.astype(np.int64), width - 2)
    row = np.minimum(y.astype(np.int64), height - 2)
    fx, fy = x - column, y - row
    inverse = np.full(depth.shape, np.nan, np.float32)
    np.divide(1, depth, out=inverse, where=depth > 0)
    corner = (image[:, None] * height + row) * width + column  # [B, n] into the flat images
    around = [inverse.ravel()[corner + step] for step in (0, 1, width, width + 1)]  # 4 x [B, n]
    top = around[0] * (1 - fx) + around[1] * fx
    bottom = around[2] * (1 - fx) + around[3] * fx
    best = top * (1 - fy) + bottom * fy  # [B, n], NaN if one of the four is
    with np.errstate(invalid="ignore"):
        for other in around:
            best = np.where(np.abs(z * other - 1) < np.abs(z * best - 1), other, best)
    return np.where(inside, best, np.nan)
