"""Controllers that know where to go, on floors where the best way is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_world import LOOP, Room, episode

from vln_heatmap.nodes.policy.closed_loop_world import POINT_GOAL, BlindWorld, task_episodes
from vln_heatmap.nodes.policy.controllers import ContinuousExpert, StraightToGoal, controllers
from vln_heatmap.nodes.policy.pursuit import along, towards

AGENT = LOOP.agent
X, Z, YAW = st.floats(-2.9, 2.9), st.floats(-1.9, 1.9), st.floats(-math.pi, math.pi)


def walked(policy, sim, one):
    world = BlindWorld(sim, one, LOOP, expert=policy.needs_expert)
    policy.reset([one.instruction], seeds=[0])
    while not world.done:
        world.step(policy.act([world.observation()], [False])[0])
    return world.record()


@settings(max_examples=25, deadline=None)
@given(X, Z, YAW, X, Z)
def test_straight_reaches_every_point_of_an_empty_room(x, z, yaw, goal_x, goal_z):
    (one,) = task_episodes(POINT_GOAL, [episode((x, z), yaw, (goal_x, goal_z))])
    record = walked(StraightToGoal(AGENT), Room(), one)
    assert record.stopped
    assert record.measures.sr == 1
    assert record.measures.ne <= AGENT.forward_step + 1e-6


def test_straight_stays_behind_a_wall_and_the_expert_does_not():
    sim, one = Room(wall=1.0), episode((-1.0, -1.5), 0.0, (1.0, -1.5))
    (point,) = task_episodes(POINT_GOAL, [one])
    assert walked(StraightToGoal(AGENT), sim, point).measures.sr == 0
    record = walked(ContinuousExpert(), sim, point)
    assert record.measures.sr == 1
    assert record.measures.length < sim.geodesic_distance(one.start.position, one.goals[0]) + 0.5


def test_the_expert_ends_facing_the_thing():
    one = episode((-2.0, 0.0), 0.0, (2.0, 0.0))
    record = walked(ContinuousExpert(), Room(), one)
    heading = record.states[-1][3]  # the thing is to the east
    assert abs(heading + math.pi / 2) <= math.radians(AGENT.turn_angle) / 2 + 1e-6
    assert record.measures.spl > 0.95


def test_without_a_way_the_expert_stops():
    record = walked(ContinuousExpert(), Nowhere(), episode((0.0, 0.0), 0.0, (2.0, 0.0)))
    assert record.actions == [[0.0, 0.0, 0.0, 1.0]]


class Nowhere(Room):
    def shortest_path(self, start, goal):
        return np.zeros((0, 3))

    def geodesic_distance(self, start, goal):
        return math.inf


def test_it_slows_down_until_it_faces_where_it_goes():
    ahead, aside, behind = (towards(*point, AGENT) for point in ((0.0, 2.0), (-2.0, 2.0), (0.0, -2.0)))
    assert ahead == pytest.approx((0.0, AGENT.forward_step, 0.0))
    assert math.hypot(*aside[:2]) == pytest.approx(AGENT.forward_step * math.sqrt(0.5))
    assert aside.turn == pytest.approx(math.radians(AGENT.turn_angle))  # to the left
    assert behind[:2] == pytest.approx((0.0, 0.0))
    assert towards(0.0, 0.1, AGENT).forward == pytest.approx(0.1)  # not beyond the point


def test_a_place_along_a_way():
    path = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 2]], float)
    np.testing.assert_allclose(along(path, 1.5), (1, 0, 0.5))
    np.testing.assert_allclose(along(path, 9.0), (1, 0, 2))


def test_random_stops_as_often_as_experts_and_keeps_the_limits():
    policy = controllers(["random"], AGENT, [[1] * 9])["random"]
    assert policy.stop == pytest.approx(0.1)
    policy.reset([""], seeds=[1])
    drawn = np.array([policy.act([None], [False])[0] for _ in range(3000)])
    assert drawn[:, 3].mean() == pytest.approx(0.1, abs=0.02)
    assert np.abs(drawn[:, 2]).max() <= math.radians(AGENT.turn_angle)


def test_unknown_baselines_are_refused():
    with pytest.raises(ValueError, match="straight, expert, got 'best'"):
        controllers(["best"], AGENT, [])
