"""What of the current view a keyframe saw too: the exact three-class answer from depth and poses.

Invariant: every pixel of the current view that has a depth gets exactly one class per keyframe. It is
OUTSIDE if its 3-D point does not project into the keyframe's image, OCCLUDED if it does but the keyframe sees
something nearer there, and else COVISIBLE. Pixels without depth are IGNORE. A rigid motion of the world
changes nothing. A point of a thing that moves is looked for where it was at the keyframe's time; what the thing
has uncovered since was hidden then.

The depth test is where exactness is won or lost. A point falls between the pixel centres of the keyframe, and
on a grazing floor the depth there differs from the nearest pixel's by far more than any sane tolerance. The
inverse depth of a plane, however, is linear in the image. So the point is compared with the plane through the
nearest pixel (one-sided differences, of the side that bends less, so that neither an edge nor a crease leaks
into the slope), with the pixel's own depth, and with the planes of the two neighbours on the point's side if
they meet the pixel's plane in a convex edge. It is occluded only if it lies behind all of these. Between
polyhedra that leaves no error but at silhouettes, where half a pixel of the keyframe cannot be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera, invert_pose
from vln_heatmap.geometry.projection import check_size, project, relative_pose

#: Classes of a pixel of the current view with respect to one keyframe.
COVISIBLE, OCCLUDED, OUTSIDE = 0, 1, 2
CLASS_NAMES = ("co-visible", "occluded", "outside")
#: Not a class: the pixel of the current view has no depth.
IGNORE = 255

#: A point may lie behind the keyframe's surface by RELATIVE * depth + ABSOLUTE metres and still be on it. In
#: furnished rooms at 128 x 128 this leaves 0.7 % of the pixels in view falsely occluded and 0.5 % falsely
#: co-visible (against exact sight lines), none of them farther than two keyframe pixels from a silhouette.
RELATIVE, ABSOLUTE = 0.005, 0.005


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
    motions: Mapping[int, NDArray[np.floating]] | None = None,
    instance_c: NDArray[np.integer] | None = None,
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
            faster; None for all pixels. For soft targets compute all pixels and ``reduce_to_grid``.
        relative, absolute: tolerance of the depth test, as a share of depth and in metres.
        motions: world transforms [K, 4, 4] by instance id that take the instance's points from the current
            view's time to each keyframe's (``motions_between``); None = nothing moves.
        instance_c: [H, W] instance ids of the current view; needed with ``motions``.

    Returns:
        [K, H, W] or [K, h, w] uint8: COVISIBLE, OCCLUDED, OUTSIDE, or IGNORE where the current depth is 0.

    Raises:
        ValueError: images of another size than the camera's, as many depths as poses are not given, a grid
            finer than the image, or motions without ids or not one for each keyframe.
    """
    keyframe_depths, keyframe_poses = np.asarray(keyframe_depths), np.asarray(keyframe_poses)
    check_size(depth, camera)
    check_size(keyframe_depths, camera)
    if keyframe_depths.ndim != 3 or keyframe_poses.shape != (len(keyframe_depths), 4, 4):
        raise ValueError(
            f"keyframes must be depths [K, H, W] with poses [K, 4, 4], got {keyframe_depths.shape} with "
            f"{keyframe_poses.shape}"
        )
    chosen = np.ix_(*cell_pixels(camera, grid))
    picked = depth[chosen].astype(np.float32)  # [h, w]
    points = _rays(camera, grid) * picked.ravel()  # [3, N], frame of the current camera
    relatives = relative_pose(pose, keyframe_poses).astype(np.float32)  # [K, 4, 4]
    carried = _carried(motions, instance_c, chosen, pose, keyframe_poses)
    classes = np.empty((len(relatives), points.shape[1]), np.uint8)  # [K, N]
    # all pixels at once, keyframes in turn: the arrays of one keyframe stay in the processor's cache
    for k, (key_depth, matrix) in enumerate(zip(keyframe_depths, relatives, strict=True)):
        there = _apply(matrix, points)  # [3, N], frame of the keyframe's camera
        for pixels, moves, matrices in carried:
            if moves[k]:
                there[:, pixels] = _apply(matrices[k], points[:, pixels])
        classes[k] = _classes_in(key_depth, there, camera, relative=relative, absolute=absolute)
    classes[:, picked.ravel() == 0] = IGNORE
    return classes.reshape(-1, *picked.shape)


def motions_between(
    motions: Mapping[int, NDArray[np.floating]], current: int, keyframes: NDArray[np.integer]
) -> dict[int, NDArray[np.float64]]:
    """What takes the points of moved instances from the current view's time to that of each keyframe.

    Args:
        motions: rest-to-world transforms [T, 4, 4] by instance id.
        current, keyframes: frame indices, one and [K].

    Returns:
        World transforms [K, 4, 4] of the instances that are at some keyframe not where they are now; exactly
        the identity where they are.
    """
    result = {}
    for key, given in motions.items():
        motion = np.asarray(given, np.float64)
        same = (motion[keyframes] == motion[current]).all(axis=(1, 2), keepdims=True)  # [K, 1, 1]
        if not same.all():
            result[key] = np.where(same, np.eye(4), motion[keyframes] @ invert_pose(motion[current]))
    return result


