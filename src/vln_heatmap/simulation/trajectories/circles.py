"""Walks round something: circular motion, and an approach to a thing that ends in an orbit.

Invariant: on an arc the camera keeps its distance from the centre and looks straight at it or away from it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.scene import Instance
from vln_heatmap.simulation.simulators.base import Simulator
from vln_heatmap.simulation.trajectories.floor_map import FloorMap, floor_under
from vln_heatmap.simulation.trajectories.free_motion import (
    SPACING,
    brisk,
    frames_needed,
    free_walk,
    looking_at,
    paced,
    resampled,
    standable,
    stands,
)
from vln_heatmap.simulation.trajectories.views import SEEN, half_width, shares_seen, worth_filming
from vln_heatmap.simulation.trajectories.walks import NoRouteError, Walk, WalkRequest, as_point

_LEAST_ARC = 0.5  # radians
_TRIES = 12
_MARGINS = (0.4, 0.7, 1.0, 1.4)  # metres between a thing and an orbit round it


def circular_motion(sim: Simulator, rng: np.random.Generator, request: WalkRequest) -> Walk:
    """Walk round a point or a thing, as far round as the floor allows, looking in or out.

    The centre is an instance in focus, else one of the targets, else any floor point; things are looked at.

    Returns:
        A walk of exactly ``request.length`` frames; details: centre, radius (m), arc (rad), looks.

    Raises:
        NoNavigableFloorError: the scene has no floor to stand on.
        NoRouteError: no arc of half a radian is free.
    """
    floor = FloorMap.of(sim)
    arcs = [_draw_arc(sim, rng, request, floor) for _ in range(_TRIES)]
    arcs.sort(key=lambda arc: arc.extent * arc.radius, reverse=True)  # longest way first
    inwards = bool(request.focus or len(request.targets) or rng.random() < 0.5)
    for arc in arcs:
        if arc.extent < _LEAST_ARC:
            continue
        rows = looking_at(_arc_points(arc, rng), arc.target, request.agent.camera_height)
        if not inwards:
            rows[:, 3:5] = np.stack([rows[:, 3] + math.pi, -rows[:, 4]], axis=1)
        walked = paced(rows, request.length, brisk(request))
        if stands(sim, walked):
            details = {"centre": as_point(arc.centre), "radius": arc.radius, "arc": arc.extent}
            return free_walk(walked, details=details | {"looks": "in" if inwards else "out"})
    raise NoRouteError(f"no arc of {_LEAST_ARC:g} rad or more is free round any of {_TRIES} centres")


def object_focused(sim: Simulator, rng: np.random.Generator, request: WalkRequest) -> Walk:
    """Approach a thing that is seen well and orbit it, looking at it all the time.

    Returns:
        A walk of exactly ``request.length`` frames; details: the thing's id as focus.

    Raises:
        NoNavigableFloorError: the scene has no floor to stand on.
        NoRouteError: no thing can be approached and seen from an arc of half a radian.
    """
    floor = FloorMap.of(sim)
    things = worth_filming(request)
    tries = things * _TRIES if request.focus else list(things)
    order = rng.permutation(len(tries))[:_TRIES]
    for thing in (tries[i] for i in order):
        rows = _approach_and_orbit(sim, rng, request, thing, floor)
        if rows is None:
            continue
        walked = paced(rows, request.length, brisk(request))
        checked = walked[np.unique(np.linspace(0, len(walked) - 1, 10).astype(int))]
        seen = shares_seen(sim, checked, (thing.id,), request.agent.camera_height) >= SEEN
        if seen.mean() >= 0.9 and stands(sim, walked):
            return free_walk(walked, details={"focus": [thing.id]})
    raise NoRouteError(f"none of {len(order)} things tried can be approached and orbited in view")


def free_arc(
    sim: Simulator, floor: FloorMap, centre: NDArray[np.float64], radius: float
) -> tuple[float, float]:
    """The longest level arc of a circle round floor point [3] on which a camera may be: start angle and extent.

    Angles are in radians from +x towards +z; an extent of 2 pi is the whole circle, of 0 none of it.
    """
    count = max(72, math.ceil(2 * math.pi * radius / SPACING))
    angles = np.arange(count) * 2 * math.pi / count
    points = _on_circle(centre, radius, angles)
    free = floor.level(points) & np.array([standable(sim, point) for point in points])
    if free.all():
        return 0.0, 2 * math.pi
    first, run = longest_run(free, circular=True)
    return float(angles[first % count]), max(0, run - 1) * 2 * math.pi / count


def longest_run(flags: NDArray[np.bool_], *, circular: bool = False) -> tuple[int, int]:
    """First index and length of the longest run of true flags [N]; ``circular`` joins the end to the start."""
    rolled = np.argmin(flags) if circular else 0  # start at a false one
    padded = np.concatenate([[False], np.roll(flags, -rolled), [False]]).astype(int)
    starts, ends = np.flatnonzero(np.diff(padded) == 1), np.flatnonzero(np.diff(padded) == -1)
    if not len(starts):
        return 0, 0
    longest = int(np.argmax(ends - starts))
    return int((starts[longest] + rolled) % len(flags)), int(ends[longest] - starts[longest])


class Arc(NamedTuple):
    """Part of a circle round a floor point [3], and the point [3] above it that is looked at or away from.

    ``start`` and ``extent`` are angles in radians, from +x towards +z.
    """

    centre: NDArray[np.float64]
    target: NDArray[np.float64]
    radius: float
    start: float
    extent: float


def _draw_arc(sim: Simulator, rng: np.random.Generator, request: WalkRequest, floor: FloorMap) -> Arc:
    """The longest free arc round a drawn centre, with a drawn radius."""
    target, least = _draw_target(rng, request, floor.points)
    centre = np.array([target[0], floor_under(floor.points, target), target[2]])
    radius = least + float(rng.uniform(0.2, 1.5))
    return Arc(centre, target, radius, *free_arc(sim, floor, centre, radius))


def _draw_target(
    rng: np.random.Generator, request: WalkRequest, points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """A point [3] to look at and the least radius of a circle round it."""
    if request.focus:
        things = worth_filming(request)
        thing = things[int(rng.integers(len(things)))]
        return thing.centre, half_width(thing) + 0.2
    if len(request.targets):
        return np.asarray(request.targets[int(rng.integers(len(request.targets)))], float), 0.4
    return points[int(rng.integers(len(points)))] + (0.0, request.agent.camera_height, 0.0), 0.3


def _approach_and_orbit(
    sim: Simulator,
    rng: np.random.Generator,
    request: WalkRequest,
    thing: Instance,
    floor: FloorMap,
) -> NDArray[np.float64] | None:
    """Dense poses [N, 6] that lead to a thing and round it, if it is in view there."""
    centre, eye = thing.centre, request.agent.camera_height
    foot = np.array([centre[0], floor_under(floor.points, centre), centre[2]])
    radius = half_width(thing) + _MARGINS[int(rng.integers(len(_MARGINS)))]
    free = Arc(foot, centre, radius, *free_arc(sim, floor, foot, radius))
    if free.extent < _LEAST_ARC:
        return None
    arc = _arc_points(free, rng)
    marks = np.unique(np.linspace(0, len(arc) - 1, max(4, math.ceil(free.extent / 0.2))).astype(int))
    seen = shares_seen(sim, looking_at(arc[marks], centre, eye), (thing.id,), eye)[:, 0] >= SEEN
    first, run = longest_run(seen)
    if run < 2:
        return None
    arc = arc[marks[first] : marks[first + run - 1] + 1]
    path = _approach(request, arc, centre, floor)
    return looking_at(np.concatenate([path, arc]), centre, eye)


def _approach(
    request: WalkRequest,
    arc: NDArray[np.float64],
    centre: NDArray[np.float64],
    floor: FloorMap,
) -> NDArray[np.float64]:
    """A straight way [N, 3] from farther off to the start of an arc, as long as half of the frames that the arc
    leaves, and three tenths of all at least; only the start itself where nothing farther off is in sight."""
    spare = request.length - frames_needed(looking_at(arc, centre, 0.0), brisk(request))
    wanted = min(2.5, max(0.5 * spare, 0.3 * request.length) * brisk(request).step)
    places = floor.points[floor.in_sight(arc[:1], floor.points, wanted)[0]]  # [N, 3]
    gained = np.linalg.norm(places - centre, axis=1) - np.linalg.norm(arc[0] - centre)
    return arc[:1] if not len(places) else resampled(np.stack([places[np.argmax(gained)], arc[0]]))


def _arc_points(arc: Arc, rng: np.random.Generator) -> NDArray[np.float64]:
    """Floor points [N, 3] along an arc in either direction; a whole circle starts anywhere."""
    whole = arc.extent >= 2 * math.pi - 1e-9
    start = float(rng.uniform(0, 2 * math.pi)) if whole else arc.start
    angles = start + np.linspace(0, arc.extent, max(2, math.ceil(arc.extent * arc.radius / SPACING * 2)))
    return _on_circle(arc.centre, arc.radius, angles if rng.random() < 0.5 else angles[::-1])


def _on_circle(
    centre: NDArray[np.float64], radius: float, angles: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Floor points [N, 3] at angles [N]."""
    ring = np.stack([np.cos(angles), np.zeros(len(angles)), np.sin(angles)], axis=1)
    return centre + radius * ring
