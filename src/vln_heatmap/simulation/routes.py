"""Route instructions from a walk: rooms left and entered, stairs, turns, things passed, where it stops.

Invariant: every clause is true of the recorded path and names things by phrases that fit nothing else seen on
the way; the referred ids are the things named, and none of them was moved meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import wrap_angle
from vln_heatmap.simulation.instructions import (
    instruction,
    least_pixels,
    moved_ids,
    sequence_things,
)
from vln_heatmap.simulation.nouns import Scope
from vln_heatmap.simulation.relations import Thing, nearest_point
from vln_heatmap.simulation.scene import STOREY, Instance, Room, room_at
from vln_heatmap.simulation.simulators.base import FORWARD, MOVE, STOP, TURN_LEFT, TURN_RIGHT

#: A thing that a phrase tells apart from all others seen in the sequence, and that phrase.
Names = Mapping[int, tuple[Thing, str]]

_TURN = math.radians(50)  # net heading change that is worth saying
_BACK = math.radians(135)
_MOST_PASSED = 2
_CLIMB = 1.0  # metres up or down that are worth saying
_STOPS = ("stop at {}", "stop in front of {}", "walk up to {} and stop", "stop near {}")


@dataclass(frozen=True)
class Route:
    """A way in words: its clauses in order, the last one the stop, and the things that they name."""

    steps: tuple[str, ...]
    instances: tuple[int, ...]

    @property
    def text(self) -> str:
        return " and ".join(filter(None, (", ".join(self.steps[:-1]), self.steps[-1])))


@dataclass(frozen=True)
class Passage:
    """A step that takes a thing from ahead to behind.

    Attributes:
        frame: before the step.
        instance: id of the thing.
        side: metres to the nearest point of its box, + if its centre is to the left.
        close: whether one would say so: at 0.2 to 1.5 m, in the room that the thing is in.
    """

    frame: int
    instance: int
    side: float
    close: bool


@dataclass(frozen=True)
class _Clause:
    frame: int
    text: str
    instance: int | None = None


def route_instruction(
    objects: Sequence[Instance],
    rooms: Sequence[Room],
    frames: pd.DataFrame,
    rng: np.random.Generator,
    *,
    image_pixels: int,
) -> dict[str, Any]:
    """Describe a walk that ends at its goal.

    Args:
        objects, rooms: of the scene.
        frames: frame table of the whole walk.
        image_pixels: W * H.

    Returns:
        An instruction of kind "route" for the whole walk, e.g. "leave the bedroom, turn left, pass the bookshelf
        on your left and stop at the sofa", with its clauses as ``steps`` and the expert's ``actions``.
    """
    route = describe_route(landmarks(objects, frames, image_pixels=image_pixels), rooms, frames, rng)
    entry = instruction(route.text, "route", route.instances, level=3, steps=route.steps)
    return {**entry, "actions": expert_actions(frames)}


def expert_actions(frames: pd.DataFrame) -> list[int]:
    """The discrete actions of a walk, or of a part of one, the last one STOP; none if it moves freely."""
    actions = [int(action) for action in frames["action"]]
    return [] if MOVE in actions[:-1] else [*actions[:-1], STOP]


def landmarks(
    objects: Sequence[Instance], frames: pd.DataFrame, *, image_pixels: int
) -> dict[int, tuple[Thing, str]]:
    """By id, each thing at rest that colour and noun tell apart in the sequence, and the clearest phrase."""
    scope = Scope(tuple(sequence_things(objects, frames)), least_pixels(image_pixels))
    things, moved = {thing.id: thing for thing in scope.things}, moved_ids(frames)
    return {i: (things[i], text) for i, text in scope.names.items() if i not in moved}


def describe_route(
    names: Names,
    rooms: Sequence[Room],
    frames: pd.DataFrame,
    rng: np.random.Generator,
    *,
    goal: int | None = None,
) -> Route:
    """The way through a frame table, or through a part of one.

    Args:
        names: from ``landmarks`` of the whole sequence.
        goal: id of the thing where it ends; None = the nearest thing in view, else the room.
    """
    path = np.stack(frames["state"].to_list()).astype(np.float64)  # [T, >= 4] x, y, z, yaw
    actions = frames["action"].to_numpy()  # [T]
    if goal is None:
        stop = _stop_clause(names, rooms, path, frames, rng)
    else:
        stop = _Clause(len(path), str(rng.choice(_STOPS)).format(names[goal][1]), goal)
    passed = _passed(names, rooms, path, frames, without=stop.instance)
    parts = [*_turns(actions, path), *_climbs(names, path), *_room_changes(rooms, path, rng), *passed]
    clauses = sorted(parts, key=lambda clause: clause.frame)
    if not clauses:
        clauses = [_Clause(0, str(rng.choice(["walk straight ahead", "go forward", "walk forward"])))]
    before = [None, *(clause.text for clause in clauses)]
    texts = [
        f"{c.text} again" if c.text == last else c.text for c, last in zip(clauses, before, strict=False)
    ]
    referred = {clause.instance for clause in (*clauses, stop) if clause.instance is not None}
    return Route((*texts, stop.text), tuple(sorted(referred)))


def _turns(actions: NDArray[np.int8], path: NDArray[np.float64]) -> list[_Clause]:
    """Runs of turns to one side, with at most two steps in between, that add up to 50 degrees or more."""
    clauses: list[_Clause] = []
    side, start, total, steps = 0, 0, 0.0, 0

    def close() -> None:
        if abs(total) >= _BACK:
            clauses.append(_Clause(start, "turn around"))
        elif abs(total) >= _TURN:
            clauses.append(_Clause(start, "turn left" if total > 0 else "turn right"))

    for frame in range(len(actions) - 1):
        action = actions[frame]
        if action in (TURN_LEFT, TURN_RIGHT):
            if action != side or steps > 2:
                close()
                side, start, total = action, frame, 0.0
            total += wrap_angle(path[frame + 1, 3] - path[frame, 3])
            steps = 0
        else:
            steps += action == FORWARD
    close()
    return clauses


def _climbs(names: Names, path: NDArray[np.float64]) -> list[_Clause]:
    """Runs of frames that go up, or down, a metre or more, with level stretches of at most three frames."""
    clauses = []
    rise = np.diff(path[:, 1])  # [T - 1]
    moving = np.flatnonzero(np.abs(rise) > 0.01)
    apart = (np.diff(moving) > 4) | (np.diff(np.sign(rise[moving])) != 0)
    for run in np.split(moving, np.flatnonzero(apart) + 1) if len(moving) else []:
        if abs(total := rise[run].sum()) >= _CLIMB:
            stairs = _stairs(names, path[run])
            way = "up" if total > 0 else "down"
            clauses.append(
                _Clause(int(run[0]), f"go {way} {names[stairs][1] if stairs else 'the stairs'}", stairs)
            )
    return clauses


def _stairs(names: Names, path: NDArray[np.float64]) -> int | None:
    """Id of the named stairs that a path [N, >= 3] runs over, if it is one."""
    middle = path[len(path) // 2, :3]
    return next(
        (
            i
            for i, (thing, _) in names.items()
            if thing.instance.category == "stairs"
            and math.dist(middle, nearest_point(thing.instance, middle)) <= 0.5
        ),
        None,
    )


def _room_changes(
    rooms: Sequence[Room], path: NDArray[np.float64], rng: np.random.Generator
) -> list[_Clause]:
    visits = room_visits(rooms, path)
    names = [room.name for room in rooms]
    clauses = []
    for (_, before), (frame, after) in pairwise(visits):
        there = _entered(names, before, after)
        options = [f"enter {there}", f"go into {there}", f"walk from the {names[before]} into {there}"]
        if names[after] != names[before]:
            options.append(f"leave the {names[before]}")
        clauses.append(_Clause(frame, str(rng.choice(options))))
    return clauses


def _entered(names: Sequence[str], before: int, after: int) -> str:
    """ "the kitchen", but "another bedroom" from a bedroom, and "a bedroom" where there are several."""
    name = names[after]
    if name == names[before]:
        return f"another {name}"
    return f"the {name}" if names.count(name) == 1 else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def room_visits(rooms: Sequence[Room], path: NDArray[np.float64]) -> list[tuple[int, int]]:
    """(first frame, room index) of each stay in a room along a path [T, >= 3] of floor points x, y, z; doorways
    and the upper part of stairs belong to none."""
    visits: list[tuple[int, int]] = []
    for frame, (x, y, z) in enumerate(path[:, :3]):
        room = room_at(rooms, x, z, y)
        if room >= 0 and (not visits or visits[-1][1] != room):
            visits.append((frame, room))
    return visits


def _passed(
    names: Names,
    rooms: Sequence[Room],
    path: NDArray[np.float64],
    frames: pd.DataFrame,
    *,
    without: int | None,
) -> list[_Clause]:
    """The nearest passages of things that had been seen before."""
    first_seen: dict[int, int] = {}
    for frame, ids in enumerate(frames["visible_ids"]):
        for identity in np.asarray(ids).tolist():
            first_seen.setdefault(identity, frame)
    known = {i: thing.instance for i, (thing, _) in names.items() if i in first_seen and i != without}
    found = [p for p in passages(known, rooms, path) if p.close and first_seen[p.instance] <= p.frame]
    found.sort(key=lambda passage: abs(passage.side))
    nearest: dict[int, _Clause] = {}
    for p in found:
        text = f"pass {names[p.instance][1]} on your {'left' if p.side > 0 else 'right'}"
        nearest.setdefault(p.instance, _Clause(p.frame, text, p.instance))
    return list(nearest.values())[:_MOST_PASSED]


def passages(
    instances: Mapping[int, Instance], rooms: Sequence[Room], path: NDArray[np.float64]
) -> list[Passage]:
    """Every passage of things, by id, along a path [T, >= 4] of x, y, z and yaw, in the order of time."""
    found = []
    for frame in range(len(path) - 1):
        x, y, z = path[frame, :3].tolist()
        here = room_at(rooms, x, z, y)
        for identity, instance in sorted(instances.items()):
            side = _side_passed(instance, path[frame], path[frame + 1])
            if side != 0:
                same = -1 in (here, instance.room) or here == instance.room
                found.append(Passage(frame, identity, side, same and 0.2 <= abs(side) <= 1.5))
    return found


def _side_passed(instance: Instance, before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Metres to the left (negative: right) at which a step passes the thing's centre; 0 if it does not.

    Things that hang above the head or lie on the floor are walked under or over, not passed.
    """
    if instance.box_min[1] > before[1] + 1.6 or instance.box_max[1] < before[1] + 0.15:
        return 0.0
    forward = np.array([-math.sin(before[3]), -math.cos(before[3])])  # [2] x, z
    left = np.array([-math.cos(before[3]), math.sin(before[3])])
    centre = instance.centre[[0, 2]]
    step = after[[0, 2]] - before[[0, 2]]
    if step @ forward < max(0.02, abs(step @ left)):  # stands, backs or sidles
        return 0.0
    if not (centre - before[[0, 2]]) @ forward > 0 >= (centre - after[[0, 2]]) @ forward:
        return 0.0
    offset = nearest_point(instance, before[:3])[[0, 2]] - before[[0, 2]]
    side = float((centre - before[[0, 2]]) @ left)
    return math.copysign(float(np.hypot(*offset)), side) if abs(side) >= 0.2 else 0.0


def _stop_clause(
    names: Names,
    rooms: Sequence[Room],
    path: NDArray[np.float64],
    frames: pd.DataFrame,
    rng: np.random.Generator,
) -> _Clause:
    """Where the walk ends: at the nearest thing in view within 1.5 m, else in the room, else just there."""
    visible = set(np.asarray(frames["visible_ids"].iloc[-1]).tolist())
    reach = {i: distance(names[i][0].instance, path[-1]) for i in names if i in visible}
    nearest = min(reach, key=lambda i: (reach[i], i), default=None)
    if nearest is not None and reach[nearest] <= 1.5:
        return _Clause(len(path), str(rng.choice(_STOPS)).format(names[nearest][1]), nearest)
    visits = room_visits(rooms, path)
    return _Clause(len(path), f"stop in the {rooms[visits[-1][1]].name}" if visits else "stop there")


def distance(instance: Instance, state: NDArray[np.float64]) -> float:
    """Horizontal metres from an agent's ``state`` to the nearest point of the box; infinite on another storey."""
    x, y, z = state[:3]
    if instance.box_min[1] > y + STOREY or instance.box_max[1] < y - 0.2:
        return math.inf
    return math.dist((x, z), nearest_point(instance, np.array([x, y, z]))[[0, 2]])
