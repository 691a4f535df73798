"""Referring phrases from geometry, each with exactly the instances that it means.

Invariant: within its scope (one frame, or one sequence) a singular phrase fits one instance and no other, and
a plural phrase means every instance that it fits. A scope holds all instances that are seen, however small; a
phrase is made only for those seen well, and never for the building itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from vln_heatmap.simulation.nouns import Group, Scope, always_plural
from vln_heatmap.simulation.relations import (
    UNSURE,
    VIEW_RELATIONS,
    WORLD_RELATIONS,
    YES,
    Thing,
    in_room,
)
from vln_heatmap.simulation.scene import STRUCTURE, Instance, Room

Kind = Literal["category", "attribute", "relation"]

#: Share of the image that an instance must cover to be referred to.
MIN_SHARE = 0.003
_SINGULAR = ("{}", "find {}", "where is {}?", "go to {}", "look for {}", "show me {}", "walk towards {}")
_PLURAL = ("{}", "find {}", "where are {}?", "look for {}", "show me {}", "point out {}")
_SUPERLATIVES: tuple[tuple[str, str, float, float], ...] = (  # words, property, sign, least lead
    ("nearest", "depth", -1.0, 0.3),
    ("farthest", "depth", 1.0, 0.3),
    ("leftmost", "u", -1.0, 0.06),
    ("rightmost", "u", 1.0, 0.06),
)


@dataclass(frozen=True)
class Phrase:
    """A noun phrase and what it means.

    Attributes:
        text: "the red chair left of the table".
        kind: "category", "attribute" or "relation".
        instances: ids of all instances that it means, ascending.
        needed: False if a shorter phrase would have told the same ("the red chair" where there is one chair).
        plural: whether it is "they".
        distractors: ids of similar things in the scope that it does not mean.
    """

    text: str
    kind: Kind
    instances: tuple[int, ...]
    needed: bool = True
    plural: bool = False
    distractors: tuple[int, ...] = ()


def read_objects(metadata: Mapping[str, Any]) -> tuple[Instance, ...]:
    """The instances of a sequence's metadata."""
    return tuple(
        Instance(**{**entry, "box_min": tuple(entry["box_min"]), "box_max": tuple(entry["box_max"])})
        for entry in metadata["objects"]
    )


def read_rooms(metadata: Mapping[str, Any]) -> tuple[Room, ...]:
    """The rooms of a sequence's metadata."""
    return tuple(
        Room(entry["name"], tuple(entry["rectangle"]), entry.get("floor", 0.0)) for entry in metadata["rooms"]
    )


def moved_ids(frames: pd.DataFrame) -> frozenset[int]:
    """Ids of all that is not where it rests in some frame of a frame table."""
    return frozenset(int(i) for ids in frames["moved_ids"] for i in ids)


def frame_things(objects: Sequence[Instance], row: Mapping[str, Any]) -> list[Thing]:
    """What one frame shows, from the ``visible_*`` columns of its row, without the building."""
    by_id = {instance.id: instance for instance in objects}
    columns = ("visible_ids", "visible_pixels", "visible_u", "visible_v", "visible_depth")
    seen = zip(*(np.asarray(row[name]).tolist() for name in columns), strict=True)
    return [
        Thing(by_id[i], pixels, u, v, depth)
        for i, pixels, u, v, depth in seen
        if i in by_id and by_id[i].category not in STRUCTURE
    ]


def sequence_things(objects: Sequence[Instance], frames: pd.DataFrame) -> list[Thing]:
    """What is seen anywhere in a frame table; ``pixels`` is the count in the frame that shows it best."""
    most: dict[int, int] = {}
    for ids, pixels in zip(frames["visible_ids"], frames["visible_pixels"], strict=True):
        for i, count in zip(np.asarray(ids).tolist(), np.asarray(pixels).tolist(), strict=True):
            most[i] = max(most.get(i, 0), count)
    return [
        Thing(instance, most[instance.id])
        for instance in objects
        if instance.id in most and instance.category not in STRUCTURE
    ]


