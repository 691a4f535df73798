"""Keyframes that cover the space which has been seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vln_heatmap.nodes.model.keyframes.base import Indices, checked_candidates, one_of_each_part
from vln_heatmap.nodes.model.keyframes.voxels import fill_up, greedy_coverage, improve, seen_voxels
from vln_heatmap.params import KeyframeParams


class SpaceAwareSampler:
    """Greedy maximum coverage of voxels (Spatial-MLLM, arXiv:2505.23747).

    Points below the median confidence or not above ``params.min_confidence`` are left out; a voxel is
    1 / ``params.divisions`` of the smallest side of the box around the rest. Frames that add most voxels
    come first, the earlier of equals. Where the published rule stops, because no frame adds a voxel, the
    places left go to the frames whose voxels are least like those of any chosen frame (Jaccard), so there
    are always k. If no point is left at all, the choice is uniform in time.
    """

    needs: tuple[str, ...] = ("points",)

    def __init__(self, params: KeyframeParams) -> None:
        self.params = params

    def sample(
        self,
        candidates: Sequence[int] | Indices,
        k: int,
        *,
        points: Any = None,
        confidence: Any = None,
        poses: Any = None,
        rng: np.random.Generator | None = None,
    ) -> Indices:
        """See :class:`KeyframeSampler`; the choice is fixed whatever ``rng``, unless no point can be used."""
        frames = checked_candidates(candidates, k)
        seen = seen_voxels(points, confidence, len(frames), self.params, "space_aware")  # [T, voxels]
        k = min(k, len(frames))
        if not seen.any():
            return frames[one_of_each_part(len(frames), k, rng)]
        chosen = greedy_coverage(seen, k)
        return frames[np.sort(fill_up(seen, chosen, k))]


class QualitySampler:
    """Space-aware coverage, and then exchanges of single frames as long as that covers more.

    Slower than ``space_aware`` and never covers less: greedy coverage is only within 1 - 1/e of the best.
    """

    needs: tuple[str, ...] = ("points",)

    def __init__(self, params: KeyframeParams) -> None:
        self.params = params

    def sample(
        self,
        candidates: Sequence[int] | Indices,
        k: int,
        *,
        points: Any = None,
        confidence: Any = None,
        poses: Any = None,
        rng: np.random.Generator | None = None,
    ) -> Indices:
        """See :class:`KeyframeSampler`; the choice is fixed whatever ``rng``, unless no point can be used."""
        frames = checked_candidates(candidates, k)
        seen = seen_voxels(points, confidence, len(frames), self.params, "quality")  # [T, voxels]
        k = min(k, len(frames))
        if not seen.any():
            return frames[one_of_each_part(len(frames), k, rng)]
        chosen = fill_up(seen, greedy_coverage(seen, k), k)
        return frames[np.sort(improve(seen, chosen))]
