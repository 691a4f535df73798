"""A dialogue walks: a view for each reply, nothing shown in between, and a history of what was really done."""

from __future__ import annotations

from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
import synthetic
import torch
from dialogue_world import toy_dialogue
from navigation_world import PARAMS, MemoryStore, episodes, picture

from vln_heatmap.agent import Observation, VLNAgent
from vln_heatmap.datasets.checkpoint import Checkpoint, CheckpointDataset
from vln_heatmap.nodes.model.dialogue_checkpoint import dialogue_meta
from vln_heatmap.nodes.navigation.dialogue_policy import (
    DialoguePolicy,
    dialogue_policies,
    first_actions,
    seen_points,
    trained_policies,
    until_stop,
    weights_fingerprint,
)
from vln_heatmap.nodes.navigation.rollout import Entrant, roll_out


class Talker:
    """A dialogue that gives prepared replies, and notes which views each of its dialogues was shown."""

    def __init__(self, replies):
        self.replies, self.together = replies, []

    def start(self, instruction):
        return SimpleNamespace(instruction=instruction, shown=[], points=[], turn=0, open=False)

    def observe_all(self, states, frames, features, *, depths, tracks, points, done):
        self.together.append(len(states))
        self.done = list(done)
        for number, state in enumerate(states):
            state.shown.append(int(frames[number].mean()))
            state.points.append(None if points is None else points[number])
            assert frames[number].shape == (3, 14, 14)
        return states

    def act_all(self, states, *, cached, barred):
        found = []
        for state in states:
            found.append(list(self.replies[state.turn % len(self.replies)]))
            state.turn += 1
        return found


class Feeler(Talker):
    """The same, but it says an action at a time and is told what is sensed between."""

    def observe_all(self, states, frames, features, *, depths, tracks, points, done):
        for state in states:
            state.left = list(self.replies[state.turn % len(self.replies)])
            state.turn += 1
            state.felt = []
        return super().observe_all(
            states, frames, features, depths=depths, tracks=tracks, points=points, done=done
        )

    def sense_all(self, states, *, depths, tracks):
        for state, depth, track in zip(states, depths, tracks, strict=True):
            state.felt.append((depth, len(track)))

    def act_all(self, states, *, cached, barred):
        said = [[state.left.pop(0)] if state.left else [] for state in states]
        for state, actions in zip(states, said, strict=True):
            state.open = bool(state.left) and actions != [0]
        return said


class Encoder:
    def encode(self, images):
        return images[:, :1, ::4, ::4].float()


def policy(replies, **options) -> DialoguePolicy:
    return DialoguePolicy(Talker(replies), Encoder(), resolution=14, fingerprint=f"talk {replies}", **options)


def acted(walker, levels, done=(False,)):
    return [walker.act([picture(level)] * len(done), done)[0] for level in levels]


def test_a_view_is_shown_once_for_each_reply_of_any_length():
    walker = policy([[1, 1, 2, 1], [3], [1, 0]])
    walker.reset(["go"], seeds=[0])
    assert acted(walker, range(10, 17)) == [1, 1, 2, 1, 3, 1, 0]
    assert walker._episodes[0].state.shown == [10, 14, 15]  # frames by what was done before
    assert walker.notes() == [{"said": [[1, 1, 2, 1], [3], [1, 0]]}]


def test_of_a_reply_so_many_actions_are_done_and_the_dialogue_is_told_which():
    walker = policy([[1, 1, 2, 1], [3], [2, 0]], execute=2)
    walker.reset(["go"], seeds=[0])
    assert acted(walker, [10, 11]) == [1, 1]
    assert walker.dialogue.done == [None]
    assert acted(walker, [12]) == [3]
    assert walker.dialogue.done == [[1, 1]]
    assert acted(walker, [13, 14]) == [2, 0]
    assert walker._episodes[0].state.shown == [10, 12, 13]
    assert walker.notes() == [{"said": [[1, 1], [3], [2, 0]]}]
    assert policy([[1]], execute=2).fingerprint != policy([[1]]).fingerprint


def feeler(replies, **options) -> DialoguePolicy:
    return DialoguePolicy(Feeler(replies), Encoder(), resolution=14, fingerprint="feels", **options)


