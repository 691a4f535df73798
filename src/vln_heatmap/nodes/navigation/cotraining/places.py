"""Questions about space: how many, how far, where in relation to what, in which room.

Invariant: answers come from boxes, rooms and pixel counts, and a question is asked only where nobody would argue
about its answer: all that is counted is seen well, distances are near whole metres, relations are decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, permutations

import numpy as np

from vln_heatmap.nodes.navigation.cotraining.footage import (
    Asked,
    Footage,
    Maker,
    article,
    in_turn,
    metres,
    recorded,
    well_seen,
)
from vln_heatmap.simulation.instructions import unique_rooms
from vln_heatmap.simulation.nouns import Scope, always_plural, plural
from vln_heatmap.simulation.questions.references import room_scope
from vln_heatmap.simulation.questions.spatial import leader
from vln_heatmap.simulation.questions.tape import NUMBERS
from vln_heatmap.simulation.relations import (
    NO,
    SHARED,
    VIEW_RELATIONS,
    WORLD_RELATIONS,
    YES,
    Relation,
    Thing,
    box_distance,
)
from vln_heatmap.simulation.routes import distance

_PAIRS = 60  # pairs of things that are compared, at most
_RECORDED = ("behind_in_front", "left_right", "above_below", "inside_outside", "near_far", "between")


def counted(film: Footage, rng: np.random.Generator) -> Iterator[Asked]:
    """How many chairs did you see?"""
    yield from _counts("counted", film.tape.scope, "did you see", rng)
    for noun in rng.permutation(film.unseen).tolist()[:1]:
        yield Asked("counted", f"how many {plural(noun)} did you see?", "none")


def counted_in_room(film: Footage, rng: np.random.Generator) -> Iterator[Asked]:
    """How many chairs are in the kitchen? Asked where every one of them was seen well."""
    tape = film.tape
    whole = Scope(film.things, tape.least, tape.moved)
    for room, name in unique_rooms(tape.rooms).items():
        yield from _counts("counted_in_room", room_scope(whole, room), f"are in the {name}", rng)


def _counts(kind: str, scope: Scope, where: str, rng: np.random.Generator) -> Iterator[Asked]:
    single: list[Asked] = []
    several: list[Asked] = []
    for group in scope.groups:
        count = len(group.things)
        if group.ids <= scope.clear and count < len(NUMBERS) and not always_plural(group.noun):
            asked = Asked(kind, f"how many {group.said(2)} {where}?", NUMBERS[count])
            (single if count == 1 else several).append(asked)
    yield from in_turn(single, several, rng)


def related(film: Footage, rng: np.random.Generator) -> Iterator[Asked]:
    """Is the lamp left of the sofa, as you see them now?"""
    named = well_seen(film, film.present)
    pairs = list(permutations(range(len(named)), 2))
    found: dict[int, list[Asked]] = {YES: [], NO: []}
    for k in rng.permutation(len(pairs))[:_PAIRS].tolist():
        (one, a), (other, b) = (named[i] for i in pairs[k])
        for words, relation in _relations(film, a, b).items():
            verdict = relation(a, b)
            if verdict in found:
                verb = "are" if always_plural(a.instance.category) else "is"
                answer = "yes" if verdict == YES else "no"
                found[verdict].append(Asked("related", f"{verb} {one} {words} {other}?", answer))
    yield from in_turn(found[YES], found[NO], rng)


def _relations(film: Footage, a: Thing, b: Thing) -> Mapping[str, Relation]:
    """Relations that can be told of two things: of moved ones only how they look."""
    at_rest = not {a.id, b.id} & film.tape.moved
    return {**VIEW_RELATIONS, **(WORLD_RELATIONS if at_rest else {})}


def apart(film: Footage, rng: np.random.Generator) -> Iterator[Asked]:
    """How far apart are two things of one room, from box to box?"""
    known = [(text, thing) for _, (thing, text) in sorted(film.tape.landmarks.items())]
    pairs = list(combinations(range(len(known)), 2))
    for k in rng.permutation(len(pairs))[:_PAIRS].tolist():
        (one, a), (other, b) = (known[i] for i in rng.permutation(pairs[k]).tolist())
        said = metres(box_distance(a.instance, b.instance))
        if said and a.instance.room == b.instance.room >= 0:
            yield Asked("apart", f"how far apart are {one} and {other}?", said)


def away(film: Footage, rng: np.random.Generator) -> Iterator[Asked]:
    """How far from you is a thing in view, over the floor?"""
    named, state = well_seen(film, film.present), film.tape.path[film.present]
    for k in rng.permutation(len(named)).tolist():
        text, thing = named[k]
        if said := metres(distance(thing.instance, state)):
            verb = "are" if always_plural(thing.instance.category) else "is"
            yield Asked("away", f"how far away {verb} {text}?", said)


def nearer(film: Footage, rng: np.random.Generator) -> Iterator[Asked]:
    """Which of two things in view is nearer, by depth in the image and over the floor?"""
    named, state = well_seen(film, film.present), film.tape.path[film.present]
    names = {thing.id: text for text, thing in named}
    measures = (lambda t: float(t.depth or 0.0), lambda t: distance(t.instance, state))
    pairs = list(combinations(named, 2))
    for k in rng.permutation(len(pairs))[:_PAIRS].tolist():
        things = [thing for _, thing in pairs[k]]
        if any(thing.id in film.tape.moved for thing in things):
            continue
        if first := leader(things, measures, 1.0):
            one, other = (names[things[i].id] for i in rng.permutation(2).tolist())
            yield Asked("nearer", f"which is nearer to you, {one} or {other}?", names[first.id])


def room_of_thing(film: Footage, rng: np.random.Generator) -> Iterator[Asked]:
    """Which room is the fridge in?"""
    rooms = unique_rooms(film.tape.rooms)
    for identity in rng.permutation(sorted(film.tape.landmarks)).tolist():
        thing, text = film.tape.landmarks[identity]
        if thing.instance.room in rooms and thing.instance.category not in SHARED:
            verb = "are" if always_plural(thing.instance.category) else "is"
            yield Asked("room_of_thing", f"which room {verb} {text} in?", f"the {rooms[thing.instance.room]}")


def own_room(film: Footage, rng: np.random.Generator) -> Iterator[Asked]:
    """Which room are you in?"""
    room = film.tape.room(film.present)
    if room >= 0:
        name = film.tape.rooms[room].name
        only = room in unique_rooms(film.tape.rooms)
        yield Asked("own_room", "which room are you in?", f"the {name}" if only else article(name))


#: Makers by the kind of question.
SPATIAL_QUESTIONS: dict[str, Maker] = {
    "counted": counted,
    "counted_in_room": counted_in_room,
    "related": related,
    "apart": apart,
    "away": away,
    "nearer": nearer,
    "room_of_thing": room_of_thing,
    "own_room": own_room,
    **{name: recorded(name) for name in _RECORDED},
}
