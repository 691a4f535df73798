"""Co-visibility against scenes in which the answer is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_scenes import Box, BoxScene, free_pose, furnished_room
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.geometry.covisibility import (
    COVISIBLE,
    IGNORE,
    OCCLUDED,
    OUTSIDE,
    area_average,
    covisibility,
    reduce_to_grid,
)
from vln_heatmap.geometry.projection import project, unproject

CAMERA = PinholeCamera(64, 48, 90)
WALL = BoxScene([Box((-50, -50, -5), (50, 50, -4))])  # its face is at z = -4: head-on at 4 m for yaw 0
ROOM = BoxScene(room=Box((0, 0, 0), (6, 2.6, 5)))


def classes_between(
    scene: BoxScene, pose: NDArray, others: list[NDArray], camera: PinholeCamera = CAMERA
) -> NDArray[np.uint8]:
    """Classes [K, H, W] of a scene's views."""
    depths = np.stack([scene.render(camera, other)[0] for other in others])
    return covisibility(scene.render(camera, pose)[0], pose, depths, np.stack(others), camera)


@pytest.mark.parametrize(("right", "up"), [(1.0, 0.0), (-2.3, 0.0), (0.0, 0.7), (3.1, -1.9), (9.0, 0.0)])
def test_wall_head_on_overlaps_in_the_known_band(right: float, up: float) -> None:
    """A move of t metres shifts the image of a wall at 4 m by focal * t / 4 pixels."""
    (classes,) = classes_between(WALL, look_pose((0, 0, 0), 0), [look_pose((right, up, 0), 0)])
    u = np.arange(64) + 0.5 - CAMERA.focal * right / 4
    v = np.arange(48) + 0.5 + CAMERA.focal * up / 4
    seen = ((v >= 0) & (v < 48))[:, None] & ((u >= 0) & (u < 64))[None]
    np.testing.assert_array_equal(classes, np.where(seen, COVISIBLE, OUTSIDE))


def test_wall_from_twice_the_distance_is_all_seen_and_back_only_the_middle() -> None:
    near, far = look_pose((0, 0, 0), 0), look_pose((0, 0, 4), 0)
    assert (classes_between(WALL, near, [far]) == COVISIBLE).all()
    (back,) = classes_between(WALL, far, [near])
    expected = np.full((48, 64), OUTSIDE)
    expected[12:36, 16:48] = COVISIBLE  # half the field of view at twice the distance
    np.testing.assert_array_equal(back, expected)


@pytest.mark.parametrize("degrees", [0.0, 15.0, -30.0, 60.0, 89.0, 91.0, 180.0])
def test_turning_on_the_spot_never_occludes_and_overlaps_by_angle(degrees: float) -> None:
    """After a left turn by t, a ray at azimuth a (left +) and slope y / z is seen at azimuth a - t."""
    turn = np.radians(degrees)
    (classes,) = classes_between(ROOM, look_pose((3, 1.2, 2), 0.3), [look_pose((3, 1.2, 2), 0.3 + turn)])
    x, y = CAMERA.directions()[..., 0], CAMERA.directions()[..., 1]  # [H, W]
    azimuth = np.arctan(-x) - turn
    half = np.pi / 4
    row_slope = y * np.cos(np.arctan(x)) / np.cos(azimuth)  # y / z after the turn
    seen = (np.abs(azimuth) < half) & (np.abs(row_slope) < 48 / 64)
    assert (classes != np.where(seen, COVISIBLE, OUTSIDE)).sum() <= 1  # a room corner between four pixels


def test_overlap_of_a_turn_by_a_third_of_the_field_of_view_is_two_thirds_of_the_angles() -> None:
    camera = PinholeCamera(301, 1, 90)
    (classes,) = classes_between(
        ROOM, look_pose((3, 1, 2), 0), [look_pose((3, 1, 2), np.radians(30))], camera
    )
    azimuth = np.degrees(np.arctan(-camera.directions()[0, :, 0]))  # [-45, 45], left +
    assert azimuth[classes[0] == COVISIBLE].min() == pytest.approx(-15, abs=0.5)
    assert azimuth[classes[0] == COVISIBLE].max() == pytest.approx(45, abs=0.5)


def test_plate_throws_its_exact_shadow() -> None:
    """A plate of half width a at distance b hides |x| < a * d / b of a wall at distance d."""
    camera, half, near, wall = PinholeCamera(65, 65, 90), 0.4, 2.0, 4.0
    plate = Box((-half, -half, -near - 1e-3), (half, half, -near))
    scene = BoxScene([*WALL.boxes, plate])
    pose = look_pose((0, 0, -2.5), 0)  # between plate and wall: sees 3 x 3 m of the wall
    (classes,) = classes_between(scene, pose, [look_pose((0, 0, 0), 0)], camera)
    points = np.abs(camera.directions()[..., :2]).max(-1) * 1.5  # [H, W], |x| or |y| on the wall
    edge = half * wall / near
    clear = np.abs(points - edge) > 0.5 * wall / camera.focal  # half a keyframe pixel on the wall
    expected = np.where(points < edge, OCCLUDED, COVISIBLE)
    np.testing.assert_array_equal(classes[clear], expected[clear])
    assert (classes == OCCLUDED).mean() == pytest.approx((edge / 1.5) ** 2, rel=0.06)


def test_facing_the_other_way_is_all_outside() -> None:
    (classes,) = classes_between(ROOM, look_pose((3, 1.2, 2.5), 0), [look_pose((3, 1.2, 2.5), np.pi)])
    assert (classes == OUTSIDE).all()


def test_behind_a_wall_is_all_occluded() -> None:
    screen = Box((-50, -50, -1.1), (50, 50, -1))
    scene = BoxScene([*WALL.boxes, screen])
    (classes,) = classes_between(scene, look_pose((0, 0, -2), 0), [look_pose((0, 0, 0), 0)])
    assert (classes == OCCLUDED).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_a_view_sees_all_of_itself(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = furnished_room(rng)
    pose = free_pose(rng, scene, pitch=1.0)
    assert (classes_between(scene, pose, [pose]) == COVISIBLE).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), x=st.floats(-500, 500), yaw=st.floats(-3, 3), pitch=st.floats(-1, 1))
def test_moving_the_whole_world_changes_nothing(seed: int, x: float, yaw: float, pitch: float) -> None:
    rng = np.random.default_rng(seed)
    scene = furnished_room(rng)
    poses = np.stack([free_pose(rng, scene) for _ in range(4)])
    depths = np.stack([scene.render(CAMERA, pose)[0] for pose in poses])
    moved = look_pose((x, -x / 2, 7), yaw, pitch) @ poses
    here = covisibility(depths[0], poses[0], depths[1:], poses[1:], CAMERA)
    there = covisibility(depths[0], moved[0], depths[1:], moved[1:], CAMERA)
    assert (here != there).mean() < 1e-3  # pixels that lie on a border within rounding


def test_classes_agree_with_exact_sight_lines() -> None:
    """No error but near silhouettes of the keyframe; there, few, and about as many on either side."""
    rng = np.random.default_rng(7)
    camera = PinholeCamera(96, 96, 90)
    hidden_wrongly, seen_wrongly, near = [], [], []
    while len(near) < 12:
        scene = furnished_room(rng)
        pose, other = free_pose(rng, scene), free_pose(rng, scene)
        (classes,) = classes_between(scene, pose, [other], camera)
        points = unproject(scene.render(camera, pose)[0].astype(np.float64), camera, pose)[classes != OUTSIDE]
        if len(points) < 1000:
            continue
        truth = scene.unblocked(points, other[:3, 3], margin=5e-3)
        found = classes[classes != OUTSIDE] == COVISIBLE
        hidden_wrongly.append(truth & ~found)
        seen_wrongly.append(found & ~truth)
        ids = scene.render(camera, other)[1]
        silhouette = maximum_filter(ids, 5) != minimum_filter(ids, 5)  # within two pixels of one
        u, v, _ = project(points, camera, other)
        near.append(silhouette[v.astype(int), u.astype(int)])
    false_hidden, false_seen, beside = map(np.concatenate, (hidden_wrongly, seen_wrongly, near))
    assert beside.mean() < 0.25
    assert not (false_hidden & ~beside).any()
    assert not (false_seen & ~beside).any()
    assert false_hidden.mean() < 0.015
    assert false_seen.mean() < 0.015


