"""Route instructions from a walk: rooms left and entered, turns, things passed, where it stops.

Invariant: every clause is true of the recorded path and names things by phrases that fit nothing else seen on
the way; the referred ids are the things named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.simulation.instructions import MIN_SHARE, object_phrases, sequence_things
from vln_heatmap.simulation.relations import Thing, nearest_point
from vln_heatmap.simulation.scene import Instance, Room
from vln_heatmap.simulation.simulators.base import FORWARD, TURN_LEFT, TURN_RIGHT

_TURN = math.radians(50)  # net heading change that is worth saying
_BACK = math.radians(135)
_MOST_PASSED = 2
_STOPS = ("stop at {}", "stop in front of {}", "walk up to {} and stop", "stop near {}")


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
        ``{"text", "kind": "route", "instances", "frame": None}``, e.g. "leave the bedroom, turn left, pass
        the bookshelf on your left and stop at the sofa".
    """
    path = np.stack(frames["state"].to_list()).astype(np.float64)  # [T, 5] x, y, z, yaw, pitch
    actions = frames["action"].to_numpy()  # [T]
    names = _names(objects, frames, max(1, round(MIN_SHARE * image_pixels)))
    stop = _stop_clause(names, rooms, path, frames, rng)
    passed = _passed(names, path, actions, frames, without=stop.instance)
    clauses = sorted(
        [*_turns(actions, path), *_room_changes(rooms, path, rng), *passed], key=lambda c: c.frame
    )
    if not clauses:
        clauses = [_Clause(0, str(rng.choice(["walk straight ahead", "go forward", "walk forward"])))]
    before = [None, *(clause.text for clause in clauses)]
    texts = [
        f"{c.text} again" if c.text == last else c.text for c, last in zip(clauses, before, strict=False)
    ]
    referred = [clause.instance for clause in (*clauses, stop) if clause.instance is not None]
    text = f"{', '.join(texts)} and {stop.text}"
    return {"text": text, "kind": "route", "instances": sorted(set(referred)), "frame": None}


def _names(
    objects: Sequence[Instance], frames: pd.DataFrame, min_pixels: int
) -> dict[int, tuple[Thing, str]]:
    """By id, each thing that a colour and a noun tell apart in the sequence, and the clearest such phrase."""
    things = {thing.id: thing for thing in sequence_things(objects, frames)}
    phrases = object_phrases(list(things.values()), min_pixels=min_pixels)
    names: dict[int, tuple[Thing, str]] = {}
    for phrase in sorted(phrases, key=lambda p: (p.kind != "category", -len(p.text))):
        if not phrase.plural and phrase.kind in ("category", "attribute"):
            names.setdefault(phrase.instances[0], (things[phrase.instances[0]], phrase.text))
    return names


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
            total += _wrap(path[frame + 1, 3] - path[frame, 3])
            steps = 0
        else:
            steps += action == FORWARD
    close()
    return clauses


def _room_changes(
    rooms: Sequence[Room], path: NDArray[np.float64], rng: np.random.Generator
) -> list[_Clause]:
    visits = room_visits(rooms, path)
    names = [room.name for room in rooms]
    clauses = []
    for (_, before), (frame, after) in pairwise(visits):
        there = f"{'another' if names[after] == names[before] else 'the'} {names[after]}"
        options = [f"enter {there}", f"go into {there}", f"walk from the {names[before]} into {there}"]
        if names[after] != names[before]:
            options.append(f"leave the {names[before]}")
        clauses.append(_Clause(frame, str(rng.choice(options))))
    return clauses


def room_visits(rooms: Sequence[Room], path: NDArray[np.float64]) -> list[tuple[int, int]]:
    """(first frame, room index) of each stay in a room along a path [T, >= 3]; doorways belong to none."""
    visits: list[tuple[int, int]] = []
    for frame, (x, z) in enumerate(path[:, [0, 2]]):
        room = next((i for i, r in enumerate(rooms) if _inside(r, x, z)), -1)
        if room >= 0 and (not visits or visits[-1][1] != room):
            visits.append((frame, room))
    return visits


def _passed(
    names: dict[int, tuple[Thing, str]],
    path: NDArray[np.float64],
    actions: NDArray[np.int8],
    frames: pd.DataFrame,
    *,
    without: int | None,
) -> list[_Clause]:
    """The nearest things that a step forward takes from ahead to behind, at 0.2 to 1.5 m to one side."""
    found: list[tuple[float, _Clause]] = []
    seen: set[int] = set()
    for frame in range(len(path) - 1):
        seen.update(np.asarray(frames["visible_ids"].iloc[frame]).tolist())
        if actions[frame] != FORWARD:
            continue
        for identity in sorted(seen & (names.keys() - {without})):
            thing, name = names[identity]
            side = _side_passed(thing.instance, path[frame], path[frame + 1])
            if side != 0:
                hand = "left" if side > 0 else "right"
                found.append((abs(side), _Clause(frame, f"pass {name} on your {hand}", identity)))
    found.sort(key=lambda item: item[0])
    first = {clause.instance: clause for _, clause in reversed(found)}  # the nearest passage of each thing
    kept = [clause for _, clause in found if first[clause.instance] is clause]
    return kept[:_MOST_PASSED]


def _side_passed(instance: Instance, before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Metres to the left (negative: right) at which a step passes the thing's centre; 0 if it does not.

    Things that hang above the head or lie on the floor are walked under or over, not passed.
    """
    if instance.box_min[1] > 1.6 or instance.box_max[1] < 0.15:
        return 0.0
    forward = np.array([-math.sin(before[3]), -math.cos(before[3])])  # [2] x, z
    left = np.array([-math.cos(before[3]), math.sin(before[3])])
    centre = instance.centre[[0, 2]]
    if not (centre - before[[0, 2]]) @ forward > 0 >= (centre - after[[0, 2]]) @ forward:
        return 0.0
    offset = nearest_point(instance, before[:3])[[0, 2]] - before[[0, 2]]
    distance = float(np.hypot(*offset))
    side = float((centre - before[[0, 2]]) @ left)
    return math.copysign(distance, side) if 0.2 <= distance <= 1.5 and abs(side) >= 0.2 else 0.0


def _stop_clause(
    names: dict[int, tuple[Thing, str]],
    rooms: Sequence[Room],
    path: NDArray[np.float64],
    frames: pd.DataFrame,
    rng: np.random.Generator,
) -> _Clause:
    """Where the walk ends: at the nearest thing in view within 1.5 m, else in the room, else just there."""
    last = path[-1]
    visible = set(np.asarray(frames["visible_ids"].iloc[-1]).tolist())
    reach = {
        identity: math.dist(last[[0, 2]], nearest_point(thing.instance, last[:3])[[0, 2]])
        for identity, (thing, _) in names.items()
        if identity in visible
    }
    nearest = min(reach, key=lambda identity: (reach[identity], identity), default=None)
    if nearest is not None and reach[nearest] <= 1.5:
        return _Clause(len(path), str(rng.choice(_STOPS)).format(names[nearest][1]), nearest)
    visits = room_visits(rooms, path)
    return _Clause(len(path), f"stop in the {rooms[visits[-1][1]].name}" if visits else "stop there")


def _inside(room: Room, x: float, z: float) -> bool:
    x0, z0, x1, z1 = room.rectangle
    return bool(x0 <= x <= x1 and z0 <= z <= z1)


def _wrap(angle: float) -> float:
    """The same angle in [-pi, pi)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi
