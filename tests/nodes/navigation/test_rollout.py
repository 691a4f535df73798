"""Closed loop: the same in any company and process, nothing walked twice, baselines as they must be."""

from __future__ import annotations

import json
import math
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from mortal_world import MEMORY, MortalWorld
from navigation_world import HOUSE, PARAMS, MemoryStore, Scripted, episodes

from vln_heatmap.nodes.navigation.policy import (
    Always,
    ForwardOnly,
    Policy,
    RandomActions,
    ShortestPath,
    baselines,
)
from vln_heatmap.nodes.navigation.rollout import Entrant, roll_out
from vln_heatmap.nodes.navigation.scenes import OpenScenes, open_scene
from vln_heatmap.nodes.navigation.worlds import EpisodeRecord, LocalWorlds, World, state_pose
from vln_heatmap.simulation.simulators.base import FORWARD, STOP, TURN_LEFT


def walked(policy, params=PARAMS, store=None, chosen=None):
    entrants = {"it": Entrant(policy, chosen or episodes())}
    return roll_out(entrants, MemoryStore() if store is None else store, params)["it"]


def test_the_expert_always_arrives():
    for record, episode in zip(walked(ShortestPath()), episodes(), strict=True):
        assert record.measures.sr == 1
        assert record.measures.spl > 0.8
        assert record.measures.ndtw == pytest.approx(1)
        assert tuple(record.actions) == episode.actions
        assert len(record.states) == len(record.actions) + 1


def test_always_stop_is_a_step_and_no_success():
    for record, episode in zip(walked(Always(STOP)), episodes(), strict=True):
        assert record.actions == [STOP]
        assert (record.measures.sr, record.measures.steps, record.measures.length) == (0, 1, 0)
        assert record.measures.ne == pytest.approx(episode.geodesic, abs=0.02)


def test_an_episode_ends_after_the_greatest_number_of_steps():
    records = walked(Always(TURN_LEFT), PARAMS.model_copy(update={"max_steps": 7}))
    assert {len(record.actions) for record in records} == {7}
    assert not any(record.stopped for record in records)


@pytest.mark.parametrize("change", [{"slots": 1}, {"slots": 6}])
def test_company_changes_nothing(change):
    alone, together = walked(RandomActions()), walked(RandomActions(), PARAMS.model_copy(update=change))
    assert alone == together
    assert len({tuple(record.actions) for record in alone}) > 1  # they are drawn for each episode


def test_processes_change_nothing():
    records = walked(RandomActions(), PARAMS.model_copy(update={"workers": 2}), chosen=episodes()[2:4])
    assert records == walked(RandomActions())[2:4]


def test_episodes_of_a_process_that_died_are_walked_again(tmp_path, monkeypatch, caplog):
    params, chosen = PARAMS.model_copy(update={"workers": 2}), episodes()[2:4]
    entrants = {"it": Entrant(Scripted([FORWARD, TURN_LEFT, STOP]), chosen)}
    monkeypatch.setenv(MEMORY, str(tmp_path / "died"))
    found = roll_out(entrants, MemoryStore(), params, world=MortalWorld)["it"]
    assert [message for message in caplog.messages if "has died (1 of at most 3)" in message]
    assert found == walked(Scripted([FORWARD, TURN_LEFT, STOP]), chosen=chosen)
    monkeypatch.setenv(MEMORY, "")
    with pytest.raises(BrokenProcessPool):
        roll_out(entrants, MemoryStore(), params, world=MortalWorld)


def test_what_is_finished_is_not_walked_again():
    store, policy = MemoryStore(), Scripted([FORWARD, TURN_LEFT, STOP])
    first = walked(policy, store=store, chosen=episodes()[:2])
    assert policy.walked == 6
    every = walked(policy, store=store)
    assert policy.walked == 18  # 3 steps of the 4 others
    assert every[:2] == first
    assert walked(policy, store=store) == every
    assert policy.walked == 18


def test_an_interrupted_rollout_keeps_what_was_finished():
    class Killed(Scripted):
        def reset(self, instructions, *, seeds):
            if self.walked:
                raise KeyboardInterrupt
            super().reset(instructions, seeds=seeds)

    store, params = MemoryStore(), PARAMS.model_copy(update={"slots": 2})
    with pytest.raises(KeyboardInterrupt):
        walked(Killed([STOP]), params, store)
    assert len(store) == 2
    policy = Scripted([STOP])
    records = walked(policy, params, store)
    assert policy.walked == 4
    assert records == walked(Scripted([STOP]), params)


@pytest.mark.parametrize(
    "other", [{"max_steps": 5}, {"success_distance": 0.9}, {"seed": 1}, {"depth": False}], ids=str
)
def test_another_policy_or_parameter_is_walked_anew(other):
    store = MemoryStore()
    walked(Scripted([STOP]), store=store)
    walked(Scripted([STOP], "retrained"), store=store)
    walked(Scripted([STOP]), PARAMS.model_copy(update=other), store)
    assert len(store) == 18


