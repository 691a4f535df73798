"""Referring phrases from geometry, each with exactly the instances that it means.

Invariant: within its scope (one frame, or one sequence) a singular phrase fits one instance and no other, and
a plural phrase means every instance that it fits. A scope holds all instances that are seen, however small; a
phrase is made only for those seen well, and never for the building itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from vln_heatmap.simulation.relations import (
    UNSURE,
    VIEW_RELATIONS,
    WORLD_RELATIONS,
    YES,
    Thing,
)
from vln_heatmap.simulation.scene import STRUCTURE, Instance, Room

Kind = Literal["category", "attribute", "relation", "route"]

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
        kind: "category", "attribute" or "relation" ("route" for whole route instructions).
        instances: ids of all instances that it means, ascending.
        needed: False if a shorter phrase would have told the same ("the red chair" where there is one chair).
    """

    text: str
    kind: Kind
    instances: tuple[int, ...]
    needed: bool = True

    @property
    def plural(self) -> bool:
        return len(self.instances) > 1


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


def object_phrases(things: Sequence[Thing], *, min_pixels: int, rooms: Sequence[Room] = ()) -> list[Phrase]:
    """Every phrase of a scope, in a fixed order.

    Args:
        things: all that is seen in the scope (``frame_things`` or ``sequence_things``).
        min_pixels: instances with fewer pixels are not referred to (but still count as seen).
        rooms: the scene's rooms, for "the chair in the kitchen".
    """
    scope = _Scope(things, min_pixels)
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
    """Instructions about one view: ``{"text", "kind", "instances", "frame"}``, at most ``count``.

    Args:
        objects: all instances of the scene.
        row: the frame's row of the frame table.
        image_pixels: W * H.
        frame: index to note with the instructions; by default the row's own.
    """
    phrases = object_phrases(frame_things(objects, row), min_pixels=_min_pixels(image_pixels))
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
    phrases = object_phrases(things, min_pixels=_min_pixels(image_pixels), rooms=rooms)
    return [_entry(phrase, rng, None) for phrase in choose_phrases(phrases, rng, count)]


class _Scope:
    """The things of a scope, and the nouns that name them clearly."""

    def __init__(self, things: Sequence[Thing], min_pixels: int) -> None:
        self.things = sorted(things, key=lambda thing: thing.id)
        self.clear = {thing.id for thing in things if thing.pixels >= min_pixels}
        categories = {thing.instance.category for thing in things}
        nouns = sorted(categories | {category.split()[-1] for category in categories})
        # "the chair" would be unfair to an armchair
        nouns = [n for n in nouns if not any(_half_fits(n, category) for category in categories)]
        self.named = {noun: [t for t in self.things if _fits(noun, t.instance.category)] for noun in nouns}
        self.groups = list(self._groups())

    def _groups(self) -> Iterable[tuple[str, str, list[Thing]]]:
        """(colour or "", noun, all things that fit both)."""
        for noun, things in self.named.items():
            yield "", noun, things
            # a thing without a colour name could be called any colour
            if all(thing.instance.colour for thing in things):
                for colour in sorted({thing.instance.colour for thing in things}):
                    yield colour, noun, [thing for thing in things if thing.instance.colour == colour]

    def sayable(self, things: Sequence[Thing]) -> bool:
        """One thing that is seen well, or several of which two are."""
        return sum(thing.id in self.clear for thing in things) >= min(2, len(things)) > 0


def _noun_phrases(scope: _Scope) -> list[Phrase]:
    return [
        _phrase(colour, noun, things, needed=not colour or len(things) < len(scope.named[noun]))
        for colour, noun, things in scope.groups
        if scope.sayable(things)
    ]


def _room_phrases(scope: _Scope, rooms: Sequence[Room]) -> list[Phrase]:
    names = [room.name for room in rooms]
    places = {index: name for index, name in enumerate(names) if names.count(name) == 1}
    phrases = []
    for colour, noun, things in scope.groups:
        for index, name in places.items():
            inside = [thing for thing in things if thing.instance.room == index]
            if scope.sayable(inside) and all(thing.instance.room >= 0 for thing in things):
                needed = len(inside) < len(things)
                phrases.append(_phrase(colour, noun, inside, f" in the {name}", "relation", needed=needed))
    return phrases


