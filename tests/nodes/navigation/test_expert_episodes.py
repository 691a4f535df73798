"""Episodes of the benchmarks are walked in our steps, stop at their goals and become dialogues."""

from __future__ import annotations

import dataclasses
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.datasets.sequence import check_sequence
from vln_heatmap.geometry.cameras import PinholeCamera, wrap_angle
from vln_heatmap.nodes.navigation.dialogues import walk_dialogues
from vln_heatmap.nodes.navigation.expert_episodes import expert_sequences, expert_walk, translated
from vln_heatmap.params import AgentParams, HouseParams
from vln_heatmap.params.navigation_data import DialogueParams
from vln_heatmap.simulation.episodes import Episode
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.scene import Scene
from vln_heatmap.simulation.simulators import make_simulator
from vln_heatmap.simulation.simulators.base import (
    FORWARD,
    LOOK_DOWN,
    LOOK_UP,
    STOP,
    TURN_LEFT,
    TURN_RIGHT,
    AgentState,
    Simulator,
)
from vln_heatmap.simulation.trajectories import NoRouteError

AGENT = AgentParams()


@cache
def house() -> tuple[Simulator, Scene]:
    scene = generate_house(3, HouseParams(light=False, texture_size=16))
    sim = make_simulator("raycast", PinholeCamera(32, 32, 90.0), agent=AGENT)
    sim.load(scene)
    return sim, scene


@cache
def episode(benchmark: str = "r2r") -> Episode:
    """From one place to another, 3 to 8 m away, without published actions."""
    sim, _ = house()
    rng = np.random.default_rng(0)
    while True:
        start, goal = (sim.random_navigable_point(rng) for _ in range(2))
        if 3 < sim.geodesic_distance(start, goal) < 8:
            break
    path = sim.shortest_path(start, goal)
    return Episode(
        id="7",
        trajectory="3",
        benchmark=benchmark,
        scene="mp3d/house/house.glb",
        start=AgentState(tuple(map(float, start)), 0.3),
        goals=(tuple(map(float, goal)),),
        radius=3.0,
        instruction="walk to the other side",
        language="en-US",
        reference_path=path,
        geodesic=float(sim.geodesic_distance(start, goal)),
    )


@given(st.lists(st.integers(0, 5), max_size=30))
@settings(deadline=None)
def test_turns_of_rxr_are_two_of_ours_and_looks_are_left_out(actions: list[int]) -> None:
    said = dataclasses.replace(episode("rxr"), actions=tuple(actions))
    ours = translated(said, 15.0)
    assert ours.count(FORWARD) == actions.count(FORWARD)
    for turn in (TURN_LEFT, TURN_RIGHT):
        assert ours.count(turn) * 15 == actions.count(turn) * 30
    assert not {LOOK_UP, LOOK_DOWN} & set(ours)
    assert translated(dataclasses.replace(said, benchmark="r2r"), 15.0) == tuple(a for a in actions if a < 4)


def test_turns_that_are_no_whole_number_of_ours_are_refused() -> None:
    with pytest.raises(ValueError, match="turns of 15 degrees cannot be made of turns of 10"):
        translated(dataclasses.replace(episode(), actions=(2, 0)), 10.0)


@pytest.mark.parametrize("name", ["r2r", "rxr"])
def test_the_expert_follows_the_reference_path_to_the_goal(name: str) -> None:
    sim, _ = house()
    wanted = episode(name)
    walk = expert_walk(sim, wanted, AGENT)
    assert walk.stopped
    assert walk.steps[-1].action == STOP
    assert math.dist(walk.steps[-1].state.position, wanted.goals[0]) <= AGENT.forward_step + 1e-6
    for before, after in zip(walk.steps, walk.steps[1:], strict=False):
        turn = math.degrees(wrap_angle(after.state.yaw - before.state.yaw))
        if before.action == FORWARD:
            assert abs(turn) < 1e-6
        else:
            assert math.isclose(turn, {TURN_LEFT: 15, TURN_RIGHT: -15}[before.action], abs_tol=1e-6)


def test_published_actions_are_walked_as_published() -> None:
    sim, _ = house()
    actions = tuple(step.action for step in expert_walk(sim, episode(), AGENT).steps)
    published = dataclasses.replace(episode(), actions=actions)
    assert [step.action for step in expert_walk(sim, published, AGENT).steps] == list(actions)


def test_episodes_that_do_not_arrive_are_left_out_and_the_others_are_filmed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loaded = []

    def load(first: Episode) -> tuple[Simulator, Scene]:
        loaded.append(first.scene)
        return house()

    told = [
        episode(),
        dataclasses.replace(episode(), id="8", instruction="cross the house"),
        dataclasses.replace(episode(), id="9", trajectory="4", actions=(STOP,)),
    ]
    (sequence,) = expert_sequences(told, load, AGENT)
    check_sequence(sequence)
    assert sequence.id == "r2r_house_3"
    assert loaded == ["mp3d/house/house.glb"]
    assert "episode 9 is left out" in caplog.text
    dialogues = walk_dialogues(sequence, DialogueParams())
    assert {d.instruction for d in dialogues} == {"walk to the other side", "cross the house"}
    own = [d for d in dialogues if d.instruction == "cross the house"]
    assert [a for d in own for a in d.actions] == sequence.frames["action"].tolist()


def test_a_walk_that_is_too_long_has_no_end_to_learn() -> None:
    with pytest.raises(NoRouteError, match=r"after 5 frames \(at most 5\)"):
        expert_walk(house()[0], episode(), AGENT, length=5)
