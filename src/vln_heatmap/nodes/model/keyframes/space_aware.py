"""Keyframes that cover the space which has been seen."""

from __future__ import annotations

import numpy as np

from vln_heatmap.nodes.model.keyframes.base import Evidence, Indices, KeyframeSampler, one_of_each_part
from vln_heatmap.nodes.model.keyframes.voxels import fill_up, greedy_coverage, improve, seen_voxels


class SpaceAwareSampler(KeyframeSampler):
    """Greedy maximum coverage of voxels (Spatial-MLLM, arXiv:2505.23747).

    Points below the median confidence or not above ``params.min_confidence`` are left out; a voxel is
    1 / ``params.divisions`` of the smallest side of the box around the rest. Frames that add most voxels
    come first, the earlier of equals. Where the published rule stops, because no frame adds a voxel, the
    places left go to the frames whose voxels are least like those of any chosen frame (Jaccard), so there
    are always k. If no point is left at all, the choice is uniform in time.
    """

    needs = ("points",)

    def _choose(
        self, count: int, k: int, evidence: Evidence, rng: np.random.Generator | None
    ) -> Indices | list[int]:
        seen = seen_voxels(
            evidence.points, evidence.confidence, count, self.params, "space_aware"
        )  # [T, voxels]
        if not seen.any():
            return one_of_each_part(count, k, rng)
        chosen = greedy_coverage(seen, k)
        return fill_up(seen, chosen, k)


class QualitySampler(KeyframeSampler):
    """Space-aware coverage, and then exchanges of single frames as long as that covers more.

    Slower than ``space_aware`` and never covers less: greedy coverage is only within 1 - 1/e of the best.
    """

    needs = ("points",)

    def _choose(
        self, count: int, k: int, evidence: Evidence, rng: np.random.Generator | None
    ) -> Indices | list[int]:
        seen = seen_voxels(evidence.points, evidence.confidence, count, self.params, "quality")  # [T, voxels]
        if not seen.any():
            return one_of_each_part(count, k, rng)
        chosen = fill_up(seen, greedy_coverage(seen, k), k)
        return improve(seen, chosen)