def _relation_phrases(scope: _Scope) -> list[Phrase]:
    """Things in a relation to an anchor that a noun alone tells apart."""
    relations = dict(WORLD_RELATIONS)
    if all(thing.u is not None for thing in scope.things):
        relations |= VIEW_RELATIONS
    anchors = [(noun, things[0]) for _, noun, things in scope.groups if _is_anchor(scope, noun, things)]
    phrases = []
    for anchor_noun, anchor in anchors:
        for words, relation in relations.items():
            # a phrase whose noun fits the anchor, too, is as doubtful as one with an unsure relation
            verdicts = {t.id: UNSURE if t is anchor else relation(t, anchor) for t in scope.things}
            for colour, noun, things in scope.groups:
                meant = _related(things, verdicts)
                if meant and scope.sayable(meant):
                    tail, needed = f" {words} the {anchor_noun}", len(meant) < len(things)
                    phrases.append(_phrase(colour, noun, meant, tail, "relation", needed=needed))
    return phrases


def _is_anchor(scope: _Scope, noun: str, things: Sequence[Thing]) -> bool:
    return len(things) == 1 and things[0].id in scope.clear and len(scope.named[noun]) == 1


def _related(things: Sequence[Thing], verdicts: Mapping[int, int]) -> list[Thing]:
    """The things in the relation; none if it is unsure for any of them."""
    if any(verdicts[thing.id] == UNSURE for thing in things):
        return []
    return [thing for thing in things if verdicts[thing.id] == YES]


def _superlative_phrases(scope: _Scope) -> list[Phrase]:
    phrases = []
    for colour, noun, things in scope.groups:
        if len(things) < 2:
            continue
        for words, name, sign, lead in _SUPERLATIVES:
            ordered = sorted(things, key=lambda thing: sign * getattr(thing, name), reverse=True)
            first, second = (sign * getattr(thing, name) for thing in ordered[:2])
            if first - second >= lead and scope.sayable(ordered[:1]):
                text = f"the {words} {f'{colour} ' if colour else ''}{noun}"
                phrases.append(Phrase(text, "relation", (ordered[0].id,)))
    return phrases


def _phrase(
    colour: str, noun: str, things: Sequence[Thing], tail: str = "", kind: Kind = "category", *, needed: bool
) -> Phrase:
    words = [colour] if colour else []
    words.append(plural(noun) if len(things) > 1 else noun)
    kind = "attribute" if colour and kind == "category" else kind
    return Phrase(f"the {' '.join(words)}{tail}", kind, tuple(sorted(t.id for t in things)), needed)


def plural(noun: str) -> str:
    """English plural of a noun or of a compound's last word."""
    for ending, replacement in _PLURALS:
        if noun.endswith(ending):
            return noun.removesuffix(ending) + replacement
    return f"{noun}s"


_PLURALS = (
    ("shelf", "shelves"),
    ("knife", "knives"),
    *((f"{vowel}y", f"{vowel}ys") for vowel in "aeou"),
    ("y", "ies"),
    *((ending, f"{ending}es") for ending in ("s", "x", "ch", "sh")),
)


def _fits(noun: str, category: str) -> bool:
    """Whether the noun names the category: "table" fits a coffee table."""
    return category == noun or category.endswith(f" {noun}")


def _half_fits(noun: str, category: str) -> bool:
    return category.endswith(noun) and not _fits(noun, category)


def _min_pixels(image_pixels: int) -> int:
    return max(1, round(MIN_SHARE * image_pixels))


def _entry(phrase: Phrase, rng: np.random.Generator, frame: int | None) -> dict[str, Any]:
    text = instruction_text(phrase, rng)
    return {"text": text, "kind": phrase.kind, "instances": list(phrase.instances), "frame": frame}
