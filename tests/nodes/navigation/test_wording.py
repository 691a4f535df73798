"""The contract of dialogues as tokens: images, memory, labels, truncation, and turns as an agent reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.datasets.dialogue_samples import IGNORED, NO_FRAME, Dialogue, Turn
from vln_heatmap.nodes.model.tokenizer import (
    ACTIONS,
    IMAGE,
    MEMORY,
    TURN_END,
    TURN_START,
    load_tokenizer,
    train_tokenizer,
)
from vln_heatmap.nodes.navigation.history import windows_of_replies
from vln_heatmap.nodes.navigation.wording import SYSTEM, DialogueWriter, ViewTokens
from vln_heatmap.params.navigation_data import DialogueParams

CONTENT = train_tokenizer(["go to the red sofa", "leave the kitchen, turn left and stop at the lamp"], 320)
KINDS = ("qwen2_5_vl", "paligemma")
texts = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [IMAGE, f"go {MEMORY} there", "<|im_end|>", "<|action_stop|> ↑↑STOP", "go to the red sofa"]
    ),
)
said = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=6), min_size=1, max_size=12)


@cache
def writer(kind: str = "qwen2_5_vl", **changes: Any) -> DialogueWriter:
    return DialogueWriter(load_tokenizer(CONTENT, kind), DialogueParams(**changes), kind)


def navigation(said: list[list[int]], text: str = "go to the red sofa", window: int = -1) -> Dialogue:
    turns, memory = windows_of_replies(said, DialogueParams(window=8, stride=8))[window]
    return Dialogue(turns, text, memory, "navigation", "house_00000_00")


@given(said, texts, st.sampled_from(KINDS), st.sampled_from(["special", "arrows"]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_images_memory_and_labels_say_what_the_dialogue_says(
    said: list[list[int]], text: str, kind: str, words: str, drawn: bool
) -> None:
    write = writer(kind, words=words, max_tokens=100_000)
    dialogue = navigation(said, text)
    ids, labels, shown = write.write(dialogue, np.random.default_rng(0) if drawn else None)
    assert shown == dialogue
    assert (ids == write.image_id).sum() == len(dialogue.frames)
    assert (ids == write.memory_id).sum() == bool(dialogue.memory_frames)
    learned = labels != IGNORED
    np.testing.assert_array_equal(labels[learned], ids[learned])
    assert not learned[(ids == write.image_id) | (ids == write.memory_id)].any()
    replies = np.split(labels, np.flatnonzero(np.diff(learned.astype(int)) == 1) + 1)[1:]
    found = [write.actions.decode(reply[reply != IGNORED].tolist()) for reply in replies]
    assert found == [list(turn.actions) for turn in dialogue.turns]
    assert all(reply[reply != IGNORED][-1] == write.end_id for reply in replies)


@given(said, st.sampled_from(KINDS))
@settings(max_examples=30, deadline=None)
def test_the_running_agent_reads_what_training_read(said: list[list[int]], kind: str) -> None:
    write, dialogue = writer(kind, max_tokens=100_000), navigation(said)
    ids = write.opening(dialogue.instruction, memory=bool(dialogue.memory_frames))
    for number, turn in enumerate(dialogue.turns):
        ids += write.view(first=number == 0) + write.reply(turn.actions)
    assert ids == write.write(dialogue).ids.tolist()


def test_a_compact_chat_has_a_word_before_each_view_and_a_mark_before_each_reply() -> None:
    write = writer(chat="compact", observations=(" see",))
    ids = write.write(navigation([[1, 2], [0]])).ids
    text = write.tokenizer.decode(ids)
    assert text.endswith(
        f" see{IMAGE}{TURN_START}{ACTIONS[1]}{ACTIONS[2]}{TURN_END} see{IMAGE}{TURN_START}{ACTIONS[0]}{TURN_END}"
    )
    assert SYSTEM not in text
    assert write.between == 1


def test_memory_is_spoken_of_from_the_second_window_on() -> None:
    first, second = (navigation([[1] * 4] * 4, window=i) for i in (0, 1))
    write = writer()
    assert (write.write(first).ids == write.memory_id).sum() == 0
    ids = write.write(second).ids
    assert np.flatnonzero(ids == write.memory_id) < np.flatnonzero(ids == write.image_id)[0]


@pytest.mark.parametrize("words", ["special", "arrows"])
def test_arrows_and_tokens_are_read_back_whatever_stands_between(words: str) -> None:
    write = writer(words=words)
    ids = write.actions.encode([1, 1, 2, 3, 0])
    assert write.actions.decode(ids) == [1, 1, 2, 3, 0]
    assert write.actions.decode([*ids, write.end_id, *ids]) == [1, 1, 2, 3, 0]
    noise = write.tokenizer(" and ", add_special_tokens=False)["input_ids"]
    assert write.actions.decode([*ids[:1], *noise, *ids[1:]])[-4:] == [1, 2, 3, 0]
    if words == "arrows":
        assert write.tokenizer.decode(ids) == "↑↑←→STOP"


@given(said, st.integers(200, 500), st.integers(1, 9), st.text(max_size=60), st.sampled_from(KINDS))
@settings(max_examples=80, deadline=None)
def test_truncation_leaves_out_whole_turns(
    said: list[list[int]], room: int, cost: int, text: str, kind: str
) -> None:
    write = writer(kind, max_tokens=room, image_tokens=cost, memory_tokens=cost)
    dialogue = navigation(said, text)
    ids, labels, shown = write.write(dialogue)
    images = int((ids == write.image_id).sum())
    memories = int((ids == write.memory_id).sum())
    remembered = cost * len(shown.memory_frames)
    assert len(ids) - images - memories + cost * images + remembered <= room
    assert shown.turns == dialogue.turns[: len(shown.turns)]
    assert images == len(shown.frames)
    assert memories == bool(dialogue.memory_frames)
    assert write.actions.decode([i for i in labels.tolist() if i not in (IGNORED, write.end_id)]) == list(
        shown.actions
    )
    assert ids[-1] == labels[-1] == write.end_id


@given(st.integers(1, 9), st.integers(100, 200), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_a_question_that_is_too_long_loses_its_first_views(views: int, room: int, cost: int) -> None:
    turns = [Turn(frame) for frame in range(views)]
    dialogue = Dialogue((*turns, Turn(views, question="where are you?", answer="here")), "", (), "vqa", "a")
    write = writer(max_tokens=room, image_tokens=cost)
    ids, labels, shown = write.write(dialogue)
    images = int((ids == write.image_id).sum())
    assert shown.turns == dialogue.turns[-len(shown.turns) :]
    assert images == len(shown.frames) >= 1
    assert len(ids) + images * (cost - 1) <= room
    assert len(shown.turns) == views + 1 or len(ids) + images * (cost - 1) > room - cost - 16
    assert write.tokenizer.decode(labels[labels != IGNORED][:-1]) == "here"


@pytest.mark.parametrize(("task", "each"), [("navigation", 7), ("vqa", 5)])
def test_what_a_model_makes_of_views_counts_and_heatmaps_in_navigations_only(task: str, each: int) -> None:
    views = ViewTokens(current=5, told=2, remembered=3)
    turns = (Turn(4, (1,)),) if task == "navigation" else (Turn(4, question="what?", answer="a door"),)
    dialogue = Dialogue(turns, "", (1, 3), task, "a")
    tokenizer, params = load_tokenizer(CONTENT), DialogueParams(image_tokens=50, memory_tokens=50)
    write = DialogueWriter(tokenizer, params, views=views)
    ids = write.write(dialogue).ids
    assert write.length(write.write(dialogue)) == len(ids) - 2 + each + 2 * 3


def test_no_room_for_a_single_turn_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"max_tokens \(16\) is too small for one question"):
        writer(max_tokens=16).write(navigation([[1]]))


@pytest.mark.parametrize("words", ["special", "arrows"])
def test_what_the_expert_wanted_is_learned_and_what_was_done_is_read(words: str) -> None:
    turns = (Turn(0, (1, 1), expert=(3, 1)), Turn(2, (2, 0), expert=(0, 0)))
    write = writer(words=words)
    ids, labels, _ = write.write(Dialogue(turns, "go on", (), "navigation", "a"))
    stop, forward, left, right = write.actions.ids
    differs = [*_up_to_a_difference(right, forward), *forward, write.end_id]
    differs += [*_up_to_a_difference(stop, left), *stop, write.end_id]
    assert labels[labels != IGNORED].tolist() == differs
    done = replace_experts(Dialogue(turns, "go on", (), "navigation", "a"))
    np.testing.assert_array_equal(ids, write.write(done).ids)


def _up_to_a_difference(wanted: Sequence[int], done: Sequence[int]) -> list[int]:
    for count in range(1, len(wanted) + 1):
        if wanted[:count] != done[:count]:
            return list(wanted[:count])
    raise AssertionError(f"{wanted} and {done} are the same")


def replace_experts(dialogue: Dialogue) -> Dialogue:
    """The same as if an expert had done it."""
    return replace(dialogue, turns=tuple(replace(turn, expert=()) for turn in dialogue.turns))


def test_text_and_views_of_a_conversation_alternate_as_they_were_given() -> None:
    turns = (
        Turn(NO_FRAME, question="first"),
        Turn(3, question="then"),
        Turn(1, question="and last?", answer="yes"),
        Turn(NO_FRAME, question="sure?", answer="no"),
    )
    write = writer()
    ids, labels, _ = write.write(Dialogue(turns, "", (), "conversation", "a"))
    text = write.tokenizer.decode(ids)
    places = [text.index(part) for part in ("first", IMAGE, "then", "and last?", "yes", "sure?", "no")]
    assert places == sorted(places)
    assert write.tokenizer.decode(labels[labels != IGNORED]) == "yes<|im_end|>no<|im_end|>"


def test_words_vary_only_with_the_generator() -> None:
    write, dialogue = writer(), navigation([[1, 2], [3]])
    drawn = [write.write(dialogue, np.random.default_rng(seed)).ids.tolist() for seed in (0, 0, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len({tuple(ids) for ids in drawn}) > 1
    assert write.write(dialogue).ids.tolist() == write.write(dialogue).ids.tolist()


def test_a_model_that_reads_no_words_has_no_dialogues() -> None:
    with pytest.raises(ValueError, match="got kind 'none'"):
        DialogueWriter(load_tokenizer(CONTENT), DialogueParams(), "none")
