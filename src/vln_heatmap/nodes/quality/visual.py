"""Visual quality: are the images sharp, well exposed, and is there anything in them?

Invariant: what a sequence claims is not held against it. Motion blur, dimmed lights and a camera gain that the
metadata state widen the limits by what they do to an image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.nodes.quality.footage import Footage
from vln_heatmap.nodes.quality.grades import grade, weakest, worst_value
from vln_heatmap.nodes.quality.measures import clipped_share, edge_sharpness, entropy
from vln_heatmap.nodes.quality.reprojection import Agreement
from vln_heatmap.params import QualityParams

#: Exponent from linear light to grey levels (about that of sRGB).
_GAMMA = 1 / 2.2


def visual_parts(
    footage: Footage, agreed: Agreement, changes: NDArray[np.float64], params: QualityParams
) -> tuple[dict[str, float], dict[str, Any]]:
    """Grades of sharpness, exposure and entropy, each of the worst frame, and the worst values measured.

    - sharpness: ``edge_sharpness`` times the width in pixels over which the shutter, if the metadata tell of
      one, smears an edge. An image that is frozen (see ``change``) has its edges elsewhere and is left out.
    - exposure: mean grey level (not too dark, not too bright) and share of black and white pixels; a claimed
      dimming or brightening shifts the limits (``claimed_gain``).
    - entropy: bits of the grey levels.
    """
    grey, bright = footage.grey, footage.grey.mean(axis=(1, 2))  # [N, H, W], [N]
    gain = claimed_gain(footage.metadata, len(footage.table))[footage.frames] ** _GAMMA  # [N]
    darker, brighter = np.minimum(gain, 1), np.maximum(gain, 1)  # [N] each
    sharp = edge_sharpness(grey, footage.instance, max(1, footage.stride // 2))
    sharp = np.minimum(sharp * smear(footage, agreed), 1)  # [N]
    stuck = footage.pairs[grade(changes, params.change) < 1]
    sharp[stuck] = sharp[stuck + 1] = np.nan
    bits = entropy(grey)
    exposure = np.min(
        [
            grade(bright / np.maximum(darker, 1e-6), params.dark),
            grade(bright / brighter, params.bright),
            np.maximum(grade(clipped_share(grey), params.clipped), (darker < 0.7) | (brighter > 1.3)),
        ],
        axis=0,
    )
    parts = {
        "sharpness": weakest(grade(sharp, params.sharpness)),
        "exposure": weakest(exposure),
        "entropy": weakest(np.maximum(grade(bits, params.entropy), darker < 0.7)),
    }
    worst = {
        "edge_sharpness": worst_value(sharp, params.sharpness),
        "darkest": float(bright.min()),
        "brightest": float(bright.max()),
        "entropy_bits": worst_value(bits, params.entropy),
    }
    return parts, worst


def claimed_gain(metadata: dict[str, Any], length: int) -> NDArray[np.float64]:
    """How much lighter than usual each frame [T] may be by what the metadata say: exposure x lights.

    The lights' share is the mean of their weights; each source counts alike, since what it adds to a view
    is not known here.
    """
    exposure = np.asarray(metadata.get("exposure") or 1.0, np.float64)  # [T] or []
    lights = [np.asarray(weights, np.float64) for weights in (metadata.get("lights") or {}).values()]
    light = np.mean(lights, axis=0) if lights else 1.0
    return np.broadcast_to(exposure * light, (length,))


def smear(footage: Footage, agreed: Agreement) -> NDArray[np.float64]:
    """Width in pixels [N], at least 1, over which the claimed shutter spreads an edge of each frame."""
    width = np.ones(len(footage.frames))
    shutter = float(footage.metadata.get("shutter") or 0)
    if shutter:
        shift = shutter * np.nan_to_num(agreed.shift)  # [P]
        for start in (0, 1):  # a frame's exposure reaches half-way to either neighbour
            np.maximum.at(width, footage.pairs + start, 1 + shift)
    return width
