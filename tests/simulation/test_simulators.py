"""Both embedded renderers against closed forms and each other, and with what they should refuse."""

import gc
import logging
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from hand_built import BLUE, GREEN, GREY, PAINTS, RED, Box, build, cast, wall
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.params import AgentParams, HouseParams
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.scene import LightVolume, Scene
from vln_heatmap.simulation.simulators import SIMULATORS, make_simulator, shading
from vln_heatmap.simulation.simulators.base import (
    FORWARD,
    TURN_LEFT,
    AgentState,
    NoNavigableFloorError,
    Observation,
    Simulator,
    SimulatorUnavailableError,
)

AGENT = AgentParams()
CAMERA = PinholeCamera(48, 32, 90.0)
BACKENDS = [pytest.param("raster", marks=pytest.mark.egl), "raycast"]
Make = Callable[..., Simulator]


def make_or_skip(name: str, camera: PinholeCamera) -> Simulator:
    try:
        return make_simulator(name, camera, agent=AGENT)
    except SimulatorUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(params=BACKENDS)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """A function that makes simulators of one backend; they are closed after the test."""
    made: list[Simulator] = []

    def make_one(camera: PinholeCamera = CAMERA) -> Simulator:
        made.append(make_or_skip(request.param, camera))
        return made[-1]

    yield make_one
    for simulator in made:
        simulator.close()


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Simulator, Simulator]]:
    camera = PinholeCamera(128, 96, 80.0)
    simulators = make_or_skip("raster", camera), make_or_skip("raycast", camera)
    yield simulators
    for simulator in simulators:
        simulator.close()


def head_on(distance: float, **options) -> Scene:
    """A wide wall at ``distance`` in front of a camera at the origin that looks along -Z."""
    return build(Box((-90, -90, -distance - 1), (90, 90, -distance)), **options)


AHEAD = look_pose((0.0, 0.0, 0.0), 0.0)


def look(simulator: Simulator, scene: Scene, pose: NDArray = AHEAD) -> Observation:
    simulator.load(scene)
    return simulator.render(pose)


def toned(colour: NDArray, light: NDArray | float) -> NDArray:
    """Texture colour in [0, 255] under some light, as ``shading`` defines it."""
    c = np.asarray(colour) / 255 * np.asarray(light)[..., None]
    m = c.max(-1, keepdims=True)
    k = shading.KNEE
    return 255 * np.where(m <= k, c, c * (k + (1 - k) * (1 - np.exp((k - m) / (1 - k)))) / m)


# --- geometry ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [0.5, 2.0, 7.3])
def test_a_wall_seen_head_on_has_constant_z_depth(make, distance):
    seen = look(make(), head_on(distance))
    assert seen.depth == pytest.approx(np.full((32, 48), distance), abs=1e-4)
    assert np.all(seen.instance == 1)


def test_arrays_are_as_promised(make):
    seen = look(make(), head_on(2))
    for array, shape, dtype in (
        (seen.rgb, (32, 48, 3), np.uint8),
        (seen.depth, (32, 48), np.float32),
        (seen.instance, (32, 48), np.int32),
    ):
        assert array.shape == shape
        assert array.dtype == dtype
        assert array.flags.c_contiguous


def test_observations_do_not_share_memory(make):
    simulator = make()
    first = look(simulator, head_on(2))
    kept = replace(first, rgb=first.rgb.copy(), depth=first.depth.copy(), instance=first.instance.copy())
    look(simulator, head_on(3, textures=np.zeros((4, 4, 4, 3), np.uint8)))
    assert_same(first, kept)


def assert_same(one: Observation, other: Observation) -> None:
    assert np.array_equal(one.rgb, other.rgb)
    assert np.array_equal(one.depth, other.depth)
    assert np.array_equal(one.instance, other.instance)


@pytest.mark.parametrize("edge", [0.4, 0.6, 9.4, 9.6, 23.98, 24.02, 31.45, 31.55])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_pixel_centres_are_at_one_half(make, edge, axis):
    """A panel that ends at image coordinate ``edge`` covers exactly the pixels whose centre is before it."""
    camera = PinholeCamera(32, 32, 70.0)
    end = (edge - 16) / camera.focal * 2.0  # on a plane 2 m ahead
    high = (end, 9.0, -2.0) if axis == "x" else (9.0, 9.0, -2.0)
    low = (-9.0, -9.0, -2.0001) if axis == "x" else (-9.0, -end, -2.0001)
    seen = look(make(camera), build(Box((-30, -30, -8), (30, 30, -7)), Box(low, high)))
    covered = np.arange(32) + 0.5 < edge
    expected = np.broadcast_to(covered if axis == "x" else covered[:, None], (32, 32))
    assert np.array_equal(seen.instance == 2, expected)


