"""Keyframe samplers: which of the frames seen so far are worth remembering.

Invariant: a sampler returns exactly k distinct candidates in rising order, or all of them if there are fewer.
It needs numpy only; torch tensors are welcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.params import KeyframeParams

Indices = NDArray[np.int64]
_MAX_CELLS = 2**20  # of one axis, so that a voxel's number fits in 63 bits


class KeyframeSampler(Protocol):
    """Anything that chooses keyframes; made from :class:`KeyframeParams`."""

    def __init__(self, params: KeyframeParams) -> None: ...

    def sample(
        self,
        candidates: Sequence[int] | Indices,
        k: int,
        *,
        points: Any = None,
        confidence: Any = None,
        rng: np.random.Generator | None = None,
    ) -> Indices:
        """Choose keyframes.

        Args:
            candidates: T distinct frame indices in rising order.
            k: how many to choose, at least 1.
            points: what each candidate sees, world frame, any unit [T, h, w, 3]; values that are not finite
                are left out. From VGGT or from a simulator's depth.
            confidence: of the points [T, h, w]; all alike if None.
            rng: makes the choice random where the sampler has freedom; without it the choice is fixed.

        Returns:
            min(k, T) of the candidates, rising.

        Raises:
            ValueError: k below 1, candidates that do not rise, points that are missing or do not fit.
        """
        ...


class UniformSampler:
    """The time line in k equal parts and one frame of each: the middle one, or a random one with ``rng``."""

    def __init__(self, params: KeyframeParams) -> None:
        self.params = params

    def sample(
        self,
        candidates: Sequence[int] | Indices,
        k: int,
        *,
        points: Any = None,
        confidence: Any = None,
        rng: np.random.Generator | None = None,
    ) -> Indices:
        """See :class:`KeyframeSampler`; points are not used."""
        frames = _checked(candidates, k)
        return frames[_one_of_each_part(len(frames), min(k, len(frames)), rng)]


class SpaceAwareSampler:
    """Greedy maximum coverage of voxels (Spatial-MLLM, arXiv:2505.23747).

    Points below the median confidence or not above ``params.min_confidence`` are left out; a voxel is
    1 / ``params.divisions`` of the smallest side of the box around the rest. Frames that add most voxels
    come first, the earlier of equals. Where the published rule stops, because no frame adds a voxel, the
    places left go to the frames whose voxels are least like those of any chosen frame (Jaccard), so there
    are always k. If no point is left at all, the choice is uniform in time.
    """

    def __init__(self, params: KeyframeParams) -> None:
        self.params = params

    def sample(
        self,
        candidates: Sequence[int] | Indices,
        k: int,
        *,
        points: Any = None,
        confidence: Any = None,
        rng: np.random.Generator | None = None,
    ) -> Indices:
        """See :class:`KeyframeSampler`; the choice is fixed whatever ``rng``, unless no point can be used."""
        frames = _checked(candidates, k)
        if points is None:
            raise ValueError("the space_aware sampler needs world points [T, h, w, 3], got None")
        seen = voxel_sets(_array(points), _array(confidence), self.params)  # [T, voxels]
        if len(seen) != len(frames):
            raise ValueError(f"there must be points of each of the {len(frames)} candidates, got {len(seen)}")
        k = min(k, len(frames))
        if not seen.any():
            return frames[_one_of_each_part(len(frames), k, rng)]
        chosen = greedy_coverage(seen, k)
        return frames[np.sort(fill_up(seen, chosen, k))]


def voxel_sets(
    points: NDArray[np.floating], confidence: NDArray[np.floating] | None, params: KeyframeParams
) -> NDArray[np.bool_]:
    """Which frame sees which voxel.

    Args:
        points: world frame [T, h, w, 3].
        confidence: [T, h, w] or None.
        params: see :class:`SpaceAwareSampler`.

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
    cells = _cells(points[usable].astype(np.float64), params.divisions)  # [M, 3]
    _, y, z = cells.max(axis=0) + 1
    voxels, which = np.unique((cells[:, 0] * y + cells[:, 1]) * z + cells[:, 2], return_inverse=True)
    seen = np.zeros((count, len(voxels)), dtype=bool)
    seen[np.nonzero(usable)[0], which] = True
    return seen


def _cells(points: NDArray[np.float64], divisions: int) -> NDArray[np.int64]:
    """Integer voxel coordinates [M, 3] of points [M, 3]; sides of length 0 do not count as smallest."""
    low = points.min(axis=0)
    sides = points.max(axis=0) - low
    if not sides.any():
        return np.zeros(points.shape, dtype=np.int64)
    edge = max(sides[sides > 0].min() / divisions, sides.max() / _MAX_CELLS)
    return np.floor((points - low) / edge).astype(np.int64)


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


def _one_of_each_part(count: int, k: int, rng: np.random.Generator | None) -> Indices:
    """One place of each of k parts of range(count), the middle or a random one: [k]."""
    edges = np.arange(k + 1) * count // max(k, 1)
    if rng is None:
        return (edges[:-1] + edges[1:] - 1) // 2
    return rng.integers(edges[:-1], edges[1:])


def _checked(candidates: Sequence[int] | Indices, k: int) -> Indices:
    frames = np.asarray(candidates, dtype=np.int64)
    if k < 1:
        raise ValueError(f"the number of keyframes must be at least 1, got {k}")
    if frames.ndim != 1 or (np.diff(frames) <= 0).any():
        raise ValueError(f"candidates must be distinct frame indices in rising order, got {candidates!r}")
    return frames


def _array(values: Any) -> Any:
    """numpy view of an array or of a torch tensor on any device; None stays None."""
    if hasattr(values, "detach"):
        return values.detach().float().cpu().numpy()
    return values if values is None else np.asarray(values)


KEYFRAME_SAMPLERS: dict[str, type[KeyframeSampler]] = {
    "uniform": UniformSampler,
    "space_aware": SpaceAwareSampler,
}


def make_sampler(params: KeyframeParams) -> KeyframeSampler:
    """The sampler that ``params.name`` names."""
    return KEYFRAME_SAMPLERS[params.name](params)
