"""Dialogues about a stream of views as training samples: token ids, labels, frames and their times.

The data do not depend on how many tokens the model makes of an image: every image is one ``<image>`` position,
all of the memory one ``<memory>`` position, and the model expands them. Invariant: the frames of a sample are
those of the memory, in order of time, and then one for each ``<image>``, in order; what ``get(index, rng)``
returns depends on its arguments only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.params.navigation_data import Task

NO_FRAME = -1  # of a turn that is text only
IGNORED = -100  # label of a token that carries no loss
STOP = 0
_ACTIONS = frozenset({0, 1, 2, 3})
_OTHER_WAY = {2: 3, 3: 2}  # turns in a mirror
_OTHER_SIDE = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
_SIDES = re.compile(rf"\b({'|'.join(_OTHER_SIDE)})\b")
_TASKS = get_args(Task)
#: What of a sample has no row a frame; all other arrays have.
_LISTS = ("input_ids", "labels", "task", "instruction", "memory_count", "other")

Sample = dict[str, Any]
Derive = Callable[[Any, "Dialogue"], NDArray[Any]]


@dataclass(frozen=True)
class Turn:
    """One view, or a piece of text, and the reply to it, if there is one.

    Attributes:
        frame: index of the view in its sequence; ``NO_FRAME`` for none.
        actions: the reply: discrete actions (0 stop, 1 forward, 2 left, 3 right), done one after the other.
        question: text that stands after the view.
        answer: the reply in words.
        expert: what is to be learned in place of each action, where not an expert acted; () = the actions.
    """

    frame: int
    actions: tuple[int, ...] = ()
    question: str = ""
    answer: str = ""
    expert: tuple[int, ...] = ()

    @property
    def replied(self) -> bool:
        return bool(self.actions or self.answer)

    @property
    def wanted(self) -> tuple[int, ...]:
        """The action to be learned at each of the actions."""
        return self.expert or self.actions


@dataclass(frozen=True)
class Dialogue:
    """A window of a stream of views, and what is said about it.

    Attributes:
        turns: in order. A turn without a reply belongs to the same question as the next one.
        instruction: what it is all about; "" for nothing.
        memory_frames: frames before the window that are remembered, ascending.
        task: see ``Task``.
        sequence_id: whose frames these are.
        start: frame at which the episode begins, from which time is counted.

    Raises:
        ValueError: memory that is not the past, a last turn without a reply, or a navigation whose turns do not
            follow from each other, action by action.
    """

    turns: tuple[Turn, ...]
    instruction: str
    memory_frames: tuple[int, ...]
    task: Task
    sequence_id: str
    start: int = 0

    def __post_init__(self) -> None:
        if self.task not in _TASKS:
            raise ValueError(f"task must be one of {', '.join(_TASKS)}, got {self.task!r}")
        if not self.turns or not self.turns[-1].replied:
            raise ValueError(f"the last turn of a dialogue must have a reply, got {self.turns[-1:]}")
        if any(turn.frame < NO_FRAME for turn in self.turns):
            raise ValueError(f"frames must be {NO_FRAME} (none) or more, got {self.frames}")
        order = [*self.memory_frames, *self.frames[:1]]
        if any(a >= b for a, b in pairwise(order)) or min(order, default=self.start) < self.start:
            raise ValueError(
                f"memory must be different frames from {self.start} on, in order of time and before the first "
                f"view ({self.frames[:1]}), got {self.memory_frames}"
            )
        if self.task == "navigation":
            _check_actions(self.turns)

    @property
    def frames(self) -> tuple[int, ...]:
        """Frames of the turns, without the memory."""
        return tuple(turn.frame for turn in self.turns if turn.frame != NO_FRAME)

    @property
    def actions(self) -> tuple[int, ...]:
        """Actions of all turns, one after the other."""
        return tuple(action for turn in self.turns for action in turn.actions)


def exchanges(turns: Sequence[Turn]) -> Iterator[tuple[Turn, ...]]:
    """Turns up to and with a reply, again and again: each is one question and its answer."""
    asked: list[Turn] = []
    for turn in turns:
        asked.append(turn)
        if turn.replied:
            yield tuple(asked)
            asked = []


def _check_actions(turns: Sequence[Turn]) -> None:
    """See that each view is the one to which the actions before it led."""
    for turn in turns:
        if not turn.actions or not set(turn.actions) <= _ACTIONS or turn.frame == NO_FRAME:
            raise ValueError(f"a turn of a navigation needs a frame and actions of 0, 1, 2, 3, got {turn}")
        if len(turn.wanted) != len(turn.actions) or not set(turn.wanted) <= _ACTIONS:
            raise ValueError(f"an expert must say an action for each that was done, got {turn}")
    for turn, following in pairwise(turns):
        if STOP in turn.actions:
            raise ValueError(f"nothing may follow STOP, got {turn} and {following}")
        if following.frame != turn.frame + len(turn.actions):
            raise ValueError(
                f"after {len(turn.actions)} actions from frame {turn.frame} comes frame "
                f"{turn.frame + len(turn.actions)}, got {following.frame}"
            )
    if STOP in turns[-1].actions[:-1]:
        raise ValueError(f"nothing may follow STOP, got {turns[-1]}")


class Written(NamedTuple):
    """A dialogue as tokens: ``ids`` and ``labels`` [L], and the dialogue that they say, which may be shorter."""

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    dialogue: Dialogue


class Writer(Protocol):
    """Turns dialogues to tokens, see ``nodes.navigation.wording.DialogueWriter``."""

    pad_id: int

    def write(self, dialogue: Dialogue, rng: np.random.Generator | None = None) -> Written: ...


class VLNActionDataset:
    """Dialogues with their frames.

    Args:
        dialogues: the samples.
        features: by sequence id, something with ``read(name, frames)``, such as ``FrameFeatures``.
        writer: words and tokens.
        arrays: what is read of every frame.
        derived: by name, what else there is: a function of such a ``FrameFeatures`` and a dialogue, which gives
            an array with a row for each frame, or each step, of it.
        mirror: share of the navigation samples that are drawn as in the mirror image of their building.
        mirrored: by name of an array, what a mirror makes of it; by default its last axis is turned round.
        candidates: for samples of navigation with words of other walks beside their own: how many are drawn, of
            which that of the nearest length is taken; 0 = without.
    """

    def __init__(
        self,
        dialogues: Sequence[Dialogue],
        features: Mapping[str, Any],
        writer: Writer,
        *,
        arrays: Sequence[str] = ("frames", "features"),
        derived: Mapping[str, Derive] | None = None,
        mirror: float = 0.0,
        mirrored: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] | None = None,
        candidates: int = 0,
    ) -> None:
        self.dialogues, self.features, self.writer = tuple(dialogues), features, writer
        self.arrays, self.derived = tuple(arrays), dict(derived or {})
        self.mirror, self.mirrored, self.candidates = mirror, dict(mirrored or {}), candidates

    def __len__(self) -> int:
        return len(self.dialogues)

    def __getitem__(self, index: int) -> Sample:
        """Sample ``index`` with the plainest words, the same each time."""
        return self.get(index)

    def get(self, index: int, rng: np.random.Generator | None = None) -> Sample:
        """One sample.

        Args:
            index: of the dialogue.
            rng: draws what may vary in the wording; None = nothing does.

        Returns:
            ``input_ids`` [L], ``labels`` [L] (-100: no loss), the ``arrays`` [N, ...] of the memory's frames and
            then of the turns' (``frames`` [N, 3, S, S] uint8, ``features`` [N, C, g, g] float32), ``time_ids``
            [N] frames since the start of the episode, ``memory_count``, ``task`` and ``instruction``; with
            ``candidates`` also ``other``, the ``input_ids``, ``labels`` and ``instruction`` with which the same
            would be done after another walk's words.
        """
        chosen = self.dialogues[index]
        turned = rng is not None and chosen.task == "navigation" and rng.random() < self.mirror
        wording = None if rng is None else int(rng.integers(2**32))
        written = self._written(mirror_image(chosen) if turned else chosen, wording)
        ids, labels, dialogue = written
        frames = [*dialogue.memory_frames, *dialogue.frames]
        arrays = {}
        if frames:
            sequence = self.features[dialogue.sequence_id]
            arrays = {name: _read(sequence, name, frames) for name in self.arrays}
            arrays |= {name: make(sequence, dialogue) for name, make in self.derived.items()}
        if turned:
            arrays = {name: self.mirrored.get(name, _turned_round)(rows) for name, rows in arrays.items()}
        return {
            "input_ids": ids,
            "labels": labels,
            **arrays,
            "time_ids": np.array(frames, np.int64) - dialogue.start,
            "memory_count": len(dialogue.memory_frames),
            "task": dialogue.task,
            "instruction": dialogue.instruction,
            **({"other": self._misled(index, written, rng, wording)} if self.candidates else {}),
        }

    def _written(self, dialogue: Dialogue, wording: int | None) -> Written:
        """A dialogue in the words that a number stands for; None = the plainest."""
        return self.writer.write(dialogue, None if wording is None else np.random.default_rng(wording))

    def _misled(
        self, index: int, written: Written, rng: np.random.Generator | None, wording: int | None
    ) -> Sample:
        """What of a sample another walk's instruction changes: nothing in other tasks, or where it is too long.

        Args:
            index: of the sample.
            written: its own words.
            rng: draws the other walk; None = the same each time.
            wording: that of the sample.
        """
        misled = written
        if written.dialogue.task == "navigation":
            words = self._other_words(index, np.random.default_rng(index) if rng is None else rng)
            misled = self._written(replace(written.dialogue, instruction=words), wording)
        if misled.dialogue.turns != written.dialogue.turns:
            misled = written
        ids, labels, dialogue = misled
        return {"input_ids": ids, "labels": labels, "instruction": dialogue.instruction}

    def _other_words(self, index: int, rng: np.random.Generator) -> str:
        """Of some other walks' instructions the one whose length is nearest to this one's; without any, this
        one."""
        own = self.dialogues[index]
        drawn = [self.dialogues[int(i)] for i in rng.integers(len(self), size=self.candidates)]
        others = [d.instruction for d in drawn if d.sequence_id != own.sequence_id]
        size = len(own.instruction.split())
        return min(others, key=lambda words: abs(len(words.split()) - size), default=own.instruction)

    def collate(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """``collate`` with the tokenizer's padding."""
        return collate(samples, self.writer.pad_id)


