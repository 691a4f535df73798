"""The pinhole camera and rigid poses that every other part shares.

Invariant: cameras are OpenCV (x right, y down, z forward), pixel centres lie at +0.5, depth is z-depth in
metres with 0 for "nothing there", and a pose is a 4x4 ``camera_to_world`` matrix. The world is right-handed
with +Y up, as glTF and Habitat have it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PinholeCamera:
    """A pinhole camera with square pixels and its principal point in the image centre.

    Args:
        width, height: image size in pixels, at least 1.
        hfov: horizontal field of view in degrees, in (0, 180).

    Raises:
        ValueError: a size below 1 or a field of view outside (0, 180).
    """

    width: int
    height: int
    hfov: float

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"image size must be at least 1x1, got {self.width}x{self.height}")
        if not 0 < self.hfov < 180:
            raise ValueError(f"hfov must be in (0, 180), got {self.hfov:g}")

    @property
    def focal(self) -> float:
        """Focal length in pixels, the same in x and y."""
        return 0.5 * self.width / math.tan(math.radians(self.hfov) / 2)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Intrinsic matrix K [3, 3]: pixel = K @ (x, y, z) / z."""
        return np.array([[self.focal, 0, self.width / 2], [0, self.focal, self.height / 2], [0, 0, 1.0]])

    def directions(self) -> NDArray[np.float64]:
        """Ray directions through all pixel centres, camera frame, scaled to z = 1: [H, W, 3]."""
        x = (np.arange(self.width) + 0.5 - self.width / 2) / self.focal  # [W]
        y = (np.arange(self.height) + 0.5 - self.height / 2) / self.focal  # [H]
        grid_x, grid_y = np.meshgrid(x, y)
        return np.stack([grid_x, grid_y, np.ones_like(grid_x)], axis=-1)

    def resized(self, width: int, height: int) -> PinholeCamera:
        """The same view at another resolution (the aspect ratio must stay the same within a pixel)."""
        if abs(width * self.height - height * self.width) > max(self.width, self.height):
            raise ValueError(f"{width}x{height} has another aspect ratio than {self.width}x{self.height}")
        return PinholeCamera(width, height, self.hfov)


def look_pose(
    position: NDArray[np.float64] | tuple[float, float, float], yaw: float, pitch: float = 0.0
) -> NDArray[np.float64]:
    """Camera pose from a position and two angles.

    Args:
        position: camera centre in the world, metres [3].
        yaw: heading in radians; 0 looks along -Z, positive turns left (counter-clockwise seen from above).
        pitch: elevation in radians; positive looks up.

    Returns:
        camera_to_world [4, 4], OpenCV camera axes in its columns.
    """
    forward = np.array([-math.sin(yaw) * math.cos(pitch), math.sin(pitch), -math.cos(yaw) * math.cos(pitch)])
    right = np.array([math.cos(yaw), 0.0, -math.sin(yaw)])
    down = np.cross(forward, right)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = right, down, forward, position
    return pose


def invert_pose(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of rigid transforms [..., 4, 4] (camera_to_world to world_to_camera and back)."""
    rotation = np.swapaxes(pose[..., :3, :3], -1, -2)
    inverse = np.zeros_like(pose)
    inverse[..., :3, :3] = rotation
    inverse[..., :3, 3] = -np.einsum("...ij,...j->...i", rotation, pose[..., :3, 3])
    inverse[..., 3, 3] = 1.0
    return inverse


def wrap_angle(angle: float) -> float:
    """The same angle in [-pi, pi)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi
