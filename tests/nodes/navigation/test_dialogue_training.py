"""Both stages on made-up episodes: they learn, resume only as themselves, and come back bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dialogue_world as world
import numpy as np
import pytest
import synthetic
import torch

from vln_heatmap.datasets.checkpoint import (
    Checkpoint,
    CheckpointDataset,
    CheckpointMismatchError,
    TrainingState,
)
from vln_heatmap.datasets.dialogue_samples import VLNActionDataset
from vln_heatmap.nodes.model.assemble import checkpoint_meta
from vln_heatmap.nodes.model.dialogue_checkpoint import dialogue_from_checkpoint, dialogue_from_finetuned
from vln_heatmap.nodes.navigation.dialogue_loss import DialogueLoss
from vln_heatmap.nodes.navigation.dialogues import dialogue_table, episode_dialogues
from vln_heatmap.nodes.navigation.training import train_cotraining, train_navigation
from vln_heatmap.params import ModelParams
from vln_heatmap.params.navigation_data import MixingParams
from vln_heatmap.params.navigation_model import ActionModelParams, ContrastParams, DialogueStageParams

TRAIN = {
    "steps": 3,
    "batch_size": 2,
    "device": "cpu",
    "threads": 1,
    "num_workers": 0,
    "ema_decay": 0.5,
    "validate_every": 2,
    "save_every": 2,
    "optimizer": {"lr": 5e-3, "lr_multipliers": {"language": 0.5, "context": 2.0}},
}
SIZES = {"dim": 64, "hidden": 128, "depth": 2, "attention_heads": 4, "kv_heads": 2}
LARGER = synthetic.PARAMS.model_copy(update={"language": synthetic.PARAMS.language.model_copy(update=SIZES)})
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "heatmaps": {"heatmaps": True, "summary": {"keyframes": 2, "grid": 2}},
    "value map": {"context": {"value_map": {"sectors": 4}, "ranges": 2}},
    "lora": {
        "lora": {"rank": 2},
        "tunable_parts": ("projector", "lora", "context"),
        "heatmaps": True,
        "summary": {"keyframes": 1},
    },
}
#: What of a stage an option needs.
CHANGES: dict[str, dict[str, Any]] = {
    "lora": {"optimizer": {"lr": 5e-3}},
    "value map": {"grounding": {"cells": 9}, "contrast": {}, "mirror": 0.5},
}


def stage(**changes: Any) -> DialogueStageParams:
    train = TRAIN | {k: v for k, v in changes.items() if k in TRAIN}
    others = {k: v for k, v in changes.items() if k not in TRAIN}
    return DialogueStageParams.model_validate({"train": train, "validation_samples": 4, **others})


def stored(folder: Path, content: dict[str, Any]) -> Checkpoint:
    dataset = CheckpointDataset(filepath=str(folder))
    dataset.save(content)
    return dataset.load()


def start_of(folder: Path, params: ModelParams) -> Checkpoint:
    """A heatmap model that has not learned anything."""
    model = synthetic.toy_model(params)
    meta = checkpoint_meta(model, params, synthetic.TOKENIZER, statistics={"state": {}})
    return stored(folder, {"state_dict": model.state_dict(), "meta": meta})


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return start_of(tmp_path_factory.mktemp("start") / "finetuned", synthetic.PARAMS)


def navigation(finetuned: Checkpoint, state: TrainingState, option: str = "plain", **changes: Any) -> Any:
    """Checkpoint and history of the first stage."""
    table = dialogue_table([*world.expert_dialogues(), *world.expert_dialogues(9, "three"), world.question()])
    held_out = world.expert_dialogues(11, "two")
    params = OPTIONS[option]
    changes = CHANGES.get(option, {}) | changes
    run = train_navigation(
        table,
        held_out,
        world.SEQUENCES,
        finetuned,
        world.DIALOGUE,
        ActionModelParams.model_validate(params),
        stage(**changes),
        state,
        None,
    )
    (made,) = list(run)
    return made


def cotraining(start: Checkpoint, state: TrainingState, batches: str = "mixed", **changes: Any) -> Any:
    dialogues = [*world.expert_dialogues(), world.question(), world.question("one", (2,))]
    held_out = [*world.expert_dialogues(11, "two"), world.question("three")]
    mixing = MixingParams(weights={"navigation": 3.0, "vqa": 1.0}, batches=batches, block=4)
    run = train_cotraining(dialogues, held_out, world.SEQUENCES, start, mixing, stage(**changes), state, None)
    (made,) = list(run)
    return made


@pytest.mark.parametrize("option", OPTIONS)
def test_both_stages_come_back_bit_for_bit(finetuned: Checkpoint, tmp_path: Path, option: str) -> None:
    """After the first stage and after the second, which goes on from what was stored."""
    state = TrainingState(tmp_path / "state.safetensors")
    changes = CHANGES.get(option, {})
    content, history, report = navigation(finetuned, state, option)
    for folder in ("navigation", "cotraining"):
        checkpoint = stored(tmp_path / folder, content)
        model = dialogue_from_checkpoint(checkpoint)
        own = model.state_dict()
        assert own.keys() == content["state_dict"].keys()
        assert all(torch.equal(own[name], tensor) for name, tensor in content["state_dict"].items())
        assert content["meta"]["stage"] == folder
        assert content["meta"]["statistics"] == {"state": {}}
        assert len(history) == 3
        assert "</html>" in report
        if folder == "navigation":
            content, history, report = cotraining(checkpoint, state, **changes)
    metrics = {"loss_navigation", "loss_vqa", "text_right"}
    if "grounding" in changes:
        metrics |= {"pointing", "instruction_gain"}
        assert (history["loss/grounding"] > 0).any()
    assert metrics <= content["meta"]["metrics"].keys()


def test_what_is_not_tuned_stays_and_the_drawer_stays_as_it_was_finetuned(
    finetuned: Checkpoint, tmp_path: Path
) -> None:
    state = TrainingState(tmp_path / "state.safetensors")
    content, _, _ = navigation(finetuned, state, "heatmaps")
    before, after = finetuned.state_dict(), content["state_dict"]
    for name, tensor in before.items():
        assert torch.equal(after[f"drawer.{name}"], tensor), name
        if name.startswith(("vggt", "fusion")):
            assert torch.equal(after[name], tensor), name
    changed = {n.split(".")[0] for n, t in after.items() if n in before and not torch.equal(t, before[n])}
    assert changed == {"enter_language", "language"}


def test_parts_of_a_stage_may_be_its_own_and_the_drawer_still_stays(
    finetuned: Checkpoint, tmp_path: Path
) -> None:
    """Language trains in the first stage and rests in the second: it must not become the drawer's again."""
    state = TrainingState(tmp_path / "state.safetensors")
    first, _, _ = navigation(finetuned, state, "heatmaps")
    checkpoint = stored(tmp_path / "navigation", first)
    second, _, _ = cotraining(
        checkpoint, state, tunable_parts=("context",), optimizer={"lr": 1e-2, "lr_multipliers": {}}
    )
    for name, tensor in first["state_dict"].items():
        same = torch.equal(second["state_dict"][name], tensor)
        assert same or name.startswith("context"), name
    assert any(not torch.equal(second["state_dict"][n], t) for n, t in first["state_dict"].items())


