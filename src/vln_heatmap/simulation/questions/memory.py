"""Questions that take the memory of a walk: what was where, which way, what came first.

Invariant: whatever is asked about was seen before the frame in which it is asked, and the answer is read from
the frame, or the part of the walk, that realises it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np

from vln_heatmap.simulation.nouns import always_plural
from vln_heatmap.simulation.questions.references import anchors as named
from vln_heatmap.simulation.questions.references import (
    described,
    picking,
    relation_clauses,
    room_questions,
    room_scope,
)
from vln_heatmap.simulation.questions.tape import NUMBERS, Question, Tape
from vln_heatmap.simulation.relations import UNSURE, WORLD_RELATIONS, YES, Thing
from vln_heatmap.simulation.routes import describe_route, distance, expert_actions, passages
from vln_heatmap.simulation.simulators.base import MOVE, STOP

_NEIGHBOURS = relation_clauses(WORLD_RELATIONS, world=True)
_SAME_PLACE, _SAME_ANGLE = 0.03, 1.5  # metres and degrees to which a frame realises a view
_TURNS = (30, 45, 60, 90)
_SECTORS = {
    0: "ahead of you",
    45: "ahead of you to the left",
    90: "to your left",
    135: "behind you to the left",
    180: "behind you",
    -135: "behind you to the right",
    -90: "to your right",
    -45: "ahead of you to the right",
}
_SECTOR_MARGIN = 17.5  # degrees from the middle of a sector of 45; the rest is left open
_ROUNDING = 0.35  # metres from a whole number
_REACHED = 1.0  # metres from a thing at which one has come to it
_SWERVING = 240.0  # degrees of turns on a way, at most
_DETOUR = 1.25  # length of a way / straight line, at most


# --- what would I see if …? ------------------------------------------------------------------------------


def what_would_i_see_if(tape: Tape, rng: np.random.Generator) -> Iterator[Question]:
    """Which lamp would you see if you turned left by 90 degrees, went back, stood in front of the sofa?"""
    for frame in tape.views(rng, first=1):
        for condition, frames in _conditions(tape, frame).items():
            if min(frames) < frame:
                yield from _seen_if(tape, frame, condition, frames)


def _conditions(tape: Tape, frame: int) -> dict[str, list[int]]:
    """What one could do, and all frames that show what one would see then."""
    found: dict[str, list[int]] = {}
    for other in range(len(tape)):
        turn = _turned(tape, frame, other)
        if abs(turn) in _TURNS:
            found.setdefault(f"turned {'left' if turn > 0 else 'right'} by {abs(turn)} degrees", []).append(
                other
            )
        elif abs(turn) == 180:
            found.setdefault("turned around", []).append(other)
    gone = math.dist(tape.path[frame, :3], tape.path[0, :3])
    if gone > 0.5 or abs(_angle(tape, frame, 0)) > 30:
        found["went back to where you started and looked the same way as then"] = [0]
    for identity, (thing, text) in tape.landmarks.items():
        facing = [f for f in range(len(tape)) if _faces(tape, f, thing)]
        if len(facing) > 1 and identity not in tape.visible[frame]:
            it = "them" if always_plural(thing.instance.category) else "it"
            found[f"stood in front of {text} and looked at {it}"] = facing
    return found


def _turned(tape: Tape, now: int, then: int) -> int:
    """Degrees to turn left from frame ``now`` to see frame ``then``; 0 if turning is not enough."""
    a, b = tape.path[now], tape.path[then]
    angle = _angle(tape, then, now)
    turn = 15 * round(angle / 15)
    still = math.dist(a[:3], b[:3]) <= _SAME_PLACE and abs(a[5] - b[5]) <= _SAME_PLACE
    level = abs(math.degrees(a[4] - b[4])) <= _SAME_ANGLE
    return turn if still and level and abs(angle - turn) <= _SAME_ANGLE else 0


def _angle(tape: Tape, then: int, now: int) -> float:
    """Degrees, left is +, in (-180, 180], from the heading in frame ``now`` to the one in frame ``then``."""
    angle = math.degrees(tape.path[then, 3] - tape.path[now, 3])
    return 180 - (180 - angle) % 360


def _faces(tape: Tape, frame: int, thing: Thing) -> bool:
    """Whether a frame is taken within a metre of a thing that is in the middle half of its field of view."""
    near = distance(thing.instance, tape.path[frame]) <= _REACHED
    ahead = abs(tape.bearing(frame, thing.instance.centre)) <= tape.camera.hfov / 4
    return near and ahead and thing.id in tape.clearly(frame)


def _seen_if(tape: Tape, frame: int, condition: str, frames: Sequence[int]) -> Iterator[Question]:
    """One question for each noun of which every thing is seen well in all the frames, or in none."""
    if not all(tape.same_world(frame, other) for other in frames):
        return

    def verdict(thing: Thing) -> int:
        pixels = [tape.visible[f].get(thing.id, 0) for f in frames]
        return YES if min(pixels) >= tape.least else -YES if max(pixels) == 0 else UNSURE

    for group in tape.scope.groups:
        meant = picking(verdict)(group.things)
        if 0 < len(meant) < len(group.things):
            said = group.said(len(meant))
            yield Question(
                "what_would_i_see_if",
                f"if you {condition}, which {said} would you see?",
                tuple(thing.id for thing in meant),
                tape.call(meant),
                3,
                frame=frame,
                distractors=tape.scope.similar(meant),
                steps=(f"imagine that you {condition}", f"find the {said} that you would see"),
            )
    things = [thing for thing in tape.scope.things if verdict(thing) != -YES]
    if 0 < len(things) <= 3 and all(verdict(thing) == YES for thing in things):
        yield Question(
            "what_would_i_see_if",
            f"if you {condition}, what would you see?",
            tuple(thing.id for thing in things),
            tape.call(things),
            3,
            frame=frame,
            distractors=tape.scope.similar(things),
            steps=(f"imagine that you {condition}", "find what you would see"),
        )


# --- where is it from here? ------------------------------------------------------------------------------


def where_is_from_here(tape: Tape, rng: np.random.Generator) -> Iterator[Question]:
    """Direction and distance of something seen before and not in view now."""
    chained = described(tape.scope, _NEIGHBOURS(tape.scope, named(tape.scope)))
    subjects: list[tuple[str, Thing, tuple[str, ...], int]]
    subjects = [(text, thing, (f"remember {text}",), 2) for thing, text in tape.landmarks.values()]
    subjects += [
        (link.text, link.thing, link.steps, 3) for link in chained if link.thing.id not in tape.moved
    ]
    for frame in tape.views(rng, first=1):
        for text, thing, steps, level in subjects:
            answer = place_from_here(tape, frame, thing)
            if answer and thing.id not in tape.visible[frame] and tape.seen(thing.id, until=frame):
                verb = "are" if always_plural(thing.instance.category) else "is"
                yield Question(
                    "where_is_from_here",
                    f"where {verb} {text} from here?",
                    (thing.id,),
                    answer,
                    level,
                    frame=frame,
                    distractors=tape.scope.similar([thing]),
                    steps=(
                        *steps,
                        "tell where it is from here" if verb == "is" else "tell where they are from here",
                    ),
                )


def place_from_here(tape: Tape, frame: int, thing: Thing) -> str:
    """ "behind you to the left, about three metres away", or "" where that could be argued about.

    The direction is that of the centre of the box from the agent's heading, the distance the horizontal one to
    the nearest point of the box.
    """
    away = distance(thing.instance, tape.path[frame])
    bearing = tape.bearing(frame, thing.instance.centre)
    sector = (45 * round(bearing / 45) + 180) % 360 - 180
    sector = 180 if sector == -180 else sector
    off = abs((bearing - sector + 180) % 360 - 180)
    size = np.subtract(thing.instance.box_max, thing.instance.box_min)[[0, 2]].max() / 2
    metres = round(away) if math.isfinite(away) else 0
    if off > _SECTOR_MARGIN or not 0 < metres < len(NUMBERS) or abs(away - metres) > _ROUNDING or size > away:
        return ""
    return f"{_SECTORS[sector]}, about {NUMBERS[metres]} metre{'s' if metres > 1 else ''} away"


# --- how do I get there? ---------------------------------------------------------------------------------


def how_to_reach(tape: Tape, rng: np.random.Generator) -> Iterator[Question]:
    """The way to something that the walk comes to later, as it was walked."""
    for identity in rng.permutation(sorted(tape.landmarks)).tolist():
        thing, text = tape.landmarks[identity]
        arrived = next((f for f in range(len(tape)) if _faces(tape, f, thing)), None)
        start = None if arrived is None else _departure(tape, arrived, thing)
        if arrived is None or start is None:
            continue
        part = tape.frames.iloc[start : arrived + 1]
        route = describe_route(tape.landmarks, tape.rooms, part, rng, goal=identity)
        yield Question(
            "how_to_reach",
            f"how do I get to {text}?",
            (identity,),
            route.text,
            3,
            frame=start,
            distractors=tape.scope.similar([thing]),
            steps=route.steps,
            actions=tuple(expert_actions(part)),
        )


def _departure(tape: Tape, arrived: int, thing: Thing) -> int | None:
    """The earliest frame from which the walk goes to ``arrived`` without detours, much turning, collisions or
    free motion, 1.5 m or more away from the thing; None if there is none."""
    actions, collided = tape.frames["action"].to_numpy(), tape.frames["collided"].to_numpy()
    best, length, turned = None, 0.0, 0.0
    for frame in range(arrived - 1, -1, -1):
        turned += abs(_angle(tape, frame + 1, frame))
        if collided[frame] or actions[frame] in (MOVE, STOP) or turned > _SWERVING:
            break
        length += math.dist(tape.path[frame, :3], tape.path[frame + 1, :3])
        straight = math.dist(tape.path[frame, :3], tape.path[arrived, :3])
        asked = tape.asked is None or frame in tape.asked
        if asked and length <= _DETOUR * straight and distance(thing.instance, tape.path[frame]) >= 1.5:
            best = frame
    return best


# --- where have I been? ----------------------------------------------------------------------------------


def agent_trajectory(tape: Tape, rng: np.random.Generator) -> Iterator[Question]:
    """What is in the room you came from, or in the one where you started; what you passed first."""
    start = tape.room(0)
    if start >= 0:
        yield from room_questions(
            tape,
            _NEIGHBOURS,
            rng,
            room=start,
            where="in the room where you started",
            name="agent_trajectory",
            entered="remember the room where you started",
        )
    for frame in tape.views(rng, first=1):
        yield from _came_from(tape, frame)
        yield from _passed_first(tape, frame, rng)


def _came_from(tape: Tape, frame: int) -> Iterator[Question]:
    """The room before the one that the agent is in, and things in it."""
    visits = [room for first, room in tape.visits if first <= frame]
    if len(visits) < 2 or visits[-1] != tape.room(frame):
        return
    scope, called = room_scope(tape.scope, visits[-2]), tape.rooms[visits[-2]].name
    other = "other " if called == tape.rooms[visits[-1]].name else ""
    sure = [
        t for t in scope.things if t.id not in scope.doubtful and tape.seen(t.id, until=frame, clearly=False)
    ]
    if sure:
        text, steps = (
            "which room did you come from?",
            ("remember the room you came from", "find what is in it"),
        )
        ids = tuple(thing.id for thing in sure)
        yield Question("agent_trajectory", text, ids, f"the {other}{called}", 2, frame=frame, steps=steps)
    for group in scope.groups:
        known = all(tape.seen(thing.id, until=frame) for thing in group.things)
        if group.colour or not known or not scope.sayable(group.things):
            continue
        said = group.said(len(group.things))
        yield Question(
            "agent_trajectory",
            f"find the {said} in the room you came from",
            tuple(thing.id for thing in group.things),
            f"you came from the {other}{called}; {tape.call(group.things)}",
            3,
            frame=frame,
            distractors=tape.scope.similar(group.things),
            steps=("remember the room you came from", f"find the {said} there"),
        )


def _passed_first(tape: Tape, frame: int, rng: np.random.Generator) -> Iterator[Question]:
    """Of two things that were passed, the one that was passed first."""
    things = {i: thing.instance for i, (thing, _) in tape.landmarks.items() if tape.seen(i, until=frame)}
    every = passages(things, tape.rooms, tape.path[: frame + 1])
    first_passage = {p.instance: p for p in reversed(every)}
    close = {p.instance for p in every if p.close}
    for first, second in permutations(sorted(close), 2):
        p = first_passage[first]
        unseen = any(tape.seen(i, until=frame)[0] > first_passage[i].frame for i in (first, second))
        if unseen or not p.close or p.frame + 2 > first_passage[second].frame:
            continue
        told = [tape.landmarks[i][1] for i in rng.permutation([first, second]).tolist()]
        yield Question(
            "agent_trajectory",
            f"which did you pass first, {told[0]} or {told[1]}?",
            (first,),
            tape.landmarks[first][1],
            3,
            frame=frame,
            distractors=(second,),
            steps=("remember when you passed each of them", "find the one that came first"),
        )