def test_grazing_floor_is_not_falsely_occluded() -> None:
    """From 0.3 m above the floor, depth changes by metres from row to row."""
    floor = BoxScene([Box((-100, -1, -100), (100, 0, 100))])
    camera = PinholeCamera(48, 48, 90)
    pose, low = look_pose((0.11, 2, -3), 0.2, -0.6), look_pose((0, 0.3, 0), 0)
    (classes,) = classes_between(floor, pose, [low], camera)
    assert (classes == COVISIBLE).mean() > 0.7  # the rest is sky
    assert not (classes == OCCLUDED).any()
    depth, key_depth = floor.render(camera, pose)[0], floor.render(camera, low)[0]
    u, v, z = project(unproject(depth.astype(float), camera, pose).reshape(-1, 3), camera, low)
    nearest = key_depth[v.astype(int), np.clip(u.astype(int), 0, 47)]
    assert (z > nearest * 1.05).mean() > 0.1  # what a plain 5 % rule would call occluded


def test_covisibility_is_symmetric_up_to_a_pixel() -> None:
    """A pixel that is co-visible with k falls on (or beside) a pixel of k that is co-visible with it.

    Left out: the border, and points so much nearer here that one pixel there is several here.
    """
    mirrored = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        scene = furnished_room(rng, boxes=4)
        here, there = free_pose(rng, scene), free_pose(rng, scene)
        (classes,) = classes_between(scene, here, [there])
        (back,) = classes_between(scene, there, [here])
        depth = scene.render(CAMERA, here)[0].astype(np.float64)
        inner = np.zeros(depth.shape, bool)
        inner[3:-3, 3:-3] = classes[3:-3, 3:-3] == COVISIBLE
        u, v, z = project(unproject(depth, CAMERA, here)[inner], CAMERA, there)
        alike = z < 2 * depth[inner]
        around = maximum_filter(back == COVISIBLE, 3)
        mirrored.append(around[v[alike].astype(int), u[alike].astype(int)])
    every = np.concatenate(mirrored)
    assert len(every) > 10_000
    assert every.mean() > 0.998


def test_symmetry_is_exact_where_nothing_occludes() -> None:
    """In an empty room the two relations are mirror images: every seen pixel maps to a seen pixel."""
    here, there = look_pose((2, 1.2, 3), 0.2), look_pose((4, 1.5, 1.5), 1.1, -0.2)
    (classes,) = classes_between(ROOM, here, [there])
    (back,) = classes_between(ROOM, there, [here])
    points = unproject(ROOM.render(CAMERA, here)[0].astype(np.float64), CAMERA, here)[classes == COVISIBLE]
    u, v, _ = project(points, CAMERA, there)
    border = 1.0  # the pixel's own centre may fall just outside the other image
    ru, rv, _ = project(points, CAMERA, here)
    inner = (ru > border) & (ru < 64 - border) & (rv > border) & (rv < 48 - border)
    assert inner.sum() > 1000
    assert not (classes == OCCLUDED).any()
    assert not (back == OCCLUDED).any()
    assert (back[v[inner].astype(int), u[inner].astype(int)] == COVISIBLE).all()


def test_where_a_keyframe_sees_nothing_nothing_blocks() -> None:
    depth = np.full((48, 64), 4.0, np.float32)
    pose = look_pose((0, 0, 0), 0)
    open_sky = np.zeros((1, 48, 64), np.float32)
    assert (covisibility(depth, pose, open_sky, pose[None], CAMERA) == COVISIBLE).all()


def test_pixels_without_depth_are_ignored_in_every_keyframe() -> None:
    depth = np.full((48, 64), 4.0, np.float32)
    depth[:10] = 0
    poses = np.stack([look_pose((0, 0, 0), 0), look_pose((0, 0, 0), np.pi)])
    classes = covisibility(depth, poses[0], np.full((2, 48, 64), 4.0, np.float32), poses, CAMERA)
    assert (classes[:, :10] == IGNORE).all()
    assert not (classes[:, 10:] == IGNORE).any()


