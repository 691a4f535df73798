"""Questions and descriptions of generated houses, checked by a reader that looks at boxes and pixels only."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.nodes.navigation.cotraining import (
    SPATIAL_QUESTIONS,
    VIDEO_QUESTIONS,
    cotraining_dialogues,
)
from vln_heatmap.nodes.navigation.cotraining.descriptions import described, description
from vln_heatmap.nodes.navigation.cotraining.footage import Asked, Footage, footage, metres, some_frames
from vln_heatmap.params import AgentParams, HouseParams
from vln_heatmap.params.navigation_data import CotrainingParams
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.recording import Mount, record
from vln_heatmap.simulation.scene import Instance
from vln_heatmap.simulation.simulators import make_simulator
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories import TRAJECTORIES, WalkRequest

BUILDING = {"wall", "floor", "ceiling", "skirting", "door frame", "window frame"}
NUMBERS = [
    "none",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
SEEDS = (1, 2)


@cache
def filmed(seed: int) -> Sequence:
    scene = generate_house(seed, HouseParams(light=False, texture_size=16))
    sim = make_simulator("raycast", PinholeCamera(64, 64, 90.0), agent=AgentParams())
    sim.load(scene)
    walk = TRAJECTORIES["random_exploration"](
        sim, np.random.default_rng(seed), WalkRequest(48, AgentParams())
    )
    made = record(
        sim,
        scene,
        Take(walk),
        np.random.default_rng(0),
        sequence_id=f"walk_{seed}",
        mount=Mount(1.25, -0.1),
        fps=10.0,
        instructions=0,
        details={},
    )
    sim.close()
    return made


@cache
def films(seed: int) -> list[Footage]:
    sequence, rng = filmed(seed), np.random.default_rng(seed)
    return [footage(sequence, some_frames(len(sequence), 6, rng)) for _ in range(12)]


@cache
def asked(seed: int, kind: str) -> list[tuple[Footage, Asked]]:
    maker = {**VIDEO_QUESTIONS, **SPATIAL_QUESTIONS}[kind]
    return [(film, each) for film in films(seed) for each in maker(film, np.random.default_rng(0))]


def everywhere(kind: str) -> Iterator[tuple[Footage, Asked]]:
    found = [pair for seed in SEEDS for pair in asked(seed, kind)]
    assert len(found) >= 3
    yield from found


# --- the reader -----------------------------------------------------------------------------------------


def things(film: Footage) -> dict[int, Instance]:
    return {thing.id: thing for thing in film.tape.objects if thing.category not in BUILDING}


def pixels(film: Footage, view: int) -> dict[int, int]:
    row = film.tape.frames.iloc[view]
    return {
        int(i): int(n)
        for i, n in zip(row.visible_ids, row.visible_pixels, strict=True)
        if int(i) in things(film)
    }


def ever(film: Footage) -> set[int]:
    return set().union(*(pixels(film, view) for view in range(len(film.shown))))


def fitting(film: Footage, words: str, among: set[int]) -> set[int]:
    """Everything that words could mean, one or many."""
    colours = {thing.colour for thing in film.tape.objects} - {""}
    first, _, rest = words.removeprefix("the ").partition(" ")
    colour, noun = (first, rest) if first in colours and rest else ("", words.removeprefix("the "))
    nouns = {noun, noun.removesuffix("s"), noun.removesuffix("es"), re.sub("ves$", "f", noun)}
    nouns.add(re.sub("ies$", "y", noun))
    return {
        i
        for i in among
        if any(things(film)[i].category.endswith(word) for word in nouns)
        and things(film)[i].colour in ((colour, "") if colour else (things(film)[i].colour,))
    }


def one(film: Footage, words: str) -> Instance:
    meant = fitting(film, words, ever(film))
    assert len(meant) == 1, f"{words!r} could be {meant}"
    return things(film)[meant.pop()]


def gap(a: Instance, low: np.ndarray, high: np.ndarray, axes: tuple[int, ...]) -> float:
    apart = np.maximum(np.maximum(low - np.array(a.box_max), np.array(a.box_min) - high), 0)
    return float(np.linalg.norm(apart[list(axes)]))


def said_metres(answer: str) -> int:
    return NUMBERS.index(re.fullmatch(r"about (\w+) metres?", answer)[1])


def names_in(pattern: str, question: str) -> tuple[str, ...]:
    return re.fullmatch(pattern, question).groups()


# --- videos ---------------------------------------------------------------------------------------------


def test_what_was_in_the_video_is_in_its_frames() -> None:
    answers = Counter()
    for film, (_, question, answer) in everywhere("presence"):
        (noun,) = names_in(r"did you see (?:an? )?(.+)\?", question)
        assert bool(fitting(film, noun, ever(film))) == (answer == "yes")
        answers[answer] += 1
    assert 0.3 < answers["yes"] / answers.total() < 0.7


def test_what_was_seen_first_is_in_an_earlier_frame() -> None:
    for film, (_, question, answer) in everywhere("seen_first"):
        texts = names_in(r"which did you see first, (the .+) or (the .+)\?", question)
        first = {
            text: min(v for v in range(len(film.shown)) if one(film, text).id in pixels(film, v))
            for text in texts
        }
        other = next(text for text in texts if text != answer)
        assert first[answer] < first[other]


def test_the_rooms_are_those_that_the_walk_was_in() -> None:
    for film, (_, _, answer) in everywhere("rooms_in_order"):
        inside = []
        for x, _, z in film.path[film.shown[0] : film.shown[-1] + 1, :3]:
            names = [
                r.name
                for r in film.tape.rooms
                if r.rectangle[0] <= x <= r.rectangle[2] and r.rectangle[1] <= z <= r.rectangle[3]
            ]
            inside += [name for name in names if inside[-1:] != [name]]
        assert answer.split(", then ") == [f"the {name}" for name in inside]


# --- places ---------------------------------------------------------------------------------------------


def test_what_was_seen_is_counted_right() -> None:
    found = Counter()
    for film, (_, question, answer) in everywhere("counted"):
        (noun,) = names_in(r"how many (.+) did you see\?", question)
        assert len(fitting(film, noun, ever(film))) == NUMBERS.index(answer)
        found[answer] += 1
    assert {"none", "one", "two"} <= set(found)


def test_what_is_in_a_room_is_counted_in_the_whole_house() -> None:
    for film, (_, question, answer) in everywhere("counted_in_room"):
        noun, room = names_in(r"how many (.+) are in the (.+)\?", question)
        (number,) = [i for i, r in enumerate(film.tape.rooms) if r.name == room]
        inside = {i for i, thing in things(film).items() if thing.room == number}
        assert len(fitting(film, noun, inside)) == NUMBERS.index(answer)


def test_distances_are_those_of_the_boxes() -> None:
    for film, (_, question, answer) in everywhere("apart"):
        a, b = (one(film, text) for text in names_in(r"how far apart are (the .+) and (the .+)\?", question))
        assert abs(gap(a, np.array(b.box_min), np.array(b.box_max), (0, 1, 2)) - said_metres(answer)) <= 0.351
        assert a.room == b.room


def own_distance(film: Footage, thing: Instance) -> float:
    point = film.tape.path[-1, :3]
    return gap(thing, point, point, (0, 2))


def test_how_far_away_is_measured_over_the_floor() -> None:
    for film, (_, question, answer) in everywhere("away"):
        thing = one(film, names_in(r"how far away (?:is|are) (the .+)\?", question)[0])
        assert abs(own_distance(film, thing) - said_metres(answer)) <= 0.351
        assert thing.id in pixels(film, film.present)


def test_the_nearer_one_is_nearer() -> None:
    for film, (_, question, answer) in everywhere("nearer"):
        texts = names_in(r"which is nearer to you, (the .+) or (the .+)\?", question)
        near, far = sorted(texts, key=lambda text: text != answer)
        assert own_distance(film, one(film, near)) + 0.299 <= own_distance(film, one(film, far))


def test_things_are_in_their_rooms_and_you_in_yours() -> None:
    for film, (_, question, answer) in everywhere("room_of_thing"):
        thing = one(film, names_in(r"which room (?:is|are) (the .+) in\?", question)[0])
        assert answer == f"the {film.tape.rooms[thing.room].name}"
    for film, (_, _, answer) in everywhere("own_room"):
        x, _, z = film.tape.path[-1, :3]
        names = [
            r.name
            for r in film.tape.rooms
            if r.rectangle[0] <= x <= r.rectangle[2] and r.rectangle[1] <= z <= r.rectangle[3]
        ]
        assert answer.split(maxsplit=1)[1] in names


def test_relations_of_the_view_are_those_of_columns_and_depths() -> None:
    answers = Counter()
    for film, (_, question, answer) in everywhere("related"):
        relation = "left of|right of|in front of|behind|next to|on"
        first, words, second = names_in(rf"(?:is|are) (the .+?) ({relation}) (the .+)\?", question)
        row = film.tape.frames.iloc[-1]
        ids = [int(i) for i in row.visible_ids]
        a, b = (ids.index(one(film, text).id) for text in (first, second))
        u, depth = row.visible_u, row.visible_depth
        plain = {
            "left of": u[a] < u[b],
            "right of": u[a] > u[b],
            "in front of": depth[a] < depth[b] and abs(u[a] - u[b]) < 0.3,
            "behind": depth[a] > depth[b] and abs(u[a] - u[b]) < 0.3,
        }
        if words in plain:
            assert bool(plain[words]) == (answer == "yes")
        answers[answer] += 1
    assert 0.3 < answers["yes"] / answers.total() < 0.7


@pytest.mark.parametrize("kind", ["left_right", "near_far", "inside_outside", "where_is_from_here"])
def test_recorded_questions_are_asked_in_the_present_and_say_something_new(kind: str) -> None:
    for _, (name, question, answer) in everywhere(kind):
        assert name == kind
        assert answer
        assert answer not in question


# --- descriptions ---------------------------------------------------------------------------------------


def test_a_description_names_what_its_view_shows_where_it_shows_it() -> None:
    ranges = {"On the left": (0, 0.4), "Ahead": (0.4, 0.6), "On the right": (0.6, 1)}
    named = 0
    for film in (film for seed in SEEDS for film in films(seed)):
        for view in range(len(film.shown)):
            row = film.tape.frames.iloc[view]
            columns = {
                int(i): (float(u), float(d))
                for i, u, d in zip(row.visible_ids, row.visible_u, row.visible_depth, strict=True)
            }
            for side, words in re.findall(
                r"(On the left|Ahead|On the right) you see (.+?)\.", described(film, view)
            ):
                low, high = ranges[side]
                here = {i for i in pixels(film, view) if low <= columns[i][0] <= high}
                for item in re.split(r", | and ", words):
                    noun, far = re.fullmatch(r"(.+?)(?: about (\w+) metres? away)?", item).groups()
                    count, _, rest = noun.partition(" ")
                    fits = fitting(film, rest if count in ("a", "an", *NUMBERS) else noun, here)
                    assert len(fits) >= (NUMBERS.index(count) if count in NUMBERS else 1)
                    assert far is None or any(abs(columns[i][1] - NUMBERS.index(far)) <= 0.351 for i in fits)
                    named += 1
    assert named > 50


def test_a_description_is_a_text_for_each_view_that_says_how_one_came_there() -> None:
    turned = 0
    for film in films(1):
        dialogue = description(film, np.random.default_rng(0))
        assert dialogue.frames == film.shown
        assert all(turn.answer for turn in dialogue.turns)
        for before, turn in zip(dialogue.turns, dialogue.turns[1:], strict=False):
            yaw = np.unwrap(film.path[before.frame : turn.frame + 1, 3])
            change = math.degrees(yaw[-1] - yaw[0])
            if side := re.match("You turned (left|right)", turn.answer):
                assert (change > 0) == (side[1] == "left")
                turned += 1
            assert bool(side) == (abs(change) >= 30)
    assert turned


# --- dialogues ------------------------------------------------------------------------------------------


@given(st.integers(0, 5), st.sampled_from(SEEDS), st.floats(0, 1))
@settings(max_examples=8, deadline=None)
def test_dialogues_depend_on_sequence_and_seed_alone(seed: int, house: int, share: float) -> None:
    params = CotrainingParams(frames=5, as_memory=share)
    dialogues = cotraining_dialogues(filmed(house), params, seed=seed)
    assert dialogues == cotraining_dialogues(filmed(house), params, seed=seed)
    counts = Counter(dialogue.task for dialogue in dialogues)
    assert counts == {"vqa": params.videos, "scanqa": params.spatial, "description": params.descriptions}
    for dialogue in dialogues:
        assert len(dialogue.memory_frames) + len(dialogue.frames) <= 5
        if dialogue.task != "description":
            assert [turn.replied for turn in dialogue.turns] == [False] * (len(dialogue.turns) - 1) + [True]
    assert cotraining_dialogues(filmed(house), CotrainingParams(videos=0, spatial=0), seed=seed)


def test_all_but_the_last_frame_may_be_memory() -> None:
    shown = [d for d in cotraining_dialogues(filmed(1), CotrainingParams(as_memory=0.0)) if d.task == "vqa"]
    kept = [d for d in cotraining_dialogues(filmed(1), CotrainingParams(as_memory=1.0)) if d.task == "vqa"]
    assert [d.frames for d in shown] == [(*d.memory_frames, *d.frames) for d in kept]
    assert all(len(d.frames) == 1 and d.memory_frames for d in kept)


@given(st.integers(1, 70), st.integers(1, 9), st.integers(1, 4), st.integers(0, 9))
@settings(deadline=None)
def test_frames_are_shown_in_order_at_one_stride(length: int, most: int, least: int, seed: int) -> None:
    shown = some_frames(length, most, np.random.default_rng(seed), least=least)
    assert min(length, least, most) <= len(shown) <= most
    assert 0 <= shown[0] <= shown[-1] < length
    assert len(set(np.diff(shown))) <= 1
    assert all(np.diff(shown) > 0)


def test_distances_that_could_be_argued_about_are_not_said() -> None:
    assert [metres(d) for d in (0.3, 0.9, 1.5, 2.3, 12.4, math.inf)] == [
        "",
        "about one metre",
        "",
        "about two metres",
        "",
        "",
    ]
