"""Keyframes that are spread over time."""

from __future__ import annotations

import numpy as np

from vln_heatmap.nodes.model.keyframes.base import Evidence, Indices, KeyframeSampler, one_of_each_part


class UniformSampler(KeyframeSampler):
    """The time line in k equal parts and one frame of each: the middle one, or a random one with ``rng``."""

    def _choose(
        self, count: int, k: int, evidence: Evidence, rng: np.random.Generator | None
    ) -> Indices | list[int]:
        return one_of_each_part(count, k, rng)
