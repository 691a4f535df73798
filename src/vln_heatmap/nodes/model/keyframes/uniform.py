"""Keyframes that are spread over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vln_heatmap.nodes.model.keyframes.base import Indices, checked_candidates, one_of_each_part
from vln_heatmap.params import KeyframeParams


class UniformSampler:
    """The time line in k equal parts and one frame of each: the middle one, or a random one with ``rng``."""

    needs: tuple[str, ...] = ()

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
        """See :class:`KeyframeSampler`; points are not used."""
        frames = checked_candidates(candidates, k)
        return frames[one_of_each_part(len(frames), min(k, len(frames)), rng)]
