"""Projection undoes unprojection, and only the cameras' relation matters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.geometry.projection import project, relative_pose, transform, unproject

reals = st.floats(-20, 20, allow_nan=False)
angles = st.floats(-np.pi, np.pi)
poses = st.builds(
    lambda x, y, z, yaw, pitch: look_pose((x, y, z), yaw, pitch),
    reals,
    reals,
    reals,
    angles,
    st.floats(-1.5, 1.5),
)
cameras = st.builds(PinholeCamera, st.integers(1, 12), st.integers(1, 12), st.floats(20, 150))


def pixel_centres(camera: PinholeCamera) -> tuple[NDArray, NDArray]:
    """Columns and rows [H, W] of the pixel centres."""
    return np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)


@settings(max_examples=60, deadline=None)
@given(camera=cameras, pose=poses, seed=st.integers(0, 2**16))
def test_project_undoes_unproject(camera: PinholeCamera, pose: NDArray, seed: int) -> None:
    depth = np.random.default_rng(seed).uniform(0.1, 30, (camera.height, camera.width))
    u, v, z = project(unproject(depth, camera, pose).reshape(-1, 3), camera, pose)
    columns, rows = pixel_centres(camera)
    np.testing.assert_allclose(u, columns.ravel(), atol=1e-8 * camera.width)
    np.testing.assert_allclose(v, rows.ravel(), atol=1e-8 * camera.width)
    np.testing.assert_allclose(z, depth.ravel(), rtol=1e-9)


@settings(max_examples=60, deadline=None)
@given(source=poses, target=poses, motion=poses)
def test_relative_pose_ignores_where_the_world_is(source: NDArray, target: NDArray, motion: NDArray) -> None:
    np.testing.assert_allclose(
        relative_pose(motion @ source, motion @ target), relative_pose(source, target), atol=1e-10
    )


def test_optical_axis_and_image_corner() -> None:
    camera = PinholeCamera(8, 4, 90)  # 45 degrees to each side: the right border is at x = z
    points = np.array([[0, 0, 5.0], [2, 1, 2.0], [-3, -1.5, 3.0]])
    u, v, z = project(points, camera)
    np.testing.assert_allclose(u, [4, 8, 0], atol=1e-12)
    np.testing.assert_allclose(v, [2, 4, 0], atol=1e-12)
    np.testing.assert_allclose(z, [5, 2, 3])


def test_points_beside_and_behind_have_no_pixel() -> None:
    u, v, z = project(np.array([[1, 0, -2.0], [1, 0, 0.0]]), PinholeCamera(8, 8, 90))
    assert np.isnan(u).all()
    assert np.isnan(v).all()
    np.testing.assert_array_equal(z, [-2, 0])


def test_world_axes_of_an_unrotated_pose() -> None:
    """Yaw 0 looks along -Z; image right is +X and image down is -Y."""
    camera = PinholeCamera(2, 2, 90)
    points = unproject(np.full((2, 2), 4.0), camera, look_pose((10, 1, 20), 0.0))  # [2, 2, 3]
    np.testing.assert_allclose(points[0, 0], [8, 3, 16], atol=1e-12)
    np.testing.assert_allclose(points[1, 1], [12, -1, 16], atol=1e-12)


def test_leading_dimensions_are_kept() -> None:
    camera = PinholeCamera(3, 2, 70)
    stack = np.stack([look_pose((i, 0, 0), i) for i in range(4)])
    depth = np.random.default_rng(0).uniform(1, 2, (4, 2, 3)).astype(np.float32)
    points = unproject(depth, camera, stack)
    assert points.shape == (4, 2, 3, 3)
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points[2], unproject(depth[2], camera, stack[2]))


def test_transform_is_the_matrix_product() -> None:
    pose = look_pose((1, 2, 3), 0.4, -0.2)
    point = np.array([0.5, -1.0, 2.0])
    np.testing.assert_allclose(transform(point[None], pose)[0], (pose @ [*point, 1])[:3], atol=1e-12)


def test_a_depth_map_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"4x8 \(height x width\).*\(8, 4\)"):
        unproject(np.ones((8, 4)), PinholeCamera(8, 4, 90))
