"""Walks from room to room by discrete actions.

Invariant: the first and the last frame stand in different rooms.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.scene import Scene
from vln_heatmap.simulation.simulators.base import AgentState, Simulator
from vln_heatmap.simulation.trajectories.walker import Walker
from vln_heatmap.simulation.trajectories.walks import (
    NoRouteError,
    Walk,
    WalkRequest,
    as_point,
    bearing,
    path_length,
)

_TRIES = 40


def room_transition(sim: Simulator, rng: np.random.Generator, request: WalkRequest) -> Walk:
    """Walk through doors from one room to another by the shortest path, and STOP there.

    Returns:
        A walk of at most ``request.length`` frames; details: names of the rooms in order.

    Raises:
        NoNavigableFloorError: the scene has no floor to stand on.
        NoRouteError: the request has no scene with two rooms, or no way between two fits into the length.
    """
    points = sim.navigable_points(0.4)
    scene = request.scene
    if scene is None or len(scene.rooms) < 2:
        raise NoRouteError("a walk between rooms needs a request with a scene that has two")
    rooms = np.array([_room(scene, point) for point in points])
    reach = (request.length - 1) * request.agent.forward_step
    for _ in range(_TRIES):
        start = int(rng.integers(len(points)))
        others = np.flatnonzero((rooms >= 0) & (rooms != rooms[start]) & _within(points, start, reach))
        if rooms[start] < 0 or not len(others):
            continue
        walk = _walk(sim, rng, request, points[start], points[rng.choice(others)])
        if walk is not None and (names := _rooms_of(walk, scene)):
            return Walk(walk.steps, True, walk.goal, {"rooms": names})
    raise NoRouteError(f"no way between two rooms fits into {request.length} frames ({_TRIES} tries)")


def _walk(
    sim: Simulator,
    rng: np.random.Generator,
    request: WalkRequest,
    start: NDArray[np.float64],
    goal: NDArray[np.float64],
) -> Walk | None:
    """The walk from start to goal, if there is time for it."""
    path = sim.shortest_path(start, goal)
    if len(path) < 2 or path_length(path) > (request.length - 1) * request.agent.forward_step:
        return None
    heading = bearing(path[0], path[1]) + float(rng.uniform(-1, 1)) * math.pi / 6
    walker = Walker(sim, AgentState(as_point(start), heading), request)
    return walker.finish(stopped=True, goal=as_point(goal)) if walker.go_to(goal, path) else None


def _rooms_of(walk: Walk, scene: Scene) -> list[str]:
    """Names of the rooms that a walk goes through, in order; none if it ends where it began or nowhere."""
    visited = [_room(scene, np.array(step.state.position)) for step in walk.steps]
    if visited[-1] in (-1, visited[0]):
        return []
    inside = [room for room in visited if room >= 0]
    changed = [room for before, room in zip([-1, *inside], inside, strict=False) if room != before]
    return [scene.rooms[room].name for room in changed]


def _room(scene: Scene, point: NDArray[np.float64]) -> int:
    return scene.room_at(float(point[0]), float(point[2]), float(point[1]))


def _within(points: NDArray[np.float64], start: int, reach: float) -> NDArray[np.bool_]:
    return np.asarray(np.linalg.norm(points - points[start], axis=1) <= reach)
