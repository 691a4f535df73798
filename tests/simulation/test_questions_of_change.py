"""Questions about what changes, about ways and about what was seen, in rooms built by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from question_tape import PIXELS, STILL, ask, box, said, tape

from vln_heatmap.simulation.routes import describe_route, landmarks, room_visits, route_instruction
from vln_heatmap.simulation.scene import Instance, Room
from vln_heatmap.simulation.simulators.base import FORWARD, MOVE, STOP, TURN_LEFT

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
