"""Navigation measures against definitions written down a second time, and on paths whose values are known."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.nodes.metrics.navigation import (
    MEASURES,
    as_path,
    dtw,
    goal_distance,
    measure_path,
    ndtw,
    path_efficiency,
    path_length,
)

coordinate = st.floats(-20, 20, allow_nan=False, width=32)
paths = st.lists(st.tuples(coordinate, coordinate, coordinate), min_size=1, max_size=12)


def straight(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b))


def line(*xs: float) -> np.ndarray:
    return np.array([(x, 0.0, 0.0) for x in xs])


# --- an independent implementation: plain recursion and loops -------------------------------------------------


def naive_dtw(a: list, b: list) -> float:
    @cache
    def cost(i: int, j: int) -> float:
        if i < 0 and j < 0:
            return 0.0
        if i < 0 or j < 0:
            return math.inf
        return math.dist(a[i], b[j]) + min(cost(i - 1, j), cost(i, j - 1), cost(i - 1, j - 1))

    return cost(len(a) - 1, len(b) - 1)


class StepByStep:
    """What a benchmark accumulates while an episode runs, as VLN-CE's measures do: one position at a time."""

    def __init__(self, start, goal, reference, radius):
        self.goal, self.reference, self.radius = goal, reference, radius
        self.start_distance = math.dist(start, goal)
        self.oracle = float(self.start_distance < radius)
        self.travelled, self.previous, self.locations = 0.0, start, [start]
        self.distance, self.steps = self.start_distance, 0

    def step(self, position):
        self.distance = math.dist(position, self.goal)
        self.oracle = float(self.oracle or self.distance < self.radius)
        self.travelled += math.dist(position, self.previous)
        self.previous = position
        self.steps += 1
        if position != self.locations[-1]:
            self.locations.append(position)

    def end(self, stopped):
        success = float(stopped and self.distance < self.radius)
        likeness = math.exp(-naive_dtw(self.locations, self.reference) / (len(self.reference) * self.radius))
        longest = max(self.start_distance, self.travelled)
        return {
            "sr": success,
            "osr": self.oracle,
            "spl": success * self.start_distance / longest if longest else success,
            "ne": self.distance,
            "ndtw": likeness,
            "sdtw": success * likeness,
            "steps": self.steps + stopped,
            "length": self.travelled,
        }


def deduplicated(path: list) -> list:
    return [p for i, p in enumerate(path) if i == 0 or p != path[i - 1]]