def test_an_interrupted_stage_ends_as_if_it_had_not_been(finetuned: Checkpoint, tmp_path: Path) -> None:
    whole, history, _ = navigation(finetuned, TrainingState(tmp_path / "a"), steps=4)
    state, calls = TrainingState(tmp_path / "b"), []

    class StoppedError(Exception):
        pass

    original = DialogueLoss.__call__

    def failing(self: DialogueLoss, model: Any, batch: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise StoppedError
        return original(self, model, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DialogueLoss, "__call__", failing)
        with pytest.raises(StoppedError):
            navigation(finetuned, state, steps=4)
    resumed, again, _ = navigation(finetuned, state, steps=4)
    assert history["loss"].tolist() == again["loss"].tolist()
    assert all(torch.equal(resumed["state_dict"][n], t) for n, t in whole["state_dict"].items())


def test_batches_of_one_task_each_come_by_their_shares_and_a_run_goes_on_in_them(
    finetuned: Checkpoint, tmp_path: Path
) -> None:
    """Of each four batches three are navigation and one is questions, also across an interruption."""
    content, _, _ = navigation(finetuned, TrainingState(tmp_path / "first"))
    start = stored(tmp_path / "navigation", content)
    tasks: list[set[str]] = []
    original = DialogueLoss.__call__

    class StoppedError(Exception):
        pass

    def noted(self: DialogueLoss, model: Any, batch: Any) -> Any:
        if model.training:
            tasks.append(set(batch["task"]))
            if len(tasks) == 6:
                raise StoppedError
        return original(self, model, batch)

    state, run = TrainingState(tmp_path / "state"), {"batches": "per_task", "steps": 8}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DialogueLoss, "__call__", noted)
        with pytest.raises(StoppedError):
            cotraining(start, state, **run)
        resumed, history, _ = cotraining(start, state, **run)
        done = [*tasks[:4], *tasks[6:]]  # saved after four steps
        assert len(done) == 8
        assert all(len(own) == 1 for own in done)
        assert [sum(own == {"vqa"} for own in done[i : i + 4]) for i in (0, 4)] == [1, 1]
    whole, again, _ = cotraining(start, TrainingState(tmp_path / "other"), **run)
    assert history["loss"].tolist() == again["loss"].tolist()
    assert all(torch.equal(resumed["state_dict"][n], t) for n, t in whole["state_dict"].items())


