"""Phrases about rooms whose contents are known: each means what it says and nothing else."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.simulation.instructions import (
    choose_phrases,
    frame_instructions,
    frame_things,
    instruction_text,
    object_phrases,
    sequence_instructions,
    sequence_things,
)
from vln_heatmap.simulation.nouns import Scope, plural
from vln_heatmap.simulation.relations import (
    NO,
    UNSURE,
    YES,
    Thing,
    behind,
    box_gap,
    in_front_of,
    left_of,
    next_to,
    on,
    right_of,
)
from vln_heatmap.simulation.routes import room_visits, route_instruction
from vln_heatmap.simulation.scene import Instance, Room
from vln_heatmap.simulation.simulators.base import FORWARD, STOP, TURN_LEFT, TURN_RIGHT


def box(
    identity: int, category: str, colour: str = "", *, at=(0.0, 0.0, 0.0), size=0.5, room: int = 0
) -> Instance:
    """A cube of side ``size`` whose foot is centred on ``at``."""
    x, y, z = at
    half = size / 2
    return Instance(identity, category, colour, room, (x - half, y, z - half), (x + half, y + size, z + half))


def thing(instance: Instance, *, u=0.5, v=0.5, depth=2.0, pixels=100) -> Thing:
    return Thing(instance, pixels, u, v, depth)


def meaning(things, *, rooms=(), min_pixels=50) -> dict[str, tuple[int, ...]]:
    phrases = object_phrases(things, min_pixels=min_pixels, rooms=rooms)
    assert len({phrase.text for phrase in phrases}) == len(phrases)
    return {phrase.text: phrase.instances for phrase in phrases}


# --- nouns ----------------------------------------------------------------------------------------------


def test_singular_plural_and_colour() -> None:
    said = meaning(
        [
            thing(box(1, "chair", "red")),
            thing(box(2, "chair", "blue")),
            thing(box(3, "sofa", "red", at=(5, 0, 5))),
        ]
    )
    assert said["the chairs"] == (1, 2)
    assert said["the red chair"] == (1,)
    assert said["the blue chair"] == (2,)
    assert said["the sofa"] == (3,)
    assert "the chair" not in said


def test_small_things_count_but_are_not_referred_to() -> None:
    said = meaning([thing(box(1, "chair")), thing(box(2, "chair"), pixels=3), thing(box(3, "bin"), pixels=3)])
    assert said == {}  # one chair is too small for a plural, and "the chair" could be either
    said = meaning([thing(box(i, "chair"), pixels=pixels) for i, pixels in ((1, 99), (2, 99), (3, 1))])
    assert said["the chairs"] == (1, 2, 3)


def test_a_noun_fits_its_compounds() -> None:
    said = meaning([thing(box(1, "table")), thing(box(2, "coffee table")), thing(box(3, "armchair"))])
    assert said["the tables"] == (1, 2)
    assert said["the coffee table"] == (2,)
    assert "the table" not in said
    assert "the chair" not in meaning([thing(box(1, "chair")), thing(box(2, "armchair"))])


def test_a_thing_without_colour_makes_colours_unsafe() -> None:
    assert "the red chair" not in meaning([thing(box(1, "chair", "red")), thing(box(2, "chair"))])


def test_the_building_is_never_referred_to() -> None:
    objects = [box(1, "wall"), box(2, "floor"), box(3, "chair")]
    row = {
        "frame_index": 4,
        "visible_ids": np.array([1, 2, 3]),
        "visible_pixels": np.array([500, 400, 100]),
        "visible_u": np.array([0.5, 0.5, 0.5]),
        "visible_v": np.array([0.2, 0.9, 0.5]),
        "visible_depth": np.array([3.0, 2.0, 2.0]),
        "moved_ids": [],
    }
    assert [t.id for t in frame_things(objects, row)] == [3]
    made = frame_instructions(objects, row, np.random.default_rng(0), count=5, image_pixels=1000)
    assert made
    assert all(entry["instances"] == [3] and entry["frame"] == 4 for entry in made)


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("chair", "chairs"),
        ("bookshelf", "bookshelves"),
        ("box", "boxes"),
        ("bench", "benches"),
        ("toy", "toys"),
        ("laundry", "laundries"),
        ("coffee table", "coffee tables"),
    ],
)
def test_plurals(one: str, many: str) -> None:
    assert plural(one) == many


# --- relations ------------------------------------------------------------------------------------------


def test_left_and_right_mirror_each_other() -> None:
    table = thing(box(9, "table"), u=0.5)
    for u, verdict in ((0.2, YES), (0.42, YES), (0.47, UNSURE), (0.5, NO), (0.9, NO)):
        assert left_of(thing(box(1, "chair"), u=u), table) == verdict
        assert right_of(thing(box(1, "chair"), u=1 - u), table) == verdict


def test_in_front_and_behind() -> None:
    table = thing(box(9, "table"), depth=3.0)
    assert in_front_of(thing(box(1, "chair"), depth=2.0), table) == YES
    assert behind(thing(box(1, "chair"), depth=4.0), table) == YES
    assert behind(thing(box(1, "chair"), depth=2.0), table) == NO
    assert in_front_of(thing(box(1, "chair"), depth=2.8), table) == UNSURE
    assert in_front_of(thing(box(1, "chair"), depth=2.0, u=0.9), table) == NO
    assert in_front_of(thing(box(1, "chair"), depth=2.0, u=0.7), table) == UNSURE


def test_next_to_and_on() -> None:
    table = thing(box(9, "table", at=(0, 0, 0), size=1.0))
    assert box_gap(table.instance, box(1, "chair", at=(0.9 + 0.3, 0, 0), size=0.6)) == pytest.approx(0.4)
    for x, verdict in ((0.8, YES), (1.3, UNSURE), (2.0, NO)):
        assert next_to(thing(box(1, "chair", at=(x, 0, 0))), table) == verdict
    assert next_to(thing(box(1, "chair", at=(0.8, 0, 0), room=1)), table) == NO
    vase = thing(box(2, "vase", at=(0.2, 1.0, 0.1), size=0.2))
    assert on(vase, table) == YES
    assert on(table, vase) == NO
    assert next_to(vase, table) == UNSURE
    assert on(thing(box(3, "vase", at=(0.2, 0.5, 0.1), size=0.2)), table) == UNSURE
    assert on(thing(box(4, "chair", at=(2, 0, 0))), table) == NO


def test_relations_pick_one_of_several() -> None:
    things = [
        thing(box(1, "chair", at=(-1.5, 0, 0)), u=0.2),
        thing(box(2, "chair", at=(1.5, 0, 0)), u=0.8),
        thing(box(3, "table"), u=0.5),
    ]
    said = meaning(things)
    assert said["the chair left of the table"] == (1,)
    assert said["the chair right of the table"] == (2,)
    assert said["the leftmost chair"] == (1,)
    assert not any(text.endswith("of the chair") for text in said)  # which chair?


def test_a_doubtful_relation_is_not_said() -> None:
    things = [
        thing(box(1, "chair"), u=0.2),
        thing(box(2, "chair"), u=0.46),  # nearly in line with the table
        thing(box(3, "table"), u=0.5),
    ]
    assert not any("left of the table" in text for text in meaning(things))


def test_an_anchor_must_be_alone() -> None:
    things = [thing(box(i, c), u=u) for i, c, u in ((1, "chair", 0.1), (2, "table", 0.5), (3, "table", 0.9))]
    assert not any(text.endswith("of the table") for text in meaning(things))


def test_superlatives_need_a_clear_lead() -> None:
    near, far = thing(box(1, "chair"), depth=1.0), thing(box(2, "chair"), depth=1.2)
    assert not any("nearest" in text for text in meaning([near, far]))
    said = meaning([near, thing(box(2, "chair"), depth=2.0)])
    assert said["the nearest chair"] == (1,)
    assert said["the farthest chair"] == (2,)


ASKED = {
    "left of": lambda a, b: a.u < b.u,
    "right of": lambda a, b: a.u > b.u,
    "in front of": lambda a, b: a.depth < b.depth and abs(a.u - b.u) < 0.3,
    "behind": lambda a, b: a.depth > b.depth and abs(a.u - b.u) < 0.3,
}
EXTREMES = {
    "nearest": ("depth", min),
    "farthest": ("depth", max),
    "leftmost": ("u", min),
    "rightmost": ("u", max),
}


def reading(text: str, things: list[Thing], *, many: bool) -> tuple[int, ...]:
    """What a reader takes a phrase to mean, word by word."""
    text = text.removeprefix("the ")
    relation = next((words for words in ASKED if f" {words} the " in text), None)
    head, _, anchor_noun = text.partition(f" {relation} the ")
    *adjectives, last = head.removesuffix("s" if many else "").split()
    noun = "coffee table" if adjectives[-1:] == ["coffee"] else last
    fits = [t for t in things if t.instance.category.endswith(noun)]
    for word in adjectives[::-1]:  # "the nearest red chair" is the nearest of the red chairs
        if word in ("red", "blue"):
            fits = [t for t in fits if t.instance.colour == word]
        elif word in EXTREMES:
            name, best = EXTREMES[word]
            fits = [best(fits, key=lambda t, name=name: getattr(t, name))]
    if relation:
        (anchor,) = [t for t in things if t.instance.category.endswith(anchor_noun)]
        fits = [t for t in fits if ASKED[relation](t, anchor)]
    return tuple(sorted(t.id for t in fits))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_a_phrase_means_all_that_it_fits(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    categories, colours = ("chair", "table", "coffee table"), ("red", "blue")
    things = [
        Thing(
            box(i + 1, str(rng.choice(categories)), str(rng.choice(colours)), at=(10.0 * i, 0, 0)),
            int(rng.choice([5, 100])),
            *rng.random(2),
            float(rng.uniform(0.5, 5)),
        )
        for i in range(count)
    ]
    for phrase in object_phrases(things, min_pixels=50):
        assert reading(phrase.text, things, many=phrase.plural) == phrase.instances


# --- sequences ------------------------------------------------------------------------------------------

ROOMS = (Room("bedroom", (-3, -3, 0, 3)), Room("kitchen", (0.2, -3, 3, 3)))


def table_of(path: np.ndarray, actions: list[int], visible: list[list[int]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "state": [[x, 0.0, z, yaw, 0.0] for x, z, yaw in path],
            "action": np.array(actions, np.int8),
            "moved_ids": [[]] * len(actions),
            "visible_ids": [np.array(ids) for ids in visible],
            "visible_pixels": [np.full(len(ids), 100) for ids in visible],
        }
    )


def test_rooms_tell_things_apart_in_a_sequence() -> None:
    objects = [box(1, "chair", room=0), box(2, "chair", room=1), box(3, "sofa", room=1)]
    frames = table_of(np.zeros((2, 3)), [FORWARD, STOP], [[1], [2, 3]])
    things = sequence_things(objects, frames)
    said = meaning(things, rooms=ROOMS)
    assert said["the chair in the bedroom"] == (1,)
    assert said["the chair in the kitchen"] == (2,)
    assert not any("left of" in text or "nearest" in text for text in said)
    twins = (Room("bedroom", (-3, -3, 0, 3)), Room("bedroom", (0.2, -3, 3, 3)))
    assert not any("in the bedroom" in text for text in meaning(things, rooms=twins))


def test_instructions_repeat_vary_and_name_ids() -> None:
    names = (("chair", "red"), ("chair", "blue"), ("sofa", "red"), ("bin", "grey"))
    objects = [box(i + 1, category, colour, room=i % 2) for i, (category, colour) in enumerate(names)]
    frames = table_of(np.zeros((2, 3)), [FORWARD, STOP], [[1, 4], [2, 3]])

    def make(seed: int) -> list[dict]:
        rng = np.random.default_rng(seed)
        return sequence_instructions(objects, ROOMS, frames, rng, count=6, image_pixels=1000)

    assert make(0) == make(0)
    assert len({entry["text"] for seed in range(20) for entry in make(seed)}) > 20
    assert {entry["kind"] for entry in make(0)} == {"category", "attribute", "relation"}
    assert all(set(entry["instances"]) <= {1, 2, 3, 4} and entry["frame"] is None for entry in make(0))


def test_choosing_does_not_repeat_and_wording_agrees_in_number() -> None:
    phrases = object_phrases([thing(box(1, "chair", "red")), thing(box(2, "chair", "blue"))], min_pixels=1)
    rng = np.random.default_rng(0)
    assert sorted(p.text for p in choose_phrases(phrases, rng, 99)) == sorted(p.text for p in phrases)
    for phrase in phrases:
        texts = {instruction_text(phrase, rng) for _ in range(50)}
        assert len(texts) > 3
        assert all(phrase.text in text for text in texts)
        assert not any(f"where {'is' if phrase.plural else 'are'}" in text for text in texts)


# --- routes ---------------------------------------------------------------------------------------------


def walk_east(length: int, *, turn: int = 0) -> tuple[np.ndarray, list[int]]:
    """From (-1, 0) towards +x in steps of 0.25 m, after ``turn`` turns of 15 degrees (left > 0)."""
    step = math.radians(15)
    east = -math.pi / 2
    before = [(-1.0, 0.0, east - (turn - math.copysign(k, turn)) * step) for k in range(abs(turn))]
    ahead = [(-1.0 + 0.25 * k, 0.0, east) for k in range(length)]
    actions = [TURN_LEFT if turn > 0 else TURN_RIGHT] * abs(turn) + [FORWARD] * (length - 1) + [STOP]
    return np.array(before + ahead), actions


def route(
    objects: list[Instance], path: np.ndarray, actions: list[int], visible: list[list[int]], seed: int = 0
):
    frames = table_of(path, actions, visible)
    return route_instruction(objects, ROOMS, frames, np.random.default_rng(seed), image_pixels=1000)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("z", "hand"), [(-0.8, "left"), (0.8, "right")])  # walking east, north (-z) is left
def test_a_route_tells_turn_room_side_and_goal_in_order(seed: int, z: float, hand: str) -> None:
    objects = [box(1, "bookshelf", at=(-0.3, 0, z)), box(2, "sofa", at=(2.3, 0, 0))]
    path, actions = walk_east(12, turn=6)
    made = route(objects, path, actions, [[1, 2]] * len(path), seed)
    parts = [
        "turn left",
        f"pass the bookshelf on your {hand}",
        "kitchen" if "kitchen" in made["text"] else "leave",
        "sofa",
    ]
    places = [made["text"].index(part) for part in parts]
    assert places == sorted(places)
    assert made["kind"] == "route"
    assert made["instances"] == [1, 2]


def test_a_route_names_only_what_was_seen_and_is_unique() -> None:
    path, actions = walk_east(12)
    twins = [
        box(1, "chair", at=(-0.3, 0, -0.8)),
        box(2, "chair", at=(0.4, 0, 0.8)),
        box(3, "bin", at=(-0.3, 0, 0.8)),
    ]
    made = route(twins, path, actions, [[1, 2]] * len(path))
    assert "pass" not in made["text"]  # the chairs are not unique, the bin was never seen
    assert made["instances"] == []
    assert made["text"].endswith("stop in the kitchen")


@pytest.mark.parametrize(
    ("turn", "said"), [(3, None), (-3, None), (6, "turn left"), (-6, "turn right"), (10, "turn around")]
)
def test_turns(turn: int, said: str | None) -> None:
    path, actions = walk_east(3, turn=turn)
    text = route([], path, actions, [[]] * len(path))["text"]
    assert (said in text) if said else ("turn" not in text)


def test_room_visits_skip_doorways() -> None:
    path, _ = walk_east(12)
    assert room_visits(ROOMS, path) == [
        (0, 0),
        (5, 1),
    ]  # x = 0.25 is the first point behind the wall at 0 .. 0.2
    assert room_visits((), path) == []


def test_a_coloured_noun_stays_where_the_noun_alone_is_doubtful() -> None:
    """One of two chairs may not belong to the scope: "the chair" is out, "the red chair" means the other."""
    chairs = [
        Thing(Instance(1, "chair", "red", 0, (0, 0, 0), (1, 1, 1)), 500),
        Thing(Instance(2, "chair", "blue", 0, (2, 0, 0), (3, 1, 1)), 500),
    ]
    scope = Scope(tuple(chairs), 10, doubtful=frozenset({2}))
    assert [group.said(1) for group in scope.groups] == ["red chair"]
    assert scope.named("chair") == tuple(chairs)
