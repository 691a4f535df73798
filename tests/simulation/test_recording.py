"""What is filmed is what happened: light adds up, the shutter sweeps, moved things are where the table says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hand_built import Box, build
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vln_heatmap.datasets.sequence import Sequence, read_motions
from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.geometry.projection import project
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.exposure import expose, exposure_count, exposure_times, to_display, to_linear
from vln_heatmap.simulation.motion import motion_at, state_at
from vln_heatmap.simulation.recording import Mount, record
from vln_heatmap.simulation.simulators import make_simulator
from vln_heatmap.simulation.simulators.base import MOVE, AgentState, Observation
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories import Walk, WalkStep

CAMERA = PinholeCamera(32, 24, 90.0)
SCENE = build(Box((-4, 0, -4), (4, 3, 4), inside=True), Box((-0.5, 0.5, -3), (0.5, 1.5, -2), paint=1))
COLUMNS_PER_RADIAN = 20


class StripeSimulator:
    """Sees one white column, that of its yaw, in black; counts what it is asked for."""

    name, version, camera = "stripe", "1", CAMERA

    def __init__(self) -> None:
        self.motions: list[Mapping[int, Any]] = []
        self.lights: list[Mapping[str, float]] = []
        self.renders = 0

    def move(self, motions: Mapping[int, Any]) -> None:
        self.motions.append(motions)

    def illuminate(self, weights: Mapping[str, float]) -> None:
        self.lights.append(weights)

    def render(self, pose: np.ndarray) -> Observation:
        self.renders += 1
        forward = pose[:3, 2]
        rgb = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
        rgb[:, math.floor(COLUMNS_PER_RADIAN * math.atan2(-forward[0], -forward[2]) + 1e-9)] = 255
        return Observation(rgb, np.full(rgb.shape[:2], 2, np.float32), np.ones(rgb.shape[:2], np.int32))


def turning(*yaws: float) -> Walk:
    steps = [WalkStep(AgentState((0.0, 0.0, 0.0), yaw), MOVE, False) for yaw in yaws]
    return Walk(tuple(steps), stopped=False)


def filmed(sim: Any, take: Take) -> Sequence:
    options = {"mount": Mount(1.0, 0.0), "fps": 10.0, "instructions": 0, "details": {}}
    return record(sim, SCENE, take, np.random.default_rng(0), sequence_id="x", **options)


def motion(turn: float, shift: tuple[float, float, float]) -> np.ndarray:
    """A turn about the vertical through the second box's centre, then a shift [4, 4]."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec((0, turn, 0)).as_matrix()
    centre = SCENE.instances[1].centre
    matrix[:3, 3] = centre + shift - matrix[:3, :3] @ centre
    return matrix


# --- light ----------------------------------------------------------------------------------------------


def test_every_display_value_survives_the_way_through_light() -> None:
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_display(to_linear(values)), values)
    assert to_linear(np.array([0, 255], np.uint8)).tolist() == [0, 1]


def test_light_adds_up_linearly() -> None:
    black, white = np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)
    assert expose([black, white]).ravel().tolist() == [188] * 3  # half the light looks like 188, not 128
    assert expose([white], 0.5).ravel().tolist() == [188] * 3
    assert expose([white], 3.0).ravel().tolist() == [255] * 3
    assert expose([black, white], 2.0).ravel().tolist() == [255] * 3


def test_exposure_and_lights_follow_the_take() -> None:
    sim = StripeSimulator()
    take = Take(turning(0.1, 0.1), exposure=np.array([1.0, 0.25]), lights={"lamps": np.array([0.5, 0.0])})
    sequence = filmed(sim, take)
    assert sim.lights == [{"lamps": 0.5}, {"lamps": 0.0}, {}]  # and back again
    assert to_linear(sequence.rgb[:, 0, 2, 0]) == pytest.approx([1, 0.25], abs=0.003)
    assert sequence.metadata["exposure"] == [1, 0.25]
    assert sequence.metadata["lights"] == {"lamps": [0.5, 0]}
    assert "shutter" not in sequence.metadata


# --- the shutter ----------------------------------------------------------------------------------------


@given(st.integers(2, 9), st.floats(0, 1), st.integers(0, 16))
def test_exposures_are_spread_evenly_round_their_frame(length: int, shutter: float, half: int) -> None:
    for frame in range(length):
        times = exposure_times(frame, length, shutter, 2 * half + 1)
        assert times[half] == frame
        assert ((times >= 0) & (times <= length - 1)).all()
        assert np.abs(times - frame).max() <= shutter / 2
        if 0 < frame < length - 1:
            assert times.mean() == pytest.approx(frame)


def test_one_exposure_a_pixel() -> None:
    assert [exposure_count(pixels) for pixels in (0, 0.5, 2, 4.1, 1e6)] == [1, 3, 3, 7, 33]


