"""Frames of a navigation video: what the agent sees, where its heatmaps are, where it is, what it does.

Invariant: all frames of a video have one size, with even sides, as video codecs need.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_INK, _PAPER = (235, 237, 240), (32, 34, 40)
ARROWS = {0: "STOP", 1: "FORWARD", 2: "LEFT", 3: "RIGHT"}
_STRIP = 64  # pixels of the caption
_LINES = 2


def navigation_frame(
    panels: Sequence[NDArray[np.uint8]], *, height: int, instruction: str, status: str
) -> NDArray[np.uint8]:
    """Pictures side by side over a caption.

    Args:
        panels: images [h, w, 3] uint8 of any sizes, scaled to one height.
        height: of the pictures in pixels.
        instruction: text, at most two lines of it.
        status: one line.

    Returns:
        [H, W, 3] uint8, H and W even.
    """
    scaled = [_scaled(panel, height) for panel in panels]
    width = sum(panel.shape[1] for panel in scaled)
    picture = Image.new("RGB", (width + width % 2, height + _STRIP + (height + _STRIP) % 2), _PAPER)
    left = 0
    for panel in scaled:
        picture.paste(Image.fromarray(panel), (left, 0))
        left += panel.shape[1]
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    lines = wrapped(instruction, width - 16, font)[:_LINES]
    for row, line in enumerate(lines):
        draw.text((8, height + 6 + 17 * row), line, fill=_INK, font=font)
    draw.text((8, height + 6 + 17 * _LINES), status, fill=(255, 196, 96), font=font)
    return np.asarray(picture)


def status_line(step: int, action: int | None, distance: float, outcome: str = "") -> str:
    """ "step 12   FORWARD   3.2 m to go", and how it ended."""
    parts = [f"step {step}", "" if action is None else ARROWS[action], f"{distance:.1f} m to go", outcome]
    return "    ".join(filter(None, parts))


def wrapped(text: str, width: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Words in lines that are at most ``width`` pixels long (a longer word has a line of its own)."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _scaled(panel: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    width = max(1, round(panel.shape[1] * height / panel.shape[0]))
    return np.asarray(Image.fromarray(panel).resize((width, height), Image.Resampling.BICUBIC))