def test_left_is_left_and_up_is_up(make):
    simulator = make()
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


def cluttered(rng: np.random.Generator, count: int = 12) -> list[Box]:
    """A room 6 x 2.6 x 5 m with boxes of all sizes, some thin."""
    boxes = [Box((0, 0, 0), (6, 2.6, 5), inside=True)]
    for _ in range(count):
        size = rng.choice([0.03, 0.3, 1.0], 3) * rng.uniform(0.7, 1.3, 3)
        low = rng.uniform(0, np.array([6, 2.6, 5]) - size)
        boxes.append(Box(tuple(low), tuple(low + size)))
    return boxes


def free_poses(rng: np.random.Generator, boxes: list[Box], count: int) -> Iterator[NDArray]:
    """Random positions outside all boxes, random rotations."""
    while count:
        pose = np.eye(4)
        pose[:3, 3] = rng.uniform([0.1, 0.1, 0.1], [5.9, 2.5, 4.9])
        pose[:3, :3] = Rotation.random(rng=rng).as_matrix()
        if all(np.any((pose[:3, 3] < b.low) | (pose[:3, 3] > b.high)) for b in boxes[1:]):
            count -= 1
            yield pose


def edges(*images: NDArray) -> NDArray[np.bool_]:
    """Pixels next to a step: another id, or more than 5 cm of depth."""
    found = np.zeros(images[0].shape, bool)
    for image in images:
        for axis in (0, 1):
            step = np.abs(np.diff(image.astype(float), axis=axis)) > 0.05
            for side in (slice(1, None), slice(None, -1)):
                part = (side, slice(None)) if axis == 0 else (slice(None), side)
                found[part] |= step
    return found


@pytest.mark.parametrize("seed", range(3))
def test_depth_and_ids_are_those_of_exact_rays(make, seed):
    rng = np.random.default_rng(seed)
    boxes = cluttered(rng)
    simulator = make()
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


def test_odd_sizes(make):
    for width, height in ((1, 1), (5, 3), (3, 50)):
        seen = look(make(PinholeCamera(width, height, 60.0)), head_on(2))
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


# --- looks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("paint", [GREY, RED])
def test_plain_light_is_the_formula(make, paint):
    """Ambient, half the hemisphere (the wall is upright) and the headlight by the angle of view."""
    seen = look(make(), build(Box((-90, -90, -3), (90, 90, -2), paint)))
    cosine = 1 / np.linalg.norm(CAMERA.directions(), axis=-1)
    light = shading.AMBIENT + shading.HEMISPHERE / 2 + shading.HEADLIGHT * cosine
    assert seen.rgb == pytest.approx(toned(PAINTS[paint], light), abs=1.01)


def test_both_sides_of_a_sheet_are_seen_and_lit_alike(make):
    simulator = make()
    box = head_on(2)
    sheet = replace(box, faces=box.faces[-2:], face_instance=np.int32([1, 1]), face_texture=np.int32([0, 0]))
    front = look(simulator, sheet)
    back = look(simulator, replace(sheet, faces=sheet.faces[:, ::-1], normals=-sheet.normals))
    assert np.all(back.instance == 1)
    assert_same(front, back)


def test_a_light_volume_lights_by_direction(make):
    """A uniform volume whose six directions differ: each side of a room gets the light that falls on it."""
    values = np.array([0.3, 0.5, 0.7, 0.4, 0.6, 0.9])  # +x +y +z -x -y -z
    volume = LightVolume(
        np.broadcast_to(values, (4, 3, 5, 6)).astype(np.float32),
        np.array([-3, -3, -3], np.float32),
        np.array([6, 6, 6], np.float32),
    )
    simulator = make()
    simulator.load(build(Box((-3, -3, -3), (3, 3, 3), inside=True), light=volume))
    views = [
        (np.pi / 2, 0, 0),
        (0, -np.pi / 2, 1),
        (0, 0, 2),
        (-np.pi / 2, 0, 3),
        (0, np.pi / 2, 4),
        (np.pi, 0, 5),
    ]
    for yaw, pitch, direction in views:
        seen = simulator.render(look_pose((0, 0, 0), yaw, pitch))
        assert seen.rgb[16, 24] == pytest.approx(toned(PAINTS[GREY], values[direction]), abs=1.01)


