"""Temporal smoothness: does the sequence go on from frame to frame, in its images, its clock and its motion?

Invariant: a jump of the pose is not judged here (it is geometric), and neither is what a discrete walker does:
it may stop and turn on the spot at any frame.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.nodes.quality.footage import Footage
from vln_heatmap.nodes.quality.geometric import pose_jumps
from vln_heatmap.nodes.quality.grades import grade, weakest, worst_value
from vln_heatmap.nodes.quality.reprojection import Agreement
from vln_heatmap.params import QualityParams


def smoothness_parts(
    footage: Footage, changes: NDArray[np.float64], params: QualityParams
) -> tuple[dict[str, float], dict[str, Any]]:
    """Grades of image_flow, clock and steadiness, and the worst values measured.

    - image_flow: of the worst pair of neighbours, the change [P] of the image (see ``change``).
    - clock: the largest deviation of a time step from 1 / fps, in time steps.
    - steadiness: share of the steps that take back the one before (``jitter``).
    """
    ticks, fps = np.diff(footage.table["timestamp"].to_numpy(np.float64)), footage.metadata.get("fps")
    tick = 1 / float(fps) if fps else float(np.median(ticks)) if len(ticks) else 1.0
    deviation = np.abs(np.nan_to_num(ticks, nan=np.inf) / tick - 1)  # [T - 1]
    back = jitter(footage.poses, params)
    parts = {
        "image_flow": weakest(grade(changes, params.change)),
        "clock": weakest(grade(deviation, params.clock)),
        "steadiness": float(grade(back, params.jitter)),
    }
    return parts, {"change": worst_value(changes, params.change), "jitter": back}


def change(footage: Footage, agreed: Agreement, params: QualityParams) -> NDArray[np.float64]:
    """Mean difference [P] of neighbouring images, over their contrast.

    NaN where the image need not change: the points move by less than ``moved_pixels``, or there is hardly any
    contrast (a black frame is not a frozen one).
    """
    grey, first = footage.grey, footage.pairs
    contrast = grey[:, ::2, ::2].std(axis=(1, 2))  # [N]
    contrast = np.minimum(contrast[first], contrast[first + 1])  # [P]
    difference = np.abs(np.diff(grey[:, ::2, ::2], axis=0)).mean(axis=(1, 2))[first]  # [P]
    with np.errstate(invalid="ignore"):
        must = (agreed.shift >= params.moved_pixels) & (contrast >= params.contrast)
    return np.where(must, difference / np.maximum(contrast, 1), np.nan)


def jitter(poses: NDArray[np.float64], params: QualityParams) -> float:
    """Share of steps that go or turn against the step before them, of all pairs of steps that move at all.

    Steps over the jump limit are left out. A walk there and back turns round once; a shaking camera at every
    frame. 0 for a camera at rest.
    """
    calm = pose_jumps(poses, params) <= params.jump[1]  # [T - 1]
    both = calm[1:] & calm[:-1]  # [T - 2]
    with np.errstate(invalid="ignore"):
        step = np.diff(poses[:, :3, 3], axis=0)  # [T - 1, 3]
        relative = np.swapaxes(poses[:-1, :3, :3], 1, 2) @ poses[1:, :3, :3]  # [T - 1, 3, 3]
        skew = relative - np.swapaxes(relative, 1, 2)
        turn = np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], axis=1) / 2  # [T - 1, 3], axis * sin
        back, moves = np.zeros(len(both), bool), np.zeros(len(both), bool)
        for motion, least in ((step, 1e-3), (turn, np.radians(0.1))):
            size = np.linalg.norm(motion, axis=1)  # [T - 1]
            along = (motion[1:] * motion[:-1]).sum(axis=1)  # [T - 2]
            moved = (size[1:] > least) & (size[:-1] > least)
            moves |= moved
            back |= moved & (along < -0.5 * size[1:] * size[:-1])
    return float(back[both].sum() / max(1, moves[both].sum()))
