"""Walks through a scene, one discrete action a frame.

Invariant: a walk is what the simulator answered: every state follows from the one before by the recorded
action, and the same generator state gives the same walk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.simulators.base import (
    FORWARD,
    STOP,
    TURN_LEFT,
    TURN_RIGHT,
    AgentState,
    Simulator,
)

#: How often an explorer walks on, looks around, looks again where it looked before, and goes back there.
_HABITS = (0.4, 0.1, 0.4, 0.1)
_TRIES = 60


class WalkStep(NamedTuple):
    """One frame: where the agent stood, what it did there, whether that bumped into something.

    ``lift`` (metres) and ``tilt`` (radians, up is +) are added to the camera's height and pitch in this frame.
    """

    state: AgentState
    action: int
    collided: bool
    lift: float = 0.0
    tilt: float = 0.0


@dataclass(frozen=True)
class Walk:
    """A walk of T frames. The last action is STOP; ``stopped`` tells a decision from the end of the tape."""

    steps: tuple[WalkStep, ...]
    stopped: bool
    goal: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class WalkRequest:
    """What a walk should be like.

    Attributes:
        length: greatest number of frames, >= 2.
        agent: step sizes.
        distance: range of the walkable distance from start to goal in metres (point to point only).
        targets: points [3] of things worth walking to (point to point only; empty = any floor point).
    """

    length: int
    agent: AgentParams
    distance: tuple[float, float] = (1.5, 6.0)
    targets: Sequence[NDArray[np.float64]] = ()


class NoRouteError(ValueError):
    """No start and goal at the wanted distance could be found and walked in the wanted length."""


def random_exploration(sim: Simulator, rng: np.random.Generator, request: WalkRequest) -> Walk:
    """Walk on to open places, look around, and now and then go back to look again at what was seen before.

    Returns:
        A walk of exactly ``request.length`` frames.

    Raises:
        NoNavigableFloorError: the scene has no floor to stand on.
    """
    start = _open_point(sim, rng)
    heading = _open_heading(sim, rng, start, request.agent)
    walker = _Walker(sim, AgentState(_point(start), heading), request)
    while not walker.full:
        taken = len(walker.steps)
        choice = rng.choice(4, p=_HABITS)
        if choice == 0:  # walk on
            walker.go_to(_next_place(sim, rng, walker.state))
        elif choice == 1:  # look around
            walker.turn_to(walker.state.yaw + rng.choice((-1, 1)) * rng.uniform(0.5, 1.6))
        else:  # look where it looked before, from here or from there
            before = walker.history[rng.integers(len(walker.history))]
            if choice == 3:
                walker.go_to(before.position)
            walker.turn_to(before.yaw + rng.uniform(-0.5, 0.5))
        if len(walker.steps) == taken:  # nowhere to go
            walker.act(TURN_LEFT)
    return walker.finish(stopped=False)


def point_to_point(sim: Simulator, rng: np.random.Generator, request: WalkRequest) -> Walk:
    """Follow the shortest path from a random start to a goal, face what is there and STOP.

    Returns:
        A walk of at most ``request.length`` frames.

    Raises:
        NoNavigableFloorError: the scene has no floor to stand on.
        NoRouteError: no walk of the wanted distance fits into the length.
    """
    low, high = request.distance
    reach = min(high, request.length * request.agent.forward_step)
    for _ in range(_TRIES):
        goal, target = _draw_goal(sim, rng, request)
        start = None if goal is None else _start_near(sim, rng, goal, reach)
        if goal is None or start is None:
            continue
        path = sim.shortest_path(start, goal)  # [N, 3]
        if len(path) < 2 or not low <= path_length(path) <= reach:
            continue
        heading = _bearing(path[0], path[1]) + rng.uniform(-1, 1) * math.pi / 4
        walker = _Walker(sim, AgentState(_point(start), heading), request)
        arrived = walker.go_to(goal, path)
        if arrived and (target is None or walker.turn_to(_bearing(walker.state.position, target))):
            return walker.finish(stopped=True, goal=_point(goal))
    raise NoRouteError(
        f"no walk of {low:g} to {high:g} m fits into {request.length} frames ({_TRIES} tries): "
        "widen the range of distances or allow longer walks"
    )


#: Trajectory generators by name.
TRAJECTORIES: dict[str, Callable[[Simulator, np.random.Generator, WalkRequest], Walk]] = {
    "random_exploration": random_exploration,
    "point_to_point": point_to_point,
}


def path_length(path: NDArray[np.float64]) -> float:
    """Length in metres of a polyline [N, 3]."""
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


class _Walker:
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
        while abs(error := _wrap(yaw - self.state.yaw)) > turn / 2 + 1e-9:
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
            action = self._steer(path[corner], blocked)
            if self.act(action):
                blocked.append(self.state.yaw)
            elif action == FORWARD:
                blocked.clear()
        return True

    def _steer(self, target: NDArray[np.float64], blocked: list[float]) -> int:
        """The action that leads to the free heading nearest to the target's."""
        turn = math.radians(self.agent.turn_angle)
        desired = _bearing(self.state.position, target)
        turns = range(-math.ceil(math.pi / turn) + 1, math.ceil(math.pi / turn) + 1)
        # straight on up to 3/4 of a turn step off, or it would sway; never a heading that has just bumped
        cost = {k: abs(_wrap(self.state.yaw + k * turn - desired)) + 1e-3 * abs(k) for k in turns}
        cost[0] -= turn / 2
        for k in sorted(turns, key=cost.__getitem__):
            heading = self.state.yaw + k * turn
            bumped = any(abs(_wrap(heading - yaw)) < turn / 2 for yaw in blocked)
            if not bumped and _free(self.sim, self.state.position, heading, self.agent.forward_step):
                return FORWARD if k == 0 else TURN_LEFT if k > 0 else TURN_RIGHT
        return TURN_LEFT


