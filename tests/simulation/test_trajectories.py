"""Walks on floors whose geometry is known in closed form: an open square, and two rooms with a doorway."""

import math

import numpy as np
import pytest

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.simulators.base import (
    FORWARD,
    STOP,
    TURN_LEFT,
    TURN_RIGHT,
    AgentState,
    NoNavigableFloorError,
    Simulator,
    StepResult,
)
from vln_heatmap.simulation.trajectories import (
    TRAJECTORIES,
    NoRouteError,
    WalkRequest,
    path_length,
    point_to_point,
    random_exploration,
)

AGENT = AgentParams()
TURN = math.radians(AGENT.turn_angle)


class OpenFloor:
    """A square floor |x|, |z| <= half; with ``door``, a wall at x = 0 open only for |z| <= door."""

    name, version, camera = "open_floor", "1", PinholeCamera(16, 16, 90.0)

    def __init__(self, half: float, door: float | None = None) -> None:
        self.half, self.door = half, door

    def load(self, scene) -> None: ...
    def render(self, camera_to_world) -> None: ...
    def move(self, motions) -> None: ...
    def illuminate(self, weights) -> None: ...
    def close(self) -> None: ...

    def clearance(self, position) -> float:
        """Distance to the edge of the floor and to the wall's faces, that end at the door's posts."""
        x, _, z = position
        edge = self.half - max(abs(x), abs(z))
        if self.door is None:
            return edge
        return min(edge, math.hypot(max(abs(x) - 0.1, 0), max(self.door - abs(z), 0)))

    def navigable_points(self, spacing: float) -> np.ndarray:
        line = np.arange(-self.half + spacing / 2, self.half, spacing)
        points = [(x, 0.0, z) for z in line for x in line if self.is_navigable((x, 0.0, z))]
        return np.array(points).reshape(-1, 3)

    def random_navigable_point(self, rng: np.random.Generator) -> np.ndarray:
        if self.half <= 0:
            raise NoNavigableFloorError("no floor")
        while True:
            x, z = rng.uniform(-self.half, self.half, 2)
            if self.is_navigable(np.array([x, 0, z])):
                return np.array([x, 0.0, z])

    def is_navigable(self, position) -> bool:
        x, _, z = position
        in_wall = self.door is not None and abs(x) < 0.1 and abs(z) > self.door
        return max(abs(x), abs(z)) <= self.half and not in_wall

    def _straight(self, start, goal) -> bool:
        return all(self.is_navigable(np.asarray(start) + t * (goal - start)) for t in np.linspace(0, 1, 200))

    def shortest_path(self, start, goal) -> np.ndarray:
        start, goal = np.asarray(start, float), np.asarray(goal, float)
        if self._straight(start, goal):
            return np.stack([start, goal])
        sides = np.sign([start[0], goal[0]])
        corners = [
            np.stack([start, *(np.array([0.12 * side, 0, z]) for side in sides), goal])
            for z in (-self.door + 0.02, 0.0, self.door - 0.02)
        ]
        return min(corners, key=path_length)

    def geodesic_distance(self, start, goal) -> float:
        return path_length(self.shortest_path(start, goal))

    def step(self, state: AgentState, action: int) -> StepResult:
        if action == FORWARD:
            move = AGENT.forward_step * np.array([-math.sin(state.yaw), 0, -math.cos(state.yaw)])
            start = np.array(state.position)
            free = self._straight(start, start + move)
            return StepResult(AgentState(tuple(start + move), state.yaw) if free else state, not free)
        return StepResult(AgentState(state.position, state.yaw + {2: TURN, 3: -TURN}[action]), False)


def positions(walk) -> np.ndarray:
    return np.array([step.state.position for step in walk.steps])


def assert_is_what_the_simulator_answers(sim: Simulator, walk) -> None:
    for before, after in zip(walk.steps, walk.steps[1:], strict=False):
        answer = sim.step(before.state, before.action)
        assert after.state == answer.state
        assert before.collided == answer.collided
    assert walk.steps[-1].action == STOP
    assert all(step.action in (FORWARD, TURN_LEFT, TURN_RIGHT) for step in walk.steps[:-1])


def test_the_fake_keeps_the_protocol() -> None:
    assert isinstance(OpenFloor(1.0), Simulator)


