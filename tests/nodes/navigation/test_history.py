"""Windows and memory: the present is never history, and no reply, short or long, puts frames out of step."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.nodes.navigation.history import (
    History,
    memory_frames,
    replies,
    window_at,
    windows_of_replies,
)
from vln_heatmap.params.navigation_data import DialogueParams

sizes = st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(0, 9)).map(
    lambda s: DialogueParams(actions_per_turn=s[0], window=s[0] * s[1], history=s[2], stride=s[0])
)
walks = st.lists(st.integers(1, 3), max_size=90).map(lambda actions: (*actions, 0))


@given(st.integers(0, 300), st.integers(0, 20), st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_memory_is_the_past_at_even_strides(past: int, count: int, start: int) -> None:
    memory = memory_frames(start + past, count, start=start)
    assert len(memory) == min(past, count)
    assert all(start <= frame < start + past for frame in memory)
    gaps = {b - a for a, b in pairwise([*memory, start + past])}
    assert not memory or (memory[0] == start and min(gaps) >= 1 and max(gaps) - min(gaps) <= 1)


def test_memory_of_the_second_window_is_where_its_turns_were() -> None:
    assert memory_frames(32, 8) == (0, 4, 8, 12, 16, 20, 24, 28)
    assert memory_frames(64, 8) == (0, 8, 16, 24, 32, 40, 48, 56)
    assert memory_frames(3, 8) == (0, 1, 2)
    assert memory_frames(0, 8) == ()


@given(walks, sizes, st.data())
@settings(max_examples=60, deadline=None)
def test_an_episode_split_at_any_start_has_the_same_targets(
    actions: tuple[int, ...], params: DialogueParams, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(actions) - 1))
    window = window_at(actions, start, params)
    n = params.actions_per_turn
    assert [turn.frame for turn in window.turns] == list(
        range(start, min(start + params.window, len(actions)), n)
    )
    for turn in window.turns:  # what is to be done at a frame does not depend on the window
        assert turn.actions == actions[turn.frame : turn.frame + n]
    assert sum((turn.actions for turn in window.turns), ()) == actions[start : start + params.window]
    assert all(frame < start for frame in window.memory)


@given(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=9), min_size=1, max_size=40), sizes)
@settings(max_examples=60, deadline=None)
def test_replies_of_any_length_keep_history_in_step(said: list[list[int]], params: DialogueParams) -> None:
    done, shown = 0, []
    for window in windows_of_replies(said, params):
        assert 1 <= len(window.turns) <= params.turns
        assert window.memory == memory_frames(window.turns[0].frame, params.history)
        assert all(frame < window.turns[0].frame for frame in window.memory)
        for turn in window.turns:
            assert turn.frame == done  # the frame that the actions before it led to
            assert turn.frame - window.turns[0].frame < params.window
            done += len(turn.actions)
            shown.append(list(turn.actions))
    assert shown == said


@given(walks, sizes)
@settings(max_examples=60, deadline=None)
def test_the_agent_that_does_what_the_expert_did_sees_what_the_data_show(
    actions: tuple[int, ...], params: DialogueParams
) -> None:
    data = [window_at(actions, first, params) for first in range(0, len(actions), params.window)]
    assert windows_of_replies(replies(actions, params.actions_per_turn), params) == data
    history, seen = History(params), []
    for reply in replies(actions, params.actions_per_turn):
        view = history.observe()
        if view.opens:
            seen.append((view.memory, []))
        seen[-1][1].append(view.frame)
        history.acted(len(reply))
    assert seen == [(window.memory, [turn.frame for turn in window.turns]) for window in data]


def test_an_agent_that_is_cut_short_counts_what_it_did() -> None:
    """Four actions were said, but the second one ended the episode's patience: history knows of two."""
    history = History(DialogueParams(window=8, stride=8))
    history.observe()
    history.acted(2)
    assert history.observe().frame == 2
    with pytest.raises(ValueError, match="frame 2 has been shown already"):
        history.observe()
    with pytest.raises(ValueError, match="one action or more is done, got 0"):
        history.acted(0)


@pytest.mark.parametrize("start", [-1, 3])
def test_a_window_starts_in_its_episode(start: int) -> None:
    with pytest.raises(ValueError, match=f"starts at 0 to 2, got {start}"):
        window_at((1, 1, 0), start, DialogueParams())


def test_windows_hold_whole_turns() -> None:
    with pytest.raises(ValueError, match=r"window must be a multiple of actions_per_turn \(4\), got 30"):
        DialogueParams(window=30)
    with pytest.raises(ValueError, match=r"stride must be at most window \(16\), got 32"):
        DialogueParams(window=16)