def test_sign_posts_are_followed_in_episodes_never_seen(tmp_path: Path) -> None:
    """Trained on some episodes, the agent does on the views of another what their signs say."""
    posts = {name: world.SignPosts(name) for name in "abcdefghij"}
    episodes = {
        name: episode_dialogues(own.actions, world.INSTRUCTION, name, world.DIALOGUE)
        for name, own in posts.items()
    }
    train = {"steps": 100, "validate_every": 100, "save_every": 100, "batch_size": 8}
    run = train_navigation(
        [dialogue for name in posts if name != "f" for dialogue in episodes[name]],
        episodes["f"],
        posts,
        start_of(tmp_path / "start", LARGER),
        world.DIALOGUE,
        ActionModelParams.model_validate({"context": {"fast": 1}}),
        stage(**train, optimizer={"lr": 5e-3, "betas": (0.9, 0.98)}),
        TrainingState(tmp_path / "state"),
        None,
    )
    content, history, _ = next(iter(run))
    assert history["loss"].tail(5).mean() < 0.1 * history["loss"].head(5).mean()
    assert content["meta"]["metrics"]["actions_right"] > 0.75  # a third is chance
    model = dialogue_from_checkpoint(stored(tmp_path / "navigation", content))
    state, arrays, expert = model.start(world.INSTRUCTION), posts["f"].arrays, posts["f"].actions
    features = arrays["features"].astype(np.float32)
    right = []
    for frame in range(0, len(expert) - 2, 2):
        done = expert[frame - 2 : frame] if frame else None
        model.observe(state, arrays["frames"][frame], features[frame], done=done)
        right.append(model.act(state)[0] == expert[frame])
    assert np.mean(right) > 0.75


def test_a_dialogue_counts_the_same_whatever_stands_beside_it() -> None:
    model = world.toy_dialogue()
    loss = DialogueLoss(model.writer.actions.ids, stop_weight=3.0)
    dialogues = [*world.expert_dialogues(), world.question()]
    together = loss(model, world.batch(model, dialogues))
    alone = [loss(model, world.batch(model, [dialogue])).samples for dialogue in dialogues]
    torch.testing.assert_close(together.samples, torch.cat(alone), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together.total, sum(together.parts.values()))


def test_stop_weighs_what_it_is_given() -> None:
    """Mean of the tokens' losses, with the only STOP counted three times."""
    model = world.toy_dialogue()
    given = world.batch(model, world.expert_dialogues()[-1:])
    reading = model(given)
    weights = torch.where(reading.targets == model.writer.actions.ids[0][0], 3.0, 1.0)
    assert sorted(set(weights.tolist())) == [1.0, 3.0]
    expected = (weights * reading.losses).sum() / weights.sum()
    torch.testing.assert_close(
        DialogueLoss(model.writer.actions.ids, stop_weight=3.0)(model, given).total, expected
    )


def contrast_batch(model: Any, dialogues: list[Any]) -> dict[str, Any]:
    data = VLNActionDataset(dialogues, world.SEQUENCES, model.writer, candidates=6)
    return data.collate([data[i] for i in range(len(data))])


