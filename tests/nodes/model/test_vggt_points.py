"""Points from depth and cameras: closed forms, and the agreement of encodings, depth and points."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from box_walks import CAMERA, ROOM, walk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vln_heatmap.geometry.cameras import invert_pose
from vln_heatmap.geometry.projection import unproject as unproject_array
from vln_heatmap.nodes.model.vggt import depth_points, encode_cameras, unproject
from vln_heatmap.nodes.model.vggt.points import invert_rigid

IDENTITY = torch.eye(4, dtype=torch.float64)


def intrinsics(focal_x: float, focal_y: float, width: int, height: int) -> torch.Tensor:
    rows = [[focal_x, 0, width / 2], [0, focal_y, height / 2], [0, 0, 1]]
    return torch.tensor(rows, dtype=torch.float64)


def test_a_plane_seen_head_on_is_flat_and_as_wide_as_the_field_of_view_says() -> None:
    """At depth 2 and 90 degrees the image is 4 m wide; its outermost pixel centres lie half a pixel inside."""
    points = unproject(torch.full((6, 8), 2.0, dtype=torch.float64), IDENTITY, intrinsics(4, 4, 8, 6))
    assert (points[..., 2] == 2).all()
    torch.testing.assert_close(points[0, :, 0], torch.arange(8, dtype=torch.float64) * 0.5 - 1.75)
    torch.testing.assert_close(points[:, 0, 1], torch.arange(6, dtype=torch.float64) * 0.5 - 1.25)


def test_a_camera_that_moved_and_turned_sees_the_point_where_it_is() -> None:
    """World one metre ahead of a camera at (3, 0, 0) that looks along +x (a turn by 90 degrees about y)."""
    pose = IDENTITY.clone()  # camera_to_world: z of the camera is x of the world
    pose[:3, :3] = torch.from_numpy(Rotation.from_euler("y", 90, degrees=True).as_matrix())
    pose[0, 3] = 3
    depth = torch.ones(1, 1, dtype=torch.float64)
    point = unproject(depth, invert_rigid(pose), intrinsics(1, 1, 1, 1))[0, 0]
    torch.testing.assert_close(point, torch.tensor([4.0, 0, 0], dtype=torch.float64), atol=1e-12, rtol=0)


@given(
    st.floats(0.5, 3),
    st.floats(0.5, 3),
    st.lists(st.floats(-3, 3), min_size=6, max_size=6),
    st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_what_is_unprojected_projects_to_its_pixel(
    fx: float, fy: float, pose: list[float], seed: int
) -> None:
    camera = IDENTITY.clone()
    camera[:3, :3] = torch.from_numpy(Rotation.from_rotvec(pose[:3]).as_matrix())
    camera[:3, 3] = torch.tensor(pose[3:], dtype=torch.float64)
    matrix = intrinsics(fx * 5, fy * 5, 5, 4)
    depth = torch.rand(4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1
    points = unproject(depth, camera, matrix)
    seen = (points @ camera[:3, :3].T + camera[:3, 3]) @ matrix.T  # [H, W, 3]
    torch.testing.assert_close(seen[..., 2], depth)
    torch.testing.assert_close(seen[..., 0] / depth, (torch.arange(5) + 0.5).double().expand(4, 5))
    torch.testing.assert_close(seen[..., 1] / depth, (torch.arange(4) + 0.5).double()[:, None].expand(4, 5))


def test_encodings_and_depth_give_the_points_of_the_simulator_s_truth() -> None:
    """Through the encoding and back: a walk's points in the first camera's frame, and on the walls of the box."""
    sequence = walk()
    truth = unproject_array(sequence.depth.astype(np.float64), sequence.camera, sequence.poses)  # world
    first = sequence.poses[0]
    cameras = torch.from_numpy(invert_pose(sequence.poses) @ first)  # camera from first camera
    encoding = encode_cameras(cameras, torch.from_numpy(CAMERA.matrix), (CAMERA.height, CAMERA.width))
    points = depth_points(torch.from_numpy(sequence.depth).double(), encoding).numpy()  # [T, H, W, 3]
    world = points @ first[:3, :3].T + first[:3, 3]
    np.testing.assert_allclose(world, truth, atol=1e-6)
    assert (world > ROOM[0] - 0.01).all()
    assert (world < ROOM[1] + 0.01).all()


def test_leading_dimensions_are_independent() -> None:
    depth = torch.rand(2, 3, 4, 5) + 0.1
    camera = torch.eye(4).repeat(2, 3, 1, 1)
    camera[..., :3, 3] = torch.rand(2, 3, 3)
    matrix = intrinsics(4, 4, 5, 4).float().expand(2, 3, 3, 3)
    whole = unproject(depth, camera, matrix)
    assert whole.shape == (2, 3, 4, 5, 3)
    torch.testing.assert_close(whole[1, 2], unproject(depth[1, 2], camera[1, 2], matrix[1, 2]))


@pytest.mark.parametrize(("fov", "turn"), [(60.0, 30.0), (90.0, 0.0), (120.0, -170.0)])
def test_a_known_camera_has_a_known_encoding(fov: float, turn: float) -> None:
    """Closed form: a turn by a about y is (0, sin(a/2), 0, cos(a/2)); a square image has twice the same angle."""
    camera = IDENTITY.clone()
    camera[:3, :3] = torch.from_numpy(Rotation.from_euler("y", turn, degrees=True).as_matrix())
    camera[:3, 3] = torch.tensor([1.0, -2.0, 0.5])
    focal = 50 / math.tan(math.radians(fov) / 2)
    half = math.radians(turn) / 2
    want = [1.0, -2.0, 0.5, 0, math.sin(half), 0, math.cos(half), math.radians(fov), math.radians(fov)]
    encoding = encode_cameras(camera, intrinsics(focal, focal, 100, 100), (100, 100))
    torch.testing.assert_close(encoding, torch.tensor(want, dtype=torch.float64), atol=1e-12, rtol=1e-12)