def sensing(level: int) -> Observation:
    depth = np.full((16, 16), float(level), np.float32)
    return Observation(picture(level).rgb, depth, np.eye(4))


def test_what_is_sensed_after_an_action_is_told_before_the_next():
    walker = feeler([[1, 1, 2, 1], [3], [1, 0]])
    walker.reset(["go"], seeds=[0])
    state = walker._episodes[0].state
    assert [walker.act([sensing(level)], [False])[0] for level in range(10, 14)] == [1, 1, 2, 1]
    assert [(float(depth.mean()), count) for depth, count in state.felt] == [(11, 2), (12, 3), (13, 4)]
    assert [walker.act([sensing(level)], [False])[0] for level in range(14, 17)] == [3, 1, 0]
    assert state.shown == [10, 14, 15]  # as often as one that says all at once
    assert walker.notes() == [{"said": [[1, 1, 2, 1], [3], [1, 0]]}]


def test_of_a_reply_that_goes_on_so_many_actions_are_done():
    walker = feeler([[1, 1, 2, 1], [3, 3, 3]], execute=2)
    walker.reset(["go"], seeds=[0])
    assert [walker.act([sensing(level)], [False])[0] for level in range(10, 14)] == [1, 1, 3, 3]
    assert walker._episodes[0].state.shown == [10, 12]
    assert walker.notes() == [{"said": [[1, 1], [3, 3]]}]


def test_who_wants_to_say_no_more_is_shown_a_view():
    walker = feeler([[1], [2]])
    walker.reset(["go"], seeds=[0])
    state = walker._episodes[0].state
    assert walker.act([sensing(10)], [False]) == [1]
    state.open = True  # but it has nothing more to say
    assert walker.act([sensing(11)], [False]) == [2]
    assert state.shown == [10, 11]
    assert walker.notes() == [{"said": [[1], [2]]}]


def test_what_was_not_done_is_not_in_the_history():
    walker = policy([[1, 1, 2, 1]])
    walker.reset(["go"], seeds=[0])
    acted(walker, range(6))
    assert walker.notes() == [{"said": [[1, 1, 2, 1], [1, 1]]}]


def test_nothing_follows_a_stop():
    walker = policy([[1, 0, 1, 1]])
    walker.reset(["go"], seeds=[0])
    assert acted(walker, range(2)) == [1, 0]
    assert walker.notes() == [{"said": [[1, 0]]}]
    assert until_stop([0, 0, 1]) == [0]
    assert until_stop([2, 3]) == [2, 3]


def test_only_those_who_need_a_view_are_shown_one():
    walker = policy([[1, 1], [1]])
    walker.reset(["a", "b", "c"], seeds=[0] * 3)
    walker.act([picture()] * 3, [False, False, True])
    walker.act([picture()] * 3, [False, True, True])
    walker.act([picture()] * 3, [False, True, True])
    assert walker.dialogue.together == [2, 1]


def test_a_dialogue_must_answer():
    walker = policy([[]])
    walker.reset(["go"], seeds=[0])
    with pytest.raises(ValueError, match="at least one action"):
        acted(walker, [0])


def test_points_of_the_view_are_handed_on():
    walker = policy([[1]], points=lambda seen: np.full((2, 2, 3), seen.rgb.mean()))
    walker.reset(["go"], seeds=[0])
    acted(walker, [5, 6])
    assert [float(points[0, 0, 0]) for points in walker._episodes[0].state.points] == [5, 6]


def test_it_walks_in_closed_loop():
    params = PARAMS.model_copy(update={"max_steps": 6})
    records = roll_out({"model": Entrant(policy([[2, 2, 2, 2]]), episodes()[:3])}, MemoryStore(), params)[
        "model"
    ]
    for record in records:
        assert record.actions == [2] * 6
        assert record.notes == {"said": [[2] * 4, [2] * 2]}


def test_first_actions_keep_their_replies():
    assert first_actions([[1, 2], [3, 1, 1]], 4) == [[1, 2], [3, 1]]
    assert first_actions([[1, 2], [3]], 2) == [[1, 2]]
    assert first_actions([[1, 2]], 0) == []
    assert first_actions([], 3) == []


