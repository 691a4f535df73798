"""Walks of an agent that explores or knows its way, one discrete action a frame.

Invariant: a walk is what the simulator answered: every state follows from the one before by the recorded
action, and the same generator state gives the same walk.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vln_heatmap.geometry.cameras import wrap_angle
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.simulators.base import TURN_LEFT, AgentState, Simulator
from vln_heatmap.simulation.trajectories.walker import Walker
from vln_heatmap.simulation.trajectories.walks import (
    NoRouteError,
    Walk,
    WalkRequest,
    as_point,
    bearing,
    forward_of,
    path_length,
)

#: How often an explorer walks on, looks around, looks again where it looked before, and goes back there.
_HABITS = (0.4, 0.1, 0.4, 0.1)
_TRIES = 60


def random_exploration(sim: Simulator, rng: np.random.Generator, request: WalkRequest) -> Walk:
    """Walk on to open places, look around, and now and then go back to look again at what was seen before.

    Returns:
        A walk of exactly ``request.length`` frames.

    Raises:
        NoNavigableFloorError: the scene has no floor to stand on.
    """
    start = _open_point(sim, rng)
    heading = _open_heading(sim, rng, start, request.agent)
    walker = Walker(sim, AgentState(as_point(start), heading), request)
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
        heading = bearing(path[0], path[1]) + rng.uniform(-1, 1) * math.pi / 4
        walker = Walker(sim, AgentState(as_point(start), heading), request)
        arrived = walker.go_to(goal, path)
        if arrived and (target is None or walker.turn_to(bearing(walker.state.position, target))):
            return walker.finish(stopped=True, goal=as_point(goal))
    raise NoRouteError(
        f"no walk of {low:g} to {high:g} m fits into {request.length} frames ({_TRIES} tries): "
        "widen the range of distances or allow longer walks"
    )


def _next_place(sim: Simulator, rng: np.random.Generator, state: AgentState) -> NDArray[np.float64]:
    """An open floor point [3], rather ahead than behind and 1.5 to 6 m away if there is one."""

    def appeal(point: NDArray[np.float64]) -> float:
        distance = math.dist(state.position, point)
        ahead = math.cos(wrap_angle(bearing(state.position, point) - state.yaw))
        return 2 * ahead + _openness(sim, point) + (1.5 if 1.5 <= distance <= 6 else 0) + rng.uniform(0, 1.5)

    return max((sim.random_navigable_point(rng) for _ in range(12)), key=appeal)


def _draw_goal(
    sim: Simulator, rng: np.random.Generator, request: WalkRequest
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """A goal [3] and the target [3] that it stands before; no goal if that target cannot be approached."""
    if not len(request.targets):
        return sim.random_navigable_point(rng), None
    target = request.targets[int(rng.integers(len(request.targets)))]
    floor = _floor_below(sim, rng, target)
    for _ in range(12):
        angle, radius = rng.uniform(0, 2 * math.pi), rng.uniform(0.6, 1.2)
        goal = np.array([target[0] + radius * math.cos(angle), floor, target[2] + radius * math.sin(angle)])
        if sim.is_navigable(goal):
            return goal, target
    return None, target


def _floor_below(sim: Simulator, rng: np.random.Generator, target: NDArray[np.float64]) -> float:
    """Height of the storey that a target [3] is on: the highest of a few random points' that is not above."""
    heights = sorted(float(sim.random_navigable_point(rng)[1]) for _ in range(6))
    return max((height for height in heights if height <= target[1]), default=heights[0])


def _start_near(
    sim: Simulator, rng: np.random.Generator, goal: NDArray[np.float64], reach: float
) -> NDArray[np.float64] | None:
    """A floor point [3] from which the goal may be in reach (as the crow flies), if one of a few is."""
    starts = (sim.random_navigable_point(rng) for _ in range(20))
    return next((start for start in starts if math.dist(start, goal) <= reach), None)


def _open_point(sim: Simulator, rng: np.random.Generator) -> NDArray[np.float64]:
    """The one of a few random floor points [3] with the most room around it."""
    return max((sim.random_navigable_point(rng) for _ in range(4)), key=lambda point: _openness(sim, point))


def _openness(sim: Simulator, point: NDArray[np.float64]) -> float:
    """Share of 8 points, half a metre around, where the agent could stand."""
    angles = np.arange(8) * math.pi / 4
    return sum(sim.is_navigable(point + 0.5 * forward_of(angle)) for angle in angles) / 8


def _open_heading(
    sim: Simulator, rng: np.random.Generator, point: NDArray[np.float64], agent: AgentParams
) -> float:
    """A heading from which one can walk on for long: one of the best quarter of 16."""
    headings = rng.uniform(0, 2 * math.pi) + np.arange(16) * math.pi / 8
    runs = [_free_run(sim, point, heading, 3.0) for heading in headings]
    return float(wrap_angle(headings[rng.choice(np.argsort(runs, kind="stable")[-4:])]))


def _free_run(sim: Simulator, point: ArrayLike, heading: float, limit: float) -> float:
    """How far one can walk straight on, up to ``limit`` metres."""
    distances = np.arange(0.25, limit, 0.25)
    blocked = (d for d in distances if not sim.is_navigable(np.asarray(point) + d * forward_of(heading)))
    return float(next(blocked, limit))
