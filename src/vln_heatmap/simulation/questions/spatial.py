"""Questions about where things are: six relations of one view or of the whole house.

Invariant: what is asked of a view comes from that frame's columns; what is asked of the house comes from the
boxes at rest, of things that were seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from vln_heatmap.simulation.instructions import unique_rooms
from vln_heatmap.simulation.nouns import Scope
from vln_heatmap.simulation.questions.references import (
    Anchor,
    Clause,
    Clauses,
    clause_questions,
    picking,
    relation_clauses,
    room_clauses,
    room_questions,
)
from vln_heatmap.simulation.questions.tape import Question, Tape
from vln_heatmap.simulation.relations import (
    UNSURE,
    VIEW_RELATIONS,
    WORLD_RELATIONS,
    Relation,
    Thing,
    above,
    below,
    between,
    box_distance,
    box_gap,
    inside,
    nearest_point,
    on,
)
from vln_heatmap.simulation.routes import passages

#: What things are said to be in.
CONTAINERS = frozenset(
    {
        *("bookshelf", "shelf", "shelving", "cabinet", "wardrobe", "shoe rack", "box", "crate", "basket"),
        *("laundry basket", "toy chest", "bathtub", "sink"),
    }
)
_LEAD = 0.3  # metres by which the nearest thing must be nearer than the next
_JUST = 16  # frames in which something was just passed
_PASSINGS = 4  # questions of a view that are also asked after something was passed
_PAIRS = 12  # pairs of anchors that are tried for "between"
_NEIGHBOURS = relation_clauses(WORLD_RELATIONS, world=True)


def behind_in_front(tape: Tape, rng: np.random.Generator) -> Iterator[Question]:
    """The chair behind the table, as seen in a frame."""
    yield from _view_questions(tape, rng, "behind_in_front", ("behind", "in front of"))


def left_right(tape: Tape, rng: np.random.Generator) -> Iterator[Question]:
    """The chair left of the table, as seen in a frame."""
    yield from _view_questions(tape, rng, "left_right", ("left of", "right of"))


def _view_questions(
    tape: Tape, rng: np.random.Generator, name: str, words: Sequence[str]
) -> Iterator[Question]:
    kind = relation_clauses({word: VIEW_RELATIONS[word] for word in words}, world=False, what=False)
    for frame in tape.views(rng):
        found = clause_questions(tape, tape.view(frame), kind, _NEIGHBOURS, rng, name=name, frame=frame)
        yield from found
        yield from _after_passing(tape, frame, [found[k] for k in rng.permutation(len(found))[:_PASSINGS]])


def _after_passing(tape: Tape, frame: int, found: Sequence[Question]) -> Iterator[Question]:
    """ "go past the bookshelf, then find the chair left of the table", where the walk has just done so."""
    known = {i: thing.instance for i, (thing, _) in tape.landmarks.items() if tape.seen(i, until=frame)}
    start = max(0, frame - _JUST)
    last = [p for p in passages(known, tape.rooms, tape.path[start : frame + 1]) if p.close]
    for question in found:
        for passage in last[-1:]:
            if passage.instance not in question.instances:
                past = f"go past {tape.landmarks[passage.instance][1]}"
                text, steps = f"{past}, then {question.text}", (past, *question.steps)
                yield replace(question, text=text, steps=steps, level=3)


def above_below(tape: Tape, rng: np.random.Generator) -> Iterator[Question]:
    """The vase on the table, the painting above the bed."""
    relations: dict[str, Relation] = {"on": on, "above": above, "below": below}
    yield from _house_questions(tape, rng, "above_below", relation_clauses(relations, world=True))


def inside_outside(tape: Tape, rng: np.random.Generator) -> Iterator[Question]:
    """The chair in the kitchen, the chairs outside the kitchen, the book in the bookshelf."""

    def containers(scope: Scope, around: Sequence[Anchor]) -> Iterator[Clause]:
        held = relation_clauses({"in": inside}, world=True)
        yield from held(scope, [a for a in around if a.thing.instance.category in CONTAINERS])

    rooms = room_clauses(unique_rooms(tape.rooms))
    yield from clause_questions(tape, tape.scope, rooms, _NEIGHBOURS, rng, name="inside_outside")
    yield from _house_questions(tape, rng, "inside_outside", containers)
    yield from _room_by_room(tape, rng, "inside_outside", _NEIGHBOURS)


def near_far(tape: Tape, rng: np.random.Generator) -> Iterator[Question]:
    """The chair nearest to the table; the chair nearest to you, as seen in a frame."""
    yield from _house_questions(tape, rng, "near_far", _nearest_clauses)
    for frame in tape.views(rng):
        kind = _from_here(tape, frame)
        yield from clause_questions(
            tape, tape.view(frame), kind, _NEIGHBOURS, rng, name="near_far", frame=frame
        )


def between_things(tape: Tape, rng: np.random.Generator) -> Iterator[Question]:
    """The coffee table between the sofa and the tv stand."""

    def kind(scope: Scope, around: Sequence[Anchor]) -> Iterator[Clause]:
        free = [anchor for anchor in around if anchor.thing.id not in scope.moved]
        pairs = _worth_a_look(scope, [(a, b) for a, b in combinations(free, 2) if _apart(a.thing, b.thing)])
        for k in rng.permutation(len(pairs))[:_PAIRS]:
            yield _between_clause(scope, *pairs[k])

    yield from _house_questions(tape, rng, "between", kind)


def _house_questions(tape: Tape, rng: np.random.Generator, name: str, kind: Clauses) -> Iterator[Question]:
    """Questions about all that was seen, and about single rooms."""
    yield from clause_questions(tape, tape.scope, kind, _NEIGHBOURS, rng, name=name)
    yield from _room_by_room(tape, rng, name, kind)


def _room_by_room(tape: Tape, rng: np.random.Generator, name: str, kind: Clauses) -> Iterator[Question]:
    """ "in the kitchen, find the chair next to the fridge"."""
    for room, called in unique_rooms(tape.rooms).items():
        yield from room_questions(
            tape, kind, rng, room=room, where=f"in the {called}", name=name, entered=f"go to the {called}"
        )


def _nearest_clauses(scope: Scope, around: Sequence[Anchor]) -> Iterator[Clause]:
    for anchor in (a for a in around if a.thing.id not in scope.moved):
        for words, sign in (("nearest to {}", 1.0), ("farthest from {}", -1.0)):

            def pick(things: Sequence[Thing], anchor: Anchor = anchor, sign: float = sign) -> list[Thing]:
                if any(thing.id in scope.moved for thing in things):
                    return []
                return _extreme(things, anchor.thing, sign)

            yield Clause(words, (anchor,), pick)


def _extreme(things: Sequence[Thing], anchor: Thing, sign: float) -> list[Thing]:
    """The one thing that is nearest to the anchor (sign +1) or farthest (-1), if by boxes and by centres.

    It is in the anchor's room, so that no wall makes a detour of the straight line; the farthest is looked for
    only where all are.
    """
    measures: tuple[Callable[[Thing], float], ...] = (
        lambda thing: box_distance(thing.instance, anchor.instance),
        lambda thing: float(np.linalg.norm(thing.instance.centre - anchor.instance.centre)),
    )
    first = leader(things, measures, sign)
    rooms = [thing.instance.room for thing in ([first] if sign > 0 and first else things)]
    if first is None or anchor.instance.room < 0 or set(rooms) != {anchor.instance.room}:
        return []
    return [first]


def leader(
    things: Sequence[Thing], measures: Sequence[Callable[[Thing], float]], sign: float
) -> Thing | None:
    """The thing of two or more that is least (sign +1) or greatest (-1) by a lead of 0.3 m in every measure."""
    if len(things) < 2:
        return None
    first = min(things, key=lambda thing: sign * measures[0](thing))
    leads = [
        sign * (measure(thing) - measure(first))
        for measure in measures
        for thing in things
        if thing is not first
    ]
    return first if min(leads) >= _LEAD else None


def _from_here(tape: Tape, frame: int) -> Clauses:
    """ "nearest to you" and "farthest from you": by depth in the image and by the distance of boxes."""
    x, y, z, _, _, height = tape.path[frame]
    eye = np.array([x, y + height, z])

    def depth(thing: Thing) -> float:
        return float(thing.depth or 0.0)

    def gap(thing: Thing) -> float:
        return float(np.linalg.norm(nearest_point(thing.instance, eye) - eye))

    def clauses(scope: Scope, _: Sequence[Anchor]) -> Iterator[Clause]:
        for words, sign in (("nearest to you", 1.0), ("farthest from you", -1.0)):

            def pick(things: Sequence[Thing], sign: float = sign) -> list[Thing]:
                if any(thing.id in scope.moved for thing in things):
                    return []
                first = leader(things, (depth, gap), sign)
                return [first] if first else []

            yield Clause(words, (), pick)

    return clauses


def _apart(a: Thing, b: Thing) -> bool:
    """Whether something could be between two things: in one room, 0.5 to 5 m from each other."""
    same = a.instance.room == b.instance.room >= 0
    return same and a.id != b.id and 0.5 <= box_gap(a.instance, b.instance) <= 5.0


def _worth_a_look(scope: Scope, pairs: Sequence[tuple[Anchor, Anchor]]) -> list[tuple[Anchor, Anchor]]:
    """The pairs with another thing of their room nearer to the middle of the two than they are themselves."""
    if not pairs:
        return []
    places = np.stack([thing.instance.centre[[0, 2]] for thing in scope.things])  # [N, 2]
    rooms = np.array([thing.instance.room for thing in scope.things])  # [N]
    row = {thing.id: k for k, thing in enumerate(scope.things)}
    ends = np.array([[row[a.thing.id], row[b.thing.id]] for a, b in pairs])  # [P, 2]
    middle = places[ends].mean(1)  # [P, 2]
    reach = 0.4 * np.linalg.norm(places[ends[:, 0]] - places[ends[:, 1]], axis=1)  # [P]
    near = np.linalg.norm(places - middle[:, None], axis=2) < reach[:, None]  # [P, N]
    found = (near & (rooms == rooms[ends[:, :1]])).any(1)
    return [pair for pair, worth in zip(pairs, found, strict=True) if worth]


def _between_clause(scope: Scope, a: Anchor, b: Anchor) -> Clause:
    def verdict(thing: Thing) -> int:
        return UNSURE if thing.id in scope.moved else between(thing, a.thing, b.thing)

    return Clause("between {} and {}", (a, b), picking(verdict), True)