@pytest.mark.parametrize("name", TRAJECTORIES)
@pytest.mark.parametrize("door", [None, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_walks_follow_the_simulator_and_repeat(name: str, door: float | None, seed: int) -> None:
    sim = OpenFloor(3.0, door)
    walk = TRAJECTORIES[name](sim, np.random.default_rng(seed), WalkRequest(40, AGENT))
    assert_is_what_the_simulator_answers(sim, walk)
    assert 2 <= len(walk.steps) <= 40
    assert walk == TRAJECTORIES[name](sim, np.random.default_rng(seed), WalkRequest(40, AGENT))


def test_exploration_fills_its_length_and_seldom_bumps() -> None:
    walks = [
        random_exploration(OpenFloor(3.0, 0.5), np.random.default_rng(seed), WalkRequest(60, AGENT))
        for seed in range(10)
    ]
    assert all(len(walk.steps) == 60 and not walk.stopped for walk in walks)
    collisions = sum(step.collided for walk in walks for step in walk.steps)
    assert collisions <= 0.02 * 600
    travelled = [path_length(positions(walk)) for walk in walks]
    assert np.mean(travelled) >= 60 * AGENT.forward_step / 4  # a quarter of all actions lead on, or more


def test_long_explorations_see_both_rooms_and_come_back() -> None:
    both = returned = 0
    for seed in range(8):
        sim, request = OpenFloor(3.0, 0.5), WalkRequest(300, AGENT)
        path = positions(random_exploration(sim, np.random.default_rng(seed), request))
        both += path[:, 0].min() < -0.3 and path[:, 0].max() > 0.3
        returned += any(came_back(path[start:]) for start in range(0, 250, 10))
    assert both >= 7
    assert returned >= 6


def came_back(path: np.ndarray) -> bool:
    """Whether the path [T, 3] goes more than a metre away from its start and then comes close to it again."""
    away = np.linalg.norm(path - path[0], axis=1)
    left = int(np.argmax(away > 1.0))
    return bool(away[left] > 1.0 and away[left:].min() < 0.3)


def test_one_cell_of_floor_still_gives_a_whole_walk() -> None:
    walk = random_exploration(OpenFloor(0.05), np.random.default_rng(0), WalkRequest(20, AGENT))
    assert len(walk.steps) == 20
    assert np.abs(positions(walk)).max() <= 0.05


@pytest.mark.parametrize("seed", range(6))
def test_the_expert_stops_at_the_goal_and_takes_no_detour(seed: int) -> None:
    sim = OpenFloor(3.0, 0.5)
    request = WalkRequest(80, AGENT, distance=(2.0, 5.0))
    walk = point_to_point(sim, np.random.default_rng(seed), request)
    path = positions(walk)
    shortest = sim.geodesic_distance(path[0], np.array(walk.goal))
    assert walk.stopped
    assert 2.0 <= shortest <= 5.0
    assert math.dist(path[-1], walk.goal) <= AGENT.forward_step
    # at most 3/4 of a turn step off the direct heading, plus a step for each of two corners
    assert path_length(path) <= shortest / math.cos(0.75 * TURN) + 2 * AGENT.forward_step


def test_the_expert_ends_facing_its_target() -> None:
    target = np.array([0.5, 0.8, -0.5])
    request = WalkRequest(80, AGENT, distance=(1.5, 5.0), targets=[target])
    walk = point_to_point(OpenFloor(3.0), np.random.default_rng(1), request)
    last = walk.steps[-1].state
    forward = np.array([-math.sin(last.yaw), -math.cos(last.yaw)])
    to_target = (target - np.array(last.position))[[0, 2]]
    cosine = forward @ to_target / np.linalg.norm(to_target)
    assert cosine >= math.cos(TURN / 2) - 1e-6
    assert np.linalg.norm(to_target) <= 1.2 + AGENT.forward_step


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(NoRouteError, match="no walk of 50 to 60 m fits into 30 frames"):
        point_to_point(OpenFloor(3.0), np.random.default_rng(0), WalkRequest(30, AGENT, distance=(50, 60)))
    for walk in TRAJECTORIES.values():
        with pytest.raises(NoNavigableFloorError):
            walk(OpenFloor(-1.0), np.random.default_rng(0), WalkRequest(30, AGENT))