@settings(max_examples=60, deadline=None)
@given(paths, paths, st.booleans(), st.floats(0.25, 10))
def test_a_step_by_step_evaluation_gives_the_same(path, reference, stopped, radius):
    goal, expert = reference[-1], deduplicated(reference)
    other = StepByStep(path[0], goal, expert, radius)
    for position in path[1:]:
        other.step(position)
    got = measure_path(
        path,
        reference,
        [goal],
        straight,
        shortest=math.dist(path[0], goal),
        stopped=stopped,
        success_distance=radius,
    ).as_dict()
    expected = other.end(stopped)
    assert {name: got[name] for name in expected} == pytest.approx(expected, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(paths, paths)
def test_dtw_is_the_plain_recursion(a, b):
    assert dtw(np.array(a), np.array(b)) == pytest.approx(naive_dtw(a, b), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(paths, paths)
def test_dtw_is_symmetric_and_at_least_the_distance_of_the_ends(a, b):
    forth, back = dtw(np.array(a), np.array(b)), dtw(np.array(b), np.array(a))
    assert forth == pytest.approx(back, abs=1e-5)
    assert forth >= max(math.dist(a[0], b[0]), math.dist(a[-1], b[-1])) - 1e-5


# --- by hand --------------------------------------------------------------------------------------------------


def test_dtw_of_paths_by_hand():
    assert dtw(line(0, 1, 2), line(0, 1, 2)) == 0
    assert dtw(line(0, 2), line(0, 1, 2)) == pytest.approx(1)  # the middle point pairs with either end
    assert dtw(line(0), line(1, 2, 3)) == pytest.approx(6)  # all pair with the only point
    assert dtw(line(0, 1, 2) + [0, 3, 0], line(0, 1, 2)) == pytest.approx(9)


def test_a_perfect_episode():
    way = line(0, 1, 2, 3)
    got = measure_path(way, way, [way[-1]], straight, shortest=3, stopped=True, success_distance=1)
    assert got.as_dict() == {
        "sr": 1, "osr": 1, "spl": 1, "ne": 0, "ndtw": 1, "sdtw": 1, "steps": 4, "collisions": 0, "length": 3,
    }  # fmt: skip


def test_a_detour_costs_efficiency_and_likeness():
    way = line(0, 1, 2)
    detour = line(0, -1, 0, 1, 2)
    got = measure_path(detour, way, [way[-1]], straight, shortest=2, stopped=True, success_distance=1)
    assert (got.sr, got.spl, got.length) == (1, pytest.approx(0.5), 4)
    assert got.ndtw == pytest.approx(math.exp(-1 / 3))  # -1 is one metre off, the rest lies on the reference


def test_there_without_stopping_is_oracle_success_alone():
    way = line(0, 1, 2)
    got = measure_path(way, way, [way[-1]], straight, shortest=2, stopped=False, success_distance=1)
    assert (got.sr, got.osr, got.spl, got.sdtw, got.steps) == (0, 1, 0, 0, 2)


def test_through_the_goal_and_past_it():
    way = line(0, 1, 2)
    got = measure_path(
        line(0, 1, 2, 3, 4, 5), way, [way[-1]], straight, shortest=2, stopped=True, success_distance=1
    )
    assert (got.sr, got.osr, got.ne) == (0, 1, 3)


def test_the_success_distance_itself_is_not_near_enough():
    at_the_edge = measure_path(
        line(0, 1), line(0, 2), [(2, 0, 0)], straight, shortest=2, stopped=True, success_distance=1
    )
    assert (at_the_edge.sr, at_the_edge.osr, at_the_edge.ne) == (0, 0, 1)


def test_standing_still_where_one_should_be():
    got = measure_path(line(0), line(0), [(0, 0, 0)], straight, shortest=0, stopped=True, success_distance=1)
    assert (got.sr, got.spl, got.ndtw, got.steps, got.length) == (1, 1, 1, 1, 0)


def test_turns_and_bumps_do_not_count_twice_in_the_path():
    turning = line(0, 0, 0, 1, 1, 2, 2)
    still = measure_path(
        turning,
        line(0, 1, 2),
        [(2, 0, 0)],
        straight,
        shortest=2,
        stopped=True,
        success_distance=1,
        collisions=2,
    )
    assert (still.ndtw, still.spl, still.steps, still.collisions) == (1, 1, 7, 2)


def test_distance_is_walked_not_flown():
    """Behind a thin wall: near as the crow flies, far on foot; neither success nor oracle success."""
    behind = measure_path(
        line(0, 1), line(0, 1), [(1.2, 0, 0)], lambda a, b: 7.0, shortest=6, stopped=True, success_distance=1
    )
    assert (behind.sr, behind.osr, behind.ne) == (0, 0, 7)


def test_the_nearest_of_several_goals_counts():
    goals = as_path([(5, 0, 0), (0, 0, 3), (1, 0, 0)])
    assert goal_distance(np.zeros(3), goals, straight) == 1
    detour = {
        5.0: 5.0,
        3.0: 3.5,
        1.0: 9.0,
    }  # metres on foot by metres in the air: the nearest lies behind a wall
    assert goal_distance(np.zeros(3), goals, lambda a, b: detour[round(straight(a, b), 1)]) == 3.5


# --- what has no usual value ----------------------------------------------------------------------------------

REACHES = st.sampled_from([0.0, 2.0, math.inf])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(coordinate, coordinate, coordinate), max_size=4),
       st.lists(st.tuples(coordinate, coordinate, coordinate), max_size=4),
       st.lists(st.tuples(coordinate, coordinate, coordinate), max_size=2),
       REACHES, REACHES, st.booleans())  # fmt: skip
def test_nothing_is_ever_nan(path, reference, goals, shortest, way, stopped):
    got = measure_path(
        path,
        reference,
        goals,
        lambda a, b: max(way, straight(a, b)),
        shortest=shortest,
        stopped=stopped,
        success_distance=1,
    ).as_dict()
    assert not any(math.isnan(value) for value in got.values())
    assert all(math.isfinite(got[name]) for name in MEASURES if name != "ne")
    assert all(0 <= got[name] <= 1 for name in ("sr", "osr", "spl", "ndtw", "sdtw"))


def test_no_way_to_the_goal_is_an_infinite_error_and_no_success():
    got = measure_path(
        line(0, 1),
        line(0, 1),
        [(1, 0, 0)],
        lambda a, b: math.inf,
        shortest=math.inf,
        stopped=True,
        success_distance=1,
    )
    assert (got.sr, got.osr, got.spl, got.ne, got.ndtw) == (0, 0, 0, math.inf, 1)


def test_empty_paths_follow_nothing():
    assert ndtw(line(), line(0), success_distance=1) == 0
    assert ndtw(line(0), line(), success_distance=1) == 0
    assert path_length(as_path([])) == 0
    assert path_efficiency(math.inf, 3.0) == 0
    assert path_efficiency(0.0, 0.0) == 1
    nowhere = measure_path(
        [], line(0, 1), [(0, 0, 0)], straight, shortest=1, stopped=True, success_distance=1
    )
    assert (nowhere.sr, nowhere.osr, nowhere.ne, nowhere.steps) == (0, 0, math.inf, 1)


@pytest.mark.parametrize("wrong", [[(0, 1)], [(0, 0, math.nan)], [[[0, 0, 0]]]])
def test_what_is_no_path_is_refused(wrong):
    with pytest.raises(ValueError, match=r"\[N, 3\]"):
        as_path(wrong)


def test_a_success_distance_must_be_positive():
    with pytest.raises(ValueError, match="success_distance"):
        measure_path(line(0), line(0), [], straight, shortest=0, stopped=True, success_distance=0)
