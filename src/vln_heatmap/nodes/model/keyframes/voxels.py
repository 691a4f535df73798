"""Which frame sees which part of space, and choices among such sets.

Invariant: every function is deterministic; of equals the earlier frame wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.nodes.model.keyframes.base import as_array
from vln_heatmap.params import KeyframeParams

_MAX_CELLS = 2**20  # of one axis, so that a voxel's number fits in 63 bits


def seen_voxels(
    points: Any, confidence: Any, count: int, params: KeyframeParams, name: str
) -> NDArray[np.bool_]:
    """``voxel_sets`` of ``count`` candidates, for the sampler called ``name``.

    Raises:
        ValueError: points that are missing or do not fit.
    """
    if points is None:
        raise ValueError(f"the {name} sampler needs world points [T, h, w, 3], got None")
    seen = voxel_sets(as_array(points), as_array(confidence), params)  # [T, voxels]
    if len(seen) != count:
        raise ValueError(f"there must be points of each of the {count} candidates, got {len(seen)}")
    return seen


def voxel_sets(
    points: NDArray[np.floating], confidence: NDArray[np.floating] | None, params: KeyframeParams
) -> NDArray[np.bool_]:
    """Which frame sees which voxel.

    Args:
        points: world frame [T, h, w, 3].
        confidence: [T, h, w] or None.
        params: points below the ``percentile`` of confidence or not above ``min_confidence`` are left out; a
            voxel is 1 / ``divisions`` of the smallest side of the box around the rest.

    Returns:
        [T, number of voxels that anything is seen in].
    """
    if points.ndim < 2 or points.shape[-1] != 3:
        raise ValueError(f"points must be [T, h, w, 3], got {list(points.shape)}")
    if confidence is not None and confidence.shape != points.shape[:-1]:
        raise ValueError(
            f"confidence must be {list(points.shape[:-1])} like points, got {list(confidence.shape)}"
        )
    count = len(points)
    usable = np.isfinite(points).all(axis=-1)  # [T, h, w]
    if confidence is not None and usable.any():
        median = np.percentile(confidence[usable], params.percentile)
        usable &= (confidence >= median) & (confidence > params.min_confidence)
    if not usable.any():
        return np.zeros((count, 0), dtype=bool)
    kept = points[usable].astype(np.float64)  # [M, 3]
    return _occupied(kept, np.nonzero(usable)[0], count, _edge(kept, params.divisions))


def cubes(points: NDArray[np.floating], edge: float) -> NDArray[np.bool_]:
    """Which frame sees which voxel of a fixed size, whatever else is seen.

    Args:
        points: world frame [T, h, w, 3]; those that are not finite are left out.
        edge: of a voxel, in the unit of the points.

    Returns:
        [T, number of voxels that anything is seen in].

    Raises:
        ValueError: an edge that is not positive.
    """
    if not edge > 0:
        raise ValueError(f"the edge of a voxel must be positive, got {edge:g}")
    usable = np.isfinite(points).all(axis=-1)  # [T, h, w]
    if not usable.any():
        return np.zeros((len(points), 0), dtype=bool)
    return _occupied(points[usable].astype(np.float64), np.nonzero(usable)[0], len(points), edge)


def _occupied(
    points: NDArray[np.float64], frame: NDArray[np.int64], count: int, edge: float
) -> NDArray[np.bool_]:
    """Voxels [count, U] of points [M, 3] that the frames ``frame`` [M] see; the grid begins at their corner."""
    low = points.min(axis=0)
    edge = max(edge, (points.max(axis=0) - low).max() / _MAX_CELLS)
    cells = np.floor((points - low) / edge).astype(np.int64)  # [M, 3]
    _, y, z = cells.max(axis=0) + 1
    voxels, which = np.unique((cells[:, 0] * y + cells[:, 1]) * z + cells[:, 2], return_inverse=True)
    seen = np.zeros((count, len(voxels)), dtype=bool)
    seen[frame, which] = True
    return seen


def _edge(points: NDArray[np.float64], divisions: int) -> float:
    """1 / ``divisions`` of the smallest side of the box around points [M, 3]; sides of length 0 do not count."""
    sides = points.max(axis=0) - points.min(axis=0)
    return float(sides[sides > 0].min() / divisions) if sides.any() else 1.0


def greedy_coverage(seen: NDArray[np.bool_], k: int) -> list[int]:
    """Rows of [T, U] that greedily cover most columns, in order of choice; stops when none adds a column."""
    left = np.ones(seen.shape[1], dtype=bool)
    chosen: list[int] = []
    while len(chosen) < k:
        gain = (seen & left).sum(axis=1)  # [T]
        best = int(gain.argmax())
        if gain[best] == 0:
            break
        chosen.append(best)
        left &= ~seen[best]
    return chosen


def fill_up(seen: NDArray[np.bool_], chosen: Sequence[int], k: int) -> list[int]:
    """Add rows to ``chosen`` until there are k: each time the one least like its nearest chosen row.

    Likeness is the Jaccard index of two rows of [T, U]; rows without any voxel come last.
    """
    sizes = seen.sum(axis=1)  # [T]
    nearest = np.where(sizes > 0, 0.0, np.inf)  # likeness to the nearest chosen row

    def take(row: int) -> None:
        both = (seen & seen[row]).sum(axis=1)
        np.maximum(nearest, both / np.maximum(sizes + sizes[row] - both, 1), out=nearest)

    picked = list(chosen)
    for row in picked:
        take(row)
    while len(picked) < k:
        free = np.setdiff1d(np.arange(len(seen)), picked)
        row = int(free[nearest[free].argmin()])
        picked.append(row)
        take(row)
    return picked


def improve(seen: NDArray[np.bool_], chosen: Sequence[int]) -> list[int]:
    """Exchange chosen rows of [T, U] for others, one at a time, as long as that covers more columns.

    Each time the exchange that gains most; the result cannot be bettered by a single exchange.
    """
    rows = list(chosen)
    while True:
        times = seen[rows].sum(axis=0)  # [U] how often each column is covered
        best, gain = (0, 0), 0
        for place, row in enumerate(rows):
            left = times - seen[row]  # [U] without it
            gains = (seen & (left == 0)).sum(axis=1) - int((left[seen[row]] == 0).sum())  # [T]
            gains[rows] = 0
            if gains.max() > gain:
                best, gain = (place, int(gains.argmax())), int(gains.max())
        if gain == 0:
            return rows
        rows[best[0]] = best[1]


def likeness(seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Jaccard index [T, T] of every two rows of [T, U]; 0 for rows without any column."""
    both = seen.astype(np.float64) @ seen.T.astype(np.float64)
    sizes = seen.sum(axis=1)
    return both / np.maximum(sizes[:, None] + sizes - both, 1)


def coverage(seen: NDArray[np.bool_], rows: Sequence[int] | NDArray[np.int64]) -> float:
    """Share of the columns that any row sees that the given rows see; 1 if there is nothing to see."""
    total = int(seen.any(axis=0).sum())
    return float(seen[np.asarray(rows, np.int64)].any(axis=0).sum() / total) if total else 1.0


def redundancy(seen: NDArray[np.bool_], rows: Sequence[int] | NDArray[np.int64]) -> float:
    """Mean Jaccard index of every two of the given rows; 0 for a single one."""
    count = len(rows)
    if count < 2:
        return 0.0
    pairs = likeness(seen[np.asarray(rows, np.int64)])
    return float((pairs.sum() - np.trace(pairs)) / (count * (count - 1)))
