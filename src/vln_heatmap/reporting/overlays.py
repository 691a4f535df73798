"""Heatmaps drawn over images.

Invariant: what the heatmap calls 0 shows the image untouched, and a larger value never looks darker or more
transparent (the colours come from a perceptually ordered map).
"""

from __future__ import annotations

import cv2
import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

#: Part of the colour map that is used: its black end would only darken the image.
HEAT_COLOURS = colormaps["inferno"](np.linspace(0.35, 1.0, 256))[:, :3]  # [256, 3] in [0, 1]


def overlay_heatmap(
    rgb: NDArray[np.uint8], heatmap: NDArray[np.floating], *, opacity: float = 0.8
) -> NDArray[np.uint8]:
    """Draw a heatmap over an image.

    Args:
        rgb: [H, W, 3] uint8.
        heatmap: [h, w] of any size, values in [0, 1] (clipped; NaN counts as 0).
        opacity: of the value 1, in [0, 1].

    Returns:
        [H, W, 3] uint8.

    Raises:
        ValueError: other shapes or an opacity out of bounds.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or heatmap.ndim != 2 or heatmap.size == 0:
        raise ValueError(f"expected rgb [H, W, 3] and heatmap [h, w], got {rgb.shape} and {heatmap.shape}")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be in [0, 1], got {opacity:g}")
    values = np.nan_to_num(heatmap.astype(np.float32)).clip(0, 1)
    height, width = rgb.shape[:2]
    values = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)  # [H, W]
    colours = HEAT_COLOURS[(values * 255).round().astype(int)]  # [H, W, 3]
    alpha = opacity * values[..., None]
    mixed = (1 - alpha) * (rgb / 255) + alpha * colours
    return (mixed * 255).round().astype(np.uint8)
