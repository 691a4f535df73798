"""The closed loop: what is shown, how chunks are done, what demonstrations hold; nothing is done twice."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from loop_world import LOOP, OWN, Counting, MemoryStore, Room, episode, episodes

from vln_heatmap.datasets.episode_files import EpisodeFiles
from vln_heatmap.nodes.navigation.episodes import episode_table
from vln_heatmap.nodes.navigation.rollout import Entrant, roll_out
from vln_heatmap.nodes.policy import closed_loop
from vln_heatmap.nodes.policy.closed_loop import (
    discrete_agents,
    draw_closed_loop,
    measure_closed_loop,
    walk_controllers,
)
from vln_heatmap.nodes.policy.closed_loop_world import (
    OBJECT_GOAL,
    POINT_GOAL,
    PROMPT,
    ContinuousWorld,
    Seen,
    task_episodes,
)
from vln_heatmap.nodes.policy.controllers import ChunkPolicy, until_stop
from vln_heatmap.nodes.policy.demonstrations import astray, demonstrate, record_demonstrations
from vln_heatmap.params.policy import PolicyParams


def chunks(execute: int) -> ChunkPolicy:
    return ChunkPolicy(Counting(), execute=execute, fingerprint="counting")


def shown(value: int = 0) -> Seen:
    return Seen(np.full((16, 16, 3), value, np.uint8), goal=(0.0, 2.0))


# --- what a policy is shown --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("goal", "state"),
    [
        ((0.0, 2.0), (1, 2, 0, 1)),
        ((-3.0, 0.0), (1, 3, 1, 0)),  # to the left
        ((1.0, -1.0), (1, math.sqrt(2), -math.sqrt(0.5), -math.sqrt(0.5))),
        ((0.0, 0.0), (1, 0, 0, 1)),
        (None, (0, 0, 0, 0)),
    ],
)
def test_the_state_knows_where_the_goal_is(goal, state):
    assert Seen(np.zeros((1, 1, 3), np.uint8), goal=goal).state() == pytest.approx(state)


def test_the_goal_is_seen_from_where_the_agent_stands():
    (one,) = task_episodes(POINT_GOAL, [episode((0.0, 1.0), 0.0, (0.0, -1.0))])
    world = ContinuousWorld(Room(), one, LOOP, expert=False)
    assert world.observation().goal == pytest.approx((0, 2))
    world.step([0.0, 0.25, math.radians(10), 0.0])
    turned = round(math.radians(10), 4)  # as actions are done and stored
    assert world.observation().goal == pytest.approx((1.75 * math.sin(turned), 1.75 * math.cos(turned)))


def test_only_episodes_that_name_a_thing_lead_to_an_object_and_it_is_not_told_where():
    objects, points = (task_episodes(task, episodes()) for task in (OBJECT_GOAL, POINT_GOAL))
    assert {one.id for one in objects} == {one.id for one in episodes() if one.kind != "route"}
    assert len(points) == len(episodes())
    assert {(one.instruction, len(one.goals), one.target) for one in points} == {(PROMPT, 1, None)}
    assert ContinuousWorld(Room(), objects[0], LOOP, expert=False).observation().goal is None


@pytest.mark.parametrize("action", [[0, 0, 0], [0, 0, 0, math.nan]])
def test_what_is_no_action_is_refused(action):
    world = ContinuousWorld(Room(), episode((0.0, 0.0), 0.0, (2.0, 0.0)), LOOP, expert=False)
    with pytest.raises(ValueError, match="an action must be the finite numbers"):
        world.step(action)


def test_a_stop_ends_an_episode_where_it_is():
    world = ContinuousWorld(Room(), episode((0.0, 0.0), 0.0, (0.5, 0.0)), LOOP, expert=False)
    assert not world.step([0.0, 0.1, 0.0, 0.4]).done
    assert world.step([0.0, 0.25, 0.0, 0.6]).done
    record = world.record()
    assert record.stopped
    assert record.measures.length == pytest.approx(0.1)
    assert record.measures.sr == 1


# --- receding horizon --------------------------------------------------------------------------------------


@pytest.mark.parametrize("execute", [1, 3, 8])
def test_of_each_chunk_exactly_so_many_actions_are_done(execute):
    policy = chunks(execute)
    policy.model.forward = lambda observation, noise: (
        policy.model.batches.append(1) or numbered(len(policy.model.batches) - 1, len(noise))
    )
    policy.reset(["a", "b"], seeds=[1, 2])
    done = [policy.act([shown(), shown()], [False, False]) for _ in range(2 * execute + 1)]
    assert [actions[1][0] for actions in done] == [*range(execute), *range(100, 100 + execute), 200]
    assert len(policy.model.batches) == 3
    assert policy.notes() == [{"asked": 3}] * 2


def numbered(call: int, count: int):
    import torch

    moves = (100.0 * call + torch.arange(8.0))[None, :, None].expand(count, 8, 3)
    return torch.cat([moves, torch.zeros(count, 8, 1)], -1)


@pytest.mark.parametrize(("stop", "kept"), [(None, 8), (0, 1), (1, 1), (3, 3)])
def test_a_stop_is_done_only_if_it_is_said_at_once(stop, kept):
    chunk = np.zeros((8, 4))
    if stop is not None:
        chunk[stop:, 3] = 1
    done = until_stop(chunk)
    assert len(done) == kept
    assert [action[3] for action in done] == [float(stop == 0)] * kept


def test_who_is_done_is_not_asked():
    policy = chunks(2)
    policy.reset(["a", "b"], seeds=[1, 2])
    for turn in range(4):
        policy.act([shown(), shown()], [False, turn > 1])
    assert [list(batch.prompts) for batch in policy.model.batches] == [["a", "b"], ["a"]]
    assert policy.model.batches[1].known.tolist() == [True]
    assert policy.notes() == [{"asked": 2}, {"asked": 1}]


@pytest.mark.parametrize("execute", [0, 9])
def test_more_actions_than_a_chunk_has_cannot_be_done(execute):
    with pytest.raises(ValueError, match=r"execute must be in \[1, 8\]"):
        chunks(execute)


# --- nothing is done twice, and company changes nothing ----------------------------------------------------


def walked(store, policy, slots=4, chosen=None):
    entrant = Entrant(policy, chosen or task_episodes(POINT_GOAL, episodes()))
    params = LOOP.model_copy(update={"slots": slots, "max_steps": 9})
    return roll_out({"it": entrant}, store, params, world=ContinuousWorld)["it"]


def test_an_interrupted_rollout_goes_on_and_gives_the_same():
    whole, store = walked(MemoryStore(), chunks(4)), MemoryStore()

    class Killed(ChunkPolicy):
        def reset(self, instructions, *, seeds):
            if store:
                raise KeyboardInterrupt
            super().reset(instructions, seeds=seeds)

    with pytest.raises(KeyboardInterrupt):
        walked(store, Killed(Counting(), execute=4, fingerprint="counting"), slots=2)
    assert len(store) == 2
    policy = chunks(4)
    assert walked(store, policy, slots=1) == whole
    assert len(policy.model.batches) == 2 * 3  # 9 steps in chunks of 4, of the two that were left
    assert len({tuple(record.actions[0]) for record in whole}) == 4  # each has noise and views of its own


def test_another_number_of_done_actions_is_another_policy():
    store = MemoryStore()
    walked(store, chunks(4))
    walked(store, chunks(2))
    assert len(store) == 8


# --- demonstrations ----------------------------------------------------------------------------------------


def demonstrated(astray: int) -> dict[str, np.ndarray]:
    how = OWN.demonstrations.model_copy(update={"astray": astray, "follow": 3})
    (one,) = task_episodes(POINT_GOAL, [episode((0.0, 1.0), 0.0, (0.0, -1.0))])
    table = demonstrate(Room(), one, LOOP, how).to_pydict()
    return {name: np.array(cells) for name, cells in table.items()}


def test_a_demonstration_leads_to_the_goal():
    rows = demonstrated(astray=0)
    np.testing.assert_allclose(rows["action"], [[0, 0.25, 0, 0]] * 7 + [[0, 0, 0, 1]])  # 2 m but a step
    np.testing.assert_allclose(rows["state"][:, 1], 2 - 0.25 * np.arange(8), atol=1e-9)
    assert rows["is_first"].tolist() == [True] + [False] * 7
    assert rows["is_terminal"].tolist() == rows["is_last"].tolist() == [False] * 7 + [True]
    assert set(rows["prompt"]) == {PROMPT}


def test_ways_back_are_episodes_in_which_every_action_leads_to_the_next_row():
    rows = demonstrated(astray=4)
    assert rows["is_first"].sum() == rows["is_last"].sum() > 1
    assert rows["is_terminal"].sum() == rows["is_terminal"][-1] == 1
    distance, sine, cosine = rows["state"][:, 1:].T
    right, forward, turn, _ = rows["action"].T
    goal = distance * np.exp(1j * np.arctan2(sine, cosine))  # ahead + i left
    after = (goal - (forward - 1j * right)) * np.exp(-1j * turn)
    within = ~rows["is_last"][:-1]
    np.testing.assert_allclose(after[:-1][within], goal[1:][within], atol=1e-6)
    assert np.abs(after[:-1] - goal[1:])[~within].min() > 1e-3  # it was led astray in between


def test_astray_it_goes_on_into_a_wall_or_anywhere_but_not_far():
    one, sim = episode((-1.0, -1.5), 0.0, (1.0, -1.5)), Room(wall=1.0)
    ends = [astray(sim, one.start, one, LOOP, 8, np.random.default_rng(seed)) for seed in range(30)]
    assert any(abs(state.position[0] + 0.1) < 0.06 for state in ends)
    assert max(math.dist(state.position, one.start.position) for state in ends) <= 8 * 0.25 + 1e-9
    assert all(sim.is_navigable(state.position) for state in ends)


def test_demonstrations_are_data_of_the_policy_and_none_is_made_twice(tmp_path):
    files = EpisodeFiles(tmp_path)
    found, table, settings = record_demonstrations(files, LOOP, OWN, PolicyParams())
    (folder,) = tmp_path.iterdir()
    made = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
    assert len(table) > 8  # 2 houses, 2 walks each, to a point and to an object, in pieces
    assert found.source.cameras == ("image_1",)
    window = found.windows("train", settings).get(0)
    assert window["images"].shape[1:] == (1, 3, 64, 64)
    assert window["state"].shape[1] == window["target"].shape[2] == 4
    assert not settings.model.previous_action

    first, second = made
    stamp = (folder / first).stat().st_mtime_ns
    (folder / second).unlink()  # as if it had been interrupted
    record_demonstrations(files, LOOP, OWN, PolicyParams())
    assert {file.name: file.read_bytes() for file in sorted(folder.iterdir())} == made
    assert (folder / first).stat().st_mtime_ns == stamp


# --- measures ----------------------------------------------------------------------------------------------


def test_all_walk_the_same_episodes_and_are_measured(monkeypatch):
    monkeypatch.setattr(closed_loop, "chunk_policy", lambda checkpoint, execute: chunks(execute))
    table, params = episode_table(episodes()), LOOP.model_copy(update={"max_steps": 40, "resamples": 10})
    records = walk_controllers(table, SimpleNamespace(), MemoryStore(), params, OWN)
    results, latest, rows = measure_closed_loop(records, {}, params, OWN)
    point, thing = (results["policy_navigation"]["tasks"][task] for task in (POINT_GOAL, OBJECT_GOAL))
    assert latest == results
    assert list(point["policies"]) == ["random", "straight", "expert", "policy"]
    assert list(thing["policies"]) == ["random", "expert", "policy"]
    assert point["policies"]["expert"]["sr"] == thing["policies"]["expert"]["sr"] == 1
    assert point["policies"]["policy"]["sr"] == 0  # it never stops
    assert point["comparisons"]["expert"]["lost"] == point["episodes"] == 4
    assert len(rows) == 4 * point["episodes"] + 3 * thing["episodes"]
    assert set(rows["task"]) == {POINT_GOAL, OBJECT_GOAL}
    figure = draw_closed_loop(results, records, table, params, OWN.model_copy(update={"drawn": 1}))
    assert [len(axes.images) for axes in figure.axes] == [0, 1, 0, 1]


def test_discrete_agents_are_shown_where_they_were_measured():
    numbers = {"sr": 0.5, "sr_ci": [0.4, 0.6], "spl": 0.3, "kinds": {"object": {"sr": 0.2}}}
    so_far = {"navigation": {"policies": {"model": numbers, "odd": {"sr": 1.0, "kinds": {}}}}}
    assert discrete_agents(OBJECT_GOAL, so_far) == {"model": {"sr": 0.2}}
    shown_too = {"sr": 0.5, "sr_ci": [0.4, 0.6], "spl": 0.3}
    assert discrete_agents(POINT_GOAL, so_far) == {"model": shown_too, "odd": {"sr": 1.0}}
    assert discrete_agents(POINT_GOAL, {}) == {}


def test_a_task_without_episodes_is_empty_and_not_an_error():
    results, _, rows = measure_closed_loop({OBJECT_GOAL: {"policy": []}}, {}, LOOP, OWN)
    assert results["policy_navigation"]["tasks"][OBJECT_GOAL]["episodes"] == 0
    assert isinstance(rows, pd.DataFrame)
