"""Heights at which floor counts as level.

Invariant: every face of floor that is given lies in a band, but for flat ones that are too small in all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEP_HEIGHT = 0.1  # metres; what is lower lies on the floor
CLIMB = 0.2  # metres between neighbouring floors that the agent steps up or down
FLATNESS = 2e-3  # metres; floors that differ by less have one height, faces that rise by less are flat


@dataclass(frozen=True)
class Band:
    """Floor between the heights ``low`` and ``high`` (metres) counts as level.

    Attributes:
        level: at this height.
        flat, sloping: which faces count as floor.
    """

    low: float
    level: float
    high: float
    flat: bool = True
    sloping: bool = True

    def within_climb(self, other: Band) -> bool:
        """Whether one can step from one band's level to another's."""
        return abs(self.level - other.level) <= CLIMB + 1e-6


GROUND = Band(-STEP_HEIGHT, 0.0, STEP_HEIGHT)


def flat_bands(heights: NDArray[np.float64], areas: NDArray[np.float64], least: float) -> Iterator[Band]:
    """A band for each height of flat faces [F] that have at least some area (m^2) in all."""
    order = np.argsort(heights)
    heights, areas = heights[order], areas[order]
    for part in np.split(np.arange(len(heights)), np.flatnonzero(np.diff(heights) > FLATNESS) + 1):
        if areas[part].sum() >= least:
            low, high = float(heights[part[0]]), float(heights[part[-1]])
            yield Band(low, low, high, sloping=False)


def sloping_bands(
    low: NDArray[np.float64], high: NDArray[np.float64], start: float, stop: float
) -> Iterator[Band]:
    """Bands between two heights; a slope is cut into bands of two step heights, with the middle for level."""
    while True:
        left = (high >= start) & (low < stop)
        if not left.any():
            return
        bottom = max(start, float(low[left].min()))
        level = min(bottom + STEP_HEIGHT, float(high[left & (low <= bottom)].max()))
        start = min(level + STEP_HEIGHT, stop)
        yield Band(bottom, level, start, flat=False)
