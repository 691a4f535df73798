"""Walks along straight lines: forward and backward, and a systematic sweep.

Invariant: forward_backward never leaves its line nor turns; the rows of a sweep are parallel and evenly apart.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.simulators.base import Simulator
from vln_heatmap.simulation.trajectories.circles import longest_run
from vln_heatmap.simulation.trajectories.floor_map import FloorMap
from vln_heatmap.simulation.trajectories.free_motion import (
    SPACING,
    brisk,
    free_walk,
    looking_ahead,
    paced,
    resampled,
    standable,
    stands,
)
from vln_heatmap.simulation.trajectories.walks import NoRouteError, Walk, WalkRequest, forward_of

_LEAST_RUN = 0.3  # metres
_FARTHEST = 6.0
_TRIES = 6


def forward_backward(sim: Simulator, rng: np.random.Generator, request: WalkRequest) -> Walk:
    """Walk straight on as far as the floor or the length allows, then backwards to the start, looking ahead.

    Where the floor is short, there and back several times. Half of the walks begin backwards.

    Returns:
        A walk of exactly ``request.length`` frames; details: metres from end to end.

    Raises:
        NoNavigableFloorError: the scene has no floor to stand on.
        NoRouteError: no straight line of 0.3 m is free.
    """
    floor, step = FloorMap.of(sim), brisk(request).step
    reach = min(_FARTHEST, step * (request.length - 1) / 2)
    lines = sorted((_free_line(sim, rng, floor, reach) for _ in range(_TRIES)), key=lambda line: -line[2])
    backwards = bool(rng.random() < 0.5)
    for start, yaw, distance in lines:
        rows = _there_and_back(start, yaw, distance, backwards, step, request.length)
        if distance >= min(_LEAST_RUN, reach) and stands(sim, rows):
            return free_walk(rows, details={"distance": distance})
    raise NoRouteError(f"no straight line of {_LEAST_RUN:g} m is free ({_TRIES} tries)")


def systematic_sweep(sim: Simulator, rng: np.random.Generator, request: WalkRequest) -> Walk:
    """Walk a room row by row, every other row back (boustrophedon), as far as the length allows.

    The rows run along the longer side of the room that a random floor point is in (of the storey, if the scene
    has no rooms); what stands on a row divides it.

    Returns:
        A walk of exactly ``request.length`` frames; details: axis of the rows, gap between them (m), and how
        many of them the path has.

    Raises:
        NoNavigableFloorError: the scene has no floor to stand on.
        NoRouteError: no row of 0.3 m is free.
    """
    floor = FloorMap.of(sim)
    points = _region(floor.points, sim.random_navigable_point(rng), request)
    axis = 0 if np.ptp(points[:, 0]) >= np.ptp(points[:, 2]) else 2
    gap = float(rng.uniform(0.5, 0.9))
    lines = _row_lines(sim, floor, points, axis, gap)
    if not lines:
        raise NoRouteError(f"no row of {_LEAST_RUN:g} m is free")
    path = _boustrophedon(sim, lines)
    walked = paced(looking_ahead(path if rng.random() < 0.5 else path[::-1]), request.length, brisk(request))
    if not stands(sim, walked):
        raise NoRouteError("a row grazes what stands beside it")
    return free_walk(walked, details={"axis": "x" if axis == 0 else "z", "row_gap": gap, "rows": len(lines)})


def _there_and_back(
    start: NDArray[np.float64], yaw: float, distance: float, backwards: bool, step: float, length: int
) -> NDArray[np.float64]:
    """Poses [length, 6] to and fro on a line, as often as at half of the greatest speed or faster."""
    rounds = max(1, int((length - 1) * step / max(4 * distance, step)))
    phase = np.linspace(0, 2 * rounds, length) % 2  # [length]
    along = distance * np.minimum(phase, 2 - phase)
    rows = np.zeros((length, 6))
    rows[:, :3] = start + (distance - along if backwards else along)[:, None] * forward_of(yaw)
    rows[:, 3] = yaw
    return rows


def _free_line(
    sim: Simulator, rng: np.random.Generator, floor: FloorMap, reach: float
) -> tuple[NDArray[np.float64], float, float]:
    """Start [3], heading and length of a free line of at most ``reach`` metres: the best of 8 headings."""
    start = sim.random_navigable_point(rng)
    along = np.linspace(0, reach, max(2, math.ceil(reach / SPACING * 2)))
    best = 0.0, 0.0
    for yaw in rng.uniform(0, math.pi / 4) + np.arange(8) * math.pi / 4:
        line = start + along[:, None] * forward_of(yaw)
        level = floor.level(line)
        free = next(
            (i for i, point in enumerate(line) if not (level[i] and standable(sim, point))), len(line)
        )
        best = max(best, (float(along[max(0, free - 1)]), float(yaw)))
    return start, best[1], best[0]


def _region(
    points: NDArray[np.float64], start: NDArray[np.float64], request: WalkRequest
) -> NDArray[np.float64]:
    """Those of the floor points [N, 3] that are in the room of a point [3], at its height."""
    level = points[np.abs(points[:, 1] - start[1]) < 0.05]
    scene = request.scene
    room = -1 if scene is None else scene.room_at(start[0], start[2], start[1])
    if scene is None or room < 0:
        return level
    x0, z0, x1, z1 = scene.rooms[room].rectangle
    inside = (level[:, 0] >= x0) & (level[:, 0] <= x1) & (level[:, 2] >= z0) & (level[:, 2] <= z1)
    return level[inside]


def _row_lines(
    sim: Simulator, floor: FloorMap, points: NDArray[np.float64], axis: int, gap: float
) -> list[list[NDArray[np.float64]]]:
    """The free pieces (ends [2, 3]) of evenly spaced rows along an axis, in order; rows without any left out."""
    low, high = points.min(0), points.max(0)
    across = 2 - axis
    count = max(1, int((high[across] - low[across]) / gap))
    first = (low[across] + high[across] - (count - 1) * gap) / 2
    steps = np.arange(low[axis], high[axis] + 1e-9, SPACING / 2)  # [S]
    lines = []
    for k in range(count):
        row = np.full((len(steps), 3), points[0, 1])
        row[:, axis], row[:, across] = steps, first + k * gap
        free = floor.level(row) & np.array([standable(sim, point) for point in row])
        pieces = _pieces(row, free)
        if pieces:
            lines.append(pieces)
    return lines


def _pieces(row: NDArray[np.float64], free: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Ends [2, 3] of the runs of free points of a row [S, 3] that are worth walking, in order."""
    found = []
    free = free.copy()
    while (run := longest_run(free))[1] * SPACING / 2 >= _LEAST_RUN:
        first, last = run[0], run[0] + run[1] - 1
        found.append((first, row[[first, last]]))
        free[first : last + 1] = False
    return [ends for _, ends in sorted(found, key=lambda item: item[0])]


def _boustrophedon(sim: Simulator, lines: list[list[NDArray[np.float64]]]) -> NDArray[np.float64]:
    """The path [N, 3] along all pieces of all rows, every other row backwards; pieces out of reach left out."""
    path = [resampled(lines[0][0])]
    rest = [(k, ends) for k, line in enumerate(lines) for ends in (line if k % 2 == 0 else line[::-1])]
    for k, ends in rest[1:]:
        piece = ends if k % 2 == 0 else ends[::-1]
        way = sim.shortest_path(path[-1][-1], piece[0])
        if len(way):
            path += [resampled(way), resampled(piece)]
    return np.concatenate(path)
