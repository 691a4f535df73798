"""How much faster co-visibility of whole images is than a plain loop over pixels, and how long it takes.

``pytest benchmarks/test_covisibility_speed.py`` prints the milliseconds for 8 keyframes.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.geometry.covisibility import COVISIBLE, OCCLUDED, OUTSIDE, covisibility, reduce_to_grid
from vln_heatmap.geometry.projection import relative_pose
from vln_heatmap.geometry.targets import target_heatmaps

CAMERA = PinholeCamera(128, 128, 90)
KEYFRAMES = 8
pytestmark = pytest.mark.benchmark(timer=time.process_time)  # other processes do not count
Views = tuple[NDArray[np.float32], NDArray[np.float64]]


def room_depth(
    pose: NDArray, camera: PinholeCamera, size: tuple[float, float, float] = (6, 2.6, 5)
) -> NDArray:
    """Depth [H, W] of an empty room of the given size, seen from inside."""
    rays = camera.directions() @ pose[:3, :3].T
    return np.maximum(-pose[:3, 3] / rays, (size - pose[:3, 3]) / rays).min(-1).astype(np.float32)


@pytest.fixture(scope="module")
def views() -> Views:
    """Depths [K + 1, H, W] and poses [K + 1, 4, 4] of a walk through a room; the last is the current view."""
    poses = np.stack([look_pose((1 + 0.4 * i, 1.2, 4 - 0.3 * i), 0.3 * i) for i in range(KEYFRAMES + 1)])
    return np.stack([room_depth(pose, CAMERA) for pose in poses]), poses


def plain_loop(depth: NDArray, pose: NDArray, key_depth: NDArray, key_pose: NDArray) -> NDArray[np.uint8]:
    """One keyframe, pixel by pixel, with only the nearest pixel's depth and a 5 % tolerance."""
    (a, b, c, tx), (d, e, f, ty), (g, h, i, tz) = relative_pose(pose, key_pose)[:3].tolist()
    focal, width, height = CAMERA.focal, CAMERA.width, CAMERA.height
    classes = np.full(depth.shape, OUTSIDE, np.uint8)
    for row in range(height):
        for column in range(width):
            far = float(depth[row, column])
            right, down = (column + 0.5 - width / 2) / focal * far, (row + 0.5 - height / 2) / focal * far
            x = a * right + b * down + c * far + tx
            y = d * right + e * down + f * far + ty
            z = g * right + h * down + i * far + tz
            if z <= 0:
                continue
            u, v = x / z * focal + width / 2, y / z * focal + height / 2
            if 0 <= u < width and 0 <= v < height:
                classes[row, column] = OCCLUDED if z > 1.05 * key_depth[int(v), int(u)] else COVISIBLE
    return classes


def test_vectorised_is_20_times_a_plain_loop(benchmark, views: Views) -> None:
    depths, poses = views
    fast = benchmark(covisibility, depths[-1], poses[-1], depths[:-1], poses[:-1], CAMERA)
    started = time.process_time()
    slow = plain_loop(depths[-1], poses[-1], depths[-2], poses[-2])
    seconds = (time.process_time() - started) * KEYFRAMES
    assert (slow == fast[-1]).mean() > 0.97  # they do the same thing
    times = seconds / benchmark.stats.stats.median
    benchmark.extra_info["times a plain loop"] = round(times)
    assert times >= 20


def test_classes_on_a_28_grid(benchmark, views: Views) -> None:
    depths, poses = views
    classes = benchmark(covisibility, depths[-1], poses[-1], depths[:-1], poses[:-1], CAMERA, (28, 28))
    assert classes.shape == (KEYFRAMES, 28, 28)


def test_soft_targets_on_a_28_grid(benchmark, views: Views) -> None:
    """All that one training sample needs: classes of all pixels, their shares, and the heatmaps."""
    depths, poses = views
    instance = np.ones((128, 128), np.int32)

    def targets() -> tuple[int, ...]:
        classes = covisibility(depths[-1], poses[-1], depths[:-1], poses[:-1], CAMERA)
        reduce_to_grid(classes, (28, 28))
        return target_heatmaps(classes, instance, [1], 1.0, grid=(28, 28)).mask.shape

    assert benchmark(targets) == (KEYFRAMES, 28, 28)
