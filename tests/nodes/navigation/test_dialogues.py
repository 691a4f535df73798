"""Episodes become dialogues whose actions are the walk's own, whatever file or agent they come from."""

from __future__ import annotations

import dataclasses
import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from box_walks import walk
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.datasets.dialogue_samples import Dialogue
from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.interchange.incoming import Stated
from vln_heatmap.interchange.streamvln import StreamVLNFolder, annotation, write_images
from vln_heatmap.nodes.navigation.dialogues import (
    dialogue_table,
    ends_by_stop,
    episode_dialogues,
    house_names,
    imported_dialogues,
    read_dialogues,
    rollout_dialogues,
    sequence_dialogues,
    sequence_episodes,
)
from vln_heatmap.params import AgentParams, HouseParams
from vln_heatmap.params.navigation_data import DialogueParams, NavigationSourceParams
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.instructions import read_objects
from vln_heatmap.simulation.recording import Mount, record
from vln_heatmap.simulation.routes import distance
from vln_heatmap.simulation.scene import STRUCTURE
from vln_heatmap.simulation.simulators import make_simulator
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories import TRAJECTORIES, WalkRequest

PARAMS = DialogueParams(window=8, stride=8, history=3)
ROUTE = {"text": "walk to the north wall, and stop", "kind": "route", "instances": [6], "frame": None}


def spoken(actions: str = "fflfrffllfrf", *, stopped: bool = True, free: bool = False) -> Sequence:
    """A walk with a route, through the box."""
    made = walk("house_00000_00", actions)
    frames = made.frames.copy()
    frames.loc[len(frames) - 1, "is_terminal"] = stopped
    if free:
        frames.loc[2, "action"] = -1
    metadata = {**made.metadata, "instructions": [ROUTE], "objects": [], "rooms": []}
    return dataclasses.replace(made, frames=frames, metadata=metadata)


def joined(dialogues: list[Dialogue]) -> list[int]:
    return [action for dialogue in dialogues for action in dialogue.actions]


@given(st.text("flr", min_size=1, max_size=40))
@settings(max_examples=15, deadline=None)
def test_a_recorded_route_is_learned_action_by_action(actions: str) -> None:
    sequence = spoken(actions)
    dialogues = sequence_dialogues(sequence, PARAMS, NavigationSourceParams())
    assert joined(dialogues) == sequence.frames["action"].tolist()
    assert [len(d.memory_frames) > 0 for d in dialogues] == [False] + [True] * (len(dialogues) - 1)
    assert {dialogue.instruction for dialogue in dialogues} == {ROUTE["text"]}
    assert [ends_by_stop(dialogue) for dialogue in dialogues] == [False] * (len(dialogues) - 1) + [True]


@pytest.mark.parametrize("sequence", [spoken(stopped=False), spoken(free=True)], ids=["cut", "free"])
def test_walks_that_were_cut_or_move_freely_are_no_routes(sequence: Sequence) -> None:
    assert sequence_dialogues(sequence, PARAMS, NavigationSourceParams()) == []


@given(st.lists(st.integers(1, 3), max_size=40), st.integers(0, 30), st.sampled_from([4, 8]))
@settings(max_examples=40, deadline=None)
def test_windows_may_overlap_and_an_episode_may_begin_anywhere(
    actions: list[int], start: int, stride: int
) -> None:
    params = PARAMS.model_copy(update={"stride": stride})
    said = [*actions, 0]
    for dialogue in episode_dialogues(said, "go", "a", params, start=start):
        first = dialogue.frames[0]
        assert (first - start) % stride == 0
        assert dialogue.start == start
        assert list(dialogue.actions) == said[first - start : first - start + params.window]
        assert all(start <= frame < first for frame in dialogue.memory_frames)


def test_what_a_student_did_is_context_and_what_the_expert_wanted_is_learned() -> None:
    said, expert = [[1, 1, 1, 1], [2], [1, 3], [1, 0]], [1, 2, 2, 1, 3, 1, 1, 2, 0]
    dialogues = rollout_dialogues(said, "go", "a", PARAMS, expert=expert)
    assert [[turn.wanted for turn in d.turns] for d in dialogues] == [
        [(1, 2, 2, 1), (3,)],
        [(1, 1), (2, 0)],
    ]
    assert [list(turn.actions) for d in dialogues for turn in d.turns] == said
    assert [turn.frame for d in dialogues for turn in d.turns] == [0, 4, 5, 7]
    assert read_dialogues(dialogue_table(dialogues)) == dialogues