def test_a_turning_camera_smears_its_stripe_over_the_way_it_turned() -> None:
    """The shutter is open half the time, so the middle frame sweeps 0.5 to 0.7 rad."""
    sim = StripeSimulator()
    sequence = filmed(sim, Take(turning(0.2, 0.6, 1.0), shutter=0.5))
    light = to_linear(sequence.rgb[1, 0, :, 0])  # [W]
    assert light.sum() == pytest.approx(1, abs=0.02)  # no light is lost
    assert np.flatnonzero(light).tolist() == [10, 11, 12, 13]  # columns of 0.5 .. 0.7 rad
    np.testing.assert_allclose(light[10:14], 0.25, atol=0.16)  # one or two of five exposures each
    assert sequence.metadata["shutter"] == 0.5
    np.testing.assert_array_equal(
        sequence.poses[1, :3, 2], filmed(sim, Take(turning(0.2, 0.6, 1.0))).poses[1, :3, 2]
    )


def test_a_resting_camera_stays_sharp_and_is_rendered_once_a_frame() -> None:
    sim = StripeSimulator()
    sharp = filmed(sim, Take(turning(0.2, 0.2, 0.2)))
    assert sim.renders == 3
    np.testing.assert_array_equal(filmed(sim, Take(turning(0.2, 0.2, 0.2), shutter=1.0)).rgb, sharp.rgb)
    assert sim.renders == 6
    assert sim.motions == sim.lights == []


# --- motion ---------------------------------------------------------------------------------------------


def test_states_between_frames_take_the_short_way_round() -> None:
    states = np.array([[0, 0, 0, 3.0, 0, 1], [1, 2, 4, -3.0, 0.2, 2]])
    half = math.pi - 3
    np.testing.assert_allclose(state_at(states, 0.5), [0.5, 1, 2, 3 + half, 0.1, 1.5])
    for row in (0, 1):
        np.testing.assert_array_equal(state_at(states, row), states[row])
    with pytest.raises(ValueError, match=r"\[0, 1\], got 1.5"):
        state_at(states, 1.5)


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 1))
def test_a_motion_between_frames_is_rigid_and_its_centre_goes_straight(
    turn: float, shift: float, time: float
) -> None:
    path = np.stack([motion(0.3, (0, 0, 0)), motion(0.3 + turn, (shift, 0, 1))])
    between = motion_at(path, time, SCENE.instances[1].centre)
    np.testing.assert_allclose(between, motion(0.3 + time * turn, (time * shift, 0, time)), atol=1e-9)


def test_moved_things_are_seen_where_the_table_says() -> None:
    path = np.stack([np.eye(4), motion(0.0, (0.5, 0, 0)), motion(0.4, (1.0, 0.25, 0)), np.eye(4)])
    sim = make_simulator("raycast", CAMERA, agent=AgentParams())
    sim.load(SCENE)
    still = filmed(sim, Take(turning(0, 0, 0, 0)))
    sequence = filmed(sim, Take(turning(0, 0, 0, 0), motions={2: path}))
    again = sim.render(sequence.poses[0])
    sim.close()
    assert [list(ids) for ids in sequence.frames["moved_ids"]] == [[], [2], [2], []]
    np.testing.assert_array_equal(sequence.motions[2], path)
    np.testing.assert_array_equal(again.instance, still.instance[0])  # it is put back
    for t in (0, 3):
        np.testing.assert_array_equal(sequence.instance[t], still.instance[t])
    for t, row in sequence.frames.iterrows():
        points = sequence.motions[2][t] @ np.append(SCENE.instances[1].centre, 1)  # [4]
        u, v, _ = project(points[None, :3], CAMERA, sequence.poses[t])
        seen = list(row.visible_ids).index(2)
        assert row.visible_u[seen] * CAMERA.width == pytest.approx(u[0], abs=1.0)
        assert row.visible_v[seen] * CAMERA.height == pytest.approx(v[0], abs=1.0)


def test_a_moving_thing_is_smeared_before_a_resting_camera() -> None:
    path = np.stack([motion(0.0, (x, 0, 0)) for x in (-0.5, 0.0, 0.5)])
    sim = make_simulator("raycast", CAMERA, agent=AgentParams())
    sim.load(SCENE)
    sharp, blurred = (filmed(sim, Take(turning(0, 0, 0), motions={2: path}, shutter=s)) for s in (0.0, 1.0))
    sim.close()
    np.testing.assert_array_equal(sharp.depth, blurred.depth)
    np.testing.assert_array_equal(sharp.instance, blurred.instance)
    row = to_linear(blurred.rgb[1, CAMERA.height // 2]).astype(float)  # [W, 3] through the red box
    box, wall = row[CAMERA.width // 2 - 1], row[2]
    edge = row[sharp.instance[1, CAMERA.height // 2] == 2][0]
    assert min(box[1], wall[1]) < edge[1] < max(box[1], wall[1])  # neither the box's nor the wall's green


def test_a_frame_table_whose_ids_and_poses_do_not_fit_is_refused() -> None:
    frames = filmed(StripeSimulator(), Take(turning(0.1, 0.1))).frames
    assert read_motions(frames) == {}
    frames["moved_ids"] = [[], [2]]
    with pytest.raises(ValueError, match="frame 1 moves 1 instances but has 0 pose numbers"):
        read_motions(frames)
