"""Between pixels with depth and points in space.

Invariant: ``project`` undoes ``unproject`` for every pose, and a rigid motion of the whole world changes
neither. Depth is z-depth in metres (OpenCV camera, not ray length), poses are ``camera_to_world``, image
coordinates are in pixels with the centre of the first pixel at (0.5, 0.5).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera, invert_pose

#: Depth in metres below which a point counts as behind the camera (and would project to infinity).
NEAR = 1e-4


def unproject(
    depth: NDArray[np.floating], camera: PinholeCamera, camera_to_world: NDArray[np.floating] | None = None
) -> NDArray[np.floating]:
    """3-D points of all pixels.

    Args:
        depth: [..., H, W] z-depth in metres; 0 ("nothing there") gives the camera centre.
        camera: intrinsics; its size must be H x W.
        camera_to_world: poses [..., 4, 4], leading dimensions as ``depth``; None keeps the camera frame.

    Returns:
        [..., H, W, 3] in metres, in the dtype of ``depth`` (float64 if that holds integers).

    Raises:
        ValueError: the depth map is not of the camera's size.
    """
    check_size(depth, camera)
    dtype = np.result_type(depth.dtype, np.float32)
    points = camera.directions().astype(dtype) * depth[..., None]  # [..., H, W, 3]
    if camera_to_world is None:
        return points
    return transform(points, camera_to_world[..., None, :, :])


def transform(points: NDArray[np.floating], pose: NDArray[np.floating]) -> NDArray[np.floating]:
    """Rigid motion of points [..., N, 3] by poses [..., 4, 4] (leading dimensions broadcast)."""
    pose = pose.astype(points.dtype)
    return points @ np.swapaxes(pose[..., :3, :3], -1, -2) + pose[..., None, :3, 3]


def project(
    points: NDArray[np.floating], camera: PinholeCamera, camera_to_world: NDArray[np.floating] | None = None
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
    """Where points appear in a camera's image.

    Args:
        points: [..., N, 3] in metres: world frame, or camera frame if no pose is given.
        camera: intrinsics.
        camera_to_world: poses [..., 4, 4]; leading dimensions broadcast against those of ``points``.

    Returns:
        (u, v, z), each [..., N]: column and row in pixels, and z-depth in metres. Where z < ``NEAR`` the
        point is beside or behind the camera and (u, v) is NaN.
    """
    if camera_to_world is not None:
        points = transform(points, invert_pose(np.asarray(camera_to_world, np.float64)))
    z = points[..., 2]  # [..., N]
    scale = np.full_like(z, np.nan)
    np.divide(camera.focal, z, out=scale, where=z >= NEAR)
    return points[..., 0] * scale + camera.width / 2, points[..., 1] * scale + camera.height / 2, z


def relative_pose(source: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.floating]:
    """Rigid motion that takes points from the source camera's frame to the target camera's.

    Args:
        source, target: camera_to_world [..., 4, 4], leading dimensions broadcast.

    Returns:
        [..., 4, 4] float64. Far from the world's origin it keeps the precision that world points in float32
        would lose.
    """
    return invert_pose(np.asarray(target, np.float64)) @ np.asarray(source, np.float64)


def check_size(image: NDArray[np.generic], camera: PinholeCamera) -> None:
    """Refuse images [..., H, W] that are not of the camera's size.

    Raises:
        ValueError: another size.
    """
    if image.shape[-2:] != (camera.height, camera.width):
        raise ValueError(
            f"images must be {camera.height}x{camera.width} (height x width) as the camera says, "
            f"got shape {image.shape}"
        )