def mirror_image(dialogue: Dialogue) -> Dialogue:
    """The same walk in the mirror image of its building: left is right, in words and actions."""

    def swapped(actions: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(_OTHER_WAY.get(action, action) for action in actions)

    turns = [replace(t, actions=swapped(t.actions), expert=swapped(t.expert)) for t in dialogue.turns]
    words = _SIDES.sub(lambda side: _OTHER_SIDE[side[0]], dialogue.instruction)
    return replace(dialogue, turns=tuple(turns), instruction=words)


def _turned_round(rows: NDArray[Any]) -> NDArray[Any]:
    return rows[..., ::-1].copy()


def _read(sequence: Any, name: str, frames: list[int]) -> NDArray[Any]:
    rows = np.asarray(sequence.read(name, frames))
    return rows.astype(np.float32) if rows.dtype == np.float16 else rows


def collate(samples: Sequence[Sample], pad_id: int) -> dict[str, Any]:
    """A batch of samples with any numbers of tokens and frames, of any tasks.

    Args:
        samples: of ``VLNActionDataset``; those without frames get empty ones.
        pad_id: token of the padding, which stands on the left, as in all prompts.

    Returns:
        Tensors ``input_ids``, ``labels``, ``attention_mask`` (bool) [B, L]; ``frames``, ``features`` and other
        arrays [B, N, ...] with zeros after a row's last frame (``derived`` ones may be longer), ``frame_mask``
        (bool) and ``time_ids`` [B, N];
        ``memory_count`` [B]; and the lists ``task`` and ``instruction``. Where samples have ``other`` words, so
        has the batch: ``input_ids``, ``labels``, ``attention_mask`` and ``instruction``, to take the place of
        its own.

    Raises:
        ValueError: no samples, or arrays of different sizes.
    """
    import torch

    if not samples:
        raise ValueError("a batch needs at least one sample, got none")
    rows = max(len(sample["time_ids"]) for sample in samples)
    batch: dict[str, Any] = {
        "frame_mask": np.arange(rows) < np.array([[len(s["time_ids"])] for s in samples])
    }
    for name in sorted(set().union(*samples) - set(_LISTS)):
        batch[name] = _stacked(name, [sample.get(name) for sample in samples], rows)
    batch["memory_count"] = np.array([sample["memory_count"] for sample in samples], np.int64)
    tensors = {name: torch.from_numpy(value) for name, value in batch.items()}
    others = [sample["other"] for sample in samples if "other" in sample]
    return {
        **tensors,
        **_said(samples, pad_id),
        "task": [str(sample["task"]) for sample in samples],
        **({"other": _said(others, pad_id)} if len(others) == len(samples) else {}),
    }


def _said(samples: Sequence[Sample], pad_id: int) -> dict[str, Any]:
    """What of a batch is words: ids, labels and mask [B, L], instructions."""
    import torch

    length = max(len(sample["input_ids"]) for sample in samples)
    known = [np.ones(len(sample["input_ids"]), bool) for sample in samples]
    padded = {
        "input_ids": _left([s["input_ids"] for s in samples], length, pad_id),
        "labels": _left([s["labels"] for s in samples], length, IGNORED),
        "attention_mask": _left(known, length, False),
    }
    tensors = {name: torch.from_numpy(value) for name, value in padded.items()}
    return {**tensors, "instruction": [str(sample["instruction"]) for sample in samples]}


def _left(rows: Sequence[NDArray[Any]], length: int, fill: Any) -> NDArray[Any]:
    """Rows [n] as [B, length], padded on the left."""
    padded = np.full((len(rows), length), fill, rows[0].dtype)
    for target, row in zip(padded, rows, strict=True):
        target[length - len(row) :] = row
    return padded


def _stacked(name: str, arrays: Sequence[NDArray[Any] | None], rows: int) -> NDArray[Any]:
    """Arrays [n, ...] as [B, rows or more, ...], zeros after the end; None is an array of no frames."""
    given = [array for array in arrays if array is not None and len(array)]
    first = given[0] if given else np.zeros((0,), np.int64)
    if other := [array.shape[1:] for array in given if array.shape[1:] != first.shape[1:]]:
        raise ValueError(f"{name} of a batch must have one size, got {first.shape[1:]} and {other[0]}")
    longest = max([rows, *map(len, given)])
    stacked = np.zeros((len(arrays), longest, *first.shape[1:]), first.dtype)
    for target, array in zip(stacked, arrays, strict=True):
        if array is not None and len(array):
            target[: len(array)] = array
    return stacked
