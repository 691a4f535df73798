"""What recorded depth and poses say of frames, for models that read it: where in space cells lie, and what a
robot would have sensed there.

Invariant: it is what the running agent makes of the same depth and poses, in the sequence's own world.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.datasets.dialogue_samples import Dialogue
from vln_heatmap.params.navigation_model import ContextParams


def stored_points(sequence: Any, dialogue: Dialogue, *, cells: int) -> NDArray[np.float32]:
    """Points [N, cells, cells, 3] that the frames of a dialogue's memory, and then of its turns, show; NaN where
    unknown.

    Args:
        sequence: ``FrameFeatures`` of the dialogue's sequence.
        dialogue: whose frames they are.
    """
    from vln_heatmap.nodes.model.context.voxels import cell_points

    frames = [*dialogue.memory_frames, *dialogue.frames]
    poses, hfov = sequence.read("poses", frames), float(sequence.read("hfov", [0])[0])
    views = zip(_metres(sequence, frames), poses, strict=True)
    return np.stack([cell_points(depth, pose, hfov, cells) for depth, pose in views])


def stored_senses(sequence: Any, dialogue: Dialogue, *, context: ContextParams) -> NDArray[np.float32]:
    """What is sensed at a navigation's first view and after each of its actions [actions + 1, n], see
    ``context.senses``; nothing of other tasks.

    Args:
        sequence, dialogue: as of ``stored_points``. After the last action of all one still stands there.
        context: what of it the model reads.
    """
    from vln_heatmap.nodes.model.context.senses import ODOMETRY, nearness, odometry

    if dialogue.task != "navigation":
        return np.zeros((0, context.ranges**2 + ODOMETRY * context.odometry), np.float32)
    poses, first = sequence.read("poses"), dialogue.frames[0]
    steps = range(first, min(first + len(dialogue.actions) + 1, len(poses)))
    parts = []
    if context.ranges:
        parts.append(nearness(_metres(sequence, steps), context.ranges).flatten(1).numpy())
    if context.odometry:
        parts.append(odometry(poses[dialogue.start : steps.stop])[first - dialogue.start :])
    sensed = np.concatenate(parts, 1)
    return sensed[np.minimum(np.arange(len(dialogue.actions) + 1), len(sensed) - 1)]


def _metres(sequence: Any, frames: Sequence[int]) -> NDArray[np.float32]:
    """Depth [N, H, W]."""
    return sequence.read("depth", frames).astype(np.float32) / 1000
