"""An agent that walks by discrete actions and records what it does.

Invariant: every state is the simulator's answer to the action recorded before it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vln_heatmap.geometry.cameras import wrap_angle
from vln_heatmap.simulation.simulators.base import (
    FORWARD,
    STOP,
    TURN_LEFT,
    TURN_RIGHT,
    AgentState,
    Simulator,
)
from vln_heatmap.simulation.trajectories.walks import (
    Walk,
    WalkRequest,
    WalkStep,
    bearing,
    path_length,
)


class Walker:
    """An agent that records what it does until the tape is full."""

    def __init__(self, sim: Simulator, state: AgentState, request: WalkRequest) -> None:
        self.sim, self.state, self.agent = sim, state, request.agent
        self.steps: list[WalkStep] = []
        self._room = request.length - 1  # the last frame is the STOP

    @property
    def full(self) -> bool:
        return len(self.steps) >= self._room

    @property
    def history(self) -> list[AgentState]:
        return [step.state for step in self.steps] or [self.state]

    def act(self, action: int) -> bool:
        """Do one action; True if it bumped into something."""
        result = self.sim.step(self.state, action)
        self.steps.append(WalkStep(self.state, action, result.collided))
        self.state = result.state
        return result.collided

    def finish(self, *, stopped: bool, goal: tuple[float, float, float] | None = None) -> Walk:
        return Walk((*self.steps, WalkStep(self.state, STOP, False)), stopped, goal)

    def turn_to(self, yaw: float) -> bool:
        """Turn on the spot to within half a turn step of ``yaw``; False if the tape ended before."""
        turn = math.radians(self.agent.turn_angle)
        while abs(error := wrap_angle(yaw - self.state.yaw)) > turn / 2 + 1e-9:
            if self.full:
                return False
            self.act(TURN_LEFT if error > 0 else TURN_RIGHT)
        return True

    def go_to(self, goal: ArrayLike, path: NDArray[np.float64] | None = None) -> bool:
        """Follow the shortest path to within a step of ``goal``; False if the tape or the patience ended."""
        goal = np.asarray(goal, float)  # [3]
        path = self.sim.shortest_path(np.asarray(self.state.position), goal) if path is None else path
        patience = len(self.steps) + 4 * math.ceil(path_length(path) / self.agent.forward_step) + 24
        blocked: list[float] = []  # headings that bumped, from where the agent stands now
        corner = 0
        while math.dist(self.state.position, goal) > self.agent.forward_step:
            if self.full or len(path) == 0 or len(self.steps) >= patience:
                return False
            while corner < len(path) - 1 and math.dist(self.state.position, path[corner]) < 0.3:
                corner += 1
            action = self.steer(path[corner], blocked)
            if self.act(action):
                blocked.append(self.state.yaw)
            elif action == FORWARD:
                blocked.clear()
        return True

    def steer(self, target: NDArray[np.float64], blocked: list[float]) -> int:
        """The action that leads to the free heading nearest to the target's."""
        turn = math.radians(self.agent.turn_angle)
        desired = bearing(self.state.position, target)
        turns = range(-math.ceil(math.pi / turn) + 1, math.ceil(math.pi / turn) + 1)
        # straight on up to 3/4 of a turn step off, or it would sway; never a heading that has just bumped
        cost = {k: abs(wrap_angle(self.state.yaw + k * turn - desired)) + 1e-3 * abs(k) for k in turns}
        cost[0] -= turn / 2
        for k in sorted(turns, key=cost.__getitem__):
            heading = self.state.yaw + k * turn
            bumped = any(abs(wrap_angle(heading - yaw)) < turn / 2 for yaw in blocked)
            if not bumped and _free(self.sim, self.state, heading):
                return FORWARD if k == 0 else TURN_LEFT if k > 0 else TURN_RIGHT
        return TURN_LEFT


def _free(sim: Simulator, state: AgentState, heading: float) -> bool:
    """Whether a step ahead in a heading would not bump."""
    return not sim.step(AgentState(state.position, heading), FORWARD).collided
