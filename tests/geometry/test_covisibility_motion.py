"""Co-visibility of things that move between the frames, where the answer is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_scenes import Box, BoxScene, free_pose, furnished_room
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.geometry.covisibility import (
    COVISIBLE,
    OCCLUDED,
    OUTSIDE,
    covisibility,
    motions_between,
)

CAMERA = PinholeCamera(65, 65, 90)
WALL = Box((-50, -50, -5), (50, 50, -4))  # its face is at z = -4; id 1
POSE = look_pose((0, 0, 0), 0)
THING = 2


def scene_with_box_at(x: float, y: float = 0.0) -> BoxScene:
    """The wall, and in front of it a cube of 1 m whose front face is at z = -2."""
    return BoxScene([WALL, Box((x - 0.5, y - 0.5, -3), (x + 0.5, y + 0.5, -2))])


def shift(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> NDArray[np.float64]:
    motion = np.eye(4)
    motion[:3, 3] = x, y, z
    return motion


def classes(now: BoxScene, then: BoxScene, motion: NDArray | None, key_pose: NDArray = POSE) -> NDArray:
    depth, ids = now.render(CAMERA, POSE)
    key_depth, _ = then.render(CAMERA, key_pose)
    motions = None if motion is None else {THING: motion[None]}
    return covisibility(
        depth, POSE, key_depth[None], key_pose[None], CAMERA, motions=motions, instance_c=ids
    )[0]


def test_front_face_is_covisible_where_it_was_and_uncovered_wall_was_hidden() -> None:
    now, then = scene_with_box_at(0.6), scene_with_box_at(-0.4)
    result, ids = classes(now, then, shift(x=-1.0)), now.render(CAMERA, POSE)[1]
    front = np.abs(now.render(CAMERA, POSE)[0] - 2) < 1e-6
    assert (result[front] == COVISIBLE).all()
    behind = (ids == 1) & (then.render(CAMERA, POSE)[1] == THING)  # the wall that the cube hid then
    assert behind.sum() > 50
    assert (result[behind] == OCCLUDED).all()
    free = (ids == 1) & (then.render(CAMERA, POSE)[1] == 1)
    assert (result[free] == COVISIBLE).all()


def test_a_thing_that_was_elsewhere_counts_as_seen_only_without_its_motion() -> None:
    now, then = scene_with_box_at(0.6), scene_with_box_at(-0.4)
    front = np.abs(now.render(CAMERA, POSE)[0] - 2) < 1e-6
    right = front & (then.render(CAMERA, POSE)[1] == 1)  # nothing stood there: seen through to the wall
    assert (classes(now, then, None)[right] == COVISIBLE).all()  # empty space in front of the wall
    hidden = classes(now, scene_with_box_at(40), shift(x=39.4))
    assert (hidden[front] == OUTSIDE).all()  # it was far beyond the image


def test_a_thing_that_turned_its_back_was_not_seen_from_behind() -> None:
    """After half a turn about its own axis the face that is in view was the far one."""
    turn = np.diag([-1.0, 1, -1, 1])
    turn[2, 3] = -5.0  # about x = 0, z = -2.5
    scene = scene_with_box_at(0.0)
    front = np.abs(scene.render(CAMERA, POSE)[0] - 2) < 1e-6
    assert (classes(scene, scene, turn)[front] == OCCLUDED).all()
    assert (classes(scene, scene, turn)[~front] == COVISIBLE).all()


def test_a_thing_that_comes_along_with_the_camera_stays_in_view() -> None:
    now, key_pose = scene_with_box_at(0.0), look_pose((7.0, 0, 0), 0)
    result = classes(now, scene_with_box_at(7.0), shift(x=7.0), key_pose)
    assert (result[now.render(CAMERA, POSE)[1] == THING] == COVISIBLE).all()
    # of the wall at 4 m, half of 8 m is in common less a metre
    assert (result == OUTSIDE).sum() == pytest.approx(CAMERA.width * CAMERA.height * 7 / 8, rel=0.08)


def test_each_keyframe_has_its_own_time() -> None:
    now = scene_with_box_at(0.0)
    depth, ids = now.render(CAMERA, POSE)
    then = [scene_with_box_at(x) for x in (0.0, 1.0, 30.0)]
    rests = np.stack([shift(x=x) for x in (0.0, 1.0, 30.0, 0.0)])  # of the four frames
    motions = motions_between({THING: rests}, 3, np.arange(3))
    keys = np.stack([scene.render(CAMERA, POSE)[0] for scene in then])
    result = covisibility(
        depth, POSE, keys, np.stack([POSE] * 3), CAMERA, (13, 13), motions=motions, instance_c=ids
    )
    face = np.s_[6, 6]  # the central cell
    assert result[(slice(None), *face)].tolist() == [COVISIBLE, COVISIBLE, OUTSIDE]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), sparse=st.booleans())
def test_identity_motions_are_no_motions_bit_for_bit(seed: int, sparse: bool) -> None:
    rng = np.random.default_rng(seed)
    scene = furnished_room(rng)
    poses = np.stack([free_pose(rng, scene) for _ in range(4)])
    views = [scene.render(CAMERA, pose) for pose in poses]
    depth, keys, ids = views[0][0], np.stack([view[0] for view in views[1:]]), views[0][1]
    grid = (9, 13) if sparse else None
    plain = covisibility(depth, poses[0], keys, poses[1:], CAMERA, grid)
    still = {int(key): np.stack([np.eye(4)] * 3) for key in np.unique(ids)}
    same = covisibility(depth, poses[0], keys, poses[1:], CAMERA, grid, motions=still, instance_c=ids)
    np.testing.assert_array_equal(plain, same)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), x=st.floats(-2, 2), angle=st.floats(-3, 3))
def test_moving_every_thing_alike_is_moving_the_camera(seed: int, x: float, angle: float) -> None:
    """If all points move by M, a keyframe at pose P sees what one at M⁻¹ P sees of the world at rest."""
    rng = np.random.default_rng(seed)
    scene = furnished_room(rng)
    poses = np.stack([free_pose(rng, scene) for _ in range(2)])
    depth, ids = scene.render(CAMERA, poses[0])
    key = scene.render(CAMERA, poses[1])[0]
    motion = look_pose((x, 0.1, -x), angle) @ np.diag([1.0, -1, -1, 1])
    all_move = {int(i): motion[None] for i in np.unique(ids) if i}
    plain = covisibility(depth, poses[0], key[None], poses[1][None], CAMERA)
    moved = covisibility(
        depth, poses[0], key[None], (motion @ poses[1])[None], CAMERA, motions=all_move, instance_c=ids
    )
    assert (plain != moved).mean() < 0.002  # rounding at borders


def test_motions_between_are_relative_and_exactly_the_identity_at_rest() -> None:
    rng = np.random.default_rng(0)
    rests = np.stack([look_pose(rng.normal(size=3), rng.normal()) for _ in range(3)])
    motion = np.concatenate([rests, rests[2:]])  # frames 2 and 3 are alike
    between = motions_between({5: motion, 6: np.stack([np.eye(4)] * 4)}, 3, np.array([0, 2]))
    assert list(between) == [5]
    np.testing.assert_allclose(between[5][0] @ motion[3], motion[0], atol=1e-12)
    np.testing.assert_array_equal(between[5][1], np.eye(4))


def test_motions_need_ids_and_one_transform_a_keyframe() -> None:
    depth, ids = scene_with_box_at(0.0).render(CAMERA, POSE)
    views = depth, POSE, np.stack([depth] * 2), np.stack([POSE] * 2), CAMERA
    with pytest.raises(ValueError, match=r"motions of instances \[2\] need instance_c"):
        covisibility(*views, motions={THING: np.stack([shift(1.0)] * 2)})
    with pytest.raises(ValueError, match=r"instance 2 must be \[2, 4, 4\], got \(1, 4, 4\)"):
        covisibility(*views, motions={THING: shift(1.0)[None]}, instance_c=ids)