# --- a real dialogue from a checkpoint ------------------------------------------------------------------------


class Colours:
    """In place of the frozen encoder: mean colours of cells, repeated to as many channels as the toy has."""

    def to(self, device):
        return self

    def encode(self, images):
        cells = torch.nn.functional.adaptive_avg_pool2d(images.float() / 64 - 2, synthetic.GRID)
        return cells.repeat(1, synthetic.CHANNELS // 3, 1, 1)


@pytest.fixture
def checkpoint(tmp_path, monkeypatch) -> Checkpoint:
    monkeypatch.setattr("vln_heatmap.nodes.model.encoder2d.make_encoder", lambda params: Colours())
    return stored(tmp_path / "one", sharp=8.0)


def stored(folder, **options) -> Checkpoint:
    torch.manual_seed(0)
    model = toy_dialogue(**options)
    dataset = CheckpointDataset(filepath=str(folder))
    meta = dialogue_meta(model, synthetic.TOKENIZER)
    dataset.save({"state_dict": model.state_dict(), "meta": meta})
    return dataset.load()


def walked(walker, **changes):
    params = PARAMS.model_copy(update={"max_steps": 20, **changes})
    return roll_out({"it": Entrant(walker, episodes()[:4])}, MemoryStore(), params)["it"]


def test_a_trained_dialogue_walks_the_same_cached_or_not_alone_or_in_company(checkpoint):
    together = walked(dialogue_policies(checkpoint)())
    assert len({tuple(record.actions) for record in together}) > 1
    assert walked(dialogue_policies(checkpoint, cached=False)()) == together
    assert walked(dialogue_policies(checkpoint)(), slots=1) == together
    for record in together:
        assert list(chain.from_iterable(record.notes["said"])) == record.actions


def test_the_agent_does_what_the_policy_does(checkpoint):
    agent, views = VLNAgent.from_checkpoint(checkpoint.path), [picture(level) for level in range(0, 240, 20)]
    policy = dialogue_policies(checkpoint)()
    policy.reset(["go to the door"], seeds=[0])
    agent.reset("go to the door")
    for view in views:
        (expected,) = policy.act([view], [False])
        assert agent.act(view) == expected
        if expected == 0:
            break


def test_weights_and_settings_have_a_fingerprint(checkpoint, tmp_path):
    again, other = stored(tmp_path / "two", sharp=8.0), stored(tmp_path / "three", sharp=4.0)
    wider = stored(tmp_path / "four", sharp=8.0, context={"fast": 1})
    prints = [weights_fingerprint(each) for each in (checkpoint, again, other, wider)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_policies_of_both_stages_by_name(checkpoint):
    assert list(trained_policies(checkpoint)) == ["model"]
    assert list(trained_policies(checkpoint, checkpoint)) == ["model", "before_cotraining"]


def test_points_need_depth_and_pose():
    flat = Observation(np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 2.0, np.float32), np.eye(4))
    points = seen_points(flat, hfov=90.0, grid=2)
    assert points[..., 2].tolist() == [[2, 2], [2, 2]]
    assert points[0, 0, 0] < 0 < points[0, 1, 0]
    with pytest.raises(ValueError, match=r"navigation\.depth"):
        seen_points(picture(), hfov=90.0, grid=2)


def test_after_a_bump_forward_is_barred_and_then_the_way_back():
    class Noting(Feeler):
        def act_all(self, states, *, cached, barred):
            self.barred = list(map(set, barred))
            return super().act_all(states, cached=cached, barred=barred)

    def standing_at(x: float) -> Observation:
        pose = np.eye(4)
        pose[0, 3] = x
        return Observation(picture().rgb, None, pose)

    for tryout, expected in ((True, [set(), set(), {1}, {3}]), (False, [set()] * 4)):
        walker = DialoguePolicy(
            Noting([[1, 1, 2, 1]]), Encoder(), resolution=14, fingerprint="", tryout=tryout
        )
        walker.reset(["go"], seeds=[0])
        found = []
        for x in (0.0, 0.25, 0.25, 0.25):
            walker.act([standing_at(x)], [False])
            found += walker.dialogue.barred
        assert found == expected
