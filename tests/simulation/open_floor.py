"""A simulator whose floor is known in closed form: an open square, or two rooms with a doorway."""

from __future__ import annotations

import math

import numpy as np

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.simulators.base import (
    FORWARD,
    AgentState,
    NoNavigableFloorError,
    StepResult,
)
from vln_heatmap.simulation.trajectories import path_length

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
        """What is navigable ends 0.15 m (the agent's radius) before the outer walls and the one at x = 0."""
        x, _, z = position
        edge = self.half - max(abs(x), abs(z))
        if self.door is None:
            return edge + 0.15
        return 0.15 + min(edge, math.hypot(max(abs(x) - 0.1, 0), max(self.door - abs(z), 0)))

    def navigable_points(self, spacing: float) -> np.ndarray:
        if self.half <= 0:
            raise NoNavigableFloorError("no floor")
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

    def roomy_path(self, start, goal) -> np.ndarray:
        return self.shortest_path(start, goal)

    def geodesic_distance(self, start, goal) -> float:
        return path_length(self.shortest_path(start, goal))

    def step(self, state: AgentState, action: int) -> StepResult:
        if action == FORWARD:
            move = AGENT.forward_step * np.array([-math.sin(state.yaw), 0, -math.cos(state.yaw)])
            start = np.array(state.position)
            free = self._straight(start, start + move)
            return StepResult(AgentState(tuple(start + move), state.yaw) if free else state, not free)
        return StepResult(AgentState(state.position, state.yaw + {2: TURN, 3: -TURN}[action]), False)


class Ramp(OpenFloor):
    """An open square with two levels: y = 0 for x <= -1, y = 1 for x >= 1, an even slope in between."""

    name = "ramp"

    def __init__(self) -> None:
        super().__init__(3.0)

    @staticmethod
    def height(x: float | np.ndarray) -> np.ndarray:
        return np.clip((np.asarray(x) + 1) / 2, 0.0, 1.0)

    def is_navigable(self, position) -> bool:
        return super().is_navigable(position) and abs(position[1] - self.height(position[0])) <= 0.3

    def random_navigable_point(self, rng: np.random.Generator) -> np.ndarray:
        x, z = rng.uniform(-self.half, self.half, 2)
        return np.array([x, self.height(x), z])

    def navigable_points(self, spacing: float) -> np.ndarray:
        line = np.arange(-self.half + spacing / 2, self.half, spacing)
        return np.array([(x, self.height(x), z) for z in line for x in line])

    def shortest_path(self, start, goal) -> np.ndarray:
        start, goal = np.asarray(start, float), np.asarray(goal, float)
        way = goal[0] - start[0]
        bends = [(x - start[0]) / way for x in (-1, 1) if abs(way) > 1e-9]
        shares = np.array([0.0, *sorted(t for t in bends if 0 < t < 1), 1.0])[:, None]
        path = start + shares * (goal - start)
        path[:, 1] = self.height(path[:, 0])
        return path
