"""Questions about small scenes whose answers are known in advance: changes, unknown places, two storeys."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.simulation.instructions import instruction_text, object_phrases
from vln_heatmap.simulation.nouns import Scope, plural
from vln_heatmap.simulation.questions import QUESTIONS, Question, Tape
from vln_heatmap.simulation.relations import (
    NO,
    UNSURE,
    YES,
    Thing,
    above,
    below,
    between,
    box_distance,
    in_room,
    inside,
    next_to,
    on,
)
from vln_heatmap.simulation.routes import describe_route, landmarks, room_visits, route_instruction
from vln_heatmap.simulation.scene import Instance, Room
from vln_heatmap.simulation.simulators.base import FORWARD, MOVE, STOP, TURN_LEFT

CAMERA = PinholeCamera(40, 40, 90.0)
PIXELS = 1600
ROOMS = (Room("bedroom", (-3, -3, 0, 3)), Room("kitchen", (0.2, -3, 3, 3)))


def box(identity: int, category: str, colour: str = "", *, at=(0.0, 0.0, 0.0), size=0.5, room=0) -> Instance:
    """A box of width, height and depth ``size`` (one number or three) whose foot is centred on ``at``."""
    (x, y, z), (w, h, d) = at, np.broadcast_to(size, 3)
    low, high = (x - w / 2, y, z - d / 2), (x + w / 2, y + h, z + d / 2)
    return Instance(identity, category, colour, room, tuple(map(float, low)), tuple(map(float, high)))


def thing(instance: Instance) -> Thing:
    return Thing(instance, 100, 0.5, 0.5, 2.0)


def tape(
    objects: Sequence[Instance],
    states: Sequence[tuple[float, float, float, float]],
    shown: Sequence[Sequence[int]],
    *,
    shifts: Mapping[int, Sequence[tuple[float, float, float]]] | None = None,
    actions: Sequence[int] | None = None,
    rooms: Sequence[Room] = ROOMS,
) -> Tape:
    """A walk over states (x, y, z, yaw) that shows some ids on 100 pixels; ``shifts`` move things from rest."""
    length, shifts = len(states), shifts or {}
    moved = [{i: s[t] for i, s in sorted(shifts.items()) if any(s[t])} for t in range(length)]
    motions = [[_shifted(offset).ravel() for offset in now.values()] for now in moved]
    poses = [look_pose((x, y + 1.2, z), yaw) for x, y, z, yaw in states]
    views = [[_view(objects[i - 1], pose) for i in ids] for ids, pose in zip(shown, poses, strict=True)]
    frames = pd.DataFrame(
        {
            "frame_index": range(length),
            "camera_to_world": [pose.ravel() for pose in poses],
            "state": [(*state, 0.0, 1.2) for state in states],
            "action": np.array(actions or [FORWARD] * (length - 1) + [STOP], np.int8),
            "collided": False,
            "visible_ids": [np.array(ids, np.int32) for ids in shown],
            "visible_pixels": [np.full(len(ids), 100) for ids in shown],
            "visible_u": [[u for u, _ in seen] for seen in views],
            "visible_v": [[0.5] * len(ids) for ids in shown],
            "visible_depth": [[depth for _, depth in seen] for seen in views],
            "moved_ids": [np.array(list(now), np.int32) for now in moved],
            "moved_poses": [np.concatenate(rows) if rows else np.zeros(0) for rows in motions],
        }
    )
    return Tape(objects, rooms, frames, CAMERA, PIXELS)


def _shifted(offset: tuple[float, float, float]) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = offset
    return pose


def _view(instance: Instance, pose: np.ndarray) -> tuple[float, float]:
    x, _, z = pose[:3, :3].T @ (instance.centre - pose[:3, 3])
    return float(np.clip(0.5 + x / max(z, 0.1) / 2, 0, 1)), float(max(z, 0.1))


def ask(name: str, given: Tape, seed: int = 0) -> list[Question]:
    return list(QUESTIONS[name](given, np.random.default_rng(seed)))


def said(name: str, given: Tape) -> dict[tuple[str, int | None], tuple[int, ...]]:
    return {(q.text, q.frame): q.instances for q in ask(name, given)}


STILL = (0.0, 0.0, 2.0, 0.0)  # looks along -z


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


# --- change -------------------------------------------------------------------------------------------------


def drift(way: tuple[float, float], frames: int = 4) -> list[tuple[float, float, float]]:
    """From rest to (x, z) in equal steps."""
    return [(way[0] * t / (frames - 1), 0.0, way[1] * t / (frames - 1)) for t in range(frames)]


@pytest.mark.parametrize("yaw", [0.0, math.pi / 2, math.pi, -2.0])
@pytest.mark.parametrize(
    ("ahead", "left", "way"),
    [
        (0, 0.6, "to the left"),
        (0.1, -0.6, "to the right"),
        (-0.6, 0, "towards you"),
        (0.6, 0.2, "away from you"),
    ],
)
def test_motion_is_told_in_the_viewers_frame(yaw: float, ahead: float, left: float, way: str) -> None:
    forward, side = (-math.sin(yaw), -math.cos(yaw)), (-math.cos(yaw), math.sin(yaw))
    move = (ahead * forward[0] + left * side[0], ahead * forward[1] + left * side[1])
    objects = [box(1, "chair", "red"), box(2, "chair", "blue", at=(1, 0, 0)), box(3, "bin", at=(-1, 0, 0))]
    walk = [(-2 * forward[0], 0.0, -2 * forward[1], yaw)] * 4
    meant = said("object_motion", tape(objects, walk, [[1, 2, 3]] * 4, shifts={1: drift(move)}))
    assert meant["find what has moved", 3] == (1,)
    assert meant["find the chair that has moved", 3] == (1,)
    ways = {text for text, frame in meant if frame == 3 and "from here" in text}
    assert ways == {f"find the chair that has moved {way}, as you see it from here"}


def test_what_is_always_several_has_its_verb() -> None:
    objects = [box(1, "clothes"), box(2, "clothes", at=(1, 0, 0))]
    walk = [(0.0, 0.0, 2.0, 0.0)] * 4
    meant = said("object_motion", tape(objects, walk, [[1, 2]] * 4, shifts={1: drift((-0.6, 0.0))}))
    assert meant["find the clothes that have moved", 3] == (1,)
    assert meant["find the clothes that have moved to the left, as you see them from here", 3] == (1,)


def test_a_small_or_unwatched_motion_is_not_asked_about() -> None:
    objects = [box(1, "chair"), box(2, "chair", at=(1, 0, 0))]
    walk = [STILL] * 4
    assert not said("object_motion", tape(objects, walk, [[1, 2]] * 4, shifts={1: drift((0.1, 0.0))}))
    hidden = said(
        "object_motion", tape(objects, walk, [[1, 2], [2], [2], [2]], shifts={1: drift((0.6, 0.0))})
    )
    assert not hidden  # nobody saw where it went
    both = {1: drift((0.6, 0.0)), 2: drift((0.1, 0.0))}
    assert not said(
        "object_motion", tape(objects, walk, [[1, 2]] * 4, shifts=both)
    )  # has the other one moved?


def test_a_change_is_known_when_the_place_is_seen_again() -> None:
    objects = [box(1, "chair", "red"), box(2, "chair", "blue", at=(1, 0, 0)), box(3, "sofa", at=(-1, 0, 0))]
    shift = [(0.0, 0.0, 0.0)] * 2 + [(0.0, 0.0, -0.8)] * 3
    shown = [[1, 2, 3], [1, 2, 3], [3], [3], [1, 2, 3]]
    meant = said("scene_change", tape(objects, [STILL] * 5, shown, shifts={1: shift}))
    assert meant == {
        ("find what is not where you first saw it", 4): (1,),
        ("which chair is at another place than where you first saw it?", 4): (1,),
    }
    (question,) = [
        q for q in ask("scene_change", tape(objects, [STILL] * 5, shown, shifts={1: shift})) if "?" in q.text
    ]
    assert question.distractors == (2,)
    assert question.answer == "the red chair"
    back = [(0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (0.5, 0.0, 0.0), (0.5, 0.0, 0.0), (0.0, 0.0, 0.0)]
    assert {
        frame for _, frame in said("scene_change", tape(objects, [STILL] * 5, shown, shifts={1: back}))
    } == {1}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_what_has_moved_is_all_that_ended_elsewhere(seed: int) -> None:
    rng = np.random.default_rng(seed)
    objects = [box(i, str(rng.choice(["chair", "bin"])), at=(i - 3.0, 0, 0)) for i in range(1, 6)]
    length = 5
    shifts = {}
    for i in rng.permutation(range(1, 6))[: rng.integers(0, 4)].tolist():
        steps = rng.choice([0.0, 0.0, 0.015, 0.15, 0.5], (length, 3)) * rng.choice([-1, 1], (length, 3))
        shifts[i] = [
            tuple(row) for row in np.cumsum(np.where([[0]] + [[1]] * (length - 1), steps, 0), axis=0)
        ]
    shown = [[i for i in range(1, 6) if rng.random() < 0.8] for _ in range(length)]
    given_tape = tape(objects, [STILL] * length, shown, shifts=shifts)
    for name in ("object_motion", "scene_change"):
        for question in ask(name, given_tape):
            frame = question.frame
            assert frame is not None
            fits = range(1, 6)
            if "what" not in question.text:
                fits = [i for i in fits if objects[i - 1].category in question.text]
            known = [i for i in fits if any(i in ids for ids in shown[: frame + 1])]
            first = {i: next(t for t in range(length) if i in shown[t]) for i in known}
            gone = {
                i: np.subtract(shifts[i][frame], shifts[i][first[i]]) if i in shifts else np.zeros(3)
                for i in known
            }
            if name == "scene_change":
                known = [i for i in known if i in shown[frame] and first[i] < frame]
            if " to the left" in question.text:
                known = [i for i in known if gone[i][0] < 0]
            elif " to the right" in question.text:
                known = [i for i in known if gone[i][0] > 0]
            elif " you, " in question.text:
                away = -1 if "away" in question.text else 1
                known = [i for i in known if gone[i][2] * away > 0]
            elsewhere = {i for i in known if np.linalg.norm(gone[i]) > 0.2}
            if "from here" in question.text:
                (meant,) = question.instances
                assert meant in elsewhere
            else:
                assert elsewhere == set(question.instances)


# --- ways over two storeys -----------------------------------------------------------------------------------

HOUSE = (
    Room("hall", (-3, -3, 3, 3)),
    Room("bedroom", (-3, -3, 3, -0.5), 2.8),
    Room("study", (-3, -0.4, 3, 3), 2.8),
)


def climb() -> list[tuple[float, float, float, float]]:
    """Along -z on the ground floor, up the stairs, and on in the bedroom above."""
    flat = [(0.0, 0.0, 3.0 - 0.25 * k, 0.0) for k in range(6)]
    up = [(0.0, 0.28 * k, 1.5 - 0.25 * k, 0.0) for k in range(1, 11)]
    return [*flat, *up, *((0.0, 2.8, -1.0 - 0.25 * k, 0.0) for k in range(1, 5))]


def test_a_route_goes_up_the_stairs() -> None:
    stairs = Instance(1, "stairs", "", 0, (-0.5, 0.0, -1.0), (0.5, 2.8, 1.5))
    objects = [stairs, box(2, "bed", at=(0, 2.8, -2.8), room=1), box(3, "plant", at=(0.8, 0, 2.4))]
    walk = climb()
    shown = [[1, 2, 3]] * len(walk)
    given_tape = tape(objects, walk, shown, rooms=HOUSE)
    entry = route_instruction(
        objects, HOUSE, given_tape.frames, np.random.default_rng(0), image_pixels=PIXELS
    )
    assert entry["kind"] == "route"
    assert entry["level"] == 3
    assert entry["instances"] == [1, 2, 3]
    assert entry["actions"] == [FORWARD] * (len(walk) - 1) + [STOP]
    order = [
        next(k for k, step in enumerate(entry["steps"]) if words in step)
        for words in ("pass the plant on your right", "go up the stairs", "bed")
    ]
    assert order == sorted(order)
    assert entry["text"] == ", ".join(entry["steps"][:-1]) + " and " + entry["steps"][-1]
    down = tape(objects, [(x, y, z, math.pi) for x, y, z, _ in reversed(walk)], shown, rooms=HOUSE)
    names = landmarks(objects, down.frames, image_pixels=PIXELS)
    steps = describe_route(names, HOUSE, down.frames, np.random.default_rng(0)).steps
    assert any("go down the stairs" in step for step in steps)
    assert "plant" in steps[-1]


def test_a_free_walk_has_no_expert_actions() -> None:
    walk = climb()
    free = tape([], walk, [[]] * len(walk), actions=[MOVE] * (len(walk) - 1) + [STOP], rooms=HOUSE)
    entry = route_instruction([], HOUSE, free.frames, np.random.default_rng(0), image_pixels=PIXELS)
    assert entry["actions"] == []
    assert "go up the stairs" in entry["text"]


def test_rooms_are_those_of_the_storey_that_one_is_on() -> None:
    path = np.array(climb())
    assert [room for _, room in room_visits(HOUSE, path)] == [0, 1]
    between_rooms = np.array([[0.0, 2.8, -0.45, 0.0]])  # in the doorway upstairs, over the hall
    assert room_visits(HOUSE, between_rooms) == []


def test_several_rooms_of_a_name_are_not_the_room() -> None:
    rooms = (Room("hall", (-3, -3, -1, 3)), Room("attic", (-0.9, -3, 1, 3)), Room("attic", (1.1, -3, 3, 3)))
    walk = [(-2.0 + 0.25 * k, 0.0, 0.0, -math.pi / 2) for k in range(18)]
    texts = {
        " ".join(
            describe_route(
                {}, rooms, tape([], walk, [[]] * 18, rooms=rooms).frames, np.random.default_rng(k)
            ).steps
        )
        for k in range(20)
    }
    assert not any("the attic into the attic" in text or "enter the attic" in text for text in texts)
    assert any("an attic" in text for text in texts)
    assert any("another attic" in text for text in texts)


# --- memory -------------------------------------------------------------------------------------------------


def test_where_something_was_is_told_from_where_one_stands_and_looks() -> None:
    sofa = box(1, "sofa", at=(0, 0, -1.25), size=0.5)
    walk = [STILL, (0.0, 0.0, 2.0, math.pi), (0.0, 0.0, 1.0, math.pi / 2), (0.0, 0.0, 0.0, -math.pi * 3 / 4)]
    answers = {q.frame: q.answer for q in ask("where_is_from_here", tape([sofa], walk, [[1], [], [], []]))}
    assert answers == {
        1: "behind you, about three metres away",
        2: "to your right, about two metres away",
        3: "behind you to the left, about one metre away",
    }
    upstairs = [STILL, (0.0, 2.8, 2.0, math.pi)]
    assert not ask("where_is_from_here", tape([sofa], upstairs, [[1], []]))


def test_what_a_turn_would_show_was_seen_before_and_nothing_moved() -> None:
    objects = [box(1, "lamp", at=(0, 0, 0)), box(2, "lamp", at=(3, 0, 2)), box(3, "bin", at=(1, 0, 0))]
    turned = (0.0, 0.0, 2.0, -math.pi / 2)
    shown = [[2], [1, 3]]
    text = "if you turned right by 90 degrees, which lamp would you see?"
    assert said("what_would_i_see_if", tape(objects, [turned, STILL], shown))[text, 1] == (2,)
    later = tape(objects, [STILL, STILL, turned], [[1, 3], [1, 3], [2]])
    assert not any("right by 90" in question for question, _ in said("what_would_i_see_if", later))
    moving = tape(objects, [turned, STILL], shown, shifts={3: [(0, 0, 0), (0.5, 0, 0)]})
    assert not said("what_would_i_see_if", moving)
    both = tape(objects, [turned, turned, STILL], [[2], [1, 2], [1, 3]])  # frames that contradict each other
    assert not any("right by 90" in question for question, _ in said("what_would_i_see_if", both))


def test_ways_are_walked_without_turning_about_or_bumping() -> None:
    chair = box(1, "chair", at=(0, 0, -1.0))
    ahead = [(0.0, 0.0, 2.0 - 0.25 * k, 0.0) for k in range(9)]
    (question,) = ask("how_to_reach", tape([chair], ahead, [[1]] * 9))
    assert question.frame == 0
    assert question.instances == (1,)
    assert question.actions == (FORWARD,) * (len(question.actions) - 1) + (STOP,)
    assert question.steps[-1].endswith(("chair", "stop"))
    turning = [(0.0, 0.0, 2.0, math.pi * k / 12) for k in range(24)] + ahead
    late = ask(
        "how_to_reach", tape([chair], turning, [[1]] * 33, actions=[TURN_LEFT] * 24 + [FORWARD] * 8 + [STOP])
    )
    assert late[0].frame == pytest.approx(8, abs=1)  # at most 240 degrees of turning
    bumping = tape([chair], ahead, [[1]] * 9)
    bumping.frames.loc[8 - 3, "collided"] = True
    assert not ask("how_to_reach", bumping)
