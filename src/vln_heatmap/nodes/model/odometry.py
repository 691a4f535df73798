"""How the robot moved between a keyframe and the current view, if it knows.

Invariant: only the relative motion enters, so that the choice of the world's frame of reference does not matter.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MOTION_CHANNELS = 9  # translation, and two columns of the rotation


def relative_motions(poses: Tensor, current: Tensor, keyframes: Tensor) -> Tensor:
    """Poses of the keyframes' cameras in the camera of their current view: [B, N, K, 9].

    Translation x, y, z in metres (OpenCV axes), then the first two columns of the rotation matrix, a continuous
    description of it (Zhou et al., arXiv:1812.07035).

    Args:
        poses: camera_to_world [B, T, 4, 4]; current: [B, N] and keyframes: [B, N, K] index its frames.

    Raises:
        ValueError: poses of another shape.
    """
    if poses.ndim != 4 or poses.shape[-2:] != (4, 4) or len(poses) != len(current):
        raise ValueError(f"poses must be [{len(current)}, T, 4, 4], got {list(poses.shape)}")
    batch = torch.arange(len(poses), device=poses.device)
    now = poses[batch[:, None], current][:, :, None]  # [B, N, 1, 4, 4]
    then = poses[batch[:, None, None], keyframes]  # [B, N, K, 4, 4]
    back = now[..., :3, :3].transpose(-1, -2)  # world to current camera
    rotation = back @ then[..., :3, :3]  # [B, N, K, 3, 3]
    translation = back @ (then[..., :3, 3:] - now[..., :3, 3:])  # [B, N, K, 3, 1]
    columns = rotation[..., :2].transpose(-1, -2).flatten(-2)  # [B, N, K, 6]
    return torch.cat([translation[..., 0], columns], dim=-1).float()


class Odometry(nn.Sequential):
    """Describes relative motions [..., 9] in ``width`` channels."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(MOTION_CHANNELS, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
