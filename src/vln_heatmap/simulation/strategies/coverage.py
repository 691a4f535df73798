"""View points from which most of the floor is seen, and a walk that sees as much as its length allows.

Invariant: what counts as covered is in sight along the floor and within the view range; a walk also counts only
what its camera's horizontal field of view held.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import wrap_angle
from vln_heatmap.simulation.simulators.base import Simulator
from vln_heatmap.simulation.strategies.touring import Ways, shortest_tour
from vln_heatmap.simulation.trajectories.floor_map import FloorMap
from vln_heatmap.simulation.trajectories.free_motion import (
    brisk,
    free_walk,
    looking_ahead,
    paced,
    resampled,
    smooth_path,
    standable,
    stands,
)
from vln_heatmap.simulation.trajectories.walks import Walk, WalkRequest

#: Share of the floor to cover, and metres within which floor counts as seen.
COVERED, VIEW_RANGE = 0.85, 3.0
_CANDIDATES, _AREA = (
    0.5,
    0.4,
)  # metres between candidate view points, and between points of the floor to cover
_FRAMES_A_VIEW = 6  # a walk plans at most one view point for so many frames


@dataclass(frozen=True)
class CoveragePlan:
    """Where to look from.

    Attributes:
        view_points: [K, 3] floor points, the one that covers most first.
        order: in which they are visited.
        covered: share of the floor within view range and line of sight of one of them.
        path: [N, 3] smooth walkable path through them in that order.
    """

    view_points: NDArray[np.float64]
    order: tuple[int, ...]
    covered: float
    path: NDArray[np.float64]


def plan_coverage(
    sim: Simulator,
    *,
    rng: np.random.Generator | None = None,
    share: float = COVERED,
    view_range: float = VIEW_RANGE,
) -> CoveragePlan:
    """View points that together cover a share of the floor, and a short way round them.

    Greedy maximum coverage (Nemhauser et al. 1978) over a grid of candidates, then a travelling salesman's tour
    over walkable distances.

    Args:
        sim: simulator with a loaded scene.
        rng: draws the half of the candidates that is looked at first; without it, all are.
        share: of the floor to cover, in (0, 1].
        view_range: metres, > 0.

    Raises:
        NoNavigableFloorError: the scene has no floor to stand on.
        ValueError: a share or a range out of bounds.
    """
    if not (0 < share <= 1 and 0 < view_range < math.inf):
        raise ValueError(f"share must be in (0, 1] and view_range > 0, got {share} and {view_range}")
    floor, area = FloorMap.of(sim), sim.navigable_points(_AREA)
    views, masks = view_points(sim, floor, area, rng, share, view_range)
    ways = Ways(sim, views)
    kept = ways.reachable(range(len(views)))
    ways = Ways(sim, views[kept])
    order = _tour(ways, range(len(kept)), rng)
    path = np.concatenate([views[kept][order[:1]], *_legs(ways, order, smooth=True)])
    return CoveragePlan(views[kept], tuple(order), float(masks[kept].any(axis=0).mean()), path)


def coverage_optimisation(sim: Simulator, rng: np.random.Generator, request: WalkRequest) -> Walk:
    """Visit the view points that cover most, look around, and see as much of the floor as the length allows.

    Of tours of the first 1, 2, ... view points, with and without a look around at each, the one whose frames
    cover most.

    Returns:
        A walk of exactly ``request.length`` frames; details: the share of the floor that some frame has in its
        view range, line of sight and horizontal field of view (covered), and the number of view points.

    Raises:
        NoNavigableFloorError: the scene has no floor to stand on.
    """
    floor, area = FloorMap.of(sim), sim.navigable_points(_AREA)
    most = max(1, request.length // _FRAMES_A_VIEW)
    views, _ = view_points(sim, floor, area, rng, COVERED, VIEW_RANGE, most)
    ways = Ways(sim, views)
    chosen = ways.reachable(range(len(views)))
    best, covered, stops = None, -1.0, 0
    for count in range(1, len(chosen) + 1):
        order = _tour(ways, chosen[:count], rng)
        for around in (True, False):
            walked = _walked(ways, order, request, around)
            seen = floor_seen(floor, walked, area, VIEW_RANGE, sim.camera.hfov).mean()
            if seen > covered:
                best, covered, stops = walked, float(seen), count
    assert best is not None  # there is always a first view point
    return free_walk(best, details={"covered": covered, "view_points": stops})


def view_points(
    sim: Simulator,
    floor: FloorMap,
    area: NDArray[np.float64],
    rng: np.random.Generator | None,
    share: float,
    view_range: float,
    most: int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """View points [K, 3], best first, and what each covers [K, N] of the floor points ``area`` [N, 3].

    They cover ``share`` of the area, or as much as candidates (or at most ``most`` of them) can.
    """
    candidates = sim.navigable_points(_CANDIDATES)
    candidates = candidates[[standable(sim, point) for point in candidates]]
    masks = floor.in_sight(candidates, area, view_range)  # [C, N]
    allowed = np.ones(len(candidates), bool) if rng is None else rng.random(len(candidates)) < 0.5
    chosen: list[int] = []
    covered = np.zeros(len(area), bool)
    while covered.mean() < share and (most is None or len(chosen) < most):
        gains = (masks & ~covered).sum(axis=1)  # [C]
        allowed = allowed if (gains * allowed).any() else np.ones(len(candidates), bool)
        best = int(np.argmax(gains * allowed))
        if gains[best] == 0:
            break
        chosen.append(best)
        covered |= masks[best]
    return candidates[chosen], masks[chosen]


def floor_seen(
    floor: FloorMap, rows: NDArray[np.float64], area: NDArray[np.float64], view_range: float, hfov: float
) -> NDArray[np.bool_]:
    """Which floor points [N, 3] some pose of [T, 6] has within its view range (metres), line of sight and
    horizontal field of view (degrees): [N]."""
    sight = floor.in_sight(rows[:, :3], area, view_range)  # [T, N]
    way = area[None] - rows[:, None, :3]  # [T, N, 3]
    off = np.arctan2(-way[..., 0], -way[..., 2]) - rows[:, 3, None]  # [T, N]
    off = np.abs((off + math.pi) % (2 * math.pi) - math.pi)
    return np.asarray((sight & (off <= math.radians(hfov) / 2)).any(axis=0))


def _tour(ways: Ways, chosen: Sequence[int], rng: np.random.Generator | None) -> list[int]:
    seed = 0 if rng is None else int(rng.integers(2**31))
    return [chosen[i] for i in shortest_tour(ways.distances(chosen), seed)]


def _walked(ways: Ways, order: list[int], request: WalkRequest, around: bool) -> NDArray[np.float64]:
    """Poses [length, 6] of a tour, smooth where the floor permits."""
    for smooth in (True, False):
        rows = _tour_rows(ways, order, math.radians(ways.sim.camera.hfov), around, smooth)
        walked = paced(rows, request.length, brisk(request))
        if stands(ways.sim, walked):
            break
    return walked


def _tour_rows(ways: Ways, order: list[int], hfov: float, around: bool, smooth: bool) -> NDArray[np.float64]:
    """Dense poses [N, 6] of a tour; with ``around``, the camera turns until it has seen all round each place."""
    legs = [looking_ahead(leg) for leg in _legs(ways, order, smooth)]
    if not legs:
        legs = [looking_ahead(ways.places[order[:1]])]
        return _turning(legs[0][0], 0.0, 2 * math.pi - hfov) if around else legs[0]
    if not around:
        return np.concatenate(legs)
    first, last = legs[0][0], legs[-1][-1]
    parts = [_turning(first, first[3] - (2 * math.pi - hfov), first[3]), legs[0]]
    for before, after in pairwise(legs):
        yaw = before[-1, 3]
        parts += [_turning(after[0], yaw, yaw + _look_around(yaw, after[0, 3], hfov)), after]
    return np.concatenate([*parts, _turning(last, last[3], last[3] + 2 * math.pi - hfov)])


def _look_around(arriving: float, leaving: float, hfov: float) -> float:
    """The least turn (radians) from one heading to another that shows everything all round."""
    turns = wrap_angle(leaving - arriving) + 2 * math.pi * np.arange(-2, 3)
    enough = turns[np.abs(turns) >= 2 * math.pi - hfov - 1e-9]
    return float(enough[np.argmin(np.abs(enough))])


def _turning(row: NDArray[np.float64], start: float, end: float) -> NDArray[np.float64]:
    """Poses [N, 6] that turn on the spot from one heading to another, in steps of at most 5 degrees."""
    yaws = np.linspace(start, end, max(2, math.ceil(abs(end - start) / math.radians(5)) + 1))
    rows = np.tile(row, (len(yaws), 1))
    rows[:, 3] = yaws
    return rows


def _legs(ways: Ways, order: Sequence[int], smooth: bool) -> list[NDArray[np.float64]]:
    """Paths [N, 3] from place to place."""
    raw = [ways.path(start, goal) for start, goal in pairwise(order)]
    if not smooth:
        return [resampled(way) for way in raw]
    return [smooth_path(way, free=lambda point: standable(ways.sim, point)) for way in raw]
