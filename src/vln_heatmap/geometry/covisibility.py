"""What of the current view a keyframe saw too: the exact three-class answer from depth and poses.

Invariant: every pixel of the current view that has a depth gets exactly one class per keyframe. It is
OUTSIDE if its 3-D point does not project into the keyframe's image, OCCLUDED if it does but the keyframe sees
something nearer there, and else COVISIBLE. Pixels without depth are IGNORE. A rigid motion of the world
changes nothing.

The depth test is where exactness is won or lost. A point falls between the pixel centres of the keyframe, and
on a grazing floor the depth there differs from the nearest pixel's by far more than any sane tolerance. The
inverse depth of a plane, however, is linear in the image, so the test compares with the plane through the
nearest pixel (one-sided differences, the flatter of the two, so that no depth edge leaks into the slope)
as well as with the pixel's own depth, and calls a point occluded only if it lies behind both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.geometry.projection import check_size, project, relative_pose

#: Classes of a pixel of the current view with respect to one keyframe.
COVISIBLE, OCCLUDED, OUTSIDE = 0, 1, 2
CLASS_NAMES = ("co-visible", "occluded", "outside")
#: Not a class: the pixel of the current view has no depth.
IGNORE = 255

#: A point may lie behind the keyframe's surface by RELATIVE * depth + ABSOLUTE metres and still be on it. In
#: furnished rooms at 128 x 128 this leaves 0.2 % of the pixels in view falsely occluded and 0.5 % falsely
#: co-visible, all at silhouettes, within half a pixel of the keyframe (measured against exact sight lines).
RELATIVE, ABSOLUTE = 0.01, 0.01


def covisibility(
    depth: NDArray[np.floating],
    pose: NDArray[np.floating],
    keyframe_depths: NDArray[np.floating],
    keyframe_poses: NDArray[np.floating],
    camera: PinholeCamera,
    grid: tuple[int, int] | None = None,
    *,
    relative: float = RELATIVE,
    absolute: float = ABSOLUTE,
) -> NDArray[np.uint8]:
    """Class of every pixel of the current view for each of K keyframes.

    Args:
        depth: [H, W] z-depth of the current view in metres, 0 = nothing there.
        pose: [4, 4] camera_to_world of the current view (OpenCV camera).
        keyframe_depths: [K, H, W] z-depth in metres. 0 = nothing there, so nothing blocks the sight: a point
            that projects there is co-visible.
        keyframe_poses: [K, 4, 4] camera_to_world.
        camera: intrinsics of all views; its size must be H x W.
        grid: (h, w) to look only at the pixel nearest to the centre of each cell of a coarser grid, which is
            as much faster; None for all pixels. For soft targets compute all pixels and ``reduce_to_grid``.
        relative, absolute: tolerance of the depth test, as a share of depth and in metres.

    Returns:
        [K, H, W] or [K, h, w] uint8: COVISIBLE, OCCLUDED, OUTSIDE, or IGNORE where the current depth is 0.

    Raises:
        ValueError: images of another size than the camera's, as many depths as poses are not given, or a grid
            finer than the image.
    """
    keyframe_depths, keyframe_poses = np.asarray(keyframe_depths), np.asarray(keyframe_poses)
    check_size(depth, camera)
    check_size(keyframe_depths, camera)
    if keyframe_depths.ndim != 3 or keyframe_poses.shape != (len(keyframe_depths), 4, 4):
        raise ValueError(
            f"keyframes must be depths [K, H, W] with poses [K, 4, 4], got {keyframe_depths.shape} with "
            f"{keyframe_poses.shape}"
        )
    rows, columns = cell_pixels(camera, grid)
    picked = depth[np.ix_(rows, columns)].astype(np.float32)  # [h, w]
    rays = camera.directions().astype(np.float32)[np.ix_(rows, columns)]  # [h, w, 3]
    points = (rays * picked[..., None]).reshape(-1, 3)  # [N, 3], current camera frame
    motion = relative_pose(pose, keyframe_poses).astype(np.float32)  # [K, 4, 4]
    u, v, z = project(
        points @ np.swapaxes(motion[:, :3, :3], 1, 2) + motion[:, None, :3, 3], camera
    )  # [K, N]
    classes = np.full(u.shape, OUTSIDE, np.uint8)  # [K, N]
    inside = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)  # False where NaN
    key, point = np.nonzero(inside)  # [M]
    u, v, z = u[key, point], v[key, point], z[key, point]  # [M]
    hidden = z * (1 - relative) - absolute  # [M], depth that the point must exceed the surface by
    classes[key, point] = np.where(_surface(keyframe_depths, key, u, v) * hidden > 1, OCCLUDED, COVISIBLE)
    classes[:, picked.ravel() == 0] = IGNORE
    return classes.reshape(-1, *picked.shape)


def _surface(
    depths: NDArray[np.floating], key: NDArray[np.intp], u: NDArray[np.float32], v: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Inverse depth [M] of what keyframes ``key`` [M] show at (u, v) [M]: of pixel or plane, the farther."""
    inverse = np.zeros(depths.shape, np.float32)  # [K, H, W], 0 = infinitely far
    np.divide(1, depths, out=inverse, where=depths > 0, casting="same_kind")
    row, column = v.astype(np.intp), u.astype(np.intp)  # [M], floor: both are >= 0
    index = np.ravel_multi_index((key, row, column), depths.shape)  # [M]
    pixel = inverse.ravel()[index]
    down = _flatter_slope(inverse, axis=1).ravel()[index]
    right = _flatter_slope(inverse, axis=2).ravel()[index]
    plane = pixel + right * (u - column - 0.5) + down * (v - row - 0.5)  # [M]
    return np.minimum(pixel, plane)


