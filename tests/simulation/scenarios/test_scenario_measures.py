"""Measures on recordings whose answer is known in closed form."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.simulation.exposure import expose
from vln_heatmap.simulation.scenarios import measures_images, measures_motion, measures_things
from vln_heatmap.simulation.scenarios.texture import periodicity, unlikeness

CAMERA = PinholeCamera(64, 48, 90.0)
THING = {
    "id": 7, "category": "box", "colour": "", "room": 0, "box_min": [-0.2, 1.0, -2.2],
    "box_max": [0.2, 1.4, -1.8], "movable": True,
}  # fmt: skip


def posed(
    rows: list[tuple[float, ...]],
    *,
    rgb: np.ndarray | None = None,
    depth: float = 2.0,
    ids: np.ndarray | None = None,
    moved: list[float] | None = None,
    **metadata: object,
) -> Sequence:
    """A recording whose camera is at (x, z, yaw, pitch, height) in each frame, before a wall at a z-depth."""
    shape = (len(rows), CAMERA.height, CAMERA.width)
    states = [(x, 0.0, z, yaw, pitch, height) for x, z, yaw, pitch, height in rows]
    poses = [look_pose((x, height, z), yaw, pitch) for x, _, z, yaw, pitch, height in states]
    matrices = np.tile(np.eye(4), (len(rows), 1, 1))
    matrices[:, 0, 3] = 0 if moved is None else moved
    frames = pd.DataFrame(
        {
            "camera_to_world": [pose.ravel() for pose in poses],
            "state": states,
            "moved_ids": [[7] if moved else []] * len(rows),
            "moved_poses": [matrix.ravel() if moved else [] for matrix in matrices],
            "is_terminal": np.arange(len(rows)) == len(rows) - 1,
        }
    )
    return Sequence(
        "posed",
        np.full((*shape, 3), 100, np.uint8) if rgb is None else rgb,
        np.full(shape, depth, np.float32),
        np.zeros(shape, np.int32) if ids is None else ids,
        frames,
        {"camera": vars(CAMERA), "scenario": {"focus": [7]}, "objects": [THING], "rooms": [], **metadata},
    )


def along(*points: tuple[float, float], yaw: float = 0.0) -> Sequence:
    return posed([(x, z, yaw, 0.0, 1.25) for x, z in points])


def turning(*degrees: float) -> Sequence:
    return posed([(0.0, 0.0, math.radians(yaw), 0.0, 1.25) for yaw in degrees])


def showing(pixels: list[int], rows: list[tuple[float, ...]] | None = None, **more: object) -> Sequence:
    """A recording that shows so many pixels of thing 7 in the middle of each frame."""
    ids = np.zeros((len(pixels), CAMERA.height, CAMERA.width), np.int32)
    for image, count in zip(ids, pixels, strict=True):
        image[10:38, 10:54] = np.where(np.arange(28 * 44) < count, 7, 0).reshape(28, 44)
    return posed(rows or [(0.0, 0.0, 0.0, 0.0, 1.25)] * len(pixels), ids=ids, **more)  # type: ignore[arg-type]


@given(st.floats(-math.pi, math.pi), st.floats(-math.pi, math.pi))
def test_shares_of_the_way_depend_on_the_angle_between_way_and_view_alone(yaw: float, way: float) -> None:
    steps = np.arange(9)[:, None] * 0.2 * np.array([-math.sin(way), -math.cos(way)])
    sequence = along(*map(tuple, steps), yaw=yaw)
    off = way - yaw
    assert measures_motion.share_forward(sequence) == pytest.approx(max(0, math.cos(off)), abs=1e-9)
    assert measures_motion.share_backward(sequence) == pytest.approx(max(0, -math.cos(off)), abs=1e-9)
    assert measures_motion.share_sideways(sequence) == pytest.approx(abs(math.sin(off)), abs=1e-9)


def test_a_camera_that_stands_still_moves_in_no_way() -> None:
    still = turning(0, 0, 0, 0)
    for measure in (
        measures_motion.share_forward,
        measures_motion.share_sideways,
        measures_motion.turn_on_the_spot,
        measures_motion.freedoms,
        measures_motion.height_range,
        measures_motion.legs,
        measures_motion.sharp_turns,
    ):
        assert measure(still) == 0
    assert measures_motion.angular_acceleration(still) == math.inf


def test_acceleration_is_the_second_difference_of_the_heading() -> None:
    rows = [(0.2 * k, 0.0, math.radians(0.5 * 1.5 * k * k), 0.0, 1.25) for k in range(10)]
    assert measures_motion.angular_acceleration(posed(rows)) == pytest.approx(1.5)
    even = [(0.2 * k, 0.0, math.radians(9.0 * k), 0.0, 1.25) for k in range(10)]
    assert measures_motion.angular_acceleration(posed(even)) == pytest.approx(0, abs=1e-9)


def test_turns_are_sharp_within_six_frames_only() -> None:
    assert measures_motion.sharp_turns(turning(0, 0, 15, 30, 45, 60, 60, 60, 45, 30, 15, 0, 0)) == 2
    assert measures_motion.sharp_turns(turning(*range(0, 90, 9))) == 0
    assert measures_motion.sharp_turns(turning(*range(0, 241, 15))) == 1
    assert measures_motion.sharp_turns(turning(0, 20, 40, 60, 40, 20, 0)) == 2


def test_a_turn_on_the_spot_counts_beyond_half_a_turn_and_only_on_the_spot() -> None:
    assert measures_motion.turn_on_the_spot(turning(*range(0, 301, 15))) == pytest.approx(300)
    walk = posed([(0.1 * k, 0.0, math.radians(15 * k), 0.0, 1.25) for k in range(20)])
    assert measures_motion.turn_on_the_spot(walk) == 0


def test_legs_are_counted_to_a_tolerance() -> None:
    straight = [(0.0, -0.2 * k) for k in range(10)]
    corner = straight + [(0.2 * k, -1.8) for k in range(1, 10)]
    wobbly = [(0.1 * (-1) ** k, z) for k, (_, z) in enumerate(straight)]
    assert [measures_motion.legs(along(*path)) for path in (straight, wobbly, corner)] == [1, 1, 2]
    there_and_back = straight + straight[-2::-1]
    assert measures_motion.legs(along(*there_and_back)) == 2


def test_freedoms_are_counted_one_by_one() -> None:
    t = np.linspace(0, 2 * math.pi, 17)
    swing = {"x": 0.5 * np.sin(t), "z": 0.5 * np.sin(t), "yaw": np.sin(t), "pitch": 0.4 * np.sin(t)}
    for name, count in (("x", 1), ("z", 1), ("yaw", 1), ("pitch", 1)):
        rows = [[0.0, 0.0, 0.0, 0.0, 1.25] for _ in t]  # x, z, yaw, pitch, height
        for row, value in zip(rows, swing[name], strict=True):
            row[["x", "z", "yaw", "pitch"].index(name)] = value
        assert measures_motion.freedoms(posed([tuple(row) for row in rows])) == count


def test_held_views_differ_by_the_turn_between_them() -> None:
    assert measures_motion.held_view_change(turning(0, 0, 0, 30, 60, 90, 90, 90)) == pytest.approx(90)
    assert measures_motion.held_view_change(turning(*range(0, 180, 15))) == 0
    assert measures_motion.held_view_change(turning(0, 0, 30, 60, 90, 90)) == 0


def test_appearances_count_every_change_and_no_flicker() -> None:
    assert measures_things.appearances(showing([40, 40, 0, 0, 40, 0, 40])) == 4
    assert measures_things.appearances(showing([40, 2, 40, 2, 40])) == 0


def test_distance_and_angle_are_those_of_frames_that_show_the_thing() -> None:
    rows = [(0.0, z, 0.0, 0.0, 1.2) for z in (0.0, -1.0, 2.0)] + [(-2.0, -2.0, -math.pi / 2, 0.0, 1.2)]
    every, two = showing([40] * 4, rows), showing([40, 40, 0, 0], rows)
    assert measures_things.distance_ratio(every) == pytest.approx(4)
    assert measures_things.distance_ratio(two) == pytest.approx(2)
    assert measures_things.widest_angle(every) == pytest.approx(90)
    assert measures_things.widest_angle(two) == pytest.approx(0, abs=1e-5)


def test_apparent_size_is_a_length() -> None:
    assert measures_things.size_ratio(showing([36, 144, 16])) == pytest.approx(3)


def test_the_angle_off_the_view_needs_a_thing_seen_before_and_gone() -> None:
    rows = [(0.0, 0.0, 0.0, 0.0, 1.2)] * 3 + [(0.0, 0.0, math.radians(110), 0.0, 1.2)] * 2
    assert measures_things.angle_off_view(showing([40, 40, 40, 0, 0], rows)) == pytest.approx(110)
    assert measures_things.angle_off_view(showing([40, 40, 40, 40, 0], rows)) == 0
    assert measures_things.angle_off_view(showing([0] * 5, rows)) == 0


def test_motion_in_view_and_behind_ones_back_are_told_apart() -> None:
    watched = showing([40] * 5, moved=[0.0, 0.2, 0.4, 0.6, 0.6])
    assert measures_things.moved_in_view(watched) == pytest.approx(0.6)
    assert measures_things.moved_out_of_view(watched) == 0
    unseen = showing([40, 0, 0, 0, 40], moved=[0.0, 0.0, 0.7, 0.7, 0.7])
    assert measures_things.moved_in_view(unseen) == 0
    assert measures_things.moved_out_of_view(unseen) == pytest.approx(0.7)
    assert measures_things.moved_out_of_view(showing([40, 0, 40], moved=[0.0, 0.0, 0.7])) == 0


def test_light_is_compared_on_the_same_surfaces() -> None:
    picture = np.random.default_rng(0).integers(100, 200, (CAMERA.height, CAMERA.width, 3)).astype(np.uint8)
    rgb = np.stack([expose([picture], gain) for gain in (1.0, 0.7, 0.4, 0.25, 0.5)])
    still = [(0.0, 0.0, 0.0, 0.0, 1.25)] * 5
    assert measures_images.light_ratio(posed(still, rgb=rgb)) == pytest.approx(4, rel=0.05)
    assert measures_images.light_ratio(posed(still)) == pytest.approx(1)


def test_blur_is_the_way_of_the_image_while_the_shutter_is_open() -> None:
    sideways = [(0.1 * k, 0.0, 0.0, 0.0, 1.25) for k in range(5)]
    pixels = CAMERA.focal * 0.1 / 2.0  # a wall 2 m ahead
    open_half = posed(sideways, shutter=0.5)
    assert measures_images.blur_length(open_half) == pytest.approx(50 * pixels / CAMERA.width)
    assert measures_images.blur_length(posed(sideways)) == 0


def test_corners_are_two_walls_at_one_depth() -> None:
    ids = np.ones((48, 64), np.int32)
    ids[:, 30:] = 2
    depth = np.full((48, 64), 3.0, np.float32)
    assert measures_images.shows_corner(ids, depth, [1, 2])
    assert not measures_images.shows_corner(ids, depth, [1])
    behind = np.where(ids == 2, 5.0, 3.0).astype(np.float32)
    assert not measures_images.shows_corner(ids, behind, [1, 2])
    ids[3:] = 1
    assert not measures_images.shows_corner(ids, depth, [1, 2])


def slanted_floor(paint) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
    """Picture, depth and mask of a floor 1.25 m below a level camera; ``paint`` gives grey from x and z."""
    rays = CAMERA.directions()  # [H, W, 3]
    mask = rays[..., 1] > 0.25
    depth = np.where(mask, 1.25 / np.where(mask, rays[..., 1], 1), 0.0)
    x, z = rays[..., 0] * depth, depth
    rgb = np.repeat(np.clip(paint(x, z), 0, 255)[..., None], 3, -1).astype(np.uint8)
    return rgb, depth.astype(np.float32), mask


def test_a_floor_of_tiles_repeats_in_its_plane() -> None:
    checks = slanted_floor(lambda x, z: 120 + 60 * np.sign(np.sin(8 * x) * np.sin(8 * z)))
    stripes = slanted_floor(lambda x, z: 120 + 60 * np.sin(10 * x + 3 * z))
    assert periodicity(*checks, CAMERA) > 0.6
    assert periodicity(*stripes, CAMERA) > 0.8


def test_plain_and_random_floors_do_not_repeat() -> None:
    rng = np.random.default_rng(0)
    assert periodicity(*slanted_floor(lambda x, z: np.full_like(x, 120)), CAMERA) == 0
    assert periodicity(*slanted_floor(lambda x, z: rng.normal(120, 30, x.shape)), CAMERA) < 0.45


def test_surfaces_are_told_apart_by_chromaticity_not_by_brightness() -> None:
    ids = np.repeat(np.arange(1, 4, dtype=np.int32), 16)[None].repeat(48, axis=0)  # [48, 48]
    grey = np.array([[0, 0, 0], [120, 120, 120], [200, 200, 200], [40, 40, 40]], np.uint8)[ids]
    colours = np.array([[0, 0, 0], [200, 80, 80], [80, 200, 80], [80, 80, 200]], np.uint8)[ids]
    assert unlikeness(grey, ids, [1, 2, 3]) == pytest.approx(0)
    assert unlikeness(colours, ids, [1, 2, 3]) > 0.8
    assert unlikeness(colours, ids, [1, 2]) == 0
