"""Parts to draw, against what exact rays see."""

from dataclasses import replace

import numpy as np
from hand_built import Box, build, cast
from scipy.spatial.transform import Rotation

from vln_heatmap.geometry.cameras import PinholeCamera, invert_pose, look_pose
from vln_heatmap.simulation.simulators.draw_order import Parts, by_instance

CAMERA = PinholeCamera(40, 30, 70.0)


def world_to_clip(pose: np.ndarray) -> np.ndarray:
    """Perspective by hand: x and y scaled to -w..w at the image's borders, w = z-depth."""
    x, y = 2 * CAMERA.focal / CAMERA.width, 2 * CAMERA.focal / CAMERA.height
    return np.array([[x, 0, 0, 0], [0, y, 0, 0], [0, 0, 1, -0.04], [0, 0, 1, 0]]) @ invert_pose(pose)


def small_boxes(rng: np.random.Generator, count: int = 60) -> list[Box]:
    lows, sizes = rng.uniform(-5, 5, (count, 3)), rng.uniform(0.1, 1.0, (count, 3))
    return [Box(tuple(low), tuple(low + size)) for low, size in zip(lows, sizes, strict=True)]


def drawn(parts: Parts, pose: np.ndarray) -> list[int]:
    """Ids in drawing order; every box has 12 faces, 36 indices."""
    order = parts.in_sight(pose[:3, 3], world_to_clip(pose))
    assert all(count == 36 for _, count in order)
    return [first // 36 + 1 for first, _ in order]


def test_what_rays_see_is_drawn_and_much_else_is_not():
    rng = np.random.default_rng(0)
    boxes = small_boxes(rng)
    parts = Parts.of(build(*boxes))
    share = []
    for _ in range(40):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = Rotation.random(rng=rng).as_matrix(), rng.uniform(-5, 5, 3)
        _, ids = cast(boxes, pose[:3, 3], CAMERA.directions() @ pose[:3, :3].T)
        order = drawn(parts, pose)
        assert set(np.unique(ids)) - {0} <= set(order)
        assert len(set(order)) == len(order)
        share.append(len(order) / len(boxes))
    assert np.mean(share) < 0.4  # the view is about an eighth of all directions


def test_the_nearest_comes_first():
    boxes = [Box((-1, -1, -z - 1), (1, 1, -z)) for z in (7.0, 2.0, 11.0, 4.0)]
    assert drawn(Parts.of(build(*boxes)), look_pose((0, 0, 0), 0.0)) == [2, 4, 1, 3]


def test_what_is_behind_or_beside_the_view_is_left_out():
    boxes = [Box((-1, -1, 1), (1, 1, 2)), Box((9, -1, -5), (10, 1, -4)), Box((-1, 8, -5), (1, 9, -4))]
    assert drawn(Parts.of(build(*boxes)), look_pose((0, 0, 0), 0.0)) == []
    assert drawn(Parts.of(build(*boxes)), look_pose((0, 0, 0), np.pi)) == [1]


def test_a_room_around_the_eye_is_always_drawn():
    parts = Parts.of(build(Box((-3, 0, -3), (3, 2.6, 3), inside=True)))
    assert all(drawn(parts, look_pose((1, 1, 1), yaw)) == [1] for yaw in np.linspace(0, 6, 13))


def test_sorting_keeps_each_instance_whole_and_in_order():
    scene = build(*small_boxes(np.random.default_rng(1), 4))
    mixed = np.random.default_rng(2).permutation(len(scene.faces))
    shuffled = replace(
        scene,
        faces=scene.faces[mixed],
        face_instance=scene.face_instance[mixed],
        face_texture=np.arange(len(mixed), dtype=np.int32),  # their places before sorting
    )
    result = by_instance(shuffled)
    assert np.array_equal(result.face_instance, np.repeat([1, 2, 3, 4], 12))
    assert np.array_equal(result.faces, shuffled.faces[result.face_texture])
    assert all(np.all(np.diff(places) > 0) for places in result.face_texture.reshape(4, 12))
