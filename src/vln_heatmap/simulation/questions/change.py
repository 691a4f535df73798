"""Questions about what has moved while the agent looked, or looked away.

Invariant: a thing has moved only if its centre is 0.25 m or more from where it was first seen, both places were
seen well, and nothing else that the text fits moved by an amount that could be argued about.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.nouns import Group, always_plural
from vln_heatmap.simulation.questions.references import picking
from vln_heatmap.simulation.questions.tape import Question, Tape
from vln_heatmap.simulation.relations import NO, UNSURE, YES, Thing

_MOVED, _STILL, _TILTED = 0.25, 0.02, 3.0  # metres, metres, degrees
Way = Literal["to the left", "to the right", "towards you", "away from you"]
WAYS: tuple[Way, ...] = ("to the left", "to the right", "towards you", "away from you")


def object_motion(tape: Tape, rng: np.random.Generator) -> Iterator[Question]:
    """What has moved since it was first seen; the chair that has moved to the left, as seen from here."""
    if not tape.motions:
        return
    for frame in tape.views(rng, first=1):
        things = [thing for thing in tape.scope.things if tape.seen(thing.id, until=frame + 1, clearly=False)]
        moving = picking(lambda thing, frame=frame: has_moved(tape, frame, thing))  # type: ignore[misc]
        what = moving(things)
        if what:
            yield _question(tape, frame, "object_motion", what, "find what has moved", 2)
        for group in tape.scope.groups:
            meant = moving(group.things) if group.ids <= {thing.id for thing in things} else []
            if 0 < len(meant) < len(group.things):
                verb = "have" if len(meant) > 1 or always_plural(group.noun) else "has"
                text = f"find the {group.said(len(meant))} that {verb} moved"
                yield _question(tape, frame, "object_motion", meant, text, 2)
            if not group.colour or len(group.things) > 1:
                yield from _ways(tape, frame, group)


def _ways(tape: Tape, frame: int, group: Group) -> Iterator[Question]:
    """The thing of a group that has moved one way, as seen from the agent's place now."""
    for way in WAYS:
        meant = picking(lambda thing, way=way: moved_way(tape, frame, thing, way))(group.things)  # type: ignore[misc]
        if len(meant) == 1 and meant[0].id in tape.clearly(frame):
            has, it = ("have", "them") if always_plural(group.noun) else ("has", "it")
            text = f"find the {group.said(1)} that {has} moved {way}, as you see {it} from here"
            yield _question(tape, frame, "object_motion", meant, text, 3)


def scene_change(tape: Tape, rng: np.random.Generator) -> Iterator[Question]:
    """What is in view, and at another place than where it was first seen."""
    if not tape.motions:
        return
    for frame in tape.views(rng, first=1):
        known = [t for t in tape.scope.things if t.id in tape.visible[frame] and tape.seen(t.id, until=frame)]
        changed = picking(lambda thing, frame=frame: displaced(tape, frame, thing))  # type: ignore[misc]
        meant = changed(known)
        if meant and all(thing.id in tape.clearly(frame) for thing in meant):
            text = "find what is not where you first saw it"
            yield _question(tape, frame, "scene_change", meant, text, 3)
        for group in tape.scope.groups:
            some = changed(group.things) if group.ids <= {thing.id for thing in known} else []
            if 0 < len(some) < len(group.things) and all(thing.id in tape.clearly(frame) for thing in some):
                several = len(some) > 1 or always_plural(group.noun)
                verb, it = ("are", "them") if several else ("is", "it")
                text = f"which {group.said(len(some))} {verb} at another place than where you first saw {it}?"
                yield _question(tape, frame, "scene_change", some, text, 3)


def has_moved(tape: Tape, frame: int, thing: Thing) -> int:
    """Whether a thing has moved since it was first seen, and that could be seen; NO if it never did until now."""
    if thing.id not in tape.motions:
        return NO
    since = [f for f in range(frame + 1) if thing.id in tape.visible[f]]
    shifts = {f: shift(tape, thing, since[0], f) for f in range(since[0], frame + 1)} if since else {}
    if all(still for _, still in shifts.values()):
        return NO
    shown = [f for f in since if thing.id in tape.clearly(f)]
    far = bool(shown) and np.linalg.norm(shifts[frame][0]) >= _MOVED
    watched = far and shifts[shown[0]][1] and any(np.linalg.norm(shifts[f][0]) >= _MOVED for f in shown)
    return YES if watched else UNSURE


def displaced(tape: Tape, frame: int, thing: Thing) -> int:
    """Whether a thing in view is at another place than where it was first seen, whatever it did meanwhile."""
    if thing.id not in tape.motions:
        return NO
    first = tape.seen(thing.id, until=frame, clearly=False)[0]
    clear = tape.seen(thing.id, until=frame)[0]
    offset, still = shift(tape, thing, first, frame)
    if still:
        return NO
    return YES if np.linalg.norm(offset) >= _MOVED and shift(tape, thing, first, clear)[1] else UNSURE


def moved_way(tape: Tape, frame: int, thing: Thing, way: Way) -> int:
    """Whether a thing has moved a way in the agent's frame now: 0.25 m along it, and at most half that aside."""
    verdict = has_moved(tape, frame, thing)
    if verdict != YES:
        return verdict
    first = next(f for f in range(frame + 1) if thing.id in tape.visible[f])
    offset, _ = shift(tape, thing, first, frame)
    yaw = tape.path[frame, 3]
    left = offset @ np.array([-math.cos(yaw), 0.0, math.sin(yaw)])
    ahead = offset @ np.array([-math.sin(yaw), 0.0, -math.cos(yaw)])
    along = {"to the left": left, "to the right": -left, "towards you": -ahead, "away from you": ahead}[way]
    aside = abs(ahead if "the" in way else left)
    if along >= _MOVED and aside <= along / 2:
        return YES
    return NO if along <= 0.05 else UNSURE


def shift(tape: Tape, thing: Thing, start: int, end: int) -> tuple[NDArray[np.float64], bool]:
    """How far a thing's centre moved between two frames [3] in metres, and whether it stood still."""
    if thing.id not in tape.motions:
        return np.zeros(3), True
    before, after = tape.motions[thing.id][start], tape.motions[thing.id][end]
    centre = np.append(thing.instance.centre, 1.0)
    offset = ((after - before) @ centre)[:3]
    turn = (np.trace(after[:3, :3] @ before[:3, :3].T) - 1) / 2
    angle = math.degrees(math.acos(min(1.0, max(-1.0, turn))))
    return offset, bool(np.linalg.norm(offset) <= _STILL and angle <= _TILTED)


def _question(tape: Tape, frame: int, name: str, meant: list[Thing], text: str, level: int) -> Question:
    return Question(
        name,
        text,
        tuple(thing.id for thing in meant),
        tape.call(meant),
        level,
        frame=frame,
        distractors=tape.scope.similar(meant),
        steps=("remember where things were", "compare it with where they are now", text),
    )
