"""What can be had without training: the methods that every result is compared with.

Invariant: a baseline is a function from a ``Window`` and a map size to ``Maps`` of its K keyframes; it reads
no language, and only ``geometry`` reads depth, poses or ids (it is the ceiling, not a competitor).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from vln_heatmap.geometry.covisibility import COVISIBLE, IGNORE, OCCLUDED, OUTSIDE, reduce_to_grid
from vln_heatmap.geometry.projection import project, relative_pose, transform, unproject
from vln_heatmap.geometry.targets import target_heatmaps
from vln_heatmap.nodes.evaluation_windows import Window
from vln_heatmap.nodes.metrics.heatmap import Maps

Floats = NDArray[Any]
Size = tuple[int, int]
#: Cells along the longer side in which colours are compared.
COLOUR_CELLS = 14
#: SIFT: lowest contrast and greatest edge response (lenient: images are small and rooms are plain), ratio test,
#: inlier distance in pixels, spread of an inlier in image sides.
SIFT_CONTRAST, SIFT_EDGE, SIFT_RATIO, SIFT_PIXELS, SIFT_SPREAD = 0.001, 80, 0.8, 2.0, 0.08


def all_ones(window: Window, size: Size) -> Maps:
    """Everything is in every keyframe."""
    ones = np.ones((len(window), *size), np.float32)
    return Maps(ones, classes=np.zeros(ones.shape, np.uint8))


@dataclass(frozen=True)
class MeanMaps:
    """Means over training windows for each keyframe rank (0 = oldest).

    Attributes:
        mask: [R, h, w] mean target mask.
        valid: [R] share of valid targets.
        shares: [R, 3, h, w] mean share of each class.
    """

    mask: Floats
    valid: Floats
    shares: Floats

    def __call__(self, window: Window, size: Size) -> Maps:
        """The same answer for every window; one with fewer keyframes takes ranks at even steps."""
        ranks = np.linspace(0, len(self.mask) - 1, len(window)).round().astype(int)  # [K]
        shares = np.stack([resized(self.shares[ranks, c], size) for c in range(3)])  # [3, K, h, w]
        classes = shares.argmax(0).astype(np.uint8)
        return Maps(resized(self.mask[ranks], size), validity=self.valid[ranks], classes=classes)


def mean_maps(truths: Iterable[tuple[Floats, NDArray[np.bool_], Floats]], ranks: int) -> MeanMaps:
    """Means by rank over windows, each given as (mask [K, h, w], valid [K], shares [K, 3, h, w]), K <= ranks.

    A window with fewer keyframes counts for ranks at even steps; a rank without any takes the mean of all.

    Raises:
        ValueError: no windows.
    """
    sums: list[list[Any]] = [[] for _ in range(ranks)]
    for mask, valid, shares in truths:
        places = np.linspace(0, ranks - 1, len(mask)).round().astype(int)  # [K]
        for rank, *row in zip(places, mask, valid, shares, strict=True):
            sums[rank].append(row)
    everything = [row for rows in sums for row in rows]
    if not everything:
        raise ValueError("there are no training windows to take means of")
    means = [[np.mean(column, axis=0) for column in zip(*(rows or everything), strict=True)] for rows in sums]
    return MeanMaps(*(np.stack(column).astype(np.float32) for column in zip(*means, strict=True)))


def patch_colour(window: Window, size: Size) -> Maps:
    """Cells that look alike: negative distance in colour mean and spread to the nearest keyframe cell."""
    height, width = window.rgb.shape[1:3]
    grid = _grid(height, width, COLOUR_CELLS)
    pixels = window.rgb.astype(np.float32) / 255  # [K + 1, H, W, 3]
    mean = _cells(pixels, grid)  # [K + 1, P, 3]
    spread = np.sqrt(np.maximum(_cells(pixels**2, grid) - mean**2, 0))
    cells = np.concatenate([mean, spread], axis=-1)  # [K + 1, P, 6]
    current, keys = cells[-1], cells[:-1]
    squared = (
        (current**2).sum(-1)[None, :, None] + (keys**2).sum(-1)[:, None] - 2 * current @ keys.swapaxes(1, 2)
    )
    nearest = np.sqrt(np.maximum(squared.min(-1), 0))  # [K, P]
    return Maps(resized(-nearest.reshape(-1, *grid), size))


def encoder_cosine(window: Window, size: Size) -> Maps:
    """Greatest cosine of each current cell's frozen features with the cells of a keyframe, mean over groups.

    Raises:
        ValueError: the window does not say which features belong together.
    """
    if not window.groups:
        raise ValueError(f"the window of sample {window.sample_id} names no groups of encoder features")
    parts = np.split(window.features, np.cumsum(window.groups), axis=1)[: len(window.groups)]
    maps = [resized(_best_cosine(part.astype(np.float32)), size) for part in parts]
    return Maps(np.mean(maps, axis=0))


def _best_cosine(features: Floats) -> Floats:
    """Features [K + 1, C, gh, gw] to the best cosine of each current cell [K, gh, gw]."""
    count, channels, rows, columns = features.shape
    cells = features.reshape(count, channels, -1)  # [K + 1, C, P]
    cells = cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-8)
    return (cells[-1].T @ cells[:-1]).max(-1).reshape(-1, rows, columns)  # [K, P, Q] -> [K, gh, gw]


def sift_ransac(window: Window, size: Size) -> Maps:
    """Density of SIFT matches that agree on one epipolar geometry (essential matrix, known intrinsics).

    Each inlier is a Gaussian in the current view; a keyframe with fewer than 6 matches gets an empty map.
    """
    height, width = window.rgb.shape[1:3]
    *keys, (points, words) = [_sift(image.tobytes(), (height, width)) for image in window.rgb]
    scores = np.zeros((len(window), *size), np.float32)
    for index, (key_points, key_words) in enumerate(keys):
        pairs = _ratio_matches(words, key_words)  # [M, 2]
        here, there = points[pairs[:, 0]], key_points[pairs[:, 1]]
        inliers = here[_epipolar_inliers(here, there, window.camera.matrix)]  # [N, 2] pixels
        cells = (inliers * [size[1] / width, size[0] / height]).astype(int)
        np.add.at(scores[index], (cells[:, 1], cells[:, 0]), 1)
    sigma = (0, SIFT_SPREAD * size[0], SIFT_SPREAD * size[1])
    return Maps(gaussian_filter(scores, sigma, mode="constant", truncate=8))


@lru_cache(maxsize=1024)
def _sift(pixels: bytes, size: Size) -> tuple[Floats, Floats]:
    """Positions [N, 2] (x, y) in pixels and descriptors [N, 128] of an image; windows share many images."""
    image = np.frombuffer(pixels, np.uint8).reshape(*size, 3)
    sift = cv2.SIFT_create(contrastThreshold=SIFT_CONTRAST, edgeThreshold=SIFT_EDGE)  # type: ignore[attr-defined]
    points, words = sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
    if not points:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    limit = np.nextafter(np.array(size[::-1], np.float32), 0, dtype=np.float32)
    return np.array([point.pt for point in points], np.float32).clip(0, limit), words


def _ratio_matches(words: Floats, others: Floats) -> NDArray[np.int64]:
    """Pairs [M, 2] whose best match is clearly better than the second best (Lowe's ratio test)."""
    if len(words) == 0 or len(others) < 2:
        return np.zeros((0, 2), np.int64)
    squared = (words**2).sum(1)[:, None] + (others**2).sum(1) - 2 * words @ others.T  # [N, N']
    nearest = np.partition(np.maximum(squared, 0), 1, axis=1)[:, :2]
    good = np.flatnonzero(nearest[:, 0] < SIFT_RATIO**2 * nearest[:, 1])
    return np.stack([good, squared[good].argmin(1)], axis=1)


def _epipolar_inliers(here: Floats, there: Floats, k: Floats) -> NDArray[np.bool_]:
    """Which of the matches [M, 2] agree with the essential matrix that most of them agree with [M]."""
    if len(here) < 6:
        return np.zeros(len(here), bool)
    _, mask = cv2.findEssentialMat(
        here, there, k, method=cv2.RANSAC, prob=0.999, threshold=SIFT_PIXELS, maxIters=200
    )
    return np.zeros(len(here), bool) if mask is None else np.asarray(mask).ravel().astype(bool)


def geometry(window: Window, size: Size, *, sigma: float, tolerance: float = 0.05) -> Maps:
    """The ceiling: co-visibility by true depth and poses, restricted to the true ids that are referred to.

    The plain test of tracking data sets, at every pixel: a point is seen if it falls into the keyframe and
    its depth is within ``tolerance`` (relative) of the depth of the pixel that it falls on. ``sigma``: of the
    smoothing, as the targets have it, in cells.
    """
    camera, depth = window.camera, window.depth[-1]
    points = unproject(depth, camera).reshape(-1, 3)  # [N, 3]
    motion = relative_pose(window.poses[-1], window.poses[:-1])  # [K, 4, 4]
    u, v, z = project(transform(points[None], motion), camera)  # [K, N]
    inside = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    row, column = (np.where(inside, a, 0).astype(int) for a in (v, u))
    there = window.depth[np.arange(len(window))[:, None], row, column]  # [K, N]
    seen = np.abs(there - z) <= tolerance * z
    classes = np.where(inside, np.where(seen, COVISIBLE, OCCLUDED), OUTSIDE).astype(np.uint8)
    classes[:, depth.ravel() == 0] = IGNORE
    classes = classes.reshape(-1, camera.height, camera.width)
    heat = target_heatmaps(classes, window.instance[-1], window.referred, sigma, grid=size)
    label = reduce_to_grid(classes, size).label
    return Maps(heat.mask, distribution=heat.distribution, validity=heat.valid.astype(float), classes=label)


def resized(maps: NDArray[np.floating], size: Size) -> Floats:
    """Maps [K, h, w] at another size: bilinear, or the mean of what falls into a cell when shrinking."""
    if maps.shape[1:] == size:
        return maps.astype(np.float32)
    shrinks = size[0] < maps.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(m.astype(np.float32), size[::-1], interpolation=how) for m in maps])


def _grid(height: int, width: int, cells: int) -> Size:
    """Rows and columns of about square cells, ``cells`` along the longer side."""
    scale = cells / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _cells(images: Floats, grid: Size) -> Floats:
    """Mean of each cell of images [N, H, W, C]: [N, P, C]."""
    shrunk = [cv2.resize(image, grid[::-1], interpolation=cv2.INTER_AREA) for image in images]
    return np.stack(shrunk).reshape(len(images), grid[0] * grid[1], -1)


#: Anything that answers a window: baselines and trained models alike.
Method = Callable[[Window, Size], Maps]


def baselines(means: MeanMaps, *, sigma: float) -> dict[str, Method]:
    """All baselines by name."""
    return {
        "all_ones": all_ones,
        "mean_map": means,
        "patch_colour": patch_colour,
        "encoder_cosine": encoder_cosine,
        "sift_ransac": sift_ransac,
        "geometry": partial(geometry, sigma=sigma),
    }
