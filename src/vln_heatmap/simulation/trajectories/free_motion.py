"""A camera that moves freely: paths over the floor, where it looks meanwhile, and how fast it may go.

A pose is a row (x, y, z, yaw, tilt, lift): a floor point in metres, heading in radians (0 looks along -Z, left
is +), elevation in radians added to the camera's own (up is +) and metres added to its height.

Invariant: a walk made here moves the camera by at most ``FRAME_METRES`` and turns it by at most ``FRAME_TURN``
from one frame to the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vln_heatmap.simulation.simulators.base import MOVE, STOP, AgentState, Simulator
from vln_heatmap.simulation.trajectories.walks import (
    NoRouteError,
    Walk,
    WalkRequest,
    WalkStep,
    as_point,
)

#: What a recording allows between two frames: metres, radians.
FRAME_METRES, FRAME_TURN = 0.3, math.radians(20.0)
#: Metres that a free camera keeps from everything.
KEEP_OFF = 0.1
#: Metres between the points of a path that is walked.
SPACING = 0.05
_TURN_OUT = (0.3, 0.15)  # metres by which corners are taken wider, best first
_FLAT = np.array([1.0, 0.0, 1.0])
_HALVINGS = 4


class Limits(NamedTuple):
    """Greatest motion of the camera from frame to frame: metres, radians."""

    step: float
    turn: float


def brisk(request: WalkRequest) -> Limits:
    """As fast as the agent walks and turns by its actions, within 0.25 m and 15 degrees a frame."""
    agent = request.agent
    return Limits(min(agent.forward_step, 0.25), math.radians(min(agent.turn_angle, 15.0)))


def gentle(request: WalkRequest) -> Limits:
    """At most the requested speed and turning rate, and never faster than ``brisk``."""
    fast = brisk(request)
    slow = Limits(request.max_speed / request.fps, math.radians(request.max_turn) / request.fps)
    return Limits(min(slow.step, fast.step), min(slow.turn, fast.turn))


def free_walk(
    rows: ArrayLike,
    *,
    stopped: bool = False,
    goal: tuple[float, float, float] | None = None,
    details: Mapping[str, Any] | None = None,
) -> Walk:
    """A walk of T frames whose camera takes the poses ``rows`` [T, 6], one a frame.

    Raises:
        ValueError: no row, a number that is not finite, or two frames that are too far apart.
    """
    poses = np.asarray(rows, float)
    if poses.ndim != 2 or poses.shape[1] != 6 or not len(poses) or not np.isfinite(poses).all():
        raise ValueError(f"poses must be finite numbers [T >= 1, 6], got shape {poses.shape}")
    for name, moved, limit in zip(("m", "rad"), motion(poses), (FRAME_METRES, FRAME_TURN), strict=True):
        if len(moved) and moved.max() > limit + 1e-9:
            frame = int(moved.argmax())
            raise ValueError(
                f"the camera moves by {moved[frame]:.3f} {name} after frame {frame}, at most {limit:.3f} allowed"
            )
    actions = [MOVE] * (len(poses) - 1) + [STOP]
    steps = [
        WalkStep(AgentState(as_point(row[:3]), float(row[3])), action, False, float(row[5]), float(row[4]))
        for row, action in zip(poses, actions, strict=True)
    ]
    return Walk(tuple(steps), stopped, goal, dict(details or {}))


def motion(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far the camera moves (metres) and turns (radians, at most) between poses [T, 6]: two of [T - 1]."""
    step = np.diff(rows, axis=0)  # [T - 1, 6]
    moved = np.linalg.norm(np.stack([step[:, 0], step[:, 1] + step[:, 5], step[:, 2]]), axis=0)
    turned = (step[:, 3] + math.pi) % (2 * math.pi) - math.pi
    return moved, np.hypot(turned, step[:, 4])


def frames_needed(rows: NDArray[np.float64], limits: Limits) -> int:
    """Least number of frames in which the camera can take all poses [N, 6] within limits."""
    return math.ceil(float(_frame_costs(rows, limits).sum()) - 1e-9) + 1


def paced(rows: NDArray[np.float64], length: int, limits: Limits) -> NDArray[np.float64]:
    """Poses [length, 6] along a dense line of poses [N, 6], at equal shares of the time it takes.

    The time between two poses is that of the slower of moving and turning at their limits. A line that takes
    less than ``length`` frames is followed more slowly; one that takes more is cut off.
    """
    rows = rows.copy()
    rows[:, 3] = np.unwrap(rows[:, 3])
    time = np.concatenate([[0.0], np.cumsum(_frame_costs(rows, limits))])  # [N]
    keep = np.concatenate([[True], np.diff(time) > 0])
    when = np.linspace(0.0, min(time[-1], length - 1), length)  # [length]
    return np.stack([np.interp(when, time[keep], column[keep]) for column in rows.T], axis=1)


def _frame_costs(rows: NDArray[np.float64], limits: Limits) -> NDArray[np.float64]:
    moved, turned = motion(rows)
    return np.maximum(moved / limits.step, turned / limits.turn)  # [N - 1] frames


def look_at(position: ArrayLike, target: ArrayLike) -> tuple[float, float]:
    """Yaw and elevation (radians) with which a camera at a world point [3] looks at another."""
    right, up, back = np.asarray(target, float) - np.asarray(position, float)
    return math.atan2(-right, -back), math.atan2(up, math.hypot(right, back))


