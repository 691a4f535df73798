"""View points from which one sees how two things stand to each other.

Invariant: both things are seen, by their pixels, in every frame that the walk names as a view.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.scene import Instance
from vln_heatmap.simulation.simulators.base import Simulator
from vln_heatmap.simulation.strategies.touring import Ways, farthest_first, gazing_tour
from vln_heatmap.simulation.trajectories.floor_map import floor_under
from vln_heatmap.simulation.trajectories.free_motion import free_walk, looking_at, standable
from vln_heatmap.simulation.trajectories.views import SEEN, shares_seen, worth_filming
from vln_heatmap.simulation.trajectories.walks import NoRouteError, Walk, WalkRequest

_APART = (0.3, 2.5)  # metres between the centres of two things whose relation is of interest
_AWAY = (0.8, 3.5)  # metres from their middle to a view point
_PAIRS, _VIEWS = 8, 24  # tried at most: pairs, view points of a pair
_LEAST_SHARE = 0.5  # of the frames that show both


def spatial_relationship(sim: Simulator, rng: np.random.Generator, request: WalkRequest) -> Walk:
    """Walk from view point to view point round two things, looking at both.

    View points are spread over the directions from which both are in the picture and not hidden, so that the
    things stand beside each other in some views and one behind the other in others.

    Returns:
        A walk of exactly ``request.length`` frames; details: both ids (focus), and the views: frame index and
        relation ("beside" or "behind": along the line of sight they are farther apart than across it).

    Raises:
        NoNavigableFloorError: the scene has no floor to stand on.
        NoRouteError: no two things are seen together from two places.
    """
    pairs = _pairs(rng, request)
    points = sim.navigable_points(0.3)
    for pair in pairs:
        walk = _film(sim, rng, request, pair, points)
        if walk is not None:
            return walk
    raise NoRouteError(f"none of {len(pairs)} pairs of things is seen together from two places")


def relation_from(place: NDArray[np.float64], pair: tuple[Instance, Instance]) -> str:
    """ "beside" or "behind": how two things stand to each other seen from a point [3], in the floor plan."""
    first, second = (thing.centre[[0, 2]] for thing in pair)
    sight, line = (first + second) / 2 - place[[0, 2]], second - first
    along = abs(sight @ line) / max(1e-9, float(np.linalg.norm(sight) * np.linalg.norm(line)))
    return "behind" if along > math.sqrt(0.5) else "beside"


def _pairs(rng: np.random.Generator, request: WalkRequest) -> list[tuple[Instance, Instance]]:
    """Pairs of things to try: those in focus, one in focus and its neighbours, or any neighbours."""
    things = worth_filming(request)
    if len(things) == 1:
        every = worth_filming(WalkRequest(request.length, request.agent, scene=request.scene))
        pairs = [(things[0], other) for other in every if other.id != things[0].id]
    else:
        pairs = list(combinations(things, 2))
    if len(request.focus) != 2:
        pairs = [pair for pair in pairs if _APART[0] <= _distance(*pair) <= _APART[1]]
    return [pairs[i] for i in rng.permutation(len(pairs))[:_PAIRS]]


def _distance(a: Instance, b: Instance) -> float:
    return math.dist(a.centre, b.centre)


def _film(
    sim: Simulator,
    rng: np.random.Generator,
    request: WalkRequest,
    pair: tuple[Instance, Instance],
    points: NDArray[np.float64],
) -> Walk | None:
    """The walk round a pair, if it is seen together from two places and on at least half of the way."""
    middle, eye = (pair[0].centre + pair[1].centre) / 2, request.agent.camera_height
    ids = (pair[0].id, pair[1].id)
    places = _places(sim, rng, pair, middle, points)
    if len(places) < 2:
        return None
    shares = shares_seen(sim, looking_at(places, middle, eye), ids, eye)  # [N, 2]
    places = places[shares.min(axis=1) >= SEEN]
    if len(places) < 2:
        return None
    order = _most_telling(places, pair, middle)
    seed = int(rng.integers(2**31))
    found = gazing_tour(Ways(sim, places), request, order, middle, np.zeros(len(places)), seed)
    if found is None:
        return None
    rows, tour = found
    both = shares_seen(sim, rows, ids, eye).min(axis=1) >= SEEN  # [T]
    frames = [int(np.argmin(np.linalg.norm(rows[:, :3] - places[stop], axis=1))) for stop in tour]
    views = [
        {"frame": frame, "relation": relation_from(rows[frame, :3], pair)}
        for frame in sorted(set(frames))
        if both[frame]
    ]
    if both.mean() < _LEAST_SHARE or len(views) < 2:
        return None
    return free_walk(rows, details={"focus": list(ids), "views": views})


def _places(
    sim: Simulator,
    rng: np.random.Generator,
    pair: tuple[Instance, Instance],
    middle: NDArray[np.float64],
    points: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Some floor points [N, 3] round a pair from which both centres are well inside the field of view."""
    away = np.hypot(*(points[:, (0, 2)] - middle[[0, 2]]).T)
    same_storey = np.abs(points[:, 1] - floor_under(points, middle)) < 0.1
    near = points[same_storey & (away >= _AWAY[0]) & (away <= _AWAY[1])]
    sight = near[:, (0, 2)] - middle[[0, 2]]  # [N, 2]
    off = np.zeros(len(near))
    for thing in pair:
        to = near[:, (0, 2)] - thing.centre[[0, 2]]
        turn = np.arctan2(sight[:, 0] * to[:, 1] - sight[:, 1] * to[:, 0], (sight * to).sum(1))
        off = np.maximum(off, np.abs(turn))
    near = near[off <= 0.4 * math.radians(sim.camera.hfov)]
    near = near[[standable(sim, point) for point in near]] if len(near) else near
    return near[np.sort(rng.permutation(len(near))[:_VIEWS])]


def _most_telling(
    places: NDArray[np.float64], pair: tuple[Instance, Instance], middle: NDArray[np.float64]
) -> list[int]:
    """All places, spread over the directions round the pair; the first two show both relations if any do."""
    angle = np.arctan2(places[:, 2] - middle[2], places[:, 0] - middle[0])
    order = farthest_first(np.stack([np.cos(angle), np.sin(angle)], axis=1), 0)
    relations = [relation_from(place, pair) for place in places]
    other = next((i for i in order if relations[i] != relations[order[0]]), order[1])
    return [order[0], other, *(i for i in order[1:] if i != other)]
