"""Keyframes whose cameras stand and look differently."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.nodes.model.keyframes.base import (
    Evidence,
    Indices,
    KeyframeSampler,
    checked_poses,
    one_of_each_part,
)
from vln_heatmap.nodes.model.keyframes.voxels import likeness, seen_voxels


def pose_distances(poses: NDArray[np.float64], unit: float = 1.0) -> NDArray[np.float64]:
    """How far apart every two cameras are: [T, T], metres / ``unit`` plus the angle in radians.

    Args:
        poses: camera_to_world [T, 4, 4].
        unit: length that counts as much as a turn by one radian.
    """
    apart = np.linalg.norm(poses[:, None, :3, 3] - poses[None, :, :3, 3], axis=-1)  # [T, T]
    trace = np.einsum("aij,bij->ab", poses[:, :3, :3], poses[:, :3, :3])
    return apart / unit + np.arccos(np.clip((trace - 1) / 2, -1, 1))


class FastSampler(KeyframeSampler):
    """Farthest-point sampling of camera poses (Gonzalez 1985), from the latest candidate on.

    No points are looked at, so that it costs next to nothing. Every candidate is within twice the best
    possible distance of a keyframe.
    """

    needs = ("poses",)

    def _choose(
        self, count: int, k: int, evidence: Evidence, rng: np.random.Generator | None
    ) -> Indices | list[int]:
        distances = pose_distances(checked_poses(evidence.poses, count, "fast"))  # [T, T]
        chosen = [count - 1 if rng is None else int(rng.integers(count))]
        nearest = distances[chosen[0]].copy()  # [T]
        while len(chosen) < k:
            nearest[chosen] = -1.0
            chosen.append(int(nearest.argmax()))
            nearest = np.minimum(nearest, distances[chosen[-1]])
        return chosen


class EnhancedSampler(KeyframeSampler):
    """Greedy by a weighted sum of diversity, coverage and novelty, each in [0, 1].

    Diversity is the distance to the nearest chosen camera over the largest distance of two candidates;
    coverage the share of all voxels that the frame adds; novelty one minus its likeness (Jaccard) to the
    chosen frame that is most like it. The first frame is the one that covers most.
    """

    needs = ("points", "poses")

    def _choose(
        self, count: int, k: int, evidence: Evidence, rng: np.random.Generator | None
    ) -> Indices | list[int]:
        distances = pose_distances(checked_poses(evidence.poses, count, "enhanced"))
        seen = seen_voxels(
            evidence.points, evidence.confidence, count, self.params, "enhanced"
        )  # [T, voxels]
        if not seen.any():
            return one_of_each_part(count, k, rng)
        return self._greedy(distances / max(distances.max(), 1e-9), seen, k)

    def _greedy(self, distances: NDArray[np.float64], seen: NDArray[np.bool_], k: int) -> list[int]:
        alike, params = likeness(seen), self.params
        left = seen.any(axis=0)  # [U] voxels that no chosen frame sees
        diverse, novel = np.ones(len(seen)), np.ones(len(seen))
        chosen: list[int] = []
        while len(chosen) < k:
            covers = (seen & left).sum(axis=1) / seen.shape[1]  # [T]
            score = params.diversity * diverse + params.coverage * covers + params.novelty * novel
            score[chosen] = -np.inf
            best = int(score.argmax())
            chosen.append(best)
            left &= ~seen[best]
            diverse, novel = np.minimum(diverse, distances[best]), np.minimum(novel, 1 - alike[best])
        return chosen
