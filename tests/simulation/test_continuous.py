"""Steps of any length and direction: exact where the floor is free, slid along what is in the way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hand_built import Box, build
from hypothesis import given, settings
from hypothesis import strategies as st
from open_floor import OpenFloor, Ramp

from vln_heatmap.geometry.cameras import PinholeCamera, wrap_angle
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.continuous import Motion, axes, glide, limited, seen_from
from vln_heatmap.simulation.simulators.base import AgentState
from vln_heatmap.simulation.simulators.embedded import EmbeddedSimulator

AGENT = AgentParams()
STEP, TURN = AGENT.forward_step, math.radians(AGENT.turn_angle)
YAWS = st.floats(-math.pi, math.pi)
SMALL = st.floats(-STEP / 2, STEP / 2)


class Blind(EmbeddedSimulator):
    """The grid's floor, and nothing to see."""

    name, version = "blind", "1"

    def _upload(self, scene): ...
    def _place(self, motions): ...
    def _relight(self, light): ...
    def _release_scene(self): ...
    def _draw(self, scene, pose): ...


@pytest.fixture(scope="module")
def room():
    """4 x 4 m with a pillar of 1 x 1 m in the middle; the agent's centre keeps its radius from all walls."""
    sim = Blind(PinholeCamera(16, 16, 90.0), agent=AGENT)
    sim.load(build(Box((0, 0, 0), (4, 2.6, 4), inside=True), Box((1.5, 0, 1.5), (2.5, 2.6, 2.5))))
    return sim


def test_the_axes_of_the_four_headings():
    for yaw, right, ahead in (
        (0.0, (1, 0, 0), (0, 0, -1)),
        (math.pi / 2, (0, 0, -1), (-1, 0, 0)),
        (math.pi, (-1, 0, 0), (0, 0, 1)),
        (-math.pi / 2, (0, 0, 1), (1, 0, 0)),
    ):
        np.testing.assert_allclose(axes(yaw), (right, ahead), atol=1e-12)


@settings(max_examples=40)
@given(YAWS, SMALL, SMALL, st.floats(-TURN, TURN))
def test_on_free_floor_a_step_ends_where_it_was_meant_to(yaw, right, forward, turn):
    result = glide(OpenFloor(5.0), AgentState((0.3, 0.0, -0.2), yaw), Motion(right, forward, turn), AGENT)
    x = 0.3 + right * math.cos(yaw) - forward * math.sin(yaw)
    z = -0.2 - right * math.sin(yaw) - forward * math.cos(yaw)
    assert result.state.position == pytest.approx((x, 0.0, z), abs=1e-9)
    assert wrap_angle(result.state.yaw - yaw - turn) == pytest.approx(0, abs=1e-9)
    assert not result.collided


@settings(max_examples=40)
@given(YAWS, SMALL, SMALL)
def test_what_is_seen_is_where_one_gets_by_going_there(yaw, right, forward):
    state = AgentState((0.0, 0.0, 0.0), yaw)
    there = glide(OpenFloor(5.0), state, Motion(right, forward, 0.0), AGENT).state.position
    assert seen_from(state, there) == pytest.approx((right, forward), abs=1e-9)


@given(st.floats(-9, 9), st.floats(-9, 9), st.floats(-9, 9))
def test_a_motion_is_cut_to_the_agents_limits_and_keeps_its_direction(right, forward, turn):
    cut = limited(Motion(right, forward, turn), AGENT)
    assert math.hypot(cut.right, cut.forward) <= STEP + 1e-12
    assert abs(cut.turn) <= TURN
    assert cut.right * forward == pytest.approx(cut.forward * right, abs=1e-9)
    if math.hypot(right, forward) <= STEP and abs(turn) <= TURN:
        assert cut == (right, forward, turn)


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        limited(Motion(0.0, math.nan, 0.0), AGENT)


@pytest.mark.parametrize("angle", [0.3, 0.8, 1.2])
def test_along_a_wall_the_part_beside_it_is_left(angle):
    """The floor ends at x = 2; heading east and ``angle`` to the north of it."""
    state = AgentState((2.0, 0.0, 0.0), -math.pi / 2 + angle)
    result = glide(OpenFloor(2.0), state, Motion(0.0, STEP, 0.0), AGENT)
    assert result.collided
    assert result.state.position == pytest.approx((2.0, 0.0, -STEP * math.sin(angle)), abs=1e-6)


def test_head_on_one_gets_to_the_wall_and_no_further():
    state = AgentState((1.9, 0.0, 0.5), -math.pi / 2)
    result = glide(OpenFloor(2.0), state, Motion(0.0, STEP, 0.1), AGENT)
    assert result.collided
    assert 1.9 <= result.state.position[0] <= 2.0 + 1e-9
    assert 2.0 - result.state.position[0] <= AGENT.cell + 1e-9  # feelers are a cell long
    assert result.state.position[2] == pytest.approx(0.5)
    assert result.state.yaw == pytest.approx(-math.pi / 2 + 0.1)  # it turns all the same


def test_on_a_slope_it_stays_on_the_floor():
    state = AgentState((-1.5, 0.0, 0.0), -math.pi / 2)
    for _ in range(8):
        state = glide(Ramp(), state, Motion(0.0, STEP, 0.0), AGENT).state
    assert state.position == pytest.approx((0.5, 0.75, 0.0), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_walk_leaves_the_floor_or_goes_through_a_pillar(room, seed):
    rng = np.random.default_rng(seed)
    x, y, z = room.random_navigable_point(rng)
    state = AgentState((float(x), float(y), float(z)), float(rng.uniform(-math.pi, math.pi)))
    for _ in range(20):
        motion = Motion(*rng.normal(0, STEP, 2), rng.normal(0, TURN))
        before, state = state, glide(room, state, motion, AGENT).state
        assert room.is_navigable(np.array(state.position))
        assert math.dist(before.position, state.position) <= STEP + 1e-6
        gaps = [max(abs(state.position[axis] - 2) - 0.5, 0) for axis in (0, 2)]
        assert math.hypot(*gaps) > AGENT.radius - AGENT.cell
