"""The expert takes over where it must, and what it would have done is to be learned at every step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from navigation_world import PARAMS, MemoryStore, Scripted

from vln_heatmap.datasets.sequence_store import SequenceStoreDataset
from vln_heatmap.nodes.navigation.dagger import SupervisedPolicy, correct_student
from vln_heatmap.nodes.navigation.dialogues import CORRECTED, corrected_dialogues, sequence_dialogues
from vln_heatmap.nodes.navigation.episodes import make_episodes
from vln_heatmap.nodes.navigation.filming import demonstrations, spread
from vln_heatmap.nodes.navigation.perturbed import perturbed_walk
from vln_heatmap.nodes.navigation.policy import Observation
from vln_heatmap.nodes.navigation.scenes import open_scene
from vln_heatmap.params.navigation import DaggerParams
from vln_heatmap.params.navigation_data import DialogueParams, NavigationSourceParams
from vln_heatmap.params.navigation_training import PerturbationParams

RULES = DaggerParams(errors=0.5, window=4, least=2)
NEVER = PerturbationParams(share=0.0)
SOURCES = NavigationSourceParams()
VERSION = itertools.count()


def supervised(script, experts, rules=RULES):
    """What is done, and the notes, when a student says ``script`` and the expert ``experts``."""
    policy = SupervisedPolicy(Scripted(script), rules)
    policy.reset(["go"], seeds=[0])
    views = [Observation(np.zeros((2, 2, 3), np.uint8), expert=expert) for expert in experts]
    return [policy.act([view], [False])[0] for view in views], policy.notes()[0]


def test_a_student_that_does_right_is_left_alone():
    done, notes = supervised([1, 2, 1, 0], [1, 2, 1, 0])
    assert done == [1, 2, 1, 0]
    assert (notes["taken"], notes["reason"], notes["errors"]) == (None, "", 0)
    assert notes["expert"] == [1, 2, 1, 0]


def test_a_wrong_stop_is_never_done():
    done, notes = supervised([1, 0], [1, 1, 1, 2, 1, 1, 0])
    assert done == [1, 1, 1, 2, 1, 1, 0]
    assert (notes["taken"], notes["reason"]) == (1, "wrong stop")
    assert notes["said"] == [[1], [1, 1, 2, 1], [1, 0]]
    assert notes["expert"] == done


def test_too_many_errors_in_the_last_steps():
    done, notes = supervised([2], [2, 1, 2, 1, 3, 3, 0])
    assert (notes["taken"], notes["reason"]) == (3, "too many errors")  # 2 of the last 4
    assert done == [2, 2, 2, 1, 3, 3, 0]
    assert notes["errors"] == 0.5
    assert notes["expert"] == [2, 1, 2, 1, 3, 3, 0]
    _, early = supervised([2], [1, 1, 1])
    assert early["taken"] is None  # fewer steps than the window: it may still get better


def test_a_missed_stop_is_an_error():
    _, notes = supervised([1], [1, 1, 0, 0])
    assert (notes["taken"], notes["reason"]) == (3, "too many errors")


def test_the_student_is_not_asked_after_the_takeover():
    student = Scripted([0])
    policy = SupervisedPolicy(student, RULES)
    policy.reset(["go"], seeds=[0])
    for _ in range(5):
        policy.act([Observation(np.zeros((2, 2, 3), np.uint8), expert=1)], [False])
    assert student.walked == 1


def test_it_needs_an_expert_and_differs_by_student_and_rules():
    policy = SupervisedPolicy(Scripted([1]), RULES)
    policy.reset(["go"], seeds=[0])
    with pytest.raises(ValueError, match="expert"):
        policy.act([Observation(np.zeros((2, 2, 3), np.uint8))], [False])
    prints = {
        SupervisedPolicy(Scripted([1], name), rules).fingerprint
        for name in ("a", "b")
        for rules in (RULES, RULES.model_copy(update={"errors": 0.9}))
    }
    assert len(prints) == 4


def stored(stream, folder):
    from kedro.io import Version

    dataset = SequenceStoreDataset(filepath=str(folder / "walks"), version=Version(None, f"v{next(VERSION)}"))
    dataset.save(stream)
    return dataset.load()


def test_corrections_come_back_as_sequences_and_dialogues(tmp_path):
    store = stored(correct_student(Scripted([2, 2, 0]), MemoryStore(), PARAMS), tmp_path)
    assert len(store) == 2
    for name in store:
        sequence = store.load(name)
        facts = sequence.metadata[CORRECTED]
        assert facts["taken"] <= 2
        actions = [action for reply in facts["said"] for action in reply]
        assert list(sequence.frames["action"]) == actions  # done by the student, then by the expert
        assert actions[-1] == 0
        assert sequence.rgb.shape[1:] == (24, 32, 3)
        dialogues = corrected_dialogues(sequence, DialogueParams())
        told = {item["text"] for item in sequence.metadata["instructions"]}
        assert {dialogue.instruction for dialogue in dialogues} == told
        for text in told:
            turns = turns_of(dialogues, text)
            assert [action for turn in turns for action in turn.wanted] == facts["expert"]
            assert [action for turn in turns for action in turn.actions] == actions
        assert facts["expert"][facts["taken"] :] == actions[facts["taken"] :]


def turns_of(dialogues, text):
    """All turns after one of the instructions."""
    return [turn for dialogue in dialogues if dialogue.instruction == text for turn in dialogue.turns]


def test_a_student_without_faults_teaches_nothing(tmp_path):
    class Cheat(Scripted):
        needs_expert = True

        def act(self, observations, done):
            return [seen.expert for seen in observations]

    assert len(stored(correct_student(Cheat([0]), MemoryStore(), PARAMS), tmp_path)) == 0


def test_rounds_have_houses_of_their_own():
    walked = [correct_student(Scripted([0]), MemoryStore(), PARAMS, round_number=k).plan for k in (0, 1)]
    assert walked[0].ids[0] == "dagger0_train_000000_000"
    assert walked[0].fingerprint != walked[1].fingerprint


def test_demonstrations_are_the_expert_walks(tmp_path):
    wanted = PARAMS.dagger.episodes
    store = stored(demonstrations(wanted, PARAMS, NEVER), tmp_path)
    assert len(store) == 2
    for name in store:
        sequence = store.load(name)
        for said in sequence.metadata["instructions"]:
            assert list(sequence.frames["action"]) == said["actions"]
        assert bool(sequence.frames["is_terminal"].iloc[-1])
        assert not sequence.frames["collided"].any()
    with pytest.raises(ValueError, match="split 'train'"):
        demonstrations(PARAMS.episodes, PARAMS, NEVER)


def test_a_perturbed_walk_is_what_was_done_and_what_the_expert_wanted(tmp_path):
    """Half of the walks; a film is the walk, and its dialogues learn what the expert said at each step."""
    how = PerturbationParams(share=0.5, rate=0.5, steps=3)
    store = stored(demonstrations(PARAMS.dagger.episodes, PARAMS, how), tmp_path)
    names = sorted(store)
    assert [name.split("_")[0] for name in names] == ["expert", "perturbed"]
    walk = store.load(names[1])
    episode = make_episodes(PARAMS.dagger.episodes, PARAMS)[1]
    sim, _ = open_scene(episode.scene, PARAMS, PARAMS.dagger.episodes.house)
    try:
        lived = perturbed_walk(sim, episode, PARAMS, how)
    finally:
        sim.close()
    facts, actions = walk.metadata[CORRECTED], tuple(walk.frames["action"])
    assert (actions, tuple(facts["expert"])) == (lived.actions, lived.expert)
    wrong = [a != b for a, b in zip(actions, facts["expert"], strict=True)]
    assert any(wrong)
    assert actions[-1] == facts["expert"][-1] == 0
    told = [item["text"] for item in walk.metadata["instructions"]]
    assert told == list(episode.texts)
    turns = turns_of(sequence_dialogues(walk, DialogueParams(), SOURCES), told[-1])
    assert [action for turn in turns for action in turn.wanted] == facts["expert"]
    assert tuple(action for turn in turns for action in turn.actions) == actions
    assert all(len(turn.actions) == 4 for turn in turns[:-1])


def test_perturbations_end_and_are_the_same_again():
    (episode, *_), how = make_episodes(PARAMS.dagger.episodes, PARAMS), PerturbationParams(rate=1.0, times=2)
    sim, _ = open_scene(episode.scene, PARAMS, PARAMS.dagger.episodes.house)
    try:
        walks = [perturbed_walk(sim, episode, PARAMS, how) for _ in range(2)]
        other = perturbed_walk(sim, episode, PARAMS, how.model_copy(update={"seed": 1}))
        never = perturbed_walk(sim, episode, PARAMS, how.model_copy(update={"rate": 0.0}))
    finally:
        sim.close()
    assert walks[0] == walks[1]
    assert walks[0].actions != other.actions
    assert walks[0].stopped
    wrong = sum(a != b for a, b in zip(walks[0].actions, walks[0].expert, strict=True))
    assert wrong <= how.times * how.steps
    assert never.actions == never.expert == episode.actions


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.5, 50), (1.0, 100), (0.3, 30)])
def test_a_share_of_the_walks_is_spread_evenly(share: float, expected: int):
    chosen = [spread(number, share) for number in range(100)]
    assert sum(chosen) == expected
    assert (
        share in (0, 1) or max(len(run) for run in "".join("01"[c] for c in chosen).split("1")) <= 1 / share
    )


def test_an_interrupted_filming_goes_on(tmp_path):
    stream = demonstrations(PARAMS.dagger.episodes, PARAMS, PerturbationParams())
    first = stream.plan.ids[0]
    finished = {stream.plan.fingerprint: frozenset({first})}
    left = demonstrations(PARAMS.dagger.episodes, PARAMS, PerturbationParams(), finished)
    assert [sequence.id for sequence in left] == list(stream.plan.ids[1:])
