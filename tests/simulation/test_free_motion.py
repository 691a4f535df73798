"""Free camera motion against closed forms: straight lines, corners, circles."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vln_heatmap.geometry.cameras import look_pose
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.simulators.base import MOVE, STOP
from vln_heatmap.simulation.trajectories.free_motion import (
    Limits,
    brisk,
    frames_needed,
    free_walk,
    gentle,
    headings,
    look_at,
    looking_ahead,
    looking_at,
    motion,
    paced,
    resampled,
    smooth_path,
)
from vln_heatmap.simulation.trajectories.walks import WalkRequest, path_length

LIMITS = Limits(0.25, math.radians(15))
LINE = np.array([[0.0, 0, 0], [2.0, 0, 0]])
CORNER = np.array([[0.0, 0, 0], [2.0, 0, 0], [2.0, 0, 2.0]])
finite = st.floats(-5, 5)


@given(st.tuples(finite, finite, finite), st.tuples(finite, finite, finite))
def test_look_at_puts_the_target_on_the_optical_axis(position: tuple, target: tuple) -> None:
    offset = np.subtract(target, position)
    if np.hypot(offset[0], offset[2]) < 1e-3:
        return
    forward = look_pose(position, *look_at(position, target))[:3, 2]
    assert forward @ offset == pytest.approx(np.linalg.norm(offset), rel=1e-9)


def test_looking_at_counts_the_eye_height_and_the_lift() -> None:
    points = np.array([[0.0, 0, 2.0], [0.0, 0, 1.0]])
    rows = looking_at(points, (0.0, 1.5, 0.0), 1.0, [0.5, -0.5])
    np.testing.assert_allclose(rows[:, 3:], [[0, 0, 0.5], [0, math.atan2(1.0, 1.0), -0.5]], atol=1e-12)


def test_headings_follow_the_path_and_do_not_jump() -> None:
    np.testing.assert_allclose(headings(CORNER), [-math.pi / 2, -math.pi, -math.pi])
    angle = np.linspace(0, 4 * math.pi, 400)
    circle = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], axis=1)
    assert headings(circle)[-1] - headings(circle)[0] == pytest.approx(-4 * math.pi, abs=0.05)
    assert np.array_equal(headings(np.zeros((3, 3))), np.zeros(3))


def test_a_straight_line_is_walked_at_the_limit_or_slower() -> None:
    rows = looking_ahead(resampled(LINE))
    assert frames_needed(rows, LIMITS) == 9  # 2 m in steps of 0.25 m
    for length, end in ((9, 2.0), (17, 2.0), (5, 1.0)):
        x = paced(rows, length, LIMITS)[:, 0]
        np.testing.assert_allclose(x, np.linspace(0, end, length), atol=1e-9)


def test_a_corner_costs_its_turn() -> None:
    rows = looking_ahead(resampled(CORNER))
    # 4 m, and 90 degrees on the last 0.05 m before the corner
    assert frames_needed(rows, LIMITS) == math.ceil((4 - 0.05) / 0.25 + 6) + 1
    moved, turned = motion(paced(rows, 40, LIMITS))
    assert moved.max() <= LIMITS.step + 1e-9
    assert turned.max() <= LIMITS.turn + 1e-9


@given(st.lists(st.tuples(*[finite] * 6), min_size=2, max_size=6), st.integers(2, 50))
def test_no_pose_line_breaks_the_limits(rows: list, length: int) -> None:
    walked = paced(np.array(rows), length, LIMITS)
    moved, turned = motion(walked)
    assert len(walked) == length
    assert moved.max() <= LIMITS.step + 1e-9
    assert turned.max() <= LIMITS.turn + 1e-9
    np.testing.assert_allclose(walked[0], rows[0])


def test_paced_ends_where_the_line_ends() -> None:
    rows = looking_ahead(resampled(CORNER))
    np.testing.assert_allclose(paced(rows, 100, LIMITS)[-1], rows[-1])


def test_a_corner_in_the_open_becomes_a_curve_and_shortens_the_way() -> None:
    smooth = smooth_path(CORNER)
    np.testing.assert_allclose(smooth[[0, -1]], CORNER[[0, -1]])
    turns = np.abs(np.diff(headings(smooth)))
    assert turns.max() < math.radians(20)  # 90 degrees before
    assert np.linalg.norm(np.diff(smooth, axis=0), axis=1).max() <= 0.05 + 1e-9


def test_smoothing_stays_free_and_keeps_a_corner_without_room() -> None:
    def tight(point: np.ndarray) -> bool:  # a corridor as wide as the path
        return abs(point[2]) < 0.01 or abs(point[0] - 2) < 0.01

    def inside_blocked(point: np.ndarray) -> bool:  # what lies inside the turn is an obstacle
        return not (point[0] < 2 - 1e-6 and point[2] > 1e-6)

    kept = smooth_path(CORNER, free=tight)
    assert path_length(kept) == pytest.approx(4.0)
    round_it = smooth_path(CORNER, free=inside_blocked)
    assert all(inside_blocked(point) for point in round_it)
    assert np.abs(np.diff(headings(round_it))).max() < math.radians(50)


def test_limits_are_the_agents_or_the_requested() -> None:
    request = WalkRequest(10, AgentParams(), fps=10.0, max_speed=0.5, max_turn=30.0)
    assert brisk(request) == pytest.approx((0.25, math.radians(15)))
    assert gentle(request) == pytest.approx((0.05, math.radians(3)))
    hasty = WalkRequest(10, AgentParams(forward_step=1.0, turn_angle=90), fps=1.0, max_speed=9, max_turn=99)
    assert gentle(hasty) == brisk(hasty) == pytest.approx((0.25, math.radians(15)))


def test_a_free_walk_moves_until_it_stops() -> None:
    rows = [[0.0, 0, 0, 0, 0.1, 0.2], [0.1, 0, 0, 0.2, 0.1, 0.2], [0.2, 0, 0, 0.2, 0.1, 0.2]]
    walk = free_walk(rows, details={"covered": 0.5})
    assert [step.action for step in walk.steps] == [MOVE, MOVE, STOP]
    assert walk.steps[1].state.position == (0.1, 0.0, 0.0)
    assert (walk.steps[1].state.yaw, walk.steps[1].tilt, walk.steps[1].lift) == (0.2, 0.1, 0.2)
    assert not walk.stopped
    assert walk.details == {"covered": 0.5}


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ([0.4, 0, 0, 0, 0, 0], "0.400 m after frame 0, at most 0.300"),
        ([0.2, 0, 0, 0, 0, 0.3], "0.361 m"),
        ([0, 0, 0, 0.4, 0, 0], "0.400 rad after frame 0, at most 0.349"),
        ([math.nan, 0, 0, 0, 0, 0], "finite"),
    ],
)
def test_jumps_are_refused(row: list, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        free_walk([[0.0] * 6, row])