def test_a_light_volume_is_interpolated(make):
    """Light that grows along x: linear between voxel centres, constant beyond the outer ones."""
    steps = np.linspace(0.2, 0.9, 8)
    irradiance = np.broadcast_to(steps[:, None, None, None], (8, 2, 2, 6)).astype(np.float32)
    volume = LightVolume(irradiance, np.array([-4, -4, -4], np.float32), np.array([8, 8, 8], np.float32))
    camera = PinholeCamera(64, 1, 120.0)
    seen = look(make(camera), build(Box((-90, -90, -3), (90, 90, -2)), light=volume))
    x = 2 * camera.directions()[0, :, 0]
    light = np.interp(x, np.arange(8) - 3.5, steps)
    assert seen.rgb[0] == pytest.approx(toned(PAINTS[GREY], light), abs=1.01)


def test_textures_lie_as_their_coordinates_say(make):
    """uv (0, 0) is the first texel of row 0; on the wall ahead u runs along x and v along y, a metre each."""
    quarters = np.kron(np.array([[(250, 0, 0), (0, 250, 0)], [(0, 0, 250), (250, 250, 0)]]).transpose(2, 0, 1),
                       np.ones((1, 32, 32))).transpose(1, 2, 0)  # fmt: skip
    textures = np.stack([quarters, np.zeros_like(quarters)]).astype(np.uint8)
    camera = PinholeCamera(64, 64, 2 * np.degrees(np.arctan(0.5)))  # sees a square metre from 1 m away
    volume = LightVolume(
        np.full((1, 1, 1, 6), 0.5, np.float32), np.zeros(3, np.float32), np.ones(3, np.float32)
    )
    scene = build(Box((-90, -90, -3), (90, 90, -2)), textures=textures, light=volume)
    seen = look(make(camera), scene, look_pose((0.5, 0.5, -1.0), 0.0))
    # world y, and so v, grows upwards in this image
    expected = {(48, 16): (0, 0), (48, 48): (0, 1), (16, 16): (1, 0), (16, 48): (1, 1)}
    for (row, column), (v, u) in expected.items():
        assert seen.rgb[row, column] == pytest.approx(quarters[32 * v, 32 * u] / 2, abs=1.01)


def test_a_far_checkerboard_is_grey(make):
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    textures = np.repeat(board[None, :, :, None], 3, axis=3)
    light = LightVolume(
        np.full((1, 1, 1, 6), 0.6, np.float32), np.zeros(3, np.float32), np.ones(3, np.float32)
    )
    scene = build(Box((-90, -90, -41), (90, 90, -40)), textures=textures, light=light)
    seen = look(make(PinholeCamera(32, 32, 60.0)), scene)
    assert seen.rgb == pytest.approx(np.full((32, 32, 3), 0.6 * 127.5), abs=1.01)


# --- the two renderers agree -------------------------------------------------------------------------------


def disagreement(pair: tuple[Simulator, Simulator], scene: Scene, poses: list[NDArray]) -> tuple[float, ...]:
    """Shares of non-edge pixels with > 1 mm of depth between them and of pixels with other ids; mean |colour|."""
    for simulator in pair:
        simulator.load(scene)
    depths, ids, colours = [], [], []
    for pose in poses:
        one, other = (simulator.render(pose) for simulator in pair)
        plain = ~edges(one.depth, other.depth, one.instance, other.instance)
        depths.append((np.abs(one.depth - other.depth) > 1e-3)[plain])
        ids.append(one.instance != other.instance)
        colours.append(np.abs(one.rgb.astype(int) - other.rgb).mean())
    assert sum(map(len, depths)) > 0.3 * sum(map(np.size, ids))  # enough is not an edge
    return float(np.concatenate(depths).mean()), float(np.mean(ids)), float(np.mean(colours))


@pytest.mark.egl
@pytest.mark.parametrize("lit", [False, True])
def test_renderers_agree_on_boxes(pair, lit):
    rng = np.random.default_rng(5)
    boxes = cluttered(rng)
    noise = rng.integers(0, 256, (len(PAINTS), 64, 64, 3)).astype(np.uint8)
    light = LightVolume(
        rng.uniform(0.2, 1.2, (6, 3, 5, 6)).astype(np.float32),
        np.zeros(3, np.float32),
        np.float32([6, 2.6, 5]),
    )
    scene = build(*boxes, textures=noise, light=light if lit else None)
    depth, ids, colour = disagreement(pair, scene, list(free_poses(rng, boxes, 12)))
    assert depth <= 1e-3
    assert ids < 1e-3
    assert colour < 3  # of 255, on white noise