def _next_place(sim: Simulator, rng: np.random.Generator, state: AgentState) -> NDArray[np.float64]:
    """An open floor point [3], rather ahead than behind and 1.5 to 6 m away if there is one."""

    def appeal(point: NDArray[np.float64]) -> float:
        distance = math.dist(state.position, point)
        ahead = math.cos(_wrap(_bearing(state.position, point) - state.yaw))
        return 2 * ahead + _clearance(sim, point) + (1.5 if 1.5 <= distance <= 6 else 0) + rng.uniform(0, 1.5)

    return max((sim.random_navigable_point(rng) for _ in range(12)), key=appeal)


def _draw_goal(
    sim: Simulator, rng: np.random.Generator, request: WalkRequest
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """A goal [3] and the target [3] that it stands before; no goal if that target cannot be approached."""
    if not len(request.targets):
        return sim.random_navigable_point(rng), None
    target = request.targets[int(rng.integers(len(request.targets)))]
    floor = sim.random_navigable_point(rng)[1]
    for _ in range(12):
        angle, radius = rng.uniform(0, 2 * math.pi), rng.uniform(0.6, 1.2)
        goal = np.array([target[0] + radius * math.cos(angle), floor, target[2] + radius * math.sin(angle)])
        if sim.is_navigable(goal):
            return goal, target
    return None, target


def _start_near(
    sim: Simulator, rng: np.random.Generator, goal: NDArray[np.float64], reach: float
) -> NDArray[np.float64] | None:
    """A floor point [3] from which the goal may be in reach (as the crow flies), if one of a few is."""
    starts = (sim.random_navigable_point(rng) for _ in range(20))
    return next((start for start in starts if math.dist(start, goal) <= reach), None)


def _open_point(sim: Simulator, rng: np.random.Generator) -> NDArray[np.float64]:
    """The one of a few random floor points [3] with the most room around it."""
    return max((sim.random_navigable_point(rng) for _ in range(4)), key=lambda point: _clearance(sim, point))


def _clearance(sim: Simulator, point: NDArray[np.float64]) -> float:
    """Share of 8 points, half a metre around, where the agent could stand."""
    angles = np.arange(8) * math.pi / 4
    return sum(sim.is_navigable(point + 0.5 * _forward(angle)) for angle in angles) / 8


def _open_heading(
    sim: Simulator, rng: np.random.Generator, point: NDArray[np.float64], agent: AgentParams
) -> float:
    """A heading from which one can walk on for long: one of the best quarter of 16."""
    headings = rng.uniform(0, 2 * math.pi) + np.arange(16) * math.pi / 8
    runs = [_free_run(sim, point, heading, 3.0) for heading in headings]
    return float(_wrap(headings[rng.choice(np.argsort(runs, kind="stable")[-4:])]))


def _free_run(sim: Simulator, point: ArrayLike, heading: float, limit: float) -> float:
    """How far one can walk straight on, up to ``limit`` metres."""
    distances = np.arange(0.25, limit, 0.25)
    blocked = (d for d in distances if not sim.is_navigable(np.asarray(point) + d * _forward(heading)))
    return float(next(blocked, limit))


def _free(sim: Simulator, point: ArrayLike, heading: float, step: float) -> bool:
    """Whether the points of a step ahead are on the floor, its end first."""
    ahead = step * _forward(heading)
    return all(sim.is_navigable(np.asarray(point) + part * ahead) for part in (1.0, 0.75, 0.5, 0.25))


def _forward(yaw: float) -> NDArray[np.float64]:
    """Unit vector [3] of a heading in the world: yaw 0 is -Z, left is positive."""
    return np.array([-math.sin(yaw), 0.0, -math.cos(yaw)])


def _bearing(origin: ArrayLike, target: ArrayLike) -> float:
    """Heading in radians from one world point [3] to another."""
    delta = np.asarray(target, float) - np.asarray(origin, float)
    return math.atan2(-delta[0], -delta[2])


def _wrap(angle: float) -> float:
    """The same angle in [-pi, pi)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi


def _point(array: ArrayLike) -> tuple[float, float, float]:
    x, y, z = np.asarray(array, float)
    return (float(x), float(y), float(z))