def _flatter_slope(images: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Smaller of forward and backward difference along an axis of [K, H, W]; 0 if the axis has one pixel."""
    if images.shape[axis] == 1:
        return np.zeros_like(images)
    steps = np.diff(images, axis=axis)
    first, last = steps.take([0], axis), steps.take([-1], axis)
    forward, backward = np.concatenate([steps, last], axis), np.concatenate([first, steps], axis)
    return np.where(np.abs(forward) < np.abs(backward), forward, backward)


def cell_pixels(
    camera: PinholeCamera, grid: tuple[int, int] | None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows [h] and columns [w] of the pixels nearest to the centres of a grid's cells."""
    if grid is None:
        return np.arange(camera.height), np.arange(camera.width)
    check_grid(grid, (camera.height, camera.width))
    rows, columns = (np.arange(n) * 2 + 1 for n in grid)
    return rows * camera.height // (2 * grid[0]), columns * camera.width // (2 * grid[1])


class GridClasses(NamedTuple):
    """Classes on a coarser grid.

    Attributes:
        fractions: [K, 3, h, w] float32, share of a cell's area of each class; they sum to 1 less the share
            without depth.
        label: [K, h, w] uint8, the class with the largest share, IGNORE where a cell has no depth at all.
    """

    fractions: NDArray[np.float32]
    label: NDArray[np.uint8]


def reduce_to_grid(classes: NDArray[np.uint8], grid: tuple[int, int]) -> GridClasses:
    """Soft classes of the cells of a coarser grid, from the classes of all pixels.

    Args:
        classes: [K, H, W] as ``covisibility`` gives them.
        grid: (h, w), at most (H, W); pixels that a cell border cuts count for both cells by area.

    Raises:
        ValueError: a grid finer than the image.
    """
    hot = np.stack([classes == c for c in (COVISIBLE, OCCLUDED, OUTSIDE)], axis=1)  # [K, 3, H, W]
    fractions = area_average(hot, grid)  # [K, 3, h, w]
    label = fractions.argmax(axis=1).astype(np.uint8)  # [K, h, w]
    label[fractions.sum(axis=1) == 0] = IGNORE
    return GridClasses(fractions, label)


def area_average(images: NDArray[np.generic], grid: tuple[int, int]) -> NDArray[np.float32]:
    """Mean of images [..., H, W] over each cell of a grid (h, w), exact for any ratio: [..., h, w] float32.

    Raises:
        ValueError: a grid finer than the image.
    """
    check_grid(grid, images.shape[-2:])
    if tuple(grid) == images.shape[-2:]:
        return images.astype(np.float32)
    down, right = (_overlap(cells, pixels) for cells, pixels in zip(grid, images.shape[-2:], strict=True))
    return down @ images.astype(np.float32) @ right.T


def _overlap(cells: int, pixels: int) -> NDArray[np.float32]:
    """Share [cells, pixels] of each cell's extent that each pixel covers; rows sum to 1."""
    edges = np.arange(cells + 1) * (pixels / cells)  # [cells + 1]
    start, stop = edges[:-1, None], edges[1:, None]
    pixel = np.arange(pixels)
    shared = np.minimum(stop, pixel + 1) - np.maximum(start, pixel)
    return (np.clip(shared, 0, None) * (cells / pixels)).astype(np.float32)


def check_grid(grid: tuple[int, int], size: tuple[int, ...]) -> None:
    """Refuse grids (h, w) that are not between 1 x 1 and the image's size (H, W).

    Raises:
        ValueError: such a grid.
    """
    if not all(1 <= cells <= pixels for cells, pixels in zip(grid, size, strict=True)):
        raise ValueError(
            f"grid must be between 1x1 and the image's {size[0]}x{size[1]}, got {grid[0]}x{grid[1]}"
        )