def test_grid_takes_the_pixels_at_the_cell_centres() -> None:
    rng = np.random.default_rng(3)
    scene = furnished_room(rng)
    poses = np.stack([free_pose(rng, scene) for _ in range(4)])
    depths = np.stack([scene.render(CAMERA, pose)[0] for pose in poses])
    everywhere = covisibility(depths[0], poses[0], depths[1:], poses[1:], CAMERA)
    sparse = covisibility(depths[0], poses[0], depths[1:], poses[1:], CAMERA, (16, 7))
    rows = [3 * i + 1 for i in range(16)]  # 48 / 16 = 3 pixels a cell
    columns = [int((j + 0.5) * 64 / 7) for j in range(7)]
    np.testing.assert_array_equal(sparse, everywhere[:, rows][:, :, columns])


def test_keyframes_do_not_influence_each_other() -> None:
    rng = np.random.default_rng(4)
    scene = furnished_room(rng)
    poses = [free_pose(rng, scene) for _ in range(5)]
    together = classes_between(scene, poses[0], poses[1:])
    for k, other in enumerate(poses[1:]):
        np.testing.assert_array_equal(together[k], classes_between(scene, poses[0], [other])[0])


def test_no_keyframes_give_no_maps() -> None:
    depth = np.ones((48, 64), np.float32)
    empty = covisibility(depth, np.eye(4), np.zeros((0, 48, 64)), np.zeros((0, 4, 4)), CAMERA)
    assert empty.shape == (0, 48, 64)
    assert reduce_to_grid(empty, (4, 4)).fractions.shape == (0, 3, 4, 4)


@pytest.mark.parametrize(
    ("depths", "poses", "message"),
    [
        ((2, 48, 64), (3, 4, 4), r"\(2, 48, 64\) with \(3, 4, 4\)"),
        ((48, 64), (1, 4, 4), r"depths \[K, H, W\]"),
        ((2, 32, 64), (2, 4, 4), "48x64"),
    ],
)
def test_keyframes_that_do_not_fit_are_refused(depths: tuple, poses: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        covisibility(np.ones((48, 64)), np.eye(4), np.ones(depths), np.ones(poses), CAMERA)


def test_reduction_counts_areas() -> None:
    classes = np.full((1, 4, 4), OUTSIDE, np.uint8)
    classes[0, :2, :2] = [[COVISIBLE, COVISIBLE], [COVISIBLE, OCCLUDED]]
    classes[0, 2:, 2:] = IGNORE
    classes[0, 2, 0] = IGNORE
    reduced = reduce_to_grid(classes, (2, 2))
    np.testing.assert_allclose(reduced.fractions[0, :, 0, 0], [0.75, 0.25, 0])
    np.testing.assert_allclose(reduced.fractions[0, :, 1, 0], [0, 0, 0.75])
    np.testing.assert_array_equal(reduced.label[0], [[COVISIBLE, OUTSIDE], [OUTSIDE, IGNORE]])


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 30), width=st.integers(1, 30), data=st.data(), seed=st.integers(0, 2**16))
def test_area_average_keeps_the_mean(height: int, width: int, data: st.DataObject, seed: int) -> None:
    grid = data.draw(st.tuples(st.integers(1, height), st.integers(1, width)))
    image = np.random.default_rng(seed).random((2, height, width))
    cells = area_average(image, grid)
    assert cells.shape == (2, *grid)
    np.testing.assert_allclose(cells.mean((1, 2)), image.mean((1, 2)), rtol=1e-5)
    assert cells.min() >= image.min() - 1e-6
    assert cells.max() <= image.max() + 1e-6


def test_area_average_splits_cut_pixels() -> None:
    np.testing.assert_allclose(area_average(np.array([[0.0, 3.0, 9.0]]), (1, 2)), [[1.0, 7.0]])


def test_a_grid_finer_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="48x64, got 49x64"):
        reduce_to_grid(np.zeros((1, 48, 64), np.uint8), (49, 64))
