"""Straight lines over a grid, and paths made of them.

Invariant: nothing here knows what is free; a path keeps its ends.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.navigation.plans import ranges

PROFILE = 0.03  # metres that the floor may lie off a straight line between two way points


def crossings(start: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where lines from point [2] to points [N, 2] cross grid lines (whole numbers): shares t [N, T] of the way.

    Sorted, with 0 and 1 included; lines with fewer crossings than the others repeat 1.
    """
    way = ends - start  # [N, 2]
    count = int(np.abs(np.floor(ends) - np.floor(start)).max())
    lines = np.floor(np.minimum(start, ends))[:, None] + np.arange(1, count + 1)[:, None]  # [N, count, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (lines - start) / way[:, None]  # [N, count, 2], nan or inf where nothing is crossed
    t = np.where((t > 0) & (t < 1), t, 1.0).reshape(len(ends), -1)
    return np.sort(np.concatenate([np.zeros((len(ends), 1)), t, np.ones((len(ends), 1))], axis=1), axis=1)


def resample(path: NDArray[np.float64], spacing: float) -> NDArray[np.float64]:
    """The polyline [N, 3] (x, y, z) with extra points, at most ``spacing`` apart in the plan."""
    lengths = np.linalg.norm(np.diff(path[:, (0, 2)], axis=0), axis=1)  # [N - 1]
    counts = np.maximum(np.ceil(lengths / spacing), 1).astype(int)
    segment, k = ranges(counts)
    points = path[segment] + (path[segment + 1] - path[segment]) * (k / counts[segment])[:, None]
    return np.concatenate([points, path[-1:]])


def vertical_profile(path: NDArray[np.float64], dense: NDArray[np.float64]) -> NDArray[np.float64]:
    """Way points [M, 3]: those of a path [N, 3], and of the same path put densely on the floor [D, 3] as many as
    keep the lines between them within ``PROFILE`` of it (Douglas and Peucker 1973, on length and height)."""
    from skimage.measure import approximate_polygon

    corners = [int(np.argmin(((dense - point) ** 2).sum(1))) for point in path]
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(dense[:, (0, 2)], axis=0), axis=1))])
    profile = np.stack([along, dense[:, 1]], axis=1)  # [D, 2]
    kept: list[int] = [0]
    for first, last in pairwise(corners):
        part = approximate_polygon(profile[first : last + 1], PROFILE)  # [K, 2]
        kept += (first + np.searchsorted(along[first : last + 1], part[1:, 0])).tolist()
    return dense[kept]
