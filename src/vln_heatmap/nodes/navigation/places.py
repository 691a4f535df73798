"""What recorded depth says of frames, for models that read it: where in space cells lie, and how near things are.

Invariant: points are those of the recorded depth and pose, in the sequence's own world.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class WithDepth:
    """Features by sequence id, whose ``read`` knows more than the stored arrays: ``points`` [N, P, P, 3] and
    ``nearness`` [N, R, R].

    Attributes:
        features: ``FrameFeatures``.
        points, ranges: cells along a side of the two, P and R.
    """

    features: Mapping[str, Any]
    points: int
    ranges: int

    def __getitem__(self, key: str) -> _Measured:
        return _Measured(self.features[key], self.points, self.ranges)


@dataclass(frozen=True)
class _Measured:
    sequence: Any
    points: int
    ranges: int

    def read(self, name: str, frames: Iterable[int]) -> NDArray[Any]:
        chosen = list(frames)
        if name == "points":
            return self._points(chosen)
        if name == "nearness":
            from vln_heatmap.nodes.model.context.ranges import nearness

            return nearness(self._depth(chosen), self.ranges).numpy()
        return self.sequence.read(name, chosen)

    def _depth(self, frames: list[int]) -> NDArray[np.float32]:
        """Metres [N, H, W]."""
        return self.sequence.read("depth", frames).astype(np.float32) / 1000

    def _points(self, frames: list[int]) -> NDArray[np.float32]:
        from vln_heatmap.nodes.model.context.voxels import cell_points

        poses, hfov = self.sequence.read("poses", frames), float(self.sequence.read("hfov", [0])[0])
        views = zip(self._depth(frames), poses, strict=True)
        return np.stack([cell_points(depth, pose, hfov, self.points) for depth, pose in views])
