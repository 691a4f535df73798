"""Measures of what the images show: what hides what, corners, patterns, light and blur.

Invariant: images are compared at the same points of the world, found by depth and poses, so that a measure of
light or of hiding is not one of where the camera looks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.geometry.covisibility import COVISIBLE, OCCLUDED, covisibility
from vln_heatmap.geometry.projection import project, unproject
from vln_heatmap.simulation.exposure import to_linear
from vln_heatmap.simulation.scenarios.recorded import focus_of, instances_of, shares
from vln_heatmap.simulation.scenarios.texture import periodicity, unlikeness
from vln_heatmap.simulation.scene import Instance

PAIR_FRAMES = 8  # frames of which all pairs are compared
LEAST_INSIDE = 0.15  # share of one view's pixels that another must have in its field of view
CORNER_ROWS, CORNER_GAP = 0.08, 0.04  # share of rows; relative depth
SURFACES = frozenset({"wall", "floor"})
_GRID = (24, 24)


def hidden_share(sequence: Sequence) -> float:
    """Greatest share of the focus thing, as it is best seen, that another frame has in its field of view but
    behind something (depth test); frames in which half of it or more is outside do not count."""
    thing = focus_of(sequence)[0]
    best = int(shares(sequence, thing).argmax())
    mask = sequence.instance[best] == thing  # [H, W]
    if not mask.any():
        return 0.0
    classes = covisibility(
        sequence.depth[best], sequence.poses[best], sequence.depth, sequence.poses, sequence.camera
    )[:, mask]  # [T, N]
    hidden, seen = (classes == OCCLUDED).mean(1), (classes == COVISIBLE).mean(1)
    return float(np.where(hidden + seen >= 0.5, hidden, 0.0).max())


def median_hidden(sequence: Sequence) -> float:
    """Median share of what one frame shows and another has in its field of view that is hidden there, over the
    pairs of 8 frames that share a field of view; 0 if there is none."""
    picked = picked_frames(len(sequence), PAIR_FRAMES)
    return float(
        np.median(hidden_shares(sequence.depth[picked], sequence.poses[picked], sequence.camera) or [0.0])
    )


def hidden_shares(
    depths: NDArray[np.float32], poses: NDArray[np.float64], camera: PinholeCamera
) -> list[float]:
    """For each ordered pair of K views that share at least ``LEAST_INSIDE`` of a field of view, the share of the
    one view's points in the other's field of view that are hidden there.

    Args:
        depths: [K, H, W] z-depth, metres.
        poses: [K, 4, 4] camera_to_world.
    """
    grid = (min(_GRID[0], camera.height), min(_GRID[1], camera.width))
    shares_hidden: list[float] = []
    for k in range(len(depths)):
        classes = covisibility(depths[k], poses[k], depths, poses, camera, grid)  # [K, h, w]
        hidden, seen = ((classes == c).mean((1, 2)) for c in (OCCLUDED, COVISIBLE))
        other = (np.arange(len(depths)) != k) & (hidden + seen >= LEAST_INSIDE)
        shares_hidden += (hidden / np.maximum(hidden + seen, 1e-9))[other].tolist()
    return shares_hidden


def corner_share(sequence: Sequence) -> float:
    """Share of the frames that show an upright edge in which two walls meet."""
    walls = [i for i, item in instances_of(sequence).items() if item.category == "wall"]
    views = zip(sequence.instance, sequence.depth, strict=True)
    return float(np.mean([shows_corner(ids, depth, walls) for ids, depth in views]))


def shows_corner(ids: NDArray[np.int32], depth: NDArray[np.float32], walls: list[int]) -> bool:
    """Whether two walls are side by side at the same depth in 8 % of the rows or more (images [H, W])."""
    wall = np.where(np.isin(ids, walls), ids, 0)
    left, right = wall[:, :-1], wall[:, 1:]
    gap = np.abs(np.diff(depth, axis=1)) <= CORNER_GAP * depth[:, :-1] + 0.03
    row, _ = np.nonzero((left > 0) & (right > 0) & (left != right) & gap)
    return len(np.unique(row)) >= CORNER_ROWS * len(ids)


def repetition(sequence: Sequence) -> float:
    """Median over 5 frames of how much the largest surface repeats itself, in its own plane: the highest second
    peak of the autocorrelation, 0 (none) to 1."""
    surfaces = surface_ids(instances_of(sequence).values())
    frames = (
        (sequence.rgb[k], sequence.depth[k], largest(sequence.instance[k], surfaces))
        for k in picked_frames(len(sequence), 5)
    )
    return float(np.median([periodicity(*frame, sequence.camera) for frame in frames]))


def largest(ids: NDArray[np.int32], wanted: list[int]) -> NDArray[np.bool_]:
    """Mask [H, W] of the one of the wanted instances that covers most of an image of ids [H, W]."""
    count = np.bincount(ids[np.isin(ids, wanted)], minlength=1)
    return ids == (count.argmax() if count.any() else -1)


def surface_difference(sequence: Sequence) -> float:
    """Median over 5 frames of how much the colours of walls and floors differ from the most similar one's, as a
    distance of log-chromaticities."""
    surfaces = surface_ids(instances_of(sequence).values())
    picked = picked_frames(len(sequence), 5)
    return float(np.median([unlikeness(sequence.rgb[k], sequence.instance[k], surfaces) for k in picked]))


def surface_ids(items: Iterable[Instance]) -> list[int]:
    """Ids of walls and floors."""
    return [item.id for item in items if item.category in SURFACES]


def light_ratio(sequence: Sequence) -> float:
    """Greatest factor by which the light on the same surfaces changes: median ratios of linear brightness at
    co-visible points of consecutive frames, multiplied up."""
    changes = [0.0]
    for k in range(len(sequence) - 1):
        before, after = same_points(sequence, k, k + 1)
        if len(before) >= 16:
            changes.append(float(np.median(np.log((after + 1e-3) / (before + 1e-3)))))
        else:
            changes.append(0.0)
    return math.exp(float(np.ptp(np.cumsum(changes))))


def same_points(
    sequence: Sequence, first: int, second: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Linear brightness [N] of the same points of the world in two frames, unclipped ones only."""
    u, v, seen = _correspondences(sequence, first, second)  # [H, W]
    row, column = np.nonzero(seen)
    before = sequence.rgb[first][row, column]  # [N, 3]
    after = sequence.rgb[second][v[seen].astype(int), u[seen].astype(int)]
    usable = (np.maximum(before, after).max(1) < 250) & (np.minimum(before, after).min(1) > 2)
    return to_linear(before[usable]).mean(1), to_linear(after[usable]).mean(1)


