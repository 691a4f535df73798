"""Light and textures as ``shading`` defines them, and light sources that are dimmed."""

from dataclasses import replace

import numpy as np
import pytest
from hand_built import GREY, PAINTS, RED, Box, build
from views import AHEAD, CAMERA, assert_same, head_on, look, toned

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.simulation.scene import LightSource, LightVolume, Scene
from vln_heatmap.simulation.simulators import shading


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


# --- light sources -----------------------------------------------------------------------------------------


def even(value: float, shape: tuple[int, int, int] = (3, 2, 4)) -> LightVolume:
    """The same light everywhere and in all directions."""
    size = np.array([180, 180, 10], np.float32)
    return LightVolume(np.full((*shape, 6), value, np.float32), np.array([-90, -90, -5], np.float32), size)


DAYLIGHT, LAMPS = 0.3, 0.15


def lit_wall() -> Scene:
    scene = head_on(2, light=even(np.float32(DAYLIGHT) + np.float32(LAMPS)))
    sources = (LightSource("daylight", even(DAYLIGHT)), LightSource("lamps", even(LAMPS)))
    return replace(scene, sources=sources)


@pytest.mark.parametrize(
    ("weights", "light"),
    [
        ({}, DAYLIGHT + LAMPS),
        ({"lamps": 0.0}, DAYLIGHT),
        ({"daylight": 0.0}, LAMPS),
        ({"daylight": 0.5, "lamps": 2.0}, 0.5 * DAYLIGHT + 2 * LAMPS),
        ({"daylight": 0.0, "lamps": 0.0}, 0.0),
    ],
)
def test_sources_shine_by_their_weights(make, weights, light):
    simulator = make()
    simulator.load(lit_wall())
    simulator.illuminate(weights)
    assert simulator.render(AHEAD).rgb == pytest.approx(
        np.broadcast_to(toned(PAINTS[GREY], light), (32, 48, 3)), abs=1.01
    )


def test_sources_at_full_strength_are_the_light_of_the_scene(make):
    simulator = make()
    before = look(simulator, lit_wall())
    simulator.illuminate({"daylight": 0.2})
    assert simulator.render(AHEAD).rgb.max() < before.rgb.min()
    for weights in ({"daylight": 1.0, "lamps": 1.0}, {"daylight": 1.0}, {}):
        simulator.illuminate({"lamps": 0.0})
        simulator.illuminate(weights)
        assert_same(before, simulator.render(AHEAD))


def test_dimming_changes_neither_depth_nor_ids(make):
    simulator = make()
    before = look(simulator, lit_wall())
    simulator.illuminate({"daylight": 0.0})
    after = simulator.render(AHEAD)
    assert np.array_equal(before.depth, after.depth)
    assert np.array_equal(before.instance, after.instance)


def test_a_loaded_scene_shines_at_full_strength(make):
    simulator = make()
    before = look(simulator, lit_wall())
    simulator.illuminate({"daylight": 0.0})
    assert_same(before, look(simulator, lit_wall()))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"sun": 1.0}, r"light sources \['daylight', 'lamps'\], not 'sun'"),
        ({"lamps": -0.1}, "weight of light source 'lamps' must be at least 0, got -0.1"),
        ({"lamps": np.nan}, "weight of light source 'lamps' must be at least 0, got nan"),
    ],
)
def test_a_weight_without_meaning_is_refused_and_the_light_stays(make, weights, message):
    simulator = make()
    before = look(simulator, lit_wall())
    with pytest.raises(ValueError, match=message):
        simulator.illuminate(weights)
    assert_same(before, simulator.render(AHEAD))


def test_light_that_cannot_be_divided_cannot_be_dimmed(make):
    simulator = make()
    simulator.load(head_on(2))
    simulator.illuminate({})
    with pytest.raises(ValueError, match=r"light sources \[\], not 'lamps'"):
        simulator.illuminate({"lamps": 0.5})
