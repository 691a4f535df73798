"""Questions about generated houses are read by a listener of its own; hand-built scenes have known answers."""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import cache

import numpy as np
import pytest
from question_reader import Reader, check_reference

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.params import AgentParams, HouseParams
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.instructions import least_pixels, read_objects, read_rooms
from vln_heatmap.simulation.questions import QUESTIONS, Tape, sequence_questions
from vln_heatmap.simulation.recording import Mount, record
from vln_heatmap.simulation.scene import Scene
from vln_heatmap.simulation.simulators import make_simulator
from vln_heatmap.simulation.simulators.base import AgentState
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories import TRAJECTORIES, WalkRequest

CAMERA = PinholeCamera(64, 64, 90.0)
PIXELS = 64 * 64
SEEDS = (1, 2, 5, 7)
RELATIONS = ("behind_in_front", "left_right", "above_below", "inside_outside", "near_far", "between")


@cache
def house(seed: int) -> Scene:
    return generate_house(seed, HouseParams(light=False, texture_size=16))


def simulator(seed: int):
    sim = make_simulator("raycast", CAMERA, agent=AgentParams())
    sim.load(house(seed))
    return sim


@cache
def filmed(seed: int) -> tuple[Tape, Reader]:
    """A walk of 40 frames through a house, as the makers get it, and its reader."""
    sim = simulator(seed)
    walk = TRAJECTORIES["random_exploration"](
        sim, np.random.default_rng(seed), WalkRequest(40, AgentParams())
    )
    made = record(
        sim,
        house(seed),
        Take(walk),
        np.random.default_rng(0),
        sequence_id="walk",
        mount=Mount(1.25, -0.1),
        fps=10.0,
        instructions=0,
        details={},
    )
    sim.close()
    objects, rooms = read_objects(made.metadata), read_rooms(made.metadata)
    return Tape(objects, rooms, made.frames, CAMERA, PIXELS), Reader(objects, rooms, made.frames)


@cache
def asked(seed: int, name: str) -> tuple[dict, ...]:
    tape, _ = filmed(seed)
    return tuple(q.entry() for order in range(2) for q in QUESTIONS[name](tape, np.random.default_rng(order)))


everywhere = pytest.mark.parametrize("seed", SEEDS)


@everywhere
@pytest.mark.parametrize("name", RELATIONS)
def test_a_relation_means_what_a_listener_takes_it_for(seed: int, name: str) -> None:
    _, reader = filmed(seed)
    for entry in asked(seed, name):
        check_reference(reader, entry)
        assert entry["question"] == name
        assert entry["level"] == (3 if len(re.findall(", ", entry["text"])) else 2)
        assert len(entry["steps"]) >= entry["level"] - 1


def test_every_relation_is_asked_at_both_levels_somewhere() -> None:
    levels = {name: {e["level"] for seed in SEEDS for e in asked(seed, name)} for name in RELATIONS}
    assert all(found == {2, 3} for found in levels.values()), levels
    answered = [e for name in RELATIONS for seed in SEEDS for e in asked(seed, name)]
    assert sum(bool(entry["distractors"]) for entry in answered) > len(answered) / 3


@everywhere
def test_where_is_from_here_is_out_of_view_seen_before_and_where_it_says(seed: int) -> None:
    _, reader = filmed(seed)
    entries = asked(seed, "where_is_from_here")
    assert entries
    for entry in entries:
        (meant,) = entry["instances"]
        subject = re.fullmatch(r"where (?:is|are) (the .+) from here\?", entry["text"])[1]
        assert reader.one(subject, reader.ever, None) == meant
        assert meant not in reader.shown(entry["frame"])
        assert any(meant in reader.shown(f) for f in range(entry["frame"]))
        for turned, nearer in ((0, 0), (-4.5, 0), (4.5, 0), (0, -0.12), (0, 0.12)):  # nobody would argue
            assert reader.where(meant, entry["frame"], turned=turned, nearer=nearer) == entry["answer"]


@everywhere
def test_what_one_would_see_is_what_is_rendered_there(seed: int) -> None:
    """The simulator is asked what is seen after the turn, or at the start."""
    tape, reader = filmed(seed)
    sim, least = simulator(seed), least_pixels(PIXELS)
    checked = 0
    for entry in asked(seed, "what_would_i_see_if"):
        condition = re.fullmatch(
            r"if you (.+), (?:which (.+) would you see|what would you see)\?", entry["text"]
        )
        x, y, z, yaw, pitch, height = tape.path[entry["frame"]]
        if turn := re.fullmatch(r"turned (left|right) by (\d+) degrees", condition[1]):
            yaw += math.radians(int(turn[2])) * (1 if turn[1] == "left" else -1)
        elif condition[1] == "turned around":
            yaw += math.pi
        elif condition[1].startswith("went back"):
            x, y, z, yaw, pitch, height = tape.path[0]
        else:
            continue
        ids = sim.render(look_pose((x, y + height, z), yaw, pitch)).instance
        pixels = Counter(ids.ravel().tolist())
        fits = reader.fitting(condition[2], reader.ever) if condition[2] else reader.ever
        seen = {i for i in fits if pixels[i] >= 0.7 * least}
        assert seen == set(entry["instances"]), entry
        assert max((pixels[i] for i in fits - seen), default=0) < least / 3
        checked += 1
    sim.close()
    assert checked