@pytest.mark.egl
@pytest.mark.parametrize("seed", range(2))
def test_renderers_agree_on_houses(pair, seed):
    house = generate_house(seed, HouseParams(texture_size=64, light_voxel=0.8, light_rays=8))
    pair[0].load(house)
    rng = np.random.default_rng(seed)
    poses = []
    for _ in range(15):
        x, _, z = pair[0].random_navigable_point(rng)
        poses.append(look_pose((x, 1.25, z), rng.uniform(-np.pi, np.pi), rng.uniform(-0.4, 0.4)))
    depth, ids, colour = disagreement(pair, house, poses)
    assert depth <= 1e-3
    assert ids < 1e-3
    assert colour < 1.5


# --- life of a simulator -----------------------------------------------------------------------------------

ROOM = build(Box((0, 0, 0), (6, 2.6, 4), inside=True), wall(3, 1, 3.2, 3))


def test_a_view_repeats_bit_for_bit(make):
    simulator, other = make(), make(PinholeCamera(20, 20, 60.0))
    pose = look_pose((1.0, 1.25, 2.0), -1.3, 0.1)
    first = look(simulator, ROOM, pose)
    look(other, head_on(1))  # another simulator in between, and another scene
    look(simulator, head_on(1))
    assert_same(first, look(simulator, ROOM, pose))


def test_it_keeps_the_protocol_and_walks_like_the_others(make):
    simulator = make()
    assert isinstance(simulator, Simulator)
    assert simulator.version
    assert simulator.camera == CAMERA
    simulator.load(ROOM)
    rng, start, goal = np.random.default_rng(0), np.array([1.0, 0, 2]), np.array([5.0, 0, 2])
    assert simulator.is_navigable(simulator.random_navigable_point(rng))
    assert not simulator.is_navigable(np.array([3.1, 0, 2]))
    path = simulator.shortest_path(start, goal)
    assert np.array_equal(path[[0, -1]], np.stack([start, goal]))
    walked = np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
    assert simulator.geodesic_distance(start, goal) == pytest.approx(walked)
    assert walked > 4.3
    state = simulator.step(AgentState((1.0, 0.0, 2.0), 0.0), TURN_LEFT).state
    assert state.yaw == pytest.approx(np.pi / 12)
    assert simulator.step(AgentState((0.3, 0.0, 2.0), np.pi / 2), FORWARD).collided


def test_a_scene_without_floor_can_be_seen_but_not_walked(make):
    simulator = make()
    assert look(simulator, head_on(2)).instance.all()
    with pytest.raises(NoNavigableFloorError):
        simulator.random_navigable_point(np.random.default_rng(0))
    simulator.load(ROOM)  # the failure is not kept
    assert simulator.is_navigable(np.array([1.0, 0, 2]))


def test_without_a_scene_it_says_so(make):
    simulator = make()
    for call in (lambda: simulator.render(AHEAD), lambda: simulator.is_navigable(np.zeros(3))):
        with pytest.raises(RuntimeError, match="has no scene: call load"):
            call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"faces": np.zeros((0, 3), np.int32)}, "no triangles"),
        ({"faces": np.full((12, 3), 24, np.int32)}, r"vertex indices must be in \[0, 24\), got 24 to 24"),
        ({"faces": np.full((12, 3), -1, np.int32)}, r"vertex indices must be in \[0, 24\), got -1 to -1"),
        ({"face_texture": np.full(12, 4, np.int32)}, r"texture indices must be in \[0, 4\), got 4 to 4"),
        ({"vertices": np.full((24, 3), np.nan, np.float32)}, "vertices .* finite"),
    ],
)
def test_a_broken_scene_is_refused_and_the_old_one_stays(make, change, message):
    simulator = make()
    before = look(simulator, head_on(2))
    with pytest.raises(ValueError, match=message):
        simulator.load(replace(head_on(3), **change))
    assert_same(before, simulator.render(AHEAD))


@pytest.mark.parametrize("pose", [np.eye(3), np.full((4, 4), np.nan), np.eye(4)[:3]])
def test_a_broken_pose_is_refused(make, pose):
    simulator = make()
    simulator.load(head_on(2))
    with pytest.raises(ValueError, match="camera_to_world must be a finite 4x4 matrix"):
        simulator.render(pose)