def object_phrases(
    things: Sequence[Thing],
    *,
    min_pixels: int,
    rooms: Sequence[Room] = (),
    moved: frozenset[int] = frozenset(),
) -> list[Phrase]:
    """Every phrase of a scope, in a fixed order.

    Args:
        things: all that is seen in the scope (``frame_things`` or ``sequence_things``).
        min_pixels: instances with fewer pixels are not referred to (but still count as seen).
        rooms: the scene's rooms, for "the chair in the kitchen".
        moved: ids of things that are not at rest: they have no place in the world that a phrase could use.
    """
    scope = Scope(tuple(things), min_pixels, moved)
    phrases = [*_noun_phrases(scope), *_room_phrases(scope, rooms), *_relation_phrases(scope)]
    if all(thing.u is not None for thing in things):
        phrases += _superlative_phrases(scope)
    return phrases


def choose_phrases(phrases: Sequence[Phrase], rng: np.random.Generator, count: int) -> list[Phrase]:
    """Up to ``count`` different phrases, kinds in turn, phrases that are needed and new things first."""
    left = {kind: [p for p in phrases if p.kind == kind] for kind in ("category", "attribute", "relation")}
    chosen: list[Phrase] = []
    met: dict[tuple[int, ...], int] = {}
    while len(chosen) < count and any(left.values()):
        for kind in rng.permutation([kind for kind in left if left[kind]])[: count - len(chosen)]:
            weights = np.array(
                [(3.0 if p.needed else 1.0) / (1 + met.get(p.instances, 0)) for p in left[kind]]
            )
            phrase = left[kind].pop(int(rng.choice(len(weights), p=weights / weights.sum())))
            met[phrase.instances] = met.get(phrase.instances, 0) + 2
            chosen.append(phrase)
    return chosen


def instruction_text(phrase: Phrase, rng: np.random.Generator) -> str:
    """The phrase as an instruction, in one of several wordings."""
    templates = _PLURAL if phrase.plural else _SINGULAR
    return templates[int(rng.integers(len(templates)))].format(phrase.text)


def frame_instructions(
    objects: Sequence[Instance],
    row: Mapping[str, Any],
    rng: np.random.Generator,
    *,
    count: int,
    image_pixels: int,
    frame: int | None = None,
) -> list[dict[str, Any]]:
    """Instructions about one view: entries as ``instruction`` makes them, at most ``count``.

    Args:
        objects: all instances of the scene.
        row: the frame's row of the frame table.
        image_pixels: W * H.
        frame: index to note with the instructions; by default the row's own.
    """
    moved = frozenset(int(i) for i in row["moved_ids"])
    things, least = frame_things(objects, row), least_pixels(image_pixels)
    phrases = object_phrases(things, min_pixels=least, moved=moved)
    frame = int(row["frame_index"]) if frame is None else frame
    return [_entry(phrase, rng, frame) for phrase in choose_phrases(phrases, rng, count)]


def sequence_instructions(
    objects: Sequence[Instance],
    rooms: Sequence[Room],
    frames: pd.DataFrame,
    rng: np.random.Generator,
    *,
    count: int,
    image_pixels: int,
) -> list[dict[str, Any]]:
    """Instructions that hold for a whole sequence, as ``frame_instructions`` but with frame None."""
    things = sequence_things(objects, frames)
    least = least_pixels(image_pixels)
    phrases = object_phrases(things, min_pixels=least, rooms=rooms, moved=moved_ids(frames))
    return [_entry(phrase, rng, None) for phrase in choose_phrases(phrases, rng, count)]


def _noun_phrases(scope: Scope) -> list[Phrase]:
    return [
        _phrase(
            scope,
            group,
            group.things,
            needed=not group.colour or len(group.things) < len(scope.named(group.noun)),
        )
        for group in scope.groups
        if scope.sayable(group.things)
    ]


def _room_phrases(scope: Scope, rooms: Sequence[Room]) -> list[Phrase]:
    phrases = []
    for group in scope.groups:
        if group.ids & scope.moved:
            continue
        for index, name in unique_rooms(rooms).items():
            meant = _related(group.things, {thing.id: in_room(thing, index) for thing in group.things})
            if scope.sayable(meant):
                needed = len(meant) < len(group.things)
                phrases.append(_phrase(scope, group, meant, f" in the {name}", needed=needed))
    return phrases