def looking_at(
    points: NDArray[np.float64], target: ArrayLike, eye: float, lift: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """Poses [N, 6] on floor points [N, 3] of a camera ``eye + lift`` metres above them that looks at a target
    [3]; ``lift`` is a number or [N]."""
    lifts = np.broadcast_to(np.asarray(lift, float), len(points))
    eyes = points + np.stack([0 * lifts, eye + lifts, 0 * lifts], axis=1)
    yaw, tilt = np.array([look_at(place, target) for place in eyes]).T
    return np.column_stack([points, np.unwrap(yaw), tilt, lifts])


def looking_ahead(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses [N, 6] on floor points [N, 3] of a level camera that looks along the path."""
    return np.column_stack([points, headings(points), np.zeros((len(points), 2))])


def headings(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Heading [N] (radians, unwrapped) at each point [N, 3] of a path: towards the next one that is elsewhere.

    The last points look as the ones before them; a path that never moves looks along -Z.
    """
    way = np.diff(points, axis=0)
    moving = np.hypot(way[:, 0], way[:, 2]) > 1e-9  # [N - 1]
    if not moving.any():
        return np.zeros(len(points))
    bearings = np.unwrap(np.arctan2(-way[moving, 0], -way[moving, 2]))
    following: NDArray[np.intp] = np.cumsum(moving) - moving  # index of the next moving segment
    return bearings[np.minimum(np.append(following, len(bearings)), len(bearings) - 1)]


def standable(sim: Simulator, point: NDArray[np.float64]) -> bool:
    """Whether a camera may be above floor point [3]: on navigable floor, ``KEEP_OFF`` from everything."""
    return sim.is_navigable(point) and sim.clearance(point) >= KEEP_OFF


def stands(sim: Simulator, rows: NDArray[np.float64]) -> bool:
    """Whether all poses [N, 6] are above floor on which a camera may be."""
    return all(standable(sim, row[:3]) for row in rows)


def walkable_path(sim: Simulator, start: ArrayLike, goal: ArrayLike) -> NDArray[np.float64]:
    """The shortest path with rounded corners, as points [N, 3] at most ``SPACING`` apart.

    Raises:
        NoRouteError: the goal cannot be walked to.
    """
    first, last = np.asarray(start, float), np.asarray(goal, float)
    path = sim.shortest_path(first, last)
    if len(path) == 0:
        raise NoRouteError(f"no way leads from {as_point(first)} to {as_point(last)}")
    return smooth_path(path, free=lambda point: standable(sim, point))


def smooth_path(
    points: NDArray[np.float64],
    *,
    free: Callable[[NDArray[np.float64]], bool] = lambda point: True,
    reach: float = 0.5,
    spacing: float = SPACING,
) -> NDArray[np.float64]:
    """A path with rounded corners through free points only.

    Each corner is taken a little wider, since a shortest path touches what it goes round, then rounded by a
    quadratic Bezier curve as large as the free floor permits. A corner with no room for either stays.

    Args:
        points: [N, 3] polyline whose own points are free.
        free: whether the camera may be at a point [3].
        reach: greatest distance from a corner at which its curve begins, metres.
        spacing: greatest distance of points in the result, metres.

    Returns:
        [M, 3] from the first to the last of ``points``.
    """
    corners = _wider(_distinct(points), free, spacing)
    if len(corners) < 3:
        return resampled(corners, spacing)
    parts = [corners[:1]]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        parts.append(_rounded(before, corner, after, free, reach))
    return resampled(np.concatenate([*parts, corners[-1:]]), spacing)


def resampled(points: NDArray[np.float64], spacing: float = SPACING) -> NDArray[np.float64]:
    """The polyline [N, 3] with extra points, so that neighbours are at most ``spacing`` apart."""
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    parts = [
        start + np.arange(count)[:, None] / count * (end - start)
        for start, end, count in zip(
            points, points[1:], np.maximum(np.ceil(lengths / spacing), 1).astype(int), strict=False
        )
    ]
    return np.concatenate([*parts, points[-1:]])


def _distinct(points: NDArray[np.float64]) -> NDArray[np.float64]:
    moved = np.linalg.norm(np.diff(points, axis=0), axis=1) > 1e-6
    return points[np.concatenate([[True], moved])]


def _wider(
    points: NDArray[np.float64], free: Callable[[NDArray[np.float64]], bool], spacing: float
) -> NDArray[np.float64]:
    """The polyline [N, 3] with its inner corners moved out of the turn where the lines to them stay free."""
    result = points.copy()
    for i in range(1, len(points) - 1):
        to = _unit((points[i] - points[i - 1]) * _FLAT)
        on = _unit((points[i + 1] - points[i]) * _FLAT)
        outward = _unit(to - on)
        for distance in _TURN_OUT:
            moved = points[i] + distance * outward
            lines = np.concatenate(
                [resampled(np.stack([moved, end]), spacing) for end in (result[i - 1], points[i + 1])]
            )
            if all(free(point) for point in lines):
                result[i] = moved
                break
    return result


def _rounded(
    before: NDArray[np.float64],
    corner: NDArray[np.float64],
    after: NDArray[np.float64],
    free: Callable[[NDArray[np.float64]], bool],
    reach: float,
) -> NDArray[np.float64]:
    """The largest free curve [K, 3] that replaces a corner, or the corner itself [1, 3]."""
    sides = before - corner, after - corner
    length = min(reach, *(0.5 * float(np.linalg.norm(side)) for side in sides))
    t = np.linspace(0, 1, 9)[:, None]
    for _ in range(_HALVINGS):
        start, end = (corner + length * _unit(side) for side in sides)
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * corner + t**2 * end  # [9, 3]
        if all(free(point) for point in curve):
            return curve
        length /= 2
    return corner[None]


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-12 else np.zeros_like(vector)
