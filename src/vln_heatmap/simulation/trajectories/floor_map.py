"""The walkable floor as a grid, for questions that ask about thousands of lines of sight at once.

Invariant: a line is in sight only if it stays above walkable floor (to a grid cell): what is in sight is really
visible at any height of the agent, while a real camera may also look across low furniture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from vln_heatmap.simulation.simulators.base import Simulator

_CELL = 0.1  # metres
_LAYER = 0.25  # metres of height
_LEVEL = 0.05  # metres
_FLATTENED = np.array(
    [1.0, 0.2, 1.0]
)  # the nearest floor is that beside a point, unless a storey lies between
_CHUNK = 4_000_000  # cells looked up at once


class FloorMap:
    """Where the agent can stand, on all storeys.

    Attributes:
        points: [N, 3] a point for each 0.1 x 0.1 m of walkable floor.
    """

    def __init__(self, points: NDArray[np.float64]) -> None:
        self.points = points
        self._low = points.min(0) - (_CELL / 2, _LAYER, _CELL / 2)
        cells = self._cells(points)  # [N, 3]
        self._free = np.zeros(cells.max(0) + 2, bool)
        for layer in (-1, 0, 1):  # a line over a slope is not exactly at the floor's height
            self._free[cells[:, 0], cells[:, 1] + layer, cells[:, 2]] = True

        self._tree = KDTree(points * _FLATTENED)

    @staticmethod
    def of(sim: Simulator) -> FloorMap:
        """The floor of the loaded scene.

        Raises:
            NoNavigableFloorError: it has none.
        """
        return FloorMap(sim.navigable_points(_CELL))

    def in_sight(
        self, starts: NDArray[np.float64], ends: NDArray[np.float64], reach: float
    ) -> NDArray[np.bool_]:
        """Whether floor points ``ends`` [N, 3] are in sight of ``starts`` [M, 3] and at most ``reach`` metres
        away: [M, N]."""
        near = np.linalg.norm(starts[:, None] - ends[None], axis=2) <= reach + 1e-9  # [M, N]
        start, end = np.nonzero(near)
        count = max(2, int(np.ceil(reach / (_CELL / 2))))
        share = (np.arange(count + 1) / count)[:, None]  # [S, 1]
        free = np.zeros(len(start), bool)
        for first in range(0, len(start), _CHUNK // (count + 1)):
            part = slice(first, first + _CHUNK // (count + 1))
            a, b = starts[start[part], None], ends[end[part], None]  # [P, 1, 3]
            free[part] = self._is_free(a + share * (b - a)).all(axis=1)
        near[start, end] = free
        return near

    def level(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether the floor below points [N, 3] is at their own height, to 5 cm: not so on stairs: [N]."""
        _, nearest = self._tree.query(points * _FLATTENED)
        return np.asarray(np.abs(self.points[nearest, 1] - points[:, 1]) <= _LEVEL)

    def _cells(self, points: NDArray[np.float64]) -> NDArray[np.intp]:
        return np.floor((points - self._low) / (_CELL, _LAYER, _CELL)).astype(np.intp)

    def _is_free(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        cells = self._cells(points)  # [..., 3]
        clipped = np.clip(cells, 0, np.array(self._free.shape) - 1)
        return np.asarray(self._free[tuple(np.moveaxis(clipped, -1, 0))] & (cells == clipped).all(-1))


def floor_under(points: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    """Height of the storey that a target [3] is on: of the floor points [N, 3] round it, the highest level that
    is not above it (the lowest, if all are)."""
    away = np.hypot(*(points[:, (0, 2)] - target[[0, 2]]).T)  # [N]
    heights = points[away <= max(3.0, away.min()), 1]
    below = heights[heights <= target[1] + 0.05]
    return float(below.max() if len(below) else heights.min())
