"""Where in space the cells of recorded frames lie, for models that prune their memory by it.

Invariant: points are those of the recorded depth and pose, in the sequence's own world.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class WithPoints:
    """Features by sequence id, whose ``read`` knows ``points`` [N, grid, grid, 3] beside the stored arrays.

    Attributes:
        features: ``FrameFeatures``; grid: cells along a side.
    """

    features: Mapping[str, Any]
    grid: int

    def __getitem__(self, key: str) -> _Placed:
        return _Placed(self.features[key], self.grid)


@dataclass(frozen=True)
class _Placed:
    sequence: Any
    grid: int

    def read(self, name: str, frames: Iterable[int]) -> NDArray[Any]:
        chosen = list(frames)
        if name != "points":
            return self.sequence.read(name, chosen)
        from vln_heatmap.nodes.model.context.voxels import cell_points

        depth = self.sequence.read("depth", chosen).astype(np.float32) / 1000  # [N, H, W] metres
        poses, hfov = self.sequence.read("poses", chosen), float(self.sequence.read("hfov", [0])[0])
        return np.stack([cell_points(d, p, hfov, self.grid) for d, p in zip(depth, poses, strict=True)])