def _carried(
    motions: Mapping[int, NDArray[np.floating]] | None,
    instance: NDArray[np.integer] | None,
    chosen: tuple[NDArray[np.intp], ...],
    pose: NDArray[np.floating],
    keyframe_poses: NDArray[np.floating],
) -> list[tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.float32]]]:
    """For each moved instance in view: its pixels [M] among the chosen ones, the keyframes [K] for which it is
    not where it was, and what takes its points from the current camera's frame to theirs, [K, 4, 4]."""
    if not motions:
        return []
    if instance is None:
        raise ValueError(
            f"motions of instances {sorted(motions)} need instance_c, the ids of the current view"
        )
    ids, result = instance[chosen].ravel(), []
    for key, motion in motions.items():
        if motion.shape != (len(keyframe_poses), 4, 4):
            raise ValueError(
                f"the motion of instance {key} must be [{len(keyframe_poses)}, 4, 4], got {motion.shape}"
            )
        pixels = np.flatnonzero(ids == key)  # [M]
        if len(pixels):
            matrices = invert_pose(np.asarray(keyframe_poses, np.float64)) @ motion @ pose  # [K, 4, 4]
            moves = (motion != np.eye(4)).any(axis=(1, 2))  # [K]
            result.append((pixels, moves, matrices.astype(np.float32)))
    return result


def _apply(matrix: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rigid motion [4, 4] of points [3, N]."""
    return matrix[:3, :3] @ points + matrix[:3, 3:]


@lru_cache(maxsize=16)
def _rays(camera: PinholeCamera, grid: tuple[int, int] | None) -> NDArray[np.float32]:
    """Camera-frame directions, scaled to z = 1, of the pixels that a grid picks: [3, N]."""
    rows, columns = cell_pixels(camera, grid)
    rays = camera.directions().astype(np.float32)[np.ix_(rows, columns)]  # [h, w, 3]
    return np.ascontiguousarray(rays.reshape(-1, 3).T)


def _classes_in(
    key_depth: NDArray[np.floating],
    points: NDArray[np.float32],
    camera: PinholeCamera,
    *,
    relative: float,
    absolute: float,
) -> NDArray[np.uint8]:
    """Classes [N] of points [3, N] in the frame of a keyframe's camera."""
    u, v, z = project(points.T, camera)  # [N]
    classes = np.full(u.shape, OUTSIDE, np.uint8)  # [N]
    within = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)  # [N], False where NaN
    (inside,) = np.nonzero(within)  # [M]
    classes[inside] = COVISIBLE
    inverse = np.zeros(key_depth.shape, np.float32)  # [H, W], 0 = infinitely far
    np.divide(1, key_depth, out=inverse, where=key_depth > 0, casting="same_kind")
    u, v, z = u[inside], v[inside], z[inside] * (1 - relative) - absolute  # [M]
    (behind,) = np.nonzero(inverse[v.astype(np.intp), u.astype(np.intp)] * z > 1)
    if len(behind):  # behind the nearest pixel: for these few the surface around it decides
        behind = behind[_farthest_surface(inverse, u[behind], v[behind]) * z[behind] > 1]
    classes[inside[behind]] = OCCLUDED
    return classes


def _farthest_surface(
    inverse: NDArray[np.float32], u: NDArray[np.float32], v: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Smallest inverse depth [M] of the planes that an image of inverse depth [H, W] may show at (u, v) [M]."""
    planes = inverse, _slope(inverse), _slope(inverse.T).T
    row, column = v.astype(np.intp), u.astype(np.intp)  # [M], floor: both are >= 0
    right, down = u - column - 0.5, v - row - 0.5  # [M], from the pixel's centre, in [-0.5, 0.5)
    surface = _plane_at(planes, row, column, right, down)  # [M]
    beside = np.clip(column + np.where(right < 0, -1, 1), 0, inverse.shape[1] - 1)
    above = np.clip(row + np.where(down < 0, -1, 1), 0, inverse.shape[0] - 1)
    for other_row, other_column in ((row, beside), (above, column)):
        across, along = column - other_column, row - other_row  # [M], from that pixel's centre to this one's
        convex = _plane_at(planes, other_row, other_column, across, along) >= inverse[row, column]  # [M]
        there = _plane_at(planes, other_row, other_column, across + right, along + down)
        np.minimum(surface, there, out=surface, where=convex)  # each plane ends where it meets the other
    return surface


def _plane_at(
    planes: tuple[NDArray[np.float32], ...],
    row: NDArray[np.intp],
    column: NDArray[np.intp],
    right: NDArray[Any],
    down: NDArray[Any],
) -> NDArray[np.float32]:
    """Inverse depth [M] of the planes of pixels [M], at a distance [M] to the right and down of their centres.

    ``planes`` are the inverse depth of all pixels and its slopes to the right and down, each [H, W].
    """
    inverse, right_slope, down_slope = planes
    return inverse[row, column] + right_slope[row, column] * right + down_slope[row, column] * down


def _slope(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Step to the next or from the last pixel in the rows of an image [H, W]: of the side that bends less."""
    steps = np.diff(image)  # [H, W - 1]
    if not steps.shape[1]:
        return np.zeros_like(image)
    bend = np.full((len(image), image.shape[1] + 2), np.inf, np.float32)
    bend[:, 2:-2] = np.abs(np.diff(steps))  # [i]: bend at pixel i - 1, so [i + 2]: at pixel i + 1
    forward = np.concatenate([steps, steps[:, -1:]], axis=1)
    backward = np.concatenate([steps[:, :1], steps], axis=1)
    return np.where(bend[:, 2:] < bend[:, :-2], forward, backward)


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
