"""Windows of a wall that one can calculate on paper."""

from typing import Any

import numpy as np
import pandas as pd
import synthetic

from vln_heatmap.datasets.frame_features import FrameFeatures
from vln_heatmap.datasets.windows import WindowDataset
from vln_heatmap.geometry.cameras import look_pose
from vln_heatmap.nodes.model.keyframes import UniformSampler
from vln_heatmap.params import KeyframeParams, LossNeed, WindowParams

MIRROR = WindowParams(mirror=1, colour=0, feature_noise=0)
PLAIN = WindowParams(views=1, sampled=32, sigma=0, mirror=0, colour=0, feature_noise=0)
SIDE, SIZE, FRAMES = 32, 8, 10
SAMPLER = UniformSampler(KeyframeParams())


def wall_arrays() -> dict[str, np.ndarray]:
    """A wall 2 m ahead, seen by a camera (90 degrees) that steps 0.25 m to the right from frame to frame.

    Camera t stands at x = t / 4 and sees the wall from x - 2 to x + 2. Left of x = 1 the wall is instance 1,
    right of it instance 2. In frame 4 a panel 1 m ahead (instance 3) fills the left half of the image, and
    frame 8 has no depth in its upper quarter. Every pixel of a frame's image says which frame it is.
    """
    x = np.arange(FRAMES) / 4
    places = x[:, None] + (np.arange(SIDE) + 0.5) / SIDE * 4 - 2  # [T, W] on the wall
    instance = np.where(places < 1, 1, 2).astype(np.uint16)[:, None].repeat(SIDE, 1)  # [T, H, W]
    depth = np.full((FRAMES, SIDE, SIDE), 2000, np.uint16)
    depth[4, :, : SIDE // 2], instance[4, :, : SIDE // 2] = 1000, 3
    depth[8, : SIDE // 4] = 0
    number = np.arange(FRAMES, dtype=np.uint8)
    return {
        "features": number.astype(np.float16)[:, None, None, None] + np.zeros((1, 5, 4, 4), np.float16),
        "frames": np.broadcast_to(number[:, None, None, None], (FRAMES, 3, 28, 28)),
        "depth": depth,
        "instance": instance,
        "poses": np.stack([look_pose((float(place), 1.25, 0.0), 0.0) for place in x]),
        "hfov": np.array([90.0]),
        "moved_ids": np.zeros(0, np.int32),
        "moved_poses": np.zeros((FRAMES, 0, 4, 4)),
    }


def windows(
    features: FrameFeatures,
    *rows: dict[str, Any],
    params: WindowParams = PLAIN,
    keyframes: int = 3,
    training: bool = False,
    odometry: bool = False,
    needs: tuple[LossNeed, ...] = (),
    views: int = 1,
) -> WindowDataset:
    table = pd.DataFrame([synthetic.sample_row("wall", **row) for row in rows])
    roles: dict[str, Any] = {"keyframes": keyframes, "size": SIZE, "training": training}
    roles |= {"odometry": odometry, "needs": needs, "views": views}
    return WindowDataset(table, features, params, SAMPLER.sample, **roles)


def get(dataset: WindowDataset, index: int = 0, seed: int = 0) -> dict[str, Any]:
    return dataset.get(index, np.random.default_rng(seed))


def columns(*values: float) -> np.ndarray:
    """A map [SIZE, SIZE] with the same row of values from top to bottom."""
    return np.tile(np.array(values, np.float32), (SIZE, 1))


def shown(window: dict[str, Any]) -> list[int]:
    """Numbers of the window's frames in the sequence, by their images."""
    return window["frames"][:, 0, 0, 0].tolist()