def test_closing_frees_and_can_be_repeated(make):
    simulator, other = make(), make()
    scene = replace(head_on(2))
    look(simulator, scene)
    alive = weakref.ref(scene)
    del scene
    simulator.close()
    simulator.close()
    gc.collect()
    assert alive() is None
    with pytest.raises(RuntimeError):
        simulator.render(AHEAD)
    assert look(other, head_on(2)).instance.all()  # the other one still works
    other.close()
    assert look(make(), head_on(2)).instance.all()  # and so does one that is made when all are closed


def test_a_forgotten_simulator_does_not_outlive_its_scene(make):
    simulator = make()
    scene = replace(head_on(2))
    simulator.load(scene)
    alive = weakref.ref(scene)
    del scene
    simulator.load(head_on(3))
    gc.collect()
    assert alive() is None


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc to read memory use")
def test_loading_many_scenes_needs_no_more_memory(make):
    def megabytes() -> float:
        gc.collect()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    simulator = make()
    scene = head_on(
        2, textures=np.zeros((4, 512, 512, 3), np.uint8)
    )  # 4 MB with its mipmaps, more as GL keeps it
    for _ in range(5):
        look(simulator, scene)
    before = megabytes()
    for _ in range(40):
        look(simulator, scene)
    assert megabytes() - before < 40  # 160 and more if each load kept its textures


# --- choosing one ------------------------------------------------------------------------------------------


@pytest.mark.egl
def test_auto_takes_the_rasteriser_where_it_works(caplog):
    make_or_skip("raster", CAMERA).close()
    with caplog.at_level(logging.INFO, logger="vln_heatmap"):
        simulator = make_simulator("auto", CAMERA, agent=AGENT)
    assert simulator.name == "raster"
    assert not caplog.records
    simulator.close()


@pytest.fixture
def no_egl(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a driver, where moderngl raises the bare ``Exception`` class."""
    import moderngl

    def fail(*args, **kwargs) -> None:
        raise Exception("libEGL.so.1: cannot open shared object file")

    monkeypatch.setattr(moderngl, "create_context", fail)


@pytest.mark.usefixtures("no_egl")
def test_auto_falls_back_with_one_log_line(caplog):
    with caplog.at_level(logging.DEBUG, logger="vln_heatmap"):
        simulator = make_simulator("auto", CAMERA, agent=AGENT)
    assert simulator.name == "raycast"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    for part in ("'raycast'", "raster", "libEGL.so.1: cannot open", "apt install libegl1"):
        assert part in record.getMessage()
    assert look(simulator, head_on(2)).instance.all()


@pytest.mark.usefixtures("no_egl")
def test_a_missing_driver_is_an_error_for_who_asks_for_raster():
    with pytest.raises(
        SimulatorUnavailableError, match=r"OpenGL 3.3 through EGL .*cannot open.* apt install"
    ):
        make_simulator("raster", CAMERA, agent=AGENT)


@pytest.mark.usefixtures("no_egl")
def test_where_nothing_works_all_reasons_are_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "embreex.rtcore_scene", None)  # as if it were not installed
    with pytest.raises(
        SimulatorUnavailableError, match=r"no simulator works here: raster .*; raycast .*embreex"
    ):
        make_simulator("auto", CAMERA, agent=AGENT)


def test_a_missing_moderngl_counts_as_a_missing_driver(monkeypatch):
    monkeypatch.setitem(sys.modules, "moderngl", None)
    simulator = make_simulator("auto", CAMERA, agent=AGENT)
    assert simulator.name == "raycast"


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"must be 'auto' or one of \['raster', 'raycast'\], got 'unreal'"):
        make_simulator("unreal", CAMERA, agent=AGENT)


@pytest.mark.parametrize("first", ["simulation.navigation", "simulation.simulators.raycast"])
def test_modules_load_in_any_order_and_bring_no_renderer(first):
    modules = [f"vln_heatmap.{first}", *(place.split(":")[0] for place in SIMULATORS.values())]
    code = (
        f"import sys, importlib; [importlib.import_module(m) for m in {modules}];"
        "print(*sorted({'moderngl', 'embreex', 'numba', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.egl
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_is_told_to_spawn_and_may_close():
    simulator = make_or_skip("raster", CAMERA)
    simulator.load(head_on(2))
    child = os.fork()
    if child == 0:  # nothing of pytest may run here
        try:
            simulator.render(AHEAD)
        except RuntimeError as error:
            simulator.close()
            os._exit(0 if "spawn" in str(error) else 1)
        os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert simulator.render(AHEAD).instance.all()  # the parent's context is unharmed
    simulator.close()
