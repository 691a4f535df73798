"""Views of one thing or place from all sides, near and far, from low and high.

Invariant: view points are added in the order of farthest-point sampling over azimuth, distance and height, so
that those of a walk are spread as evenly as the floor allows, however many there is time for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.scene import Scene
from vln_heatmap.simulation.simulators.base import Simulator
from vln_heatmap.simulation.strategies.touring import Ways, farthest_first, gazing_tour
from vln_heatmap.simulation.trajectories.floor_map import FloorMap, floor_under
from vln_heatmap.simulation.trajectories.free_motion import (
    KEEP_OFF,
    free_walk,
    looking_at,
    standable,
)
from vln_heatmap.simulation.trajectories.views import SEEN, half_width, shares_seen, worth_filming
from vln_heatmap.simulation.trajectories.walks import NoRouteError, Walk, WalkRequest, as_point

_NEAR, _FAR = 0.4, 3.0  # metres beyond a target's own half width
_LOWEST, _HIGHEST = (
    0.65,
    1.7,
)  # metres of the camera above the floor; under a door's lintel with room to spare
_HANGING = 1.0  # metres above the floor: a thing that begins higher hangs; what stands, navigation keeps off
_LEVELS = 3
_VIEWS, _TRIES = 16, 8


def viewpoint_diversity(sim: Simulator, rng: np.random.Generator, request: WalkRequest) -> Walk:
    """Walk round a thing or place and look at it from all sides, distances and heights that there is floor for.

    The target is an instance in focus, else one of the targets, else any thing of the scene, else a point in
    mid-air.

    Returns:
        A walk of exactly ``request.length`` frames; details: the target point, the ids in focus, and the view
        points (floor point and camera height).

    Raises:
        NoNavigableFloorError: the scene has no floor to stand on.
        NoRouteError: nothing is seen from two view points.
    """
    floor, points = FloorMap.of(sim), sim.navigable_points(0.25)
    for _ in range(_TRIES):
        target, width, thing = _draw_target(rng, request, points)
        places, lifts = _candidates(sim, rng, request, target, width, points)
        if thing is None and len(places):
            beside = points[np.argmin(np.linalg.norm(points - target, axis=1))]
            places, lifts = _kept(places, lifts, floor.in_sight(beside[None], places, _FAR + width)[0])
        if len(places) < 2:
            continue
        chosen = _spread(sim, rng, request, target, places, lifts, thing)
        if len(chosen) < 2:
            continue
        seed = int(rng.integers(2**31))
        found = gazing_tour(
            Ways(sim, places[chosen]), request, range(len(chosen)), target, lifts[chosen], seed
        )
        if found is not None and _under_everything(request, found[0]):
            views = [[*as_point(places[chosen][i]), float(lifts[chosen][i])] for i in found[1]]
            focus = [] if thing is None else [thing]
            return free_walk(found[0], details={"target": as_point(target), "focus": focus, "views": views})
    raise NoRouteError(f"none of {_TRIES} targets tried is seen from two view points")


def _draw_target(
    rng: np.random.Generator, request: WalkRequest, points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, int | None]:
    """A point [3] to look at, half the width of what is there, and its id if it is a thing."""
    if request.focus or (request.scene is not None and not len(request.targets)):
        things = worth_filming(request)
        thing = things[int(rng.integers(len(things)))]
        return thing.centre, half_width(thing), thing.id
    if len(request.targets):
        return np.asarray(request.targets[int(rng.integers(len(request.targets)))], float), 0.0, None
    return points[int(rng.integers(len(points)))] + (0.0, 0.8, 0.0), 0.0, None


def _candidates(
    sim: Simulator,
    rng: np.random.Generator,
    request: WalkRequest,
    target: NDArray[np.float64],
    width: float,
    points: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Floor points [N, 3] round the target and the camera's lift [N] at each, drawn from the levels there."""
    away = np.hypot(*(points[:, (0, 2)] - target[[0, 2]]).T) - width
    storey = np.abs(points[:, 1] - floor_under(points, target)) < 0.1
    places = points[storey & (away >= _NEAR) & (away <= _FAR)]
    places = places[[standable(sim, point) for point in places]] if len(places) else places
    eye = request.agent.camera_height
    lowest = min(0.0, _LOWEST - eye)
    highest = np.maximum(headroom(request.scene, places, eye), 0.0)  # [N]
    level = rng.integers(_LEVELS, size=len(places)) / (_LEVELS - 1)
    return places, lowest + level * (min([*highest, _HIGHEST - eye]) - lowest)


def _under_everything(request: WalkRequest, rows: NDArray[np.float64]) -> bool:
    """Whether no pose [T, 6] is raised by more than there is headroom for."""
    room = headroom(request.scene, rows[:, :3], request.agent.camera_height)
    return bool((rows[:, 5] <= np.maximum(room, 0.0) + 1e-9).all())


def headroom(scene: Scene | None, points: NDArray[np.float64], eye: float) -> NDArray[np.float64]:
    """By how many metres [N] a camera ``eye`` metres above floor points [N, 3] can be raised: ``KEEP_OFF`` below
    what hangs there (by bounding box), at most to 1.7 m, and not at all where the scene is not known."""
    if scene is None:
        return np.zeros(len(points))
    low, high = (
        np.array([getattr(thing, end) for thing in scene.instances]) for end in ("box_min", "box_max")
    )
    flat = points[:, None, (0, 2)]  # [N, 1, 2]
    under = ((flat >= low[:, (0, 2)] - KEEP_OFF) & (flat <= high[:, (0, 2)] + KEEP_OFF)).all(axis=2)  # [N, I]
    gap = low[:, 1] - points[:, 1:2]  # [N, I]
    tops = np.where(under & (gap >= _HANGING), gap - KEEP_OFF, _HIGHEST)  # [N, I]
    return np.asarray(tops.min(axis=1, initial=_HIGHEST) - eye)


def _spread(
    sim: Simulator,
    rng: np.random.Generator,
    request: WalkRequest,
    target: NDArray[np.float64],
    places: NDArray[np.float64],
    lifts: NDArray[np.float64],
    thing: int | None,
) -> list[int]:
    """Indices of up to 16 view points, spread evenly, from which the thing is seen (if it is one)."""
    order = farthest_first(view_features(places, lifts, target), int(rng.integers(len(places))))
    order = order[: 2 * _VIEWS]
    if thing is not None:
        eye = request.agent.camera_height
        seen = shares_seen(sim, looking_at(places[order], target, eye, lifts[order]), (thing,), eye)[:, 0]
        order = [index for index, share in zip(order, seen, strict=True) if share >= SEEN]
    return order[:_VIEWS]


def view_features(
    places: NDArray[np.float64], lifts: NDArray[np.float64], target: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Azimuth (as a point on the unit circle), logarithm of the distance and height of views: [N, 4].

    Distances in this space say how different two views are: a quarter round counts as much as 4 times as far
    or a metre and a half higher.
    """
    sight = places - target
    away = np.hypot(sight[:, 0], sight[:, 2])
    azimuth = np.arctan2(sight[:, 2], sight[:, 0])
    return np.stack([np.cos(azimuth), np.sin(azimuth), np.log(np.maximum(away, 0.1)), lifts], axis=1)


def _kept(
    places: NDArray[np.float64], lifts: NDArray[np.float64], keep: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return places[keep], lifts[keep]
