"""What a camera does to light before it is a picture: a gain, and a shutter that stays open while things move.

Invariant: light is added and multiplied in linear values, never in display values; a gain of 1 and a single
exposure change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Items

import numpy as np
from numpy.typing import NDArray

#: More exposures than this do not look smoother.
MOST_EXPOSURES = 33


def to_linear(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Display values [...] to linear light in [0, 1] (sRGB, IEC 61966-2-1)."""
    values = np.arange(256) / 255
    table = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)  # [256]
    return table[images]


def to_display(light: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Linear light [...] to display values; what is brighter than 1 is clipped."""
    light = np.clip(light, 0, 1)
    values = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * values).astype(np.uint8)


def expose(images: Items[NDArray[np.uint8]], gain: float = 1.0) -> NDArray[np.uint8]:
    """One picture from the exposures [N of H, W, 3] of an open shutter: their mean light times ``gain``."""
    if len(images) == 1 and gain == 1:
        return images[0]
    light = np.zeros(images[0].shape)  # [H, W, 3]
    for image in images:
        light += to_linear(image)
    return to_display(gain / len(images) * light)


def exposure_times(frame: int, length: int, shutter: float, count: int) -> NDArray[np.float64]:
    """Moments [count] of the exposures of a frame, in frames from the start of the recording.

    They are the middles of ``count`` equal parts of the open shutter, which is centred on the frame: with an
    odd ``count`` the frame's own moment is among them. Before the first and after the last frame all rests.
    """
    parts = (np.arange(count) + 0.5) / count - 0.5  # [count]
    return np.clip(frame + shutter * parts, 0, length - 1)


def exposure_count(pixels: float) -> int:
    """How many exposures make a motion of so many pixels look smooth: one for each, an odd number."""
    return min(2 * math.ceil(max(pixels, 0) / 2) + 1, MOST_EXPOSURES)
