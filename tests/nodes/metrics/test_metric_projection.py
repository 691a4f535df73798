"""Maps carried between views, against formulas and plain loops."""

import numpy as np
import pytest

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.geometry.projection import project, relative_pose, unproject
from vln_heatmap.nodes.metrics.projection import cell_intrinsics, cells_elsewhere, same_surface, sampled


def read(image: np.ndarray, x: float, y: float) -> float:
    """Bilinear by tent functions."""
    h, w = image.shape
    row, column = np.clip(y - 0.5, 0, h - 1), np.clip(x - 0.5, 0, w - 1)
    down = np.maximum(0, 1 - np.abs(np.arange(h) - row))
    across = np.maximum(0, 1 - np.abs(np.arange(w) - column))
    return float(down @ image @ across)


def test_reading_between_cells() -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((2, 3, 4, 5))
    x, y = rng.uniform(-1, 6, (2, 4, 5)), rng.uniform(-1, 5, (2, 4, 5))
    expected = [
        [[[read(image, x[b, i, j], y[b, i, j]) for j in range(5)] for i in range(4)] for image in maps[b]]
        for b in range(2)
    ]
    np.testing.assert_allclose(sampled(maps, x, y), expected)


def test_centres_of_cells_are_read_as_they_are() -> None:
    image = np.random.default_rng(0).random((1, 3, 4))
    x, y = np.meshgrid(np.arange(4) + 0.5, np.arange(3) + 0.5)
    np.testing.assert_array_equal(sampled(image, x, y), image)


@pytest.mark.parametrize("grid", [(12, 16), (6, 8), (8, 8)])
def test_cells_are_pixels_of_a_coarser_camera(grid: tuple[int, int]) -> None:
    camera = PinholeCamera(16, 12, 80.0)
    poses = np.stack([look_pose((0, 1, 0), 0.1), look_pose((0.3, 1.1, -0.2), -0.2, 0.1)])
    depth = np.random.default_rng(1).uniform(1, 3, grid)
    motion = relative_pose(poses[0], poses[1])
    x, y, z = cells_elsewhere(depth, motion, cell_intrinsics(camera, grid))
    if grid == (12, 16):  # the same, by the functions for pixels
        points = unproject(depth, camera, poses[0])
        u, v, w = project(points.reshape(-1, 3), camera, poses[1])
        for got, wanted in ((x, u), (y, v), (z, w)):
            np.testing.assert_allclose(got.ravel(), wanted, atol=1e-9)
    back = cells_elsewhere(depth, np.eye(4), cell_intrinsics(camera, grid))
    columns, rows = np.meshgrid(np.arange(grid[1]) + 0.5, np.arange(grid[0]) + 0.5)
    np.testing.assert_allclose(np.stack(back[:2]), np.stack([columns, rows]))


def test_no_depth_and_behind_are_nowhere() -> None:
    camera = PinholeCamera(4, 4, 90.0)
    depth = np.ones((4, 4))
    depth[0, 0] = 0
    x, y, z = cells_elsewhere(depth, np.eye(4), cell_intrinsics(camera, (4, 4)))
    assert np.isnan([x[0, 0], y[0, 0], z[0, 0]]).all()
    turned = np.diag([-1.0, 1.0, -1.0, 1.0])
    assert np.isnan(cells_elsewhere(depth, turned, cell_intrinsics(camera, (4, 4)))[0]).all()
    assert not same_surface(depth, x, y, z)[0, 0]


def test_a_surface_is_the_same_within_the_tolerance() -> None:
    depth = np.full((2, 2), 2.0)
    depth[1, 1] = 0
    x, y = np.meshgrid([0.5, 1.5], [0.5, 1.5])
    z = np.array([[2.09, 2.2], [2.0, 2.0]])
    assert same_surface(depth, x, y, z).tolist() == [[True, False], [True, False]]
    assert not same_surface(depth, x + 2, y, z).any()
