"""Episodes that can be walked, that mean one thing, and that are the same every time."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
from navigation_world import PARAMS, episodes

from vln_heatmap.nodes.metrics.navigation import path_length
from vln_heatmap.nodes.navigation.episodes import (
    expert_walk,
    goals_beside,
    house_phrases,
    make_episodes,
    plan_episodes,
    read_episode_table,
)
from vln_heatmap.nodes.navigation.expert import Expert, corners
from vln_heatmap.nodes.navigation.scenes import make_scene, open_scene
from vln_heatmap.params.navigation import EpisodeParams, NavigationParams
from vln_heatmap.simulation.navigation.lines import resample
from vln_heatmap.simulation.simulators.base import FORWARD, STOP, TURN_LEFT, AgentState


@pytest.fixture(scope="module")
def opened():
    sim, scene = open_scene(episodes()[0].scene, PARAMS)
    yield sim, scene
    sim.close()


def test_there_are_as_many_as_asked_for_and_both_types():
    assert len(episodes()) == 6
    assert len({episode.id for episode in episodes()}) == 6
    kinds = [episode.kind == "route" for episode in episodes()]
    assert True in kinds
    assert False in kinds


def test_they_are_within_the_wanted_distance_and_the_expert_gets_there():
    for each in episodes():
        assert PARAMS.episodes.distance[0] <= each.geodesic <= PARAMS.episodes.distance[1]
        assert each.actions[-1] == STOP
        assert len(each.actions) == len(each.reference) <= PARAMS.episodes.length
        assert min(math.dist(each.reference[-1], goal) for goal in each.goals) <= PARAMS.agent.forward_step
        assert path_length(each.reference) <= 1.3 * each.geodesic + 0.5
        assert each.instruction


def test_they_are_told_both_ways_where_the_thing_has_a_name_of_its_own(opened):
    """Who is told the way could have been told the thing, and the other way round."""
    phrases = [phrase.text for own in house_phrases(opened[1]).values() for phrase in own]
    pairs = [each for each in episodes() if each.also]
    assert len(pairs) >= len(episodes()) / 2
    for each in pairs:
        assert each.texts == (each.instruction, each.also)
        told, named = each.texts if each.kind == "route" else each.texts[::-1]
        assert len(told.split()) > len(named.split())
        if each.scene == episodes()[0].scene:
            assert any(named.removesuffix(" and stop").endswith(phrase) for phrase in phrases)
    alone = dataclasses.replace(pairs[0], also="")
    assert alone.texts == (alone.instruction,)
    assert alone.fingerprint() == pairs[0].fingerprint()  # what is walked is the same


def test_they_are_the_same_every_time_and_in_any_number_of_houses():
    one_house = PARAMS.episodes.model_copy(update={"houses": 1})
    again = make_episodes(one_house, PARAMS)
    assert [e.fingerprint() for e in again] == [e.fingerprint() for e in episodes()[:3]]


def test_another_seed_gives_other_houses_and_so_does_the_other_split():
    other = PARAMS.episodes.model_copy(update={"houses": 1, "per_house": 1, "seed": 1})
    train = PARAMS.dagger.episodes.model_copy(update={"houses": 1, "per_house": 1})
    seeds = {make_episodes(wanted, PARAMS)[0].scene.seed for wanted in (other, train)}
    assert len(seeds | {episode.scene.seed for episode in episodes()}) == 4
    assert min(seeds) >= 10_000_000_000  # seeds of collections are below


def test_a_table_keeps_everything(tmp_path):
    file = tmp_path / "episodes.parquet"
    plan_episodes(PARAMS).to_parquet(file)
    read = read_episode_table(__import__("pandas").read_parquet(file))
    for kept, made in zip(read, episodes(), strict=True):
        assert kept.fingerprint() == made.fingerprint()
        a, b = dataclasses.asdict(kept), dataclasses.asdict(made)
        np.testing.assert_array_equal(a.pop("reference"), b.pop("reference"))
        assert a == b


def test_a_phrase_of_the_house_names_one_thing_there(opened):
    _, scene = opened
    found = house_phrases(scene)
    texts = [phrase.text for phrases in found.values() for phrase in phrases]
    assert len(texts) == len(set(texts)) > 5
    by_category = [p for phrases in found.values() for p in phrases if p.kind == "category"]
    for phrase in by_category:
        noun = phrase.text.removeprefix("the ")
        fitting = [t.id for t in scene.instances if t.category == noun or t.category.endswith(f" {noun}")]
        assert fitting == list(phrase.instances)


def test_goals_stand_beside_the_thing_and_in_its_room(opened):
    sim, scene = opened
    floor = sim.navigable_points(0.25)
    thing = max((t for t in scene.instances if t.category == "bed" or t.movable), key=lambda t: t.box_max[1])
    goals = goals_beside(thing, scene, floor, 1.0)
    assert 0 < len(goals) <= 12
    for goal in goals:
        gap = np.maximum(np.maximum(np.array(thing.box_min) - goal, goal - np.array(thing.box_max)), 0)[
            [0, 2]
        ]
        assert np.hypot(*gap) <= 1.0 + 1e-6
        assert sim.is_navigable(goal)
        assert scene.room_at(goal[0], goal[2], goal[1]) == thing.room


# --- the expert -----------------------------------------------------------------------------------------------


def test_the_expert_finds_back_after_somebody_else_has_acted(opened):
    sim, _ = opened
    episode = episodes()[0]
    expert, state = Expert(sim, PARAMS.agent, episode.goals, episode.target), episode.start
    for step in range(120):
        action = expert.action(state)
        if action == STOP and step >= 12:
            break
        if step % 3 == 2 and step < 12:  # somebody turns it away
            action = TURN_LEFT
        state = sim.step(state, action).state
    assert min(math.dist(state.position, goal) for goal in episode.goals) <= PARAMS.agent.forward_step


def test_the_expert_faces_its_target_and_stops(opened):
    sim, _ = opened
    for episode in episodes()[:3]:
        walk = expert_walk(sim, episode.start, episode.goals, episode.target, PARAMS.agent, 60)
        end = walk.steps[-1].state
        ahead = np.array([-math.sin(end.yaw), -math.cos(end.yaw)])
        there = np.array(episode.target)[[0, 2]] - np.array(end.position)[[0, 2]]
        if np.hypot(*there) > 0.05:
            assert ahead @ there / np.hypot(*there) >= math.cos(math.radians(7.5)) - 1e-6


def test_the_expert_keeps_away_from_obstacles_where_there_is_room(opened):
    """Corners farther from them than the shortest way, where that is nearer than half a metre."""
    sim, _ = opened
    floor = sim.navigable_points(1.0)
    own, shortest = [], []
    for start, goal in zip(floor, floor[::-1], strict=True):
        ways = corners(sim, sim.roomy_path(start, goal)), sim.shortest_path(start, goal)
        for found, way in zip((own, shortest), ways, strict=True):
            found += [
                min(sim.clearance(point), 0.5) for point in (resample(way, 0.25) if len(way) > 1 else way)
            ]
    assert len(own) > 100
    assert np.mean(own) > np.mean(shortest) + 0.03


def test_the_expert_turns_to_the_next_corner_and_walks_up_to_it(opened):
    """Few runs of one action: clearly fewer changes than one in two steps; and few straight lines."""
    actions = [each.actions for each in episodes()]
    changes = sum(a != b for own in actions for a, b in pairwise(own))
    assert changes < sum(map(len, actions)) / 2.2
    sim, _ = opened
    for episode in [each for each in episodes() if each.scene == episodes()[0].scene]:
        way = sim.roomy_path(np.array(episode.start.position), np.array(episode.goals[0]))
        kept = corners(sim, way)
        assert len(kept) < len(way) / 3
        np.testing.assert_array_equal(kept[[0, -1]], way[[0, -1]])
        off = [min(line_distance(point, a, b) for a, b in pairwise(kept)) for point in way]
        assert max(off) <= 0.15 + 1e-9
        assert all(len(sim.shortest_path(a, b)) == 2 for a, b in pairwise(kept))


def line_distance(point, start, end):
    """Metres in the plan between a point and the line from start to end."""
    point, start, end = (np.asarray(p)[[0, 2]] for p in (point, start, end))
    way = end - start
    along = np.clip((point - start) @ way / (way @ way), 0, 1)
    return float(np.linalg.norm(point - start - along * way))


def test_the_expert_gives_up_where_there_is_no_way(opened):
    sim, _ = opened
    outside = (100.0, 0.0, 100.0)
    assert Expert(sim, PARAMS.agent, [outside]).action(episodes()[0].start) == STOP
    assert expert_walk(sim, episodes()[0].start, [outside], None, PARAMS.agent, 20) is None


class Corridor:
    """An endless floor on which FORWARD bumps once, whatever is asked about it before."""

    def __init__(self):
        self.agent = PARAMS.agent

    def shortest_path(self, start, goal):
        return np.array([start, goal])

    roomy_path = shortest_path

    def step(self, state, action):
        from vln_heatmap.simulation.simulators.base import StepResult, stop_or_turn

        turned = stop_or_turn(state, action, 15.0)
        if turned:
            return turned
        x, y, z = state.position
        ahead = (x - 0.25 * math.sin(state.yaw), y, z - 0.25 * math.cos(state.yaw))
        return StepResult(AgentState(ahead, state.yaw), False)


def test_the_expert_tries_another_heading_after_a_bump():
    expert, state = Expert(Corridor(), PARAMS.agent, [(0.0, 0.0, -3.0)]), AgentState((0.0, 0.0, 0.0), 0.0)
    assert expert.action(state) == FORWARD
    assert expert.action(state) in (TURN_LEFT, 3)  # it stands where it stood: that heading is blocked


def test_parameters_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="must begin beyond success_distance"):
        NavigationParams(success_distance=3.0)
    with pytest.raises(ValueError, match="least, most"):
        EpisodeParams(distance=(5.0, 3.0))
    with pytest.raises(ValueError, match="unseen"):
        NavigationParams(episodes=EpisodeParams(split="train"))


def test_a_scene_needs_a_seed_or_a_file():
    with pytest.raises(ValueError, match="neither a seed nor a file"):
        make_scene(dataclasses.replace(episodes()[0].scene, seed=None), PARAMS.episodes.house)