def unique_rooms(rooms: Sequence[Room]) -> dict[int, str]:
    """Names by index of the rooms that are the only ones of their type."""
    names = [room.name for room in rooms]
    return {index: name for index, name in enumerate(names) if names.count(name) == 1}


def _relation_phrases(scope: Scope) -> list[Phrase]:
    """Things in a relation to an anchor that a noun alone tells apart."""
    relations = dict(WORLD_RELATIONS)
    if all(thing.u is not None for thing in scope.things):
        relations |= VIEW_RELATIONS
    phrases = []
    for anchor_text, anchor in scope.single(colours=False):
        for words, relation in relations.items():
            # a phrase whose noun fits the anchor, too, is as doubtful as one with an unsure relation
            verdicts = {t.id: UNSURE if t is anchor else relation(t, anchor) for t in scope.things}
            if words in WORLD_RELATIONS:
                lost = scope.moved if anchor.id not in scope.moved else verdicts
                verdicts |= dict.fromkeys(lost, UNSURE)
            for group in scope.groups:
                meant = _related(group.things, verdicts)
                if meant and scope.sayable(meant):
                    needed = len(meant) < len(group.things)
                    phrases.append(_phrase(scope, group, meant, f" {words} {anchor_text}", needed=needed))
    return phrases


def _related(things: Sequence[Thing], verdicts: Mapping[int, int]) -> list[Thing]:
    """The things in the relation; none if it is unsure for any of them."""
    if any(verdicts[thing.id] == UNSURE for thing in things):
        return []
    return [thing for thing in things if verdicts[thing.id] == YES]


def _superlative_phrases(scope: Scope) -> list[Phrase]:
    phrases = []
    for group in (group for group in scope.groups if len(group.things) > 1):
        for words, name, sign, lead in _SUPERLATIVES:
            ordered = sorted(group.things, key=lambda thing: sign * getattr(thing, name), reverse=True)
            first, second = (sign * getattr(thing, name) for thing in ordered[:2])
            if first - second >= lead and scope.sayable(ordered[:1]):
                phrase = _phrase(scope, group, ordered[:1], kind="relation", needed=True)
                phrases.append(replace(phrase, text=f"the {words} {group.said(1)}"))
    return phrases


def _phrase(
    scope: Scope,
    group: Group,
    things: Sequence[Thing],
    tail: str = "",
    *,
    kind: Kind | None = None,
    needed: bool,
) -> Phrase:
    return Phrase(
        text=f"the {group.said(len(things))}{tail}",
        kind=kind or ("relation" if tail else "attribute" if group.colour else "category"),
        instances=tuple(sorted(thing.id for thing in things)),
        needed=needed,
        plural=len(things) > 1 or always_plural(group.noun),
        distractors=scope.similar(things),
    )


def least_pixels(image_pixels: int) -> int:
    """Pixels from which a thing is seen well in an image of W * H pixels."""
    return max(1, round(MIN_SHARE * image_pixels))


def instruction(
    text: str,
    kind: str,
    instances: Iterable[int],
    *,
    frame: int | None = None,
    level: int = 1,
    distractors: Iterable[int] = (),
    steps: Sequence[str] = (),
    question: str = "",
    answer: str = "",
) -> dict[str, Any]:
    """An entry of ``metadata["instructions"]``; ``docs/data.md`` explains the keys."""
    return {
        "text": text,
        "kind": kind,
        "instances": sorted({int(i) for i in instances}),
        "frame": frame,
        "level": level,
        "question": question,
        "answer": answer,
        "distractors": sorted({int(i) for i in distractors}),
        "steps": list(steps),
    }


def _entry(phrase: Phrase, rng: np.random.Generator, frame: int | None) -> dict[str, Any]:
    return instruction(
        instruction_text(phrase, rng),
        phrase.kind,
        phrase.instances,
        frame=frame,
        level=2 if phrase.kind == "relation" else 1,
        distractors=phrase.distractors,
    )
