"""What the simulator tells a keyframe sampler in training: points and poses of cached frames.

Invariant: nothing is read that the sampler does not need; points and poses share the world of the simulator.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.geometry.projection import unproject
from vln_heatmap.nodes.model.keyframes.base import KeyframeSampler

#: Points along a side of a frame that samplers are given in training, at most.
PIXELS = 32


def known_geometry(sampler: KeyframeSampler, cached: Any, frames: NDArray[np.int64]) -> dict[str, Any]:
    """The arguments of ``sampler.sample`` that it needs, of T frames of a sequence.

    Args:
        sampler: whose needs are met.
        cached: ``SequenceFeatures``.
        frames: T indices.
    """
    if "points" in sampler.needs:
        points, poses = true_geometry(cached, frames, PIXELS)
        return {"points": points, "poses": poses}
    return {"poses": cached.read("poses", frames)} if "poses" in sampler.needs else {}


def true_geometry(
    cached: Any, frames: NDArray[np.int64], pixels: int
) -> tuple[NDArray[np.floating], NDArray[np.float64]]:
    """World points [T, h, w, 3] in metres and camera_to_world [T, 4, 4] of frames of a cached sequence.

    Args:
        cached: its ``SequenceFeatures``.
        frames: T indices.
        pixels: every n-th pixel is taken, so that the longer side has at most this many. Where nothing was hit
            the point is NaN; things that move are where the frame saw them.
    """
    depth = cached.read("depth", frames).astype(np.float32) / 1000  # [T, H, W]
    poses = cached.read("poses", frames)
    camera = PinholeCamera(depth.shape[2], depth.shape[1], float(cached.read("hfov")[0]))
    step = -(-max(depth.shape[1:]) // pixels)
    points = unproject(np.where(depth > 0, depth, np.nan), camera)[:, ::step, ::step]  # [T, h, w, 3]
    turned = np.einsum("tij,thwj->thwi", poses[:, :3, :3], points)
    return turned + poses[:, None, None, :3, 3], poses
