"""What recorded depth and poses say of frames, for models that read it: where in space cells lie, and what a
robot would have sensed there.

Invariant: it is what the running agent makes of the same depth and poses, in the sequence's own world.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.datasets.dialogue_samples import Dialogue
from vln_heatmap.params.navigation_model import ContextParams, ValueMapParams


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
    from vln_heatmap.nodes.model.context.senses import numbers

    if dialogue.task != "navigation":
        return np.zeros((0, numbers(context)), np.float32)
    walked = _walk_senses(sequence, dialogue.start, context)  # [T, n]
    steps = dialogue.frames[0] - dialogue.start + np.arange(len(dialogue.actions) + 1)
    return walked[np.minimum(steps, len(walked) - 1)]


def stored_headings(sequence: Any, dialogue: Dialogue) -> NDArray[np.float32]:
    """Where a robot stands and looks at each of ``stored_senses``' steps [actions + 1, 4], see
    ``context.grounding.heading``; nothing of other tasks."""
    from vln_heatmap.nodes.model.context.grounding import heading

    if dialogue.task != "navigation":
        return np.zeros((0, 4), np.float32)
    poses = sequence.read("poses")
    steps = dialogue.frames[0] + np.arange(len(dialogue.actions) + 1)
    return np.stack([heading(poses[step]) for step in np.minimum(steps, len(poses) - 1)])


def stored_spots(
    sequence: Any, dialogue: Dialogue, *, params: ValueMapParams, grid: int
) -> NDArray[np.float32]:
    """Where on the floor lies what the cells of the memory's frames, and then of the turns', show
    [N, grid, grid, 2], see ``context.grounding.floor_spots``; nothing of other tasks."""
    from vln_heatmap.nodes.model.context.grounding import floor_spots

    if dialogue.task != "navigation":
        return np.zeros((0, grid, grid, 2), np.float32)
    frames = [*dialogue.memory_frames, *dialogue.frames]
    views = zip(_metres(sequence, frames), sequence.read("poses", frames), strict=True)
    return np.stack([floor_spots(depth, pose, params, grid) for depth, pose in views])


@lru_cache(maxsize=2048)  # windows of one walk ask again and again
def _walk_senses(sequence: Any, start: int, context: ContextParams) -> NDArray[np.float32]:
    """What is sensed at each frame of a sequence from ``start`` on [T, n].

    Raises:
        ValueError: its camera is not the one that the map is made for.
    """
    from vln_heatmap.nodes.model.context.senses import sensed
    from vln_heatmap.nodes.model.context.surroundings import Surroundings

    around = None
    if context.surroundings is not None:
        around, hfov = Surroundings(context.surroundings), float(sequence.read("hfov", [0])[0])
        if abs(hfov - context.surroundings.hfov) > 0.01:
            raise ValueError(
                f"context.surroundings.hfov is {context.surroundings.hfov}, the walks have {hfov}"
            )
    poses = sequence.read("poses")[start:]
    images = _metres(sequence, range(start, start + len(poses)))
    steps = [sensed(image, poses[: n + 1], context, around).numpy() for n, image in enumerate(images)]
    return np.stack(steps).astype(np.float32)


def forget_walks() -> None:
    """Read walks anew: where others were stored, there may be other ones now."""
    _walk_senses.cache_clear()


def _metres(sequence: Any, frames: Sequence[int]) -> NDArray[np.float32]:
    """Depth [N, H, W]."""
    return sequence.read("depth", frames).astype(np.float32) / 1000
