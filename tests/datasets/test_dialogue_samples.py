"""Samples of dialogues: every image has its own frame, and batches keep each row's frames and tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.datasets.dialogue_samples import (
    IGNORED,
    NO_FRAME,
    Dialogue,
    Turn,
    VLNActionDataset,
    collate,
    exchanges,
    mirror_image,
)
from vln_heatmap.nodes.model.tokenizer import load_tokenizer, train_tokenizer
from vln_heatmap.nodes.navigation.dialogues import episode_dialogues
from vln_heatmap.nodes.navigation.wording import DialogueWriter
from vln_heatmap.params.navigation_data import DialogueParams

PARAMS = DialogueParams(window=8, stride=8, history=3)
WRITER = DialogueWriter(load_tokenizer(train_tokenizer(["go to the sofa"], 300)), PARAMS)
SEED = 7  # what the numbered frames of a sequence begin with


class Numbered:
    """A sequence whose frame t is all t: as image and as features."""

    def read(self, name: str, frames: Any) -> np.ndarray:
        shape, kind = {"frames": ((3, 4, 4), np.uint8), "features": ((2, 3, 3), np.float16)}[name]
        return np.stack([np.full(shape, SEED + frame, kind) for frame in frames])


def dataset(*dialogues: Dialogue) -> VLNActionDataset:
    return VLNActionDataset(dialogues, {"walk": Numbered()}, WRITER)


def walk(length: int, start: int = 0) -> list[Dialogue]:
    return episode_dialogues([*[1] * (length - 1), 0], "go to the sofa", "walk", PARAMS, start=start)


def talk(frames: list[int]) -> Dialogue:
    turns = (*(Turn(frame) for frame in frames), Turn(NO_FRAME, question="what?", answer="a sofa"))
    return Dialogue(turns, "", (), "vqa", "walk")


@given(st.integers(1, 40), st.integers(0, 20), st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_image_has_its_frame_and_history_is_the_past(length: int, start: int, drawn: bool) -> None:
    dialogues = walk(length, start)
    data = dataset(*dialogues)
    for index, dialogue in enumerate(dialogues):
        sample = data.get(index, np.random.default_rng(index)) if drawn else data[index]
        images, count = int((sample["input_ids"] == WRITER.image_id).sum()), sample["memory_count"]
        assert len(sample["frames"]) == len(sample["features"]) == len(sample["time_ids"]) == count + images
        np.testing.assert_array_equal(sample["frames"][:, 0, 0, 0], sample["time_ids"] + start + SEED)
        np.testing.assert_array_equal(sample["features"][:, 0, 0, 0], sample["time_ids"] + start + SEED)
        assert sample["time_ids"][count:].tolist() == [frame - start for frame in dialogue.frames]
        assert (sample["time_ids"][:count] < sample["time_ids"][count]).all()
        assert (np.diff(sample["time_ids"]) > 0).all()
        assert bool(count) == (index > 0) == bool((sample["input_ids"] == WRITER.memory_id).sum())
        assert (sample["features"].dtype, sample["frames"].dtype) == (np.float32, np.uint8)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.lists(st.integers(0, 4), max_size=3))
@settings(max_examples=30, deadline=None)
def test_a_batch_is_its_samples_with_padding(lengths: list[int], views: list[int]) -> None:
    dialogues = [walk(length)[-1] for length in lengths] + [talk(list(range(count))) for count in views]
    data = dataset(*dialogues)
    samples = [data[index] for index in range(len(data))]
    batch = data.collate(samples)
    assert batch["task"] == ["navigation"] * len(lengths) + ["vqa"] * len(views)
    assert batch["input_ids"].shape == batch["labels"].shape == batch["attention_mask"].shape
    for row, sample in enumerate(samples):
        size, rows = len(sample["input_ids"]), len(sample["time_ids"])
        known = batch["attention_mask"][row]
        assert known[-size:].all()
        assert int(known.sum()) == size
        np.testing.assert_array_equal(batch["input_ids"][row, known], sample["input_ids"])
        np.testing.assert_array_equal(batch["labels"][row, known], sample["labels"])
        assert (batch["input_ids"][row, ~known] == WRITER.pad_id).all()
        assert (batch["labels"][row, ~known] == IGNORED).all()
        assert batch["frame_mask"][row].tolist() == [True] * rows + [False] * (
            batch["frame_mask"].shape[1] - rows
        )
        np.testing.assert_array_equal(batch["time_ids"][row, :rows], sample["time_ids"])
        if rows:
            np.testing.assert_array_equal(batch["features"][row, :rows], sample["features"])
            assert not batch["frames"][row, rows:].any()
    assert batch["memory_count"].tolist() == [sample["memory_count"] for sample in samples]


class Striped(Numbered):
    """A sequence whose columns are numbered too."""

    def read(self, name: str, frames: Any) -> np.ndarray:
        rows = super().read(name, frames)
        return rows + np.arange(rows.shape[-1], dtype=rows.dtype)


def test_in_a_mirror_left_is_right_in_pictures_words_and_actions() -> None:
    turns = (Turn(0, (2, 1), expert=(3, 1)), Turn(2, (3, 0)))
    text, other = ("turn left, pass the chair on your right", "turn right, pass the chair on your left")
    seen, asked = (Dialogue(turns, text, (), task, "walk") for task in ("navigation", "vqa"))
    mirrored = mirror_image(seen)
    assert mirrored.instruction == other
    assert [turn.actions for turn in mirrored.turns] == [(3, 1), (2, 0)]
    assert [turn.wanted for turn in mirrored.turns] == [(2, 1), (2, 0)]
    assert mirror_image(mirrored) == seen
    sides = {"sides": lambda sequence, dialogue: np.array([[frame, 1.0] for frame in dialogue.frames])}
    swap = {"sides": lambda rows: -rows}
    features = {"walk": Striped()}
    data = VLNActionDataset((seen, asked), features, WRITER, derived=sides, mirror=1.0, mirrored=swap)
    plain, turned, talked = (
        data[0],
        data.get(0, np.random.default_rng(0)),
        data.get(1, np.random.default_rng(0)),
    )
    assert turned["instruction"] == other
    for name in ("frames", "features"):
        np.testing.assert_array_equal(turned[name], plain[name][..., ::-1])
    np.testing.assert_array_equal(turned["sides"], [[0, -1], [-2, -1]])
    np.testing.assert_array_equal(plain["sides"], [[0, 1], [2, 1]])
    assert talked["instruction"] == text  # answers to questions would have to change too
    np.testing.assert_array_equal(talked["frames"], plain["frames"])
    said = [token[0] for token in WRITER.actions.ids]
    learned = turned["labels"][np.isin(turned["labels"], said)]
    assert [said.index(token) for token in learned] == [2, 1, 2, 0]


def test_a_batch_of_text_alone_has_no_frames() -> None:
    batch = dataset(talk([]), talk([])).collate([dataset(talk([]))[0]] * 2)
    assert batch["frame_mask"].shape == (2, 0)
    assert "features" not in batch
    assert batch["attention_mask"].dtype == torch.bool


def test_samples_of_other_sizes_are_refused() -> None:
    one, other = dataset(*walk(3))[0], dataset(*walk(3))[0]
    other["frames"] = np.zeros((1, 3, 8, 8), np.uint8)
    with pytest.raises(
        ValueError, match=r"frames of a batch must have one size, got \(3, 4, 4\) and \(3, 8, 8\)"
    ):
        collate([one, other], 0)
    with pytest.raises(ValueError, match="at least one sample"):
        collate([], 0)


def test_turns_without_a_reply_belong_to_the_next_question() -> None:
    turns = (Turn(0), Turn(1, question="?", answer="a"), Turn(2, (1,)))
    assert list(exchanges(turns)) == [turns[:2], turns[2:]]


BROKEN = {
    "no reply": ((Turn(0),), (), "vqa", "must have a reply"),
    "no turn": ((), (), "vqa", "must have a reply"),
    "expert": ((Turn(0, (1, 1), expert=(2,)),), (), "navigation", "an action for each that was done"),
    "expert unknown": ((Turn(0, (1,), expert=(5,)),), (), "navigation", "an action for each"),
    "present": ((Turn(4, (1,)),), (2, 4), "navigation", "before the first view"),
    "order": ((Turn(4, (1,)),), (2, 1), "navigation", "in order of time"),
    "before": ((Turn(4, (1,)),), (-1,), "navigation", "from 0 on"),
    "step": ((Turn(0, (1, 1)), Turn(3, (0,))), (), "navigation", "comes frame 2, got 3"),
    "stop": ((Turn(0, (1, 0)), Turn(2, (1,))), (), "navigation", "nothing may follow STOP"),
    "stop inside": ((Turn(0, (0, 1)),), (), "navigation", "nothing may follow STOP"),
    "unknown": ((Turn(0, (4,)),), (), "navigation", "actions of 0, 1, 2, 3"),
    "words": ((Turn(0, answer="left"),), (), "navigation", "actions of 0, 1, 2, 3"),
    "frame": ((Turn(-2, answer="left"),), (), "vqa", "frames must be -1"),
    "task": ((Turn(0, answer="left"),), (), "juggling", "task must be one of navigation, vqa"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_dialogue_is_refused(name: str) -> None:
    turns, memory, task, message = BROKEN[name]
    with pytest.raises(ValueError, match=message):
        Dialogue(turns, "go", memory, task, "walk")


def misled(*dialogues: Dialogue, params: DialogueParams = PARAMS) -> VLNActionDataset:
    """With the words of other walks beside their own."""
    sequences = {name: Numbered() for name in ("walk", "second", "third")}
    return VLNActionDataset(dialogues, sequences, DialogueWriter(WRITER.tokenizer, params), candidates=8)


def of_walk(name: str, words: str, length: int = 6) -> list[Dialogue]:
    return episode_dialogues([*[1] * (length - 1), 0], words, name, PARAMS)


def test_other_words_are_another_walks_and_nothing_else_is_different() -> None:
    """The one of the nearest length, the same each time where nothing is drawn; answers stay as they are."""
    one, two = of_walk("walk", "go to the sofa"), of_walk("walk", "go to the sofa now")
    near, far = of_walk("second", "stop at the bed"), of_walk("third", "turn left and then turn left again")
    data = misled(*one, *two, *near, *far, talk([0, 1]))
    found = set()
    for seed in range(30):
        sample = data.get(0, np.random.default_rng(seed))
        other = sample["other"]
        found.add(other["instruction"])
        for name in ("input_ids", "labels"):  # all that follows the instruction is as it was
            after = [
                item[name][len(WRITER.opening(item["instruction"], memory=False)) :]
                for item in (sample, other)
            ]
            np.testing.assert_array_equal(*after)
    assert "stop at the bed" in found
    assert found <= {
        near[0].instruction,
        far[0].instruction,
        "go to the sofa",
    }  # its own if no other is drawn
    np.testing.assert_array_equal(data[0]["other"]["input_ids"], data[0]["other"]["input_ids"])
    question = data[len(data) - 1]
    np.testing.assert_array_equal(question["other"]["input_ids"], question["input_ids"])


def test_other_words_that_leave_no_room_for_the_views_are_not_taken() -> None:
    own, long = of_walk("walk", "go", 16), of_walk("second", "go to the sofa " * 20, 16)
    short = PARAMS.model_copy(update={"max_tokens": len(WRITER.write(own[0]).ids) + 8})
    sample = misled(*own, *long, params=short)[0]
    assert sample["other"]["instruction"] == "go"
    np.testing.assert_array_equal(sample["other"]["labels"], sample["labels"])


def test_a_batch_has_other_words_in_the_shape_of_its_own() -> None:
    data = misled(*of_walk("walk", "go to the sofa"), *of_walk("second", "turn left, then go to the sofa"))
    batch = data.collate([data[0], data[1]])
    other = batch["other"]
    assert other.keys() == {"input_ids", "labels", "attention_mask", "instruction"}
    assert other["input_ids"].shape == other["labels"].shape == other["attention_mask"].shape
    assert other["instruction"] == batch["instruction"][::-1]
    assert torch.equal(other["attention_mask"].sum(1), batch["attention_mask"].sum(1).flip(0))
    plain = dataset(*of_walk("walk", "go to the sofa"))
    assert "other" not in plain.collate([plain[0]])