def test_standing_in_front_of_something_shows_the_same_from_all_such_places() -> None:
    checked = 0
    for seed in SEEDS:
        tape, reader = filmed(seed)
        for entry in asked(seed, "what_would_i_see_if"):
            found = re.search(
                r"stood in front of (the .+) and looked at (?:it|them), which (.+) would", entry["text"]
            )
            if not found:
                continue
            thing, fits = reader.one(found[1], reader.ever, None), reader.fitting(found[2], reader.ever)
            for frame in range(len(tape)):
                ahead, left = reader.in_camera(frame, reader.centre(thing))
                if ahead > abs(left) * 3 and math.hypot(ahead, left) < 1.0 and thing in reader.shown(frame):
                    assert set(reader.shown(frame)) & fits == set(entry["instances"])
                    checked += 1
    assert checked


def test_ways_lead_there_and_pass_what_they_say_on_that_side() -> None:
    passed = reached = 0
    for seed in SEEDS:
        tape, reader = filmed(seed)
        sim = simulator(seed)
        for entry in asked(seed, "how_to_reach"):
            (goal,) = entry["instances"]
            start, end = entry["frame"], entry["frame"] + len(entry["actions"]) - 1
            x, y, z, yaw = tape.path[start, :4]
            state = AgentState((x, y, z), yaw)
            for action in entry["actions"][:-1]:
                state = sim.step(state, action).state
            box = reader.by_id[goal]
            beside = [
                max(box.box_min[k] - state.position[k], state.position[k] - box.box_max[k], 0) for k in (0, 2)
            ]
            assert math.hypot(*beside) <= 1.0 + 1e-4
            assert entry["actions"][-1] == 0
            reached += 1
            for name, hand in re.findall(r"pass (the .+?) on your (left|right)", entry["answer"]):
                thing = reader.one(name, reader.ever, None)
                assert hand in [side for when, side in reader.passings(thing, end) if when >= start], entry
                passed += 1
        sim.close()
    assert reached >= 4
    assert passed


@everywhere
def test_what_was_before_in_the_walk_was_before(seed: int) -> None:
    _, reader = filmed(seed)
    for entry in asked(seed, "agent_trajectory"):
        if found := re.fullmatch(r"which did you pass first, (the .+) or (the .+)\?", entry["text"]):
            things = [reader.one(text, reader.ever, None) for text in found.groups()]
            first = {i: reader.passings(i, entry["frame"])[0][0] for i in things}
            assert [min(first, key=first.__getitem__)] == entry["instances"]
            assert entry["distractors"] == [i for i in things if i not in entry["instances"]]
        elif found := re.fullmatch(r"find the (.+) in the room you came from", entry["text"]):
            stays = [reader.room_at(pose[:3, 3]) for pose in reader.poses[: entry["frame"] + 1]]
            before = next(room for room in reversed(stays) if room != stays[-1])
            fits = reader.fitting(found[1], reader.ever)
            assert {i for i in fits if reader.room_at(reader.centre(i)) == before} == set(entry["instances"])
            assert reader.rooms[before].name in entry["answer"]
        elif entry["text"] == "which room did you come from?":
            stays = [reader.room_at(pose[:3, 3]) for pose in reader.poses[: entry["frame"] + 1]]
            before = next(room for room in reversed(stays) if room != stays[-1])
            assert reader.rooms[before].name in entry["answer"]
            shown = set().union(*(reader.shown(f) for f in range(entry["frame"])))
            inside = {i for i in shown if reader.room_at(reader.centre(i)) == before}
            doors = {i for i in inside if reader.by_id[i].category == "door"}
            assert set(entry["instances"]) == inside - doors
        else:
            check_reference(reader, entry)


def test_trajectories_are_asked_about_somewhere() -> None:
    texts = " ".join(e["text"] for seed in SEEDS for e in asked(seed, "agent_trajectory"))
    assert all(
        words in texts
        for words in ("pass first", "which room did", "room you came from", "where you started")
    )
    assert any("go past" in e["text"] for seed in SEEDS for e in asked(seed, "left_right"))


@everywhere
def test_nothing_moves_in_a_house_at_rest(seed: int) -> None:
    assert not asked(seed, "object_motion")
    assert not asked(seed, "scene_change")


# --- choosing -------------------------------------------------------------------------------------------


def test_questions_repeat_differ_and_keep_to_their_views() -> None:
    tape, _ = filmed(5)

    def ask(seed: int, **changes) -> list[dict]:
        rng = np.random.default_rng(seed)
        given = {"count": 12, "image_pixels": PIXELS, "camera": CAMERA, **changes}
        return sequence_questions(tape.objects, tape.rooms, tape.frames, rng, **given)

    assert ask(0) == ask(0) != ask(1)
    texts = [(entry["text"], entry["frame"]) for entry in ask(0)]
    assert len(set(texts)) == len(texts) == 12
    assert {entry["question"] for entry in ask(0)} >= set(RELATIONS) - {"between", "inside_outside"}
    assert {entry["frame"] for entry in ask(0, views=[23], count=40)} <= {None, 23}
    only = ask(0, kinds=("left_right",))
    assert only
    assert {entry["question"] for entry in only} == {"left_right"}
    assert ask(0, count=0) == []
    with pytest.raises(ValueError, match=r"got \['up_down'\]"):
        ask(0, kinds=("up_down",))


def test_entries_have_all_their_keys() -> None:
    keys = {"text", "kind", "instances", "frame", "level", "question", "answer", "distractors", "steps"}
    for name in QUESTIONS:
        for entry in asked(5, name) + asked(1, name):
            assert keys <= entry.keys() <= keys | {"actions"}
            assert entry["kind"] == "reasoning"
            assert entry["instances"]
            assert entry["answer"]
            assert not set(entry["instances"]) & set(entry["distractors"])
