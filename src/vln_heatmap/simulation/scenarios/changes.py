"""Films in which a thing moves: before the camera's eyes, or behind its back.

Invariant: what moves is movable, nothing stands on it, and on its way its box meets no other thing, no wall and
no edge of what it stands on; the camera keeps its distance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.relations import box_gap
from vln_heatmap.simulation.scenarios import measures_things
from vln_heatmap.simulation.scenarios.base import Scenario
from vln_heatmap.simulation.scenarios.recorded import SEEN_WELL
from vln_heatmap.simulation.scenarios.stage import MOST_SURVEYED, Stage, draw, filming, share_of
from vln_heatmap.simulation.scene import Instance
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories.free_motion import FRAME_TURN, free_walk, motion

PART = "spatial_reasoning"
LEAST_MOVE = 0.5  # metres
_MOST_MOVE = 2.0
_RATE = 0.12  # metres a frame
_GAP = 0.02  # metres that a moving thing keeps from others
_THIN = 0.06  # metres: what is lower (a rug) can be moved over
_CAMERA_GAP = 0.6  # metres that the camera keeps from where the thing goes
_WELL = 1.5 * SEEN_WELL
_TURN_RATE = math.radians(18)
_REST = 2  # frames before and after


@filming(tries=80)
def film_object_motion(stage: Stage) -> Take | None:
    """A thing glides along the floor, or along what it stands on, while the camera watches it."""
    thing = draw(stage, _movable(stage))
    shift = None if thing is None else _free_shift(stage, thing)
    if thing is None or shift is None:
        return None
    frames = stage.length - 2 * _REST
    shift *= min(1.0, _RATE * frames / 1.9 / float(np.linalg.norm(shift)))  # easing peaks at 1.9 x the mean
    if np.linalg.norm(shift) < LEAST_MOVE:
        return None
    ease = _eased(stage.length, _REST)  # [T]
    row = _watching(stage, thing, shift)
    if row is None:
        return None
    middle = thing.centre + ease[:, None] * shift * stage.rng.uniform(0.3, 0.9)
    rows = np.concatenate([stage.gaze(row[None, :3], point) for point in middle])
    rows[:, 3] = np.unwrap(rows[:, 3])
    if motion(rows)[1].max() > FRAME_TURN:
        return None
    return Take(free_walk(rows), motions={thing.id: _shifts(ease, shift)}, focus=(thing.id,))


@filming(tries=80)
def film_scene_change(stage: Stage) -> Take | None:
    """Look at a thing, look away while it is put elsewhere, look back."""
    thing = draw(stage, _movable(stage))
    shift = None if thing is None else _free_shift(stage, thing)
    row = None if thing is None or shift is None else _watching(stage, thing, shift)
    if thing is None or shift is None or row is None:
        return None
    away = math.radians(stage.sim.camera.hfov) + _spread(row, thing, shift)
    away = min(away / 2 + math.radians(12), math.pi)
    turning = max(math.ceil(away / _TURN_RATE), stage.length // 5)
    gone = max(3, stage.length // 8)
    resting = stage.length - 2 * turning - gone
    if resting < 2 * _REST:
        return None
    first = int(stage.rng.integers(_REST, resting - _REST + 1))
    yaw = np.interp(
        np.arange(stage.length), np.cumsum([first - 1, turning, gone, turning]), np.array([0, away, away, 0])
    )
    rows = np.tile(row, (stage.length, 1))
    rows[:, 3] += stage.rng.choice([-1, 1]) * yaw
    ease = (np.arange(stage.length) >= first + turning + gone // 2).astype(float)
    hidden = [stage.view(rows[k]) for k in range(first + turning - 1, first + turning + gone)]
    if any(share_of(view, thing.id) > 0 for view in hidden):
        return None
    return Take(free_walk(rows), motions={thing.id: _shifts(ease, shift)}, focus=(thing.id,))


def _movable(stage: Stage) -> list[Instance]:
    """Things that can be moved: movable, and nothing stands on them."""
    boxes = stage.boxes  # [N, 2, 3]
    result = []
    for item in (item for item in stage.things if item.movable):
        low, high = boxes[item.id - 1]
        meets = (boxes[:, 0, ::2] < high[::2]).all(1) & (boxes[:, 1, ::2] > low[::2]).all(1)  # [N]
        foot = boxes[:, 0, 1]
        carried = meets & (foot > item.centre[1]) & (foot <= high[1] + 0.03)
        if not carried.any():
            result.append(item)
    return result


def _rests_on(upper: Instance, lower: Instance) -> bool:
    """Whether a thing stands on another: boxes that meet in the floor plan, foot at the top."""
    level = lower.centre[1] < upper.box_min[1] <= lower.box_max[1] + 0.03
    return level and upper.id != lower.id and box_gap(upper, lower) == 0


def _free_shift(stage: Stage, thing: Instance) -> NDArray[np.float64] | None:
    """A way [3] on the level by at least ``LEAST_MOVE`` that is free from end to end; the longest of 12."""
    ground = _support(stage, thing)
    if ground is None:
        return None
    ways = []
    for angle in stage.rng.uniform(-math.pi, math.pi, 12):
        unit = np.array([math.cos(angle), 0.0, math.sin(angle)])
        length = _free_length(stage, thing, unit, ground)
        ways.append(length * unit)
    best = max(ways, key=lambda way: float(np.linalg.norm(way)))
    return best if np.linalg.norm(best) >= LEAST_MOVE + 0.02 else None


def _support(stage: Stage, thing: Instance) -> tuple[float, float, float, float] | None:
    """Rectangle (x0, z0, x1, z1) on which a thing stands: the top of another, or the floor of its room."""
    for other in stage.scene.instances:
        if other.category not in ("floor", "ceiling") and _rests_on(thing, other) and not _is_flat(other):
            return (other.box_min[0], other.box_min[2], other.box_max[0], other.box_max[2])
    if not 0 <= thing.room < len(stage.scene.rooms):
        return None
    room = stage.scene.rooms[thing.room]
    return room.rectangle if abs(thing.box_min[1] - room.floor) <= _THIN else None


def _free_length(
    stage: Stage, thing: Instance, unit: NDArray[np.float64], ground: tuple[float, float, float, float]
) -> float:
    """How far a thing can be pushed in a direction, metres."""
    others = _obstacles(stage, thing)  # [N, 2, 3]
    low, high = np.array(thing.box_min), np.array(thing.box_max)
    for distance in np.arange(0.05, _MOST_MOVE + 1e-9, 0.05):
        start, end = low + distance * unit, high + distance * unit
        inside = (
            ground[0] <= start[0] and ground[1] <= start[2] and end[0] <= ground[2] and end[2] <= ground[3]
        )
        meets = (others[:, 0] < end + _GAP) & (others[:, 1] > start - _GAP)
        if not inside or meets.all(axis=1).any():
            return float(distance) - 0.05
    return _MOST_MOVE


def _obstacles(stage: Stage, thing: Instance) -> NDArray[np.float64]:
    """Boxes [N, 2, 3] of all that a thing must not meet: not itself, its support, or what is flat."""
    boxes = [
        (item.box_min, item.box_max)
        for item in stage.scene.instances
        if item.id != thing.id
        and item.category not in ("floor", "ceiling", "wall", "skirting")
        and not _is_flat(item)
        and not _rests_on(thing, item)
        and not (_overlap(item, thing))
    ]
    return np.array(boxes, float).reshape(-1, 2, 3)


def _overlap(a: Instance, b: Instance) -> bool:
    """Whether two boxes share space already at rest (a chair pushed under a table)."""
    return all(a.box_min[k] < b.box_max[k] and b.box_min[k] < a.box_max[k] for k in range(3))


def _is_flat(item: Instance) -> bool:
    return item.box_max[1] - item.box_min[1] <= _THIN


def _watching(stage: Stage, thing: Instance, shift: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """A pose [6] away from the thing's way that shows it well at the start and would at the end."""
    middle = thing.centre + shift / 2
    spots = stage.around(middle, _CAMERA_GAP, 3.5)
    clear = [spot for spot in spots if _distance(spot, thing, shift) >= _CAMERA_GAP][: MOST_SURVEYED // 2]
    rows = stage.gaze(np.array(clear), middle)
    seen = [row for row in rows if share_of(stage.view(row), thing.id) >= _WELL]
    if seen:
        stage.sim.move({thing.id: _shifts(np.ones(1), shift)[0]})
        seen = [row for row in seen if share_of(stage.view(row), thing.id) >= _WELL]
        stage.sim.move({})
    return seen[0] if seen else None


def _distance(spot: NDArray[np.float64], thing: Instance, shift: NDArray[np.float64]) -> float:
    """Distance on the floor of a point from the boxes of a thing at the start, half way and at the end."""
    away = []
    for share in (0.0, 0.5, 1.0):
        low, high = (np.array(corner) + share * shift for corner in (thing.box_min, thing.box_max))
        away.append(float(np.hypot(*(spot - np.clip(spot, low, high))[[0, 2]])))
    return min(away)


def _spread(row: NDArray[np.float64], thing: Instance, shift: NDArray[np.float64]) -> float:
    """Angle in radians that the thing takes up in both places, seen from a pose that looks at their middle."""
    half = float(np.hypot(*np.subtract(thing.box_max, thing.box_min)[[0, 2]])) / 2
    away = [math.hypot(*(thing.centre + share * shift - row[:3])[[0, 2]]) for share in (0, 1)]
    side = [math.atan2(-(p[0] - row[0]), -(p[2] - row[2])) for p in (thing.centre, thing.centre + shift)]
    between = abs((side[1] - side[0] + math.pi) % (2 * math.pi) - math.pi)
    return between + 2 * math.atan2(half, max(min(away), 0.1))


def _eased(length: int, rest: int) -> NDArray[np.float64]:
    """From 0 to 1 in ``length`` frames, smoothly, resting at both ends: [length]."""
    t = np.clip((np.arange(length) - rest) / max(length - 1 - 2 * rest, 1), 0, 1)
    return t**2 * (3 - 2 * t)


def _shifts(shares: NDArray[np.float64], shift: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Transforms [T, 4, 4] by shares [T] of a shift [3]."""
    matrices = np.tile(np.eye(4), (len(shares), 1, 1))
    matrices[:, :3, 3] = shares[:, None] * np.asarray(shift)
    return matrices


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "object_motion", PART, "object_focused", film_object_motion, measures_things.moved_in_view,
        (LEAST_MOVE, math.inf), "m", "How far a thing moves while it is seen.",
        questions=("object_motion",),
    ),
    Scenario(
        "scene_change", PART, "object_focused", film_scene_change, measures_things.moved_out_of_view,
        (LEAST_MOVE, math.inf), "m", "How far a thing is moved between two visits, unseen.",
        questions=("scene_change",),
    ),
)  # fmt: skip
