"""The expert who knows the house: at any state, the discrete action of a good way to the nearest goal.

The way keeps away from obstacles where there is room and is made of a few straight lines: the expert turns until
it faces the next corner and walks up to it. So what it does can be told from what is seen and from what it did
before: whoever takes the shortest way turns round walls that no camera sees any more, and whoever follows a bent
way turns a little at every other step.

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

_BENT = (0.15, 0.07)  # metres that the way may lie off straight lines: the first that can be walked
_REACHED = 1.2  # steps from a corner, at which it is reached
_STEADY = 1.25  # steps of a turn that the heading may be off while walking


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
        corner = self._corner(np.asarray(state.position))
        if self._steady(state, corner):
            return FORWARD
        return Walker(self.sim, state, WalkRequest(2, self.agent)).steer(corner, self._blocked)

    def _steady(self, state: AgentState, corner: NDArray[np.float64]) -> bool:
        """Whether the agent walks already, and nearly to the corner: then it goes on."""
        if self._last is None or self._last[1] != FORWARD or self._blocked:
            return False
        off = abs(wrap_angle(bearing(state.position, corner) - state.yaw))
        return (
            off <= _STEADY * math.radians(self.agent.turn_angle)
            and not self.sim.step(state, FORWARD).collided
        )

    def _corner(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """The corner [3] of the way to walk up to; those behind are forgotten."""
        while len(self._path) > 1 and self._passed(position):
            self._path = self._path[1:]
        return self._path[0]

    def _passed(self, position: NDArray[np.float64]) -> bool:
        """Whether the next corner is reached, or lies behind with the one after it in view."""
        corner, following = self._path[:2]
        if math.dist(position, corner) <= _REACHED * self.agent.forward_step:
            return True
        behind = math.dist(position, following) < math.dist(corner, following)
        return behind and _straight(self.sim, position, following)

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
            self._path = corners(self.sim, self.sim.roomy_path(position, nearest))

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


def corners(sim: Simulator, path: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points [K, 3] of a way [N, 3], its ends among them: as few as leave straight lines that can be walked.

    Each line is as long as it can be with the way at most 0.15 m beside it in the plan, or less where an obstacle
    stands there.
    """
    kept = [0] if len(path) else []
    while kept and kept[-1] < len(path) - 1:
        first = kept[-1]
        ends = (_farthest(path[first:, (0, 2)], bent) + first for bent in _BENT)
        kept.append(next((end for end in ends if _straight(sim, path[first], path[end])), first + 1))
    return path[kept]


def _farthest(plan: NDArray[np.float64], bent: float) -> int:
    """Number of the last point of a line [N, 2] to which the line stays that near to a straight one."""
    for last in range(len(plan) - 1, 1, -1):
        way = plan[last] - plan[0]
        off = plan[1:last] - plan[0]  # [last - 1, 2]
        along = np.clip(off @ way / max(float(way @ way), 1e-9), 0, 1)
        if np.linalg.norm(off - along[:, None] * way, axis=1).max() <= bent:
            return last
    return 1


def _straight(sim: Simulator, start: NDArray[np.float64], end: NDArray[np.float64]) -> bool:
    """Whether a straight line can be walked."""
    return len(sim.shortest_path(start, end)) == 2