def test_contrast_is_what_the_same_actions_cost_more_with_other_words() -> None:
    """Each walk read by itself with another's words, and the margin less the difference, in the loss."""
    model = world.toy_dialogue()
    own, others = world.expert_dialogues(), world.expert_dialogues(11, "two")
    others = [replace(dialogue, instruction="turn right") for dialogue in others]
    dialogues = [*own, world.question(), *others]
    given = contrast_batch(model, dialogues)
    plain = DialogueLoss(model.writer.actions.ids)
    found = DialogueLoss(model.writer.actions.ids, contrast=ContrastParams(weight=3.0, margin=0.5))(
        model, given
    )
    before, after = plain(model, given), []
    for dialogue, words in zip(dialogues, given["other"]["instruction"], strict=True):
        changed = replace(dialogue, instruction=words)
        after.append(plain(model, world.batch(model, [changed])).samples)
    gains = torch.cat(after) - before.samples
    walks = torch.tensor([dialogue.task == "navigation" for dialogue in dialogues])
    assert gains[walks].abs().min() > 0  # all have other words
    short = torch.where(walks, (0.5 - gains).clamp_min(0), torch.zeros(()))
    torch.testing.assert_close(found.samples, before.samples + 3 * short, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.total, sum(found.parts.values()))
    torch.testing.assert_close(
        found.numbers["data/instruction_gain"], gains[walks].mean(), atol=1e-4, rtol=1e-4
    )
    halved = DialogueLoss(model.writer.actions.ids, contrast=ContrastParams(weight=3.0, margin=0.5, every=2))(
        model, given
    )
    half = torch.zeros_like(short)
    again = walks.nonzero()[::2, 0]
    half[again] = short[again] * walks.sum() / len(again)
    torch.testing.assert_close(halved.samples, before.samples + 3 * half, atol=1e-4, rtol=1e-4)
    words_only = DialogueLoss(model.writer.actions.ids, contrast=ContrastParams())
    assert words_only(model, contrast_batch(model, [world.question()])).parts["contrast"] == 0


def test_contrast_teaches_to_tell_ones_own_words(tmp_path: Path) -> None:
    """Two walks with the same views, of which the words alone say which actions are right."""
    actions = {synthetic.PHRASES[0]: (1, 2, 0), synthetic.PHRASES[1]: (3, 1, 0)}
    walks = [
        dialogue
        for name, (words, done) in zip(("one", "two"), actions.items(), strict=True)
        for dialogue in episode_dialogues(done, words, name, world.DIALOGUE)
    ]
    train = {"steps": 60, "batch_size": 4, "validate_every": 60}
    run = train_navigation(
        walks,
        walks,
        {name: world.SEQUENCES["one"] for name in ("one", "two")},
        start_of(tmp_path / "start", LARGER),
        world.DIALOGUE,
        ActionModelParams.model_validate({"fresh_language": True, "context": {"fast": 1}}),
        stage(**train, optimizer={"lr": 5e-3}, contrast={"weight": 2.0, "margin": 1.0}),
        TrainingState(tmp_path / "state"),
        None,
    )
    content, history, _ = next(iter(run))
    assert content["meta"]["metrics"]["instruction_gain"] > 0.5
    assert history["data/instruction_gain"].tail(5).mean() > 0.5 > history["data/instruction_gain"].iloc[0]


def test_a_finetuned_model_is_no_action_dialogue(finetuned: Checkpoint) -> None:
    with pytest.raises(CheckpointMismatchError, match="not of an action dialogue"):
        dialogue_from_checkpoint(finetuned)


def test_a_start_is_the_same_each_time(finetuned: Checkpoint) -> None:
    one, two = (
        dialogue_from_finetuned(finetuned, ActionModelParams(heatmaps=True), world.DIALOGUE) for _ in range(2)
    )
    assert all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    )


def test_a_stage_without_its_tasks_is_refused(finetuned: Checkpoint, tmp_path: Path) -> None:
    run = train_navigation(
        [world.question()],
        world.expert_dialogues(),
        world.SEQUENCES,
        finetuned,
        world.DIALOGUE,
        ActionModelParams(),
        stage(),
        TrainingState(tmp_path / "state"),
        None,
    )
    with pytest.raises(ValueError, match="no training dialogues of navigation"):
        next(run)