def test_a_streamvln_folder_gives_the_dialogues_of_the_walks_it_was_made_of(tmp_path: Path) -> None:
    sequence = spoken()
    write_images(sequence.id, sequence.rgb, tmp_path, quality=95)
    (tmp_path / "annotations.json").write_text(json.dumps([annotation(sequence)]))
    found = list(imported_dialogues(StreamVLNFolder(tmp_path, Stated()), PARAMS))
    assert found == sequence_dialogues(sequence, PARAMS, NavigationSourceParams())


@given(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=6), min_size=1, max_size=9), st.text())
@settings(max_examples=30, deadline=None)
def test_a_table_of_dialogues_comes_back(said: list[list[int]], text: str) -> None:
    dialogues = rollout_dialogues(said, text, "a", PARAMS)
    assert read_dialogues(dialogue_table(dialogues)) == dialogues


def test_a_table_of_dialogues_survives_parquet(tmp_path: Path) -> None:
    dialogues = episode_dialogues([1] * 20 + [0], "go", "a", PARAMS)
    dialogue_table(dialogues).to_parquet(tmp_path / "dialogues.parquet")
    assert read_dialogues(pd.read_parquet(tmp_path / "dialogues.parquet")) == dialogues
    with pytest.raises(ValueError, match="needs the column 'turns'"):
        read_dialogues(dialogue_table(dialogues).drop(columns="turns"))


@cache
def filmed(name: str, seed: int) -> Sequence:
    """A walk through a generated house."""
    scene = generate_house(seed, HouseParams(light=False, texture_size=16))
    camera = PinholeCamera(64, 64, 90.0)
    sim = make_simulator("raycast", camera, agent=AgentParams())
    sim.load(scene)
    targets = [t.centre for t in scene.instances if t.category in ("sofa", "bed", "fridge", "table", "desk")]
    request = WalkRequest(64, AgentParams(), targets=targets)
    taken = TRAJECTORIES[name](sim, np.random.default_rng(seed), request)
    mount = Mount(1.25, -0.1)
    made = record(
        sim,
        scene,
        Take(taken),
        np.random.default_rng(0),
        sequence_id=f"{name}_{seed}",
        mount=mount,
        fps=10.0,
        instructions=3,
        details={},
    )
    sim.close()
    return made


@pytest.mark.parametrize("seed", [1, 2])
def test_ways_in_generated_houses_lead_to_what_they_say(seed: int) -> None:
    """Each way is a part of the walk, and an object's way ends by the thing of that name."""
    for name in ("point_to_point", "random_exploration"):
        sequence = filmed(name, seed)
        episodes = sequence_episodes(
            sequence, NavigationSourceParams(new_ways=4), np.random.default_rng(seed)
        )
        objects = read_objects(sequence.metadata)
        walked = sequence.frames["action"].tolist()
        for episode in episodes:
            end = episode.start + len(episode.actions) - 1
            assert list(episode.actions) == [*walked[episode.start : end], 0]
            if episode.kind == "object":
                state = np.asarray(sequence.frames["state"].iloc[end], float)
                assert any(
                    episode.instruction.removesuffix(" and stop").endswith(thing.category.split()[-1])
                    and distance(thing, state) <= 1.5
                    for thing in objects
                )
        kinds = {episode.kind for episode in episodes}
        assert "route" in kinds or name == "random_exploration"


def test_object_instructions_occur() -> None:
    kinds = [
        episode.kind
        for seed in (1, 2)
        for episode in sequence_episodes(
            filmed("point_to_point", seed), NavigationSourceParams(new_ways=0), np.random.default_rng(0)
        )
    ]
    assert kinds.count("object") >= 1
    assert kinds.count("route") == 2


def test_a_name_of_the_house_fits_one_thing_of_it() -> None:
    objects = [t for t in read_objects(filmed("point_to_point", 1).metadata) if t.category not in STRUCTURE]
    names, colours = house_names(objects), {thing.colour for thing in objects} - {""}
    assert len(names) > 5
    for identity, name in names.items():
        noun = name.removeprefix("the ")
        first, _, rest = noun.partition(" ")
        colour, noun = (first, rest) if first in colours and rest else ("", noun)
        fits = {
            thing.id
            for thing in objects
            if f" {thing.category}".endswith(f" {noun}") and colour in ("", thing.colour)
        }
        assert fits == {identity}
