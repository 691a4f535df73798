"""Controllers that know where to go: towards a point as the crow flies, and the expert on the shortest way.

An action is (Δx right, Δz forward, Δyaw left, stop): metres, metres, radians, and 1 to end the episode.
Invariant: both face where they go, and slow down as long as they do not; the expert ends within a step of the
nearest goal, and plans anew when it bumped, or is not where its last action should have led.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vln_heatmap.geometry.cameras import wrap_angle
from vln_heatmap.nodes.metrics.navigation import path_length
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.continuous import Motion, glide, limited, seen_from, straight_end
from vln_heatmap.simulation.simulators.base import AgentState, Simulator
from vln_heatmap.simulation.trajectories.walks import bearing

Action = NDArray[np.float64]
ACTION_NAMES = ("right", "forward", "turn", "stop")
STILL = np.array([0.0, 0.0, 0.0, 1.0])
#: Decimals to which actions are done and stored: a tenth of a millimetre.
DECIMALS = 4
_REACHED = 0.01  # metres from which a way point counts as reached, if the next is not in sight before
_AHEAD = 0.6  # metres along the way at which the expert looks


def moving(motion: Motion) -> Action:
    """The action [4] of a motion."""
    return np.array([*motion, 0.0])


def towards(right: float, forward: float, agent: AgentParams, *, face: float | None = None) -> Motion:
    """A step to a point in the agent's frame, metres; as fast as it already looks where it goes.

    Args:
        right, forward: of the point.
        agent: limits of the step; the point is not passed.
        face: angle to turn to, radians from straight ahead; None = to the point.
    """
    distance, angle = math.hypot(right, forward), math.atan2(-right, forward)
    face = angle if face is None else face
    step = min(distance, agent.forward_step) * max(0.0, math.cos(face))
    share = step / distance if distance else 0.0
    return limited(Motion(right * share, forward * share, face), agent)


class Pursuit:
    """The expert: follows the shortest way to the nearest goal.

    Args:
        sim: with the scene.
        agent: limits of a step.
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
        self._expected: AgentState | None = None

    def action(self, state: AgentState) -> Action:
        """The next action [4]; stop too where no way leads to any goal."""
        if state != self._expected:
            self._path = nearest_way(self.sim, state.position, self.goals)
        action = np.round(self._next(state), DECIMALS)
        result = glide(self.sim, state, Motion(*action[:3]), self.agent)
        self._expected = None if result.collided else result.state
        return action

    def _next(self, state: AgentState) -> Action:
        if any(math.dist(state.position, goal) <= self.agent.forward_step for goal in self.goals):
            return self._facing(state)
        while len(self._path) > 1 and self._passed(state):
            self._path = self._path[1:]
        if not len(self._path):
            return STILL
        look = bearing(state.position, along(np.vstack([state.position, self._path]), _AHEAD))
        return moving(
            towards(*seen_from(state, self._path[0]), self.agent, face=wrap_angle(look - state.yaw))
        )

    def _passed(self, state: AgentState) -> bool:
        """Whether the next way point is reached, or the one after it can be gone to."""
        away = math.dist(state.position, self._path[0])
        if away < _REACHED or away > self.agent.forward_step:
            return away < _REACHED
        here = np.asarray(state.position)
        return straight_end(self.sim, here, self._path[1] - here) is not None

    def _facing(self, state: AgentState) -> Action:
        if self.target is None:
            return STILL
        right, forward = seen_from(state, self.target)
        turn = math.atan2(-right, forward)
        near = math.hypot(right, forward) < 0.05 or abs(turn) <= math.radians(self.agent.turn_angle) / 2
        return STILL if near else moving(limited(Motion(0.0, 0.0, turn), self.agent))


def nearest_way(
    sim: Simulator, position: ArrayLike, goals: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Way points [N, 3] of the shortest way to any of the goals; N = 0 if there is none."""
    start = np.asarray(position, np.float64)
    found, best = np.zeros((0, 3)), math.inf
    for goal in sorted(goals, key=lambda each: math.dist(start, each)):
        if math.dist(start, goal) >= best:  # no way is shorter than the straight line
            break
        path = sim.shortest_path(start, goal)
        if len(path) and path_length(path) < best:
            found, best = path, path_length(path)
    return found


def along(path: NDArray[np.float64], distance: float) -> NDArray[np.float64]:
    """The point [3] a distance in metres along a path [N, 3], or its end."""
    pieces = np.linalg.norm(np.diff(path, axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(pieces)])
    return np.array([np.interp(min(distance, at[-1]), at, path[:, axis]) for axis in range(3)])
