"""What recorded depth and poses say of frames, for models that read it: where in space cells lie, and what a
robot would have sensed there.

Invariant: it is what the running agent makes of the same depth and poses, in the sequence's own world.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.params.navigation_model import ContextParams


def stored_points(sequence: Any, frames: Sequence[int], start: int, *, cells: int) -> NDArray[np.float32]:
    """Points [N, cells, cells, 3] of stored frames, NaN where unknown.

    Args:
        sequence: ``FrameFeatures`` of a sequence.
        frames: N of them.
        start: of the episode; points do not depend on it.
    """
    from vln_heatmap.nodes.model.context.voxels import cell_points

    poses, hfov = sequence.read("poses", frames), float(sequence.read("hfov", [0])[0])
    views = zip(_metres(sequence, frames), poses, strict=True)
    return np.stack([cell_points(depth, pose, hfov, cells) for depth, pose in views])


def stored_senses(
    sequence: Any, frames: Sequence[int], start: int, *, context: ContextParams
) -> NDArray[np.float32]:
    """What is sensed at stored frames [N, n], see ``context.senses``.

    Args:
        sequence, frames: as of ``stored_points``.
        start: frame at which the episode begins, and odometry with it.
        context: what of it the model reads.
    """
    from vln_heatmap.nodes.model.context.senses import nearness, odometry

    parts = []
    if context.ranges:
        parts.append(nearness(_metres(sequence, frames), context.ranges).flatten(1).numpy())
    if context.odometry:
        walked = sequence.read("poses", range(start, max(frames) + 1))
        parts.append(odometry(walked)[np.asarray(frames) - start])
    return np.concatenate(parts, 1)


def _metres(sequence: Any, frames: Sequence[int]) -> NDArray[np.float32]:
    """Depth [N, H, W]."""
    return sequence.read("depth", frames).astype(np.float32) / 1000
