"""The expert who knows the house: at any state, the discrete action of a good way to the nearest goal.

The way keeps away from obstacles where there is room, and the expert steers for a point some way ahead on it. So
what it does can be told from what is seen: whoever takes the shortest way turns round corners that no camera sees
any more.

Invariant: whoever does what it says arrives within a step of the nearest goal, faces what the episode is about,
and is then told to STOP. It may be asked anywhere, at any time: it plans anew when somebody else has acted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vln_heatmap.geometry.cameras import wrap_angle
from vln_heatmap.nodes.metrics.navigation import path_length
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.simulators.base import (
    FORWARD,
    STOP,
    TURN_LEFT,
    TURN_RIGHT,
    AgentState,
    Simulator,
)
from vln_heatmap.simulation.trajectories import WalkRequest
from vln_heatmap.simulation.trajectories.walker import Walker
from vln_heatmap.simulation.trajectories.walks import bearing

_AHEAD = (0.7, 0.45, 0.2)  # metres of the way that are looked ahead: the first that can be walked straight


class Expert:
    """A path follower for one episode.

    Args:
        sim: with the scene.
        agent: step sizes.
        goals: floor points [3], of which the one with the shortest way is taken.
        target: a point [3] to face at the end; None = however one arrives.
    """

    def __init__(
        self, sim: Simulator, agent: AgentParams, goals: Sequence[ArrayLike], target: ArrayLike | None = None
    ) -> None:
        self.sim, self.agent = sim, agent
        self.goals = [np.asarray(goal, np.float64) for goal in goals]
        self.target = None if target is None else np.asarray(target, np.float64)
        self._path: NDArray[np.float64] = np.zeros((0, 3))
        self._last: tuple[AgentState, int] | None = None  # where it was asked last, and what it said
        self._blocked: list[float] = []  # headings that bumped where the agent stands

    def action(self, state: AgentState) -> int:
        """The next action; STOP too where no way leads to any goal."""
        self._notice(state)
        action = self._next(state)
        self._last = state, action
        return action

    def _next(self, state: AgentState) -> int:
        if any(math.dist(state.position, goal) <= self.agent.forward_step for goal in self.goals):
            return self._facing(state)
        if not len(self._path):
            return STOP
        walker = Walker(self.sim, state, WalkRequest(2, self.agent))
        return walker.steer(self._ahead(np.asarray(state.position)), self._blocked)

    def _ahead(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """The point [3] of the way to steer for; what lies behind is forgotten."""
        self._path = self._path[int(np.linalg.norm(self._path - position, axis=1).argmin()) :]
        lengths = np.linalg.norm(np.diff(self._path, axis=0), axis=1)
        along = np.concatenate([[0.0], np.cumsum(lengths)])
        for reach in _AHEAD:
            point = self._path[min(int(np.searchsorted(along, reach)), len(along) - 1)]
            if len(self.sim.shortest_path(position, point)) == 2:
                return point
        return self._path[min(2, len(along) - 1)]

    def _notice(self, state: AgentState) -> None:
        """Keep the plan if the agent did what it was told, else make a new one."""
        if self._last is None:
            self._plan(state)
            return
        before, told = self._last
        if told == FORWARD and state == before:
            self._blocked.append(state.yaw)  # bumped
        elif state != self.sim.step(before, told).state:
            self._blocked.clear()
            self._plan(state)
        elif told == FORWARD:
            self._blocked.clear()

    def _plan(self, state: AgentState) -> None:
        position = np.asarray(state.position)
        self._path = np.zeros((0, 3))
        best, nearest = math.inf, None
        for goal in sorted(self.goals, key=lambda goal: math.dist(position, goal)):
            if math.dist(position, goal) >= best:  # no way is shorter than the straight line
                break
            path = self.sim.shortest_path(position, goal)
            if len(path) and path_length(path) < best:
                best, nearest = path_length(path), goal
        if nearest is not None:
            self._path = self.sim.roomy_path(position, nearest)

    def _facing(self, state: AgentState) -> int:
        if (
            self.target is None
            or math.dist(self.target[[0, 2]], (state.position[0], state.position[2])) < 0.05
        ):
            return STOP
        error = wrap_angle(bearing(state.position, self.target) - state.yaw)
        if abs(error) <= math.radians(self.agent.turn_angle) / 2 + 1e-9:
            return STOP
        return TURN_LEFT if error > 0 else TURN_RIGHT
