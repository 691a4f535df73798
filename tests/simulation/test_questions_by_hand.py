"""Relations and nouns of small scenes whose answers are known in advance."""

from __future__ import annotations

import numpy as np
import pytest
from question_tape import ROOMS, ask, box, tape, thing

from vln_heatmap.simulation.instructions import instruction_text, object_phrases
from vln_heatmap.simulation.nouns import Scope, plural
from vln_heatmap.simulation.relations import (
    NO,
    UNSURE,
    YES,
    above,
    below,
    between,
    box_distance,
    in_room,
    inside,
    next_to,
    on,
)

# --- relations of the world -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "verdict"),
    [
        ((0, 1.5, 0), YES),
        ((0.2, 1.5, 0), YES),
        ((0, 1.05, 0), UNSURE),
        ((0.6, 1.5, 0), UNSURE),
        ((1.2, 1.5, 0), NO),
    ],
)
def test_above_and_below(at: tuple[float, float, float], verdict: int) -> None:
    bed, painting = thing(box(1, "bed", size=1.0)), thing(box(2, "painting", at=at, size=0.4))
    assert above(painting, bed) == below(bed, painting) == verdict
    assert above(bed, painting) == NO


def test_on_is_to_stand_there() -> None:
    table, rug = thing(box(1, "table", size=1.0)), thing(box(2, "rug", size=(3, 0.01, 3)))
    assert on(thing(box(3, "vase", at=(0.1, 1.0, 0), size=0.2)), table) == YES
    assert on(table, rug) == YES  # it stands on the floor, a centimetre below the rug's top
    assert on(rug, table) == NO
    assert on(thing(box(4, "chair", at=(0.4, 0, 0), size=0.5)), table) == NO  # pushed under it
    assert on(thing(box(5, "ceiling light", at=(0, 2.3, 0), size=0.2)), table) == NO
    assert on(thing(box(6, "book", at=(0, 0.5, 0), size=0.2)), table) == UNSURE  # in a drawer, or on a shelf
    assert on(thing(box(7, "plant", at=(1.2, 1.0, 0), size=0.2)), table) == NO


def test_inside_a_container() -> None:
    shelf = thing(box(1, "bookshelf", size=1.0))
    assert inside(thing(box(2, "book", at=(0.1, 0.4, 0), size=0.2)), shelf) == YES
    assert inside(thing(box(2, "book", at=(0.5, 0.4, 0), size=0.2)), shelf) == UNSURE
    assert inside(thing(box(2, "book", at=(2.0, 0.4, 0), size=0.2)), shelf) == NO
    assert inside(thing(box(2, "vase", at=(0, 1.0, 0), size=0.2)), shelf) == NO


def test_between_is_the_space_that_two_things_span() -> None:
    sofa, screen = thing(box(1, "sofa", at=(-2, 0, 0))), thing(box(2, "tv", at=(2, 0, 0)))

    def verdict(z: float, x: float = 0.0, **changes) -> int:
        return between(thing(box(3, "table", at=(x, 0, z), size=0.4, **changes)), sofa, screen)

    assert verdict(0) == verdict(0.15) == YES
    assert verdict(0.3) == UNSURE  # reaches out
    assert verdict(0.6) == verdict(-2) == NO
    assert verdict(0, x=2.6) == verdict(0, x=-3) == NO
    assert verdict(0, x=1.7) == UNSURE  # stands in the tv
    assert verdict(0, room=1) == NO
    assert verdict(0, room=-1) == UNSURE
    lamp = thing(box(4, "ceiling light", at=(0, 2.3, 0), size=0.2))
    assert between(lamp, sofa, screen) == UNSURE


def test_distance_of_boxes() -> None:
    a, b = box(1, "chair", size=1.0), box(2, "chair", at=(4.0, 5.0, 0), size=1.0)
    assert box_distance(a, b) == pytest.approx(5.0)  # 3 sideways, 4 up
    assert box_distance(a, a) == 0


def test_doors_belong_to_both_rooms() -> None:
    door = thing(box(1, "door", room=0))
    assert in_room(door, 0) == in_room(door, 1) == UNSURE
    assert next_to(thing(box(2, "bin", at=(0.7, 0, 0), room=1)), door) == UNSURE
    assert next_to(thing(box(2, "bin", at=(3, 0, 0), room=1)), door) == NO
    assert in_room(thing(box(3, "bin", room=1)), 1) == YES
    assert in_room(thing(box(3, "bin", room=-1)), 1) == UNSURE


# --- nouns ------------------------------------------------------------------------------------------------


def test_some_head_nouns_are_not_used_alone() -> None:
    names = [
        group.noun
        for group in Scope((thing(box(1, "washing machine")), thing(box(2, "side table"))), 1).groups
    ]
    assert names == ["side table", "table", "washing machine"]


def test_stairs_are_many() -> None:
    phrases = object_phrases([thing(box(1, "stairs"))], min_pixels=1)
    texts = {instruction_text(phrase, np.random.default_rng(k)) for phrase in phrases for k in range(40)}
    assert "where are the stairs?" in texts
    assert not any("where is" in text or "stairses" in text for text in texts)
    assert plural("stairs") == "stairs"
    assert plural("glass") == "glasses"


def test_a_moved_thing_has_no_place_that_a_phrase_could_use() -> None:
    objects = [
        box(1, "vase", at=(0, 1, 0), size=0.2),
        box(2, "table", size=1.0),
        box(3, "chair", at=(0.9, 0, 0)),
    ]
    things = [thing(instance) for instance in objects]

    def phrases(moved: frozenset[int]) -> set[str]:
        return {p.text for p in object_phrases(things, min_pixels=1, rooms=ROOMS, moved=moved)}

    placed = {"the vase on the table", "the chair next to the table", "the vase in the bedroom"}
    assert placed <= phrases(frozenset())
    assert placed & phrases(frozenset({1})) == {"the chair next to the table"}
    assert not placed - {"the vase in the bedroom"} & phrases(frozenset({2}))
    assert {"the vase", "the chair"} <= phrases(frozenset({1, 3}))


def test_a_thing_of_unknown_room_blocks_its_noun_in_every_room() -> None:
    objects = [
        box(1, "chair", at=(-2, 0, 0)),
        box(2, "bed", at=(-2, 0, 0.7)),
        box(3, "chair", at=(2, 0, 0), room=1),
        box(4, "stool", at=(-2, 0, 1.4)),
        box(5, "stool", at=(2, 0, 1.4), room=1),
    ]
    walk = [(-1.0, 0.0, 0.0, 0.0)] * 2
    texts = " ".join(q.text for q in ask("agent_trajectory", tape(objects, walk, [[1, 2, 3, 4, 5]] * 2)))
    assert "in the room where you started, " in texts
    assert "the chair next to the bed" in texts
    adrift = [*objects, box(6, "chair", at=(0.1, 0, -2.5), room=-1)]
    texts = " ".join(q.text for q in ask("agent_trajectory", tape(adrift, walk, [[1, 2, 3, 4, 5, 6]] * 2)))
    assert "chair" not in texts
    assert "the stool next to the bed" in texts
