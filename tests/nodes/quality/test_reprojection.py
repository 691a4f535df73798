"""Agreement of neighbouring depth images against walls and planes whose depth is known in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.nodes.quality.reprojection import Agreement, agreement, nearest_inverse

CAMERA = PinholeCamera(32, 32, 60.0)
IDS = np.ones((2, 32, 32), np.int32)


def agree(depths: Any, poses: Any, ids: np.ndarray = IDS, motions: Any = None, **changes: Any) -> Agreement:
    options = {"stride": 1, "tolerance": 0.05, **changes}
    return agreement(
        np.asarray(depths, np.float32), ids, poses, motions or {}, np.array([0]), CAMERA, **options
    )


def flat(*metres: float) -> np.ndarray:
    return np.stack([np.full((32, 32), value, np.float32) for value in metres])


def test_wall_seen_head_on_agrees_after_a_step_towards_it() -> None:
    poses = np.stack([look_pose((0, 1, 0), 0.0), look_pose((0, 1, -0.5), 0.0)])
    result = agree(flat(3.0, 2.5), poses)
    assert result.error == pytest.approx(0, abs=1e-5)
    assert result.inliers == 1.0
    wrong = agree(flat(3.0, 2.75), poses)  # what should be 2.5 m away lies in front of it
    assert wrong.error == pytest.approx(1 - 1 / 1.1, abs=1e-5)
    assert wrong.inliers == 0.0
    near = agree(flat(3.0, 2.5 / 1.1), poses)  # hides the first, and contradicts it the other way round
    assert near.inliers == 0.0


def test_shift_is_the_distance_in_pixels() -> None:
    """A step of s metres to the right moves a wall at d metres by focal * s / d."""
    poses = np.stack([look_pose((0, 1, 0), 0.0), look_pose((0.4, 1, 0), 0.0)])
    assert agree(flat(2.0, 2.0), poses).shift == pytest.approx(CAMERA.focal * 0.4 / 2, rel=1e-4)


def test_hidden_points_say_nothing() -> None:
    poses = np.stack([look_pose((0, 1, 0), 0.0)] * 2)
    depths = flat(3.0, 3.0)
    depths[1, :, :20] = 1.0  # something came in front of most of the wall
    result = agree(depths, poses)
    # its own points contradict the first frame: there one would have seen through them
    both = 12 * 32 + 12 * 32 + 20 * 32
    assert result.inliers == pytest.approx(2 * 12 * 32 / both, abs=0.03)
    assert np.isnan(agree(depths * 0, poses).error).all()


def test_a_moved_thing_agrees_if_its_motion_is_told() -> None:
    poses = np.stack([look_pose((0, 1, 0), 0.0)] * 2)
    depths, ids = flat(4.0, 4.0), IDS.copy()
    depths[0, :, 4:20], ids[0, :, 4:20] = 2.0, 2
    shift = 8 * 2.0 / CAMERA.focal  # metres at 2 m that are 8 pixels
    depths[1, :, 12:28], ids[1, :, 12:28] = 2.0, 2
    motion = np.stack([np.eye(4)] * 2)
    motion[1, 0, 3] = shift
    told, silent = agree(depths, poses, ids, {2: motion}), agree(depths, poses, ids)
    assert told.inliers == 1.0
    assert silent.inliers < 0.85


@settings(max_examples=25, deadline=None)
@given(yaw=st.floats(-0.2, 0.2), x=st.floats(-0.3, 0.3), z=st.floats(-0.3, 0.3), far=st.floats(-400, 400))
def test_exact_depth_of_a_room_agrees_wherever_it_is(yaw: float, x: float, z: float, far: float) -> None:
    """Two views of an empty box agree, and a rigid motion of the world changes nothing."""
    poses = np.stack([look_pose((0, 1.2, 0), 0.3), look_pose((x, 1.2, z), 0.3 + yaw)])
    rays = CAMERA.directions() @ np.swapaxes(poses[:, None, :3, :3], -1, -2)  # [2, H, W, 3]
    corners, centre = np.array([[-3, 0, -3], [3, 2.5, 3.0]]), poses[:, None, None, :3, 3]
    with np.errstate(divide="ignore"):
        depths = np.where(rays > 0, corners[1] - centre, corners[0] - centre) / rays
    result = agree(depths.min(axis=-1), look_pose((far, 0, -far), 1.0) @ np.diag([1.0, -1, -1, 1]) @ poses)
    assert result.error[0] < 1e-3
    assert result.inliers[0] > 0.99


def test_a_pose_that_is_not_finite_gives_no_answer() -> None:
    poses = np.stack([look_pose((0, 1, 0), 0.0), np.full((4, 4), np.nan)])
    assert all(np.isnan(value).all() for value in agree(flat(3.0, 3.0), poses))


def test_inverse_depth_of_a_slanted_plane_is_exact_between_pixels() -> None:
    camera = PinholeCamera(20, 16, 90.0)
    normal, offset = np.array([0.3, -0.5, 1.0]), 4.0  # points with normal @ p = offset
    depth = (offset / (camera.directions() @ normal)).astype(np.float32)
    u, v = np.array([3.2, 10.0, 19.4]), np.array([5.7, 8.0, 0.6])
    rays = np.stack([(u - 10) / camera.focal, (v - 8) / camera.focal, np.ones(3)], axis=-1)
    there = rays @ normal / offset  # [3]
    found = nearest_inverse(depth[None], np.array([0]), u[None], v[None], 1 / there[None])
    np.testing.assert_allclose(found[0], there, rtol=1e-5)
    outside = nearest_inverse(
        depth[None], np.array([0]), np.array([[0.4, np.nan]]), np.full((1, 2), 5.0), 1.0
    )
    assert np.isnan(outside).all()


def test_between_two_surfaces_the_nearer_match_counts() -> None:
    depth = np.array([[[1.0, 4.0], [1.0, 4.0]]], np.float32)
    middle = np.array([[1.0, 1.0, 1.0]])
    found = nearest_inverse(depth, np.array([0]), middle, middle, np.array([[1.0, 4.0, 1.6]]))
    np.testing.assert_allclose(found, [[1.0, 0.25, 0.625]])  # either surface, or half-way in inverse depth
