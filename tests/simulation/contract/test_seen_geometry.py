"""What every simulator sees of boxes: depth, ids and directions in closed form."""

from dataclasses import replace

import numpy as np
import pytest
from hand_built import BLUE, GREEN, PAINTS, RED, Box, build, cast
from views import AHEAD, CAMERA, assert_same, cluttered, edges, free_poses, head_on, look

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.simulation.simulators import shading


@pytest.mark.parametrize("distance", [0.5, 2.0, 7.3])
def test_a_wall_seen_head_on_has_constant_z_depth(make_any, distance):
    seen = look(make_any(), head_on(distance))
    assert seen.depth == pytest.approx(np.full((32, 48), distance), abs=1e-4)
    assert np.all(seen.instance == 1)


def test_arrays_are_as_promised(make_any):
    seen = look(make_any(), head_on(2))
    for array, shape, dtype in (
        (seen.rgb, (32, 48, 3), np.uint8),
        (seen.depth, (32, 48), np.float32),
        (seen.instance, (32, 48), np.int32),
    ):
        assert array.shape == shape
        assert array.dtype == dtype
        assert array.flags.c_contiguous


def test_observations_do_not_share_memory(make_any):
    simulator = make_any()
    first = look(simulator, head_on(2))
    kept = replace(first, rgb=first.rgb.copy(), depth=first.depth.copy(), instance=first.instance.copy())
    look(simulator, head_on(3, textures=np.zeros((4, 4, 4, 3), np.uint8)))
    assert_same(first, kept)


@pytest.mark.parametrize("edge", [0.4, 0.6, 9.4, 9.6, 23.98, 24.02, 31.45, 31.55])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_pixel_centres_are_at_one_half(make_any, edge, axis):
    """A panel that ends at image coordinate ``edge`` covers exactly the pixels whose centre is before it."""
    camera = PinholeCamera(32, 32, 70.0)
    end = (edge - 16) / camera.focal * 2.0  # on a plane 2 m ahead
    high = (end, 9.0, -2.0) if axis == "x" else (9.0, 9.0, -2.0)
    low = (-9.0, -9.0, -2.0001) if axis == "x" else (-9.0, -end, -2.0001)
    seen = look(make_any(camera), build(Box((-30, -30, -8), (30, 30, -7)), Box(low, high)))
    covered = np.arange(32) + 0.5 < edge
    expected = np.broadcast_to(covered if axis == "x" else covered[:, None], (32, 32))
    assert np.array_equal(seen.instance == 2, expected)


