"""What a frame shows, as table columns, so that later stages need no video to know it.

Invariant: the columns describe the stored frame, depth in whole millimetres, and sum to its pixels.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray


class VisibleInstances(TypedDict):
    """The ``visible_*`` columns of one frame, aligned with each other; N instances by ascending id."""

    visible_ids: NDArray[np.int32]
    visible_pixels: NDArray[np.int32]
    visible_u: NDArray[np.float32]
    visible_v: NDArray[np.float32]
    visible_depth: NDArray[np.float32]


def visible_instances(instance: NDArray[np.int32], depth_mm: NDArray[np.uint16]) -> VisibleInstances:
    """Count, place and measure every instance of a frame in one pass.

    Args:
        instance: [H, W] instance ids in [0, 65535], 0 = nothing.
        depth_mm: [H, W] z-depth in millimetres, 0 = nothing.

    Returns:
        Ids, pixel counts, mean column / W and mean row / H of the pixels (centres at +0.5, so in (0, 1)), and
        the median z-depth in metres (the lower one of two middles).
    """
    height, width = instance.shape
    flat = instance.ravel()  # [H*W]
    counts = np.bincount(flat)  # [max id + 1]
    columns = np.bincount(flat, np.tile(np.arange(width) + 0.5, height))  # [max id + 1]
    rows = np.bincount(flat, np.repeat(np.arange(height) + 0.5, width))  # [max id + 1]
    ordered = np.sort(flat.astype(np.int64) << 16 | depth_mm.ravel())  # [H*W] by id, then depth
    starts = np.cumsum(counts) - counts  # [max id + 1]
    ids = np.flatnonzero(counts)
    ids = ids[ids > 0]  # [N]
    pixels = counts[ids]
    medians = ordered[starts[ids] + (pixels - 1) // 2] & 0xFFFF  # [N]
    return {
        "visible_ids": ids.astype(np.int32),
        "visible_pixels": pixels.astype(np.int32),
        "visible_u": (columns[ids] / pixels / width).astype(np.float32),
        "visible_v": (rows[ids] / pixels / height).astype(np.float32),
        "visible_depth": (medians / 1000).astype(np.float32),
    }