def test_more_processes_or_slots_are_no_other_evaluation():
    store, policy = MemoryStore(), Scripted([STOP])
    walked(policy, store=store)
    walked(policy, PARAMS.model_copy(update={"workers": 1, "slots": 3}), store)
    assert len(store) == 6


def test_records_survive_json():
    for record in walked(ShortestPath(), chosen=episodes()[:1]):
        assert EpisodeRecord.from_json(json.loads(json.dumps(record.as_json(), allow_nan=False))) == record
        lost = EpisodeRecord(
            **{**vars(record), "measures": type(record.measures)(0, 0, 0, math.inf, 0, 0, 1, 0, 0)}
        )
        assert EpisodeRecord.from_json(json.loads(json.dumps(lost.as_json(), allow_nan=False))) == lost


def test_instructions_and_notes_go_to_and_fro():
    policy = Scripted([FORWARD, STOP])
    records = walked(policy)
    assert policy.instructions == [episode.instruction for episode in episodes()]
    assert [record.notes for record in records] == [{"turns": 2}] * 6


def test_a_policy_must_answer_for_every_episode():
    policy = Scripted([STOP])
    policy.act = lambda observations, done: [STOP]
    with pytest.raises(ValueError, match="1 actions for 4 episodes"):
        walked(policy)


# --- what a policy is shown -----------------------------------------------------------------------------------


def test_it_is_shown_the_view_from_where_it_stands():
    policy = Scripted([FORWARD, TURN_LEFT, STOP])
    records = walked(policy, chosen=episodes()[2:4])  # of two houses: simulators must not mix
    for slot, record in enumerate(records):
        sim, _ = open_scene(episodes()[2 + slot].scene, PARAMS)
        for step in range(3):
            *position, yaw = record.states[step]
            pose = state_pose(type(episodes()[0].start)(tuple(position), yaw), PARAMS.agent.camera_height)
            np.testing.assert_array_equal(policy.shown[step][slot].rgb, sim.render(pose).rgb)
        sim.close()


def test_depth_pose_and_the_expert_are_shown_to_who_asks():
    policy = Scripted([STOP])
    walked(policy, PARAMS.model_copy(update={"depth": False}))
    plain = policy.shown[0][0]
    assert plain.depth is None
    assert plain.camera_to_world is None
    assert plain.expert is None
    asking = Scripted([STOP])
    asking.needs_expert = True
    walked(asking)
    full = asking.shown[0][0]
    assert full.depth.shape == full.rgb.shape[:2]
    assert full.camera_to_world.shape == (4, 4)
    assert full.expert == episodes()[0].actions[0]


def test_a_finished_episode_takes_no_action():
    sim, _ = open_scene(episodes()[0].scene, PARAMS)
    world = World(sim, episodes()[0], PARAMS, expert=False)
    world.step(STOP)
    with pytest.raises(ValueError, match="is over after 1 actions"):
        world.step(FORWARD)
    sim.close()


def test_a_collision_is_counted_and_moves_nothing():
    worlds = LocalWorlds(PARAMS, HOUSE)
    worlds.begin(episodes()[:1], expert=False)
    for _ in range(PARAMS.max_steps):
        worlds.step([FORWARD])
    (record,) = worlds.records()
    worlds.close()
    assert record.measures.collisions == sum(record.collided) > 0
    for step, bumped in enumerate(record.collided):
        assert bumped == (record.states[step] == record.states[step + 1])


def test_few_scenes_stay_open():
    scenes = OpenScenes(PARAMS, HOUSE, most=1)
    first, second = episodes()[0].scene, episodes()[-1].scene
    sim, _ = scenes.get(first)
    assert scenes.get(first)[0] is sim
    scenes.get(second)
    assert scenes.get(first)[0] is not sim
    scenes.close()


# --- baselines ------------------------------------------------------------------------------------------------


def test_baselines_know_how_long_ways_are():
    made = baselines(["random", "forward_only", "expert"], [[1, 1, 1, 0], [1, 2, 0], [1, 1, 0]])
    assert list(made) == ["random", "forward_only", "expert"]
    assert all(isinstance(policy, Policy) for policy in made.values())
    assert made["forward_only"].steps == 2
    assert made["random"].probabilities[STOP] == pytest.approx(1 / (10 / 3 + 1), abs=1e-4)
    with pytest.raises(ValueError, match="got 'clairvoyant'"):
        baselines(["clairvoyant"], [])


def test_forward_only_goes_and_stops():
    policy = ForwardOnly(2)
    policy.reset(["a", "b"], seeds=[0, 1])
    assert [policy.act([None] * 2, [False] * 2) for _ in range(3)] == [[1, 1], [1, 1], [0, 0]]


def test_random_stops_as_often_as_it_should():
    policy = RandomActions(0.2)
    policy.reset(["x"] * 2000, seeds=range(2000))
    actions = policy.act([None] * 2000, [False] * 2000)
    assert np.mean(np.array(actions) == STOP) == pytest.approx(0.2, abs=0.03)
    assert np.mean(np.array(actions) == FORWARD) == pytest.approx(0.4, abs=0.04)
    with pytest.raises(ValueError, match="got 1"):
        RandomActions(1.0)
