"""Hard footage: narrow passages, things close by, fast turns.

Invariant: the camera is never faster than the limits of free motion, however hasty it looks.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.simulators.base import Simulator
from vln_heatmap.simulation.trajectories.free_motion import (
    KEEP_OFF,
    brisk,
    free_walk,
    headings,
    resampled,
    standable,
    stands,
)
from vln_heatmap.simulation.trajectories.walks import NoRouteError, Walk, WalkRequest, path_length

_TIGHT = 0.3  # share of the floor that counts as narrow
_PACE = 0.8  # of the greatest step
_GLANCES = (4, 9)  # frames between two glances: at least, less than
_LEAST_GLANCE, _GREATEST_GLANCE = math.radians(40), math.radians(120)
_TRIES = 12


def challenge(sim: Simulator, rng: np.random.Generator, request: WalkRequest) -> Walk:
    """Hurry along the narrowest places of the floor, close to what stands there, glancing to all sides.

    Returns:
        A walk of exactly ``request.length`` frames; details: the mean gap to what is nearest (m).

    Raises:
        NoNavigableFloorError: the scene has no floor to stand on.
        NoRouteError: the agent is so thin that it passes within 0.1 m of things.
    """
    limits = brisk(request)
    points = sim.navigable_points(0.25)
    points = points[[standable(sim, point) for point in points]]
    if not len(points):
        raise NoRouteError(f"no floor is {KEEP_OFF:g} m from everything")
    gaps = np.array([sim.clearance(point) for point in points])  # [N]
    narrow = points[gaps <= np.quantile(gaps, _TIGHT)]
    path = _hasty_path(sim, rng, narrow, limits.step * _PACE * (request.length - 1))
    gone = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    along = np.minimum(np.arange(request.length) * limits.step * _PACE, gone[-1])
    places = np.stack([np.interp(along, gone, column) for column in path.T], axis=1)  # [T, 3]
    ahead = np.interp(along, gone, headings(path))
    rows = np.column_stack([places, _glancing(rng, ahead, limits.turn), np.zeros((request.length, 2))])
    if not stands(sim, rows):
        raise NoRouteError(f"the shortest ways here pass within {KEEP_OFF:g} m of something")
    gap = float(np.mean([sim.clearance(place) for place in places]))
    return free_walk(rows, details={"mean_gap": gap})


def _hasty_path(
    sim: Simulator, rng: np.random.Generator, narrow: NDArray[np.float64], metres: float
) -> NDArray[np.float64]:
    """A dense path [N, 3] of shortest ways from one narrow place to another, at least so many metres long if
    there are places to go."""
    here = narrow[int(rng.integers(len(narrow)))]
    legs, length = [here[None]], 0.0
    for _ in range(_TRIES + math.ceil(2 * metres)):
        if length >= metres:
            break
        away = np.linalg.norm(narrow - here, axis=1)
        near = narrow[(away > 0.5) & (away <= 3.0)]
        options = near if len(near) else narrow
        leg = sim.shortest_path(here, options[int(rng.integers(len(options)))])
        if len(leg) < 2:
            continue
        legs.append(resampled(leg))
        here, length = leg[-1], length + path_length(leg)
    return np.concatenate(legs)


def _glancing(rng: np.random.Generator, ahead: NDArray[np.float64], turn: float) -> NDArray[np.float64]:
    """Headings [T] that follow ``ahead`` [T] but for glances aside, as fast as ``turn`` radians a frame."""
    offsets: list[float] = []
    side = float(rng.choice((-1, 1)))
    while len(offsets) < len(ahead):
        glance = side * float(rng.uniform(_LEAST_GLANCE, _GREATEST_GLANCE))
        offsets += [glance] * int(rng.integers(*_GLANCES))
        side = -side
    yaw = [float(ahead[0])]
    for wanted in (ahead + offsets[: len(ahead)])[1:]:
        error = (wanted - yaw[-1] + math.pi) % (2 * math.pi) - math.pi
        yaw.append(yaw[-1] + float(np.clip(error, -turn, turn)))
    return np.array(yaw)
