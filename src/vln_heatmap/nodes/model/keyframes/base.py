"""What every keyframe sampler promises, and what it may know.

Invariant: a sampler returns exactly k distinct candidates in rising order, or all of them if there are fewer.
It needs numpy only; torch tensors are welcome.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.params import KeyframeParams

Indices = NDArray[np.int64]


class Evidence(NamedTuple):
    """What a sampler may know of T candidates; see :meth:`KeyframeSampler.sample`."""

    points: Any = None
    confidence: Any = None
    poses: Any = None


class KeyframeSampler(ABC):
    """Anything that chooses keyframes.

    Attributes:
        needs: names of the arguments of ``sample`` that it cannot do without.
    """

    needs: ClassVar[tuple[str, ...]] = ()

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
        """Choose keyframes.

        Args:
            candidates: T distinct frame indices in rising order.
            k: how many to choose, at least 1.
            points: what each candidate sees, world frame, any unit [T, h, w, 3]; values that are not finite
                are left out. From VGGT or from a simulator's depth.
            confidence: of the points [T, h, w]; all alike if None.
            poses: camera_to_world of each candidate [T, 4, 4], same world and unit as the points.
            rng: makes the choice random where the sampler has freedom; without it the choice is fixed.

        Returns:
            min(k, T) of the candidates, rising.

        Raises:
            ValueError: k below 1, candidates that do not rise, points or poses that are missing or do not fit.
        """
        frames = checked_candidates(candidates, k)
        chosen = self._choose(len(frames), min(k, len(frames)), Evidence(points, confidence, poses), rng)
        return frames[np.sort(chosen)]

    @abstractmethod
    def _choose(
        self, count: int, k: int, evidence: Evidence, rng: np.random.Generator | None
    ) -> Indices | list[int]:
        """k different places in range(count), in any order; 1 <= k <= count."""


def checked_candidates(candidates: Sequence[int] | Indices, k: int) -> Indices:
    """Candidates as an array [T], if they and k are valid."""
    frames = np.asarray(candidates, dtype=np.int64)
    if k < 1:
        raise ValueError(f"the number of keyframes must be at least 1, got {k}")
    if frames.ndim != 1 or (np.diff(frames) <= 0).any():
        raise ValueError(f"candidates must be distinct frame indices in rising order, got {candidates!r}")
    return frames


def checked_poses(poses: Any, count: int, name: str) -> NDArray[np.float64]:
    """Poses [T, 4, 4] of ``count`` candidates."""
    if poses is None:
        raise ValueError(f"the {name} sampler needs camera_to_world poses [T, 4, 4], got None")
    matrices = np.asarray(as_array(poses), np.float64)
    if matrices.shape != (count, 4, 4) or not np.isfinite(matrices).all():
        raise ValueError(f"poses must be finite [{count}, 4, 4], got {list(matrices.shape)}")
    return matrices


def as_array(values: Any) -> Any:
    """numpy view of an array or of a torch tensor on any device; None stays None."""
    if hasattr(values, "detach"):
        return values.detach().float().cpu().numpy()
    return values if values is None else np.asarray(values)


def one_of_each_part(count: int, k: int, rng: np.random.Generator | None) -> Indices:
    """One place of each of k parts of range(count), the middle or a random one: [k]."""
    edges = np.arange(k + 1) * count // max(k, 1)
    if rng is None:
        return (edges[:-1] + edges[1:] - 1) // 2
    return rng.integers(edges[:-1], edges[1:])
