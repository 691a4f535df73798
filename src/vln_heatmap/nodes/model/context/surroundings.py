"""The floor round a walking robot, from all depth images since its start: blocked, free, or never seen.

A camera at eye height loses what is near and low; whoever walks past it has to remember it. Invariant: the map
depends on which images were added, not on their order or how often.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.params.navigation_model import SurroundingsParams

_FINE, _CELL = 0.1, 0.2  # metres: cells that are filled, and those that are read
_EXTENT = 240  # fine cells along a side, round the start
_BEHIND = 1.0  # metres behind the robot that are read
_FAR = 4.0  # metres from which depth is not used
_RAYS = 32  # along a side of an image


class Surroundings:
    """A map in the world's frame, read in the robot's.

    Args:
        params: size, camera and body.
    """

    def __init__(self, params: SurroundingsParams) -> None:
        self.params = params
        self._blocked, self._floor = (np.zeros((_EXTENT, _EXTENT), bool) for _ in range(2))
        self._middle = np.full(2, np.nan)  # x, z of the start, once it is known

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return self._blocked.nbytes + self._floor.nbytes

    def add(self, depth: NDArray[np.floating], pose: NDArray[np.floating]) -> None:
        """Enter an image.

        Args:
            depth: z-depth in metres [H, W], 0 = unknown.
            pose: camera_to_world [4, 4] (OpenCV camera, +Y up).
        """
        pose = np.asarray(pose, np.float64)
        if np.isnan(self._middle).any():
            self._middle = pose[[0, 2], 3].copy()
        points = self._points(np.asarray(depth, np.float64)) @ pose[:3, :3].T + pose[:3, 3]
        rows, columns, inside = self._cells(points[:, [0, 2]])
        height = points[:, 1] - pose[1, 3]
        blocks = inside & (height > self.params.low) & (height < self.params.high)
        floor = inside & (height <= self.params.low)
        self._blocked[rows[blocks], columns[blocks]] = True
        self._floor[rows[floor], columns[floor]] = True

    def around(self, pose: NDArray[np.floating]) -> NDArray[np.float32]:
        """How much of each cell round the robot is blocked, and how much is free [2, side, side], in [0, 1].

        The first row is the farthest ahead, the first column the farthest to the left.
        """
        side, times = self.params.side, round(_CELL / _FINE)
        pose = np.asarray(pose, np.float64)
        ahead = pose[[0, 2], 2] / max(float(np.linalg.norm(pose[[0, 2], 2])), 1e-9)
        right = np.array([-ahead[1], ahead[0]])  # +X is to the right of -Z
        steps = (np.arange(side * times) + 0.5) * _FINE
        forward, sideways = side * _CELL - _BEHIND - steps, steps - side * _CELL / 2
        places = pose[[0, 2], 3] + forward[:, None, None] * ahead + sideways[:, None] * right
        rows, columns, inside = self._cells(places)
        blocked = self._blocked[rows, columns] & inside
        free = self._floor[rows, columns] & inside & ~blocked
        cells = np.stack([blocked, free]).reshape(2, side, times, side, times)
        return cells.mean((2, 4)).astype(np.float32)

    def _points(self, depth: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points [N, 3] in the camera's frame."""
        height, width = depth.shape
        rows, columns = (np.linspace(0.5, n - 0.5, min(n, _RAYS)).astype(int) for n in (height, width))
        z = depth[np.ix_(rows, columns)]
        focal = width / 2 / math.tan(math.radians(self.params.hfov) / 2)
        x = (columns[None] + 0.5 - width / 2) / focal * z
        y = (rows[:, None] + 0.5 - height / 2) / focal * z
        return np.stack([x, y, z], -1)[(z > 0) & (z < _FAR)]

    def _cells(
        self, places: NDArray[np.float64]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
        """Rows and columns of places [..., 2] (x, z), and whether they are on the map."""
        cells = np.floor((places - self._middle) / _FINE).astype(np.intp) + _EXTENT // 2
        inside = np.asarray(((cells >= 0) & (cells < _EXTENT)).all(-1))
        column, row = np.moveaxis(cells.clip(0, _EXTENT - 1), -1, 0)
        return row, column, inside
