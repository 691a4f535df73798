"""Which parts of a scene to draw, and in which order, so that a rasteriser shades few pixels that end up hidden.

Invariant: the image does not depend on it, unless faces of two instances coincide. What is left out lies outside
the view; a part is an instance, whose faces keep their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.scene import Scene


def by_instance(scene: Scene) -> Scene:
    """The same scene with its faces sorted by instance, otherwise in their order."""
    order = np.argsort(scene.face_instance, kind="stable")
    return replace(
        scene,
        faces=scene.faces[order],
        face_instance=scene.face_instance[order],
        face_texture=scene.face_texture[order],
    )


@dataclass(frozen=True)
class Parts:
    """Runs of faces of one instance.

    Attributes:
        instance: [N] instance id of each part.
        first, count: [N] first index and number of indices (three a face) of each part.
        low, high: [N, 3] bounding boxes, world metres.
    """

    instance: NDArray[np.int32]
    first: NDArray[np.intp]
    count: NDArray[np.intp]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @staticmethod
    def of(scene: Scene) -> Parts:
        """The parts of a scene whose faces are sorted by instance."""
        instance, starts = np.unique(scene.face_instance, return_index=True)  # [N]
        corners = scene.vertices[scene.faces].astype(np.float64)  # [F, 3, 3]
        low = np.minimum.reduceat(corners.min(1), starts)
        high = np.maximum.reduceat(corners.max(1), starts)
        return Parts(instance, 3 * starts, 3 * np.diff(starts, append=len(corners)), low, high)

    def with_boxes(self, boxes: Mapping[int, NDArray[np.float64]]) -> Parts:
        """The same parts with other bounding boxes [2, 3] of some instances."""
        low, high = self.low.copy(), self.high.copy()
        for instance, box in boxes.items():
            low[self.instance == instance], high[self.instance == instance] = box
        return replace(self, low=low, high=high)

    def in_sight(self, eye: NDArray[np.float64], world_to_clip: NDArray[np.float64]) -> list[tuple[int, int]]:
        """(first, count) of the parts whose box meets the view, the nearest to ``eye`` [3] first.

        A box is out of view if it lies behind one of the planes -w <= x, x <= w, -w <= y, y <= w, 0 <= w of clip
        space, ``world_to_clip`` [4, 4].
        """
        x, y, _, w = world_to_clip
        planes = np.stack([w + x, w - x, w + y, w - y, w])  # [5, 4]
        centre, half = (self.high + self.low) / 2, (self.high - self.low) / 2
        reach = centre @ planes[:, :3].T + half @ np.abs(planes[:, :3]).T + planes[:, 3]  # [N, 5]
        seen = np.flatnonzero((reach >= 0).all(1))
        gap = np.maximum(np.maximum(self.low[seen] - eye, eye - self.high[seen]), 0)  # [M, 3]
        near_first = seen[np.argsort((gap**2).sum(1), kind="stable")]
        return list(zip(self.first[near_first].tolist(), self.count[near_first].tolist(), strict=True))