def test_left_is_left_and_up_is_up(make_any):
    simulator = make_any()
    simulator.load(
        build(
            Box((-20, -20, -20), (20, 20, 20), inside=True),
            Box((-2.4, -0.4, -4.4), (-1.6, 0.4, -3.6), RED),  # left of straight ahead (-Z)
            Box((-0.4, 1.6, -4.4), (0.4, 2.4, -3.6), GREEN),  # above
            Box((-4.4, -0.4, -0.4), (-3.6, 0.4, 0.4), BLUE),  # a quarter turn to the left
        )
    )
    ahead = simulator.render(AHEAD)
    rows, columns = np.nonzero(ahead.instance == 2)
    assert columns.max() < 24
    assert rows.mean() == pytest.approx(15.5, abs=0.5)
    rows, columns = np.nonzero(ahead.instance == 3)
    assert rows.max() < 16
    assert columns.mean() == pytest.approx(23.5, abs=0.5)
    assert not np.any(ahead.instance == 4)
    for pose, number in ((look_pose((0, 0, 0), np.pi / 2), 4), (look_pose((0, 0, 0), 0, np.arctan(0.5)), 3)):
        rows, columns = np.nonzero(simulator.render(pose).instance == number)
        assert rows.mean() == pytest.approx(15.5, abs=0.5)
        assert columns.mean() == pytest.approx(23.5, abs=0.5)
    for number, paint in ((2, RED), (3, GREEN)):
        colour = ahead.rgb[ahead.instance == number].astype(float).mean(0)
        assert colour / colour.sum() == pytest.approx(PAINTS[paint] / PAINTS[paint].sum(), abs=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_depth_and_ids_are_those_of_exact_rays(make_any, seed):
    rng = np.random.default_rng(seed)
    boxes = cluttered(rng)
    simulator = make_any()
    simulator.load(build(*boxes))
    wrong, errors = 0.0, []
    for pose in free_poses(rng, boxes, 8):
        depth, ids = cast(boxes, pose[:3, 3], CAMERA.directions() @ pose[:3, :3].T)
        seen = simulator.render(pose)
        wrong += np.mean(seen.instance != ids) / 8
        errors.append(np.abs(seen.depth - depth)[~edges(depth, ids)])
    assert wrong < 1e-3
    assert np.mean(np.concatenate(errors) < 1e-4) >= 0.999


@pytest.mark.parametrize("distance", [0.05, 0.025])
def test_near_things_are_seen(make, distance):
    seen = look(make(), head_on(distance))
    assert seen.depth == pytest.approx(np.full((32, 48), distance), abs=1e-5)


def test_nothing_in_front_of_the_near_plane_is_seen(make):
    pane = Box((-9, -9, -0.8 * shading.NEAR), (9, 9, -0.7 * shading.NEAR))
    seen = look(make(), build(pane, Box((-9, -9, -3), (9, 9, -2))))
    assert np.all(seen.instance == 2)
    assert seen.depth == pytest.approx(np.full((32, 48), 2.0), abs=1e-4)


@pytest.mark.parametrize(
    "eye", [(0, 0, 0), (0.3, -0.2, 0.1), (0, 0.99, 0), (0.4, 0.4, 1.2), (0.999, 0, 1.999)]
)
def test_from_within_a_solid_its_inside_is_seen(make, eye):
    """Also on the line over the diagonals of its quads, and with the eye so near that faces are cut."""
    box = Box((-1, -1, -2), (1, 1, 2))
    simulator = make()
    simulator.load(build(box))
    for yaw in (0.0, np.pi / 2):
        pose = look_pose(eye, yaw)
        rays = CAMERA.directions() @ pose[:3, :3].T
        depth, _ = cast([replace(box, inside=True)], pose[:3, 3], rays)
        near = depth < shading.NEAR
        seen = simulator.render(pose)
        assert np.array_equal(seen.instance, np.where(near, 0, 1))
        assert seen.depth == pytest.approx(np.where(near, 0, depth), abs=1e-4)


def test_a_part_that_is_inside_out_is_seen_like_any_other(make):
    """Two boxes of one instance, of which the smaller has its faces the wrong way round."""
    large, small = Box((-5, -5, -9), (5, 5, -8)), Box((-1, -1, -4), (1, 1, -3))
    scene = build(large, replace(small, inside=True))
    seen = look(make(), replace(scene, face_instance=np.ones(24, np.int32)))
    depth, _ = cast([large, small], np.zeros(3), CAMERA.directions() @ AHEAD[:3, :3].T)
    assert seen.depth == pytest.approx(depth, abs=1e-4)


def test_where_nothing_is_the_sky_is_seen(make):
    simulator = make()
    simulator.load(head_on(2))
    seen = simulator.render(look_pose((0.0, 0.0, 0.0), np.pi))
    assert not seen.depth.any()
    assert not seen.instance.any()
    assert np.all(seen.rgb == shading.SKY)


def test_far_things_are_seen(make):
    seen = look(make(), build(Box((-4000, -4000, -2100), (4000, 4000, -2000))))
    assert seen.depth == pytest.approx(np.full((32, 48), 2000), rel=1e-4)


@pytest.mark.parametrize("distance", [4.0, 12.0])
def test_a_picture_on_the_wall_does_not_flicker(make, distance):
    gap = 0.003  # metres
    scene = build(
        Box((-90, -90, -distance - 1), (90, 90, -distance)),
        Box((-90, -90, -distance - 0.5), (90, 90, -distance + gap)),
    )
    simulator = make()
    simulator.load(scene)
    for yaw in (0.0, 0.3, 0.6):
        assert np.all(simulator.render(look_pose((0, 0, 0), yaw)).instance == 2)


def test_odd_sizes(make_any):
    for width, height in ((1, 1), (5, 3), (3, 50)):
        seen = look(make_any(PinholeCamera(width, height, 60.0)), head_on(2))
        assert seen.rgb.shape == (height, width, 3)
        assert seen.depth == pytest.approx(np.full((height, width), 2), abs=1e-4)


def test_faces_of_two_instances_may_share_vertices(make):
    scene = head_on(2)
    split = replace(scene, face_instance=(np.arange(12) % 2 + 1).astype(np.int32))  # each quad's two halves
    seen = look(make(PinholeCamera(33, 33, 150.0)), split)
    diagonal = np.eye(33, dtype=bool)[:, ::-1] | np.eye(33, dtype=bool)
    assert set(np.unique(seen.instance[~diagonal])) == {1, 2}
    assert np.mean(seen.instance == 1) == pytest.approx(0.5, abs=0.05)


def test_ids_are_exact_when_large(make):
    scene = replace(head_on(2), face_instance=np.full(12, 70_001, np.int32))
    assert np.all(look(make(), scene).instance == 70_001)


def test_faces_without_area_change_nothing(make):
    simulator, scene = make(), head_on(2)
    flat = np.array([(0, 0, 1), (2, 2, 2)], np.int32)
    more = replace(
        scene,
        faces=np.concatenate([flat, scene.faces]),
        face_instance=np.concatenate([np.array([9, 9], np.int32), scene.face_instance]),
        face_texture=np.concatenate([np.array([0, 0], np.int32), scene.face_texture]),
    )
    assert_same(look(simulator, scene), look(simulator, more))