def blur_length(sequence: Sequence) -> float:
    """Median over the frames of how far the image moves while the shutter is open, in per cent of its width."""
    shutter = float(sequence.metadata.get("shutter", 0.0))
    lengths = [shutter * pixel_motion(sequence, k) for k in range(len(sequence) - 1)]
    return 100 * float(np.median(lengths or [0.0])) / sequence.camera.width


def pixel_motion(sequence: Sequence, frame: int) -> float:
    """Median distance in pixels by which the points of a frame move until the next."""
    camera = sequence.camera
    points = unproject(sequence.depth[frame].astype(np.float64), camera, sequence.poses[frame])
    u, v, _ = project(points[sequence.depth[frame] > 0], camera, sequence.poses[frame + 1])  # [N]
    row, column = np.nonzero(sequence.depth[frame] > 0)
    moved = np.hypot(u - column - 0.5, v - row - 0.5)
    return float(np.median(moved[np.isfinite(moved)])) if np.isfinite(moved).any() else math.inf


def _correspondences(
    sequence: Sequence, first: int, second: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Where the pixels [H, W] of a frame appear in another (column, row), and whether they are seen there."""
    camera, poses = sequence.camera, sequence.poses
    depth = sequence.depth[first].astype(np.float64)
    u, v, _ = project(unproject(depth, camera, poses[first]), camera, poses[second])  # [H, W]
    classes = covisibility(depth, poses[first], sequence.depth[[second]], poses[[second]], camera)[0]
    return u, v, classes == COVISIBLE


def picked_frames(length: int, count: int) -> list[int]:
    """Indices of ``count`` frames, evenly spread from the first to the last."""
    return [int(i) for i in np.unique(np.linspace(0, length - 1, min(count, length)).round())]
