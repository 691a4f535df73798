"""Dialogues as tokens: the same pieces, token by token, for training data and for the agent that is running.

Invariant: a dialogue's ids are the ids of its pieces one after the other, so that reading turn by turn reads
what training read. Only replies carry loss: the tokens of actions or answers, and the one that ends them. User's
text holds no special token, so there are exactly as many ``<image>`` as there are views.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from vln_heatmap.datasets.dialogue_samples import IGNORED, NO_FRAME, Dialogue, Turn, Written, exchanges
from vln_heatmap.nodes.model.tokenizer import (
    ACTIONS,
    IMAGE,
    MEMORY,
    TURN_END,
    TURN_START,
    VISION_END,
    VISION_START,
    plain,
)
from vln_heatmap.params.navigation_data import DialogueParams

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ARROWS = ("STOP", "↑", "←", "→")  # stop, forward, left, right
_READ = {arrow: action for action, arrow in enumerate(ARROWS)}
_ARROW = re.compile("|".join(ARROWS))

SYSTEM = "You are a robot that walks through a building."
#: What is said before the first view, by task; "{}" is the instruction.
TASKS = {
    "navigation": "Do this, action by action: {}\n",
    "vqa": "{}\n",
    "scanqa": "{}\n",
    "description": "{}\n",
    "conversation": "{}\n",
}
REMEMBERED = "You remember: "


class ViewTokens(NamedTuple):
    """Tokens that a model makes of one view.

    Attributes:
        current: of a view of the window.
        told: of what stands behind it in a navigation, as its heatmaps' summary.
        remembered: of a remembered view, at most.
    """

    current: int
    told: int
    remembered: int

    def of(self, task: str) -> int:
        """Of a view of the window in a dialogue of a task."""
        return self.current + (self.told if task == "navigation" else 0)


class ActionWords:
    """Actions as tokens and back.

    Args:
        tokenizer: with our special tokens.
        words: "special": a token an action; "arrows": STOP ↑ ← → in the tokenizer's ordinary tokens, each
            action by itself, so that neighbours never merge.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, words: Literal["special", "arrows"]) -> None:
        self.tokenizer, self.words = tokenizer, words
        texts = ACTIONS if words == "special" else ARROWS
        #: Token ids of each action, by its number.
        self.ids: tuple[tuple[int, ...], ...] = tuple(tuple(_encode(tokenizer, text)) for text in texts)

    def encode(self, actions: Iterable[int]) -> list[int]:
        """Ids of actions one after the other."""
        return [token for action in actions for token in self.ids[action]]

    def split(self, ids: Sequence[int]) -> list[list[int]]:
        """Ids of actions, cut into those of each."""
        words: list[list[int]] = [[]]
        for token in ids:
            words[-1].append(token)
            if tuple(words[-1]) in self.ids:
                words.append([])
        return words[:-1]

    def decode(self, ids: Iterable[int]) -> list[int]:
        """The actions that ids say, up to the end of the reply; whatever else they say is passed over."""
        said: list[int] = []
        for token in ids:
            if token == self.tokenizer.eos_token_id:
                break
            said.append(int(token))
        if self.words == "special":
            numbers = {tokens[0]: action for action, tokens in enumerate(self.ids)}
            return [numbers[token] for token in said if token in numbers]
        text = str(self.tokenizer.decode(said, skip_special_tokens=True))
        return [_READ[arrow] for arrow in _ARROW.findall(text)]


@dataclass(frozen=True)
class _Frame:
    """What stands round the words of a chat, as text."""

    system: str  # before everything, with {}
    user: str  # before a user's message
    reply: str  # between it and the reply
    following: str  # after the reply's end, before the next message
    image: str


_CHATS = {
    "qwen2_5_vl": _Frame(
        f"{TURN_START}system\n{{}}{TURN_END}\n",
        f"{TURN_START}user\n",
        f"{TURN_END}\n{TURN_START}assistant\n",
        "\n",
        f"{VISION_START}{IMAGE}{VISION_END}",
    ),
    "paligemma": _Frame("{bos}{}\n", "", "\n", "", IMAGE),
}
_COMPACT = _Frame("", "", TURN_START, "", IMAGE)


class DialogueWriter:
    """Words and tokens of dialogues.

    Args:
        tokenizer: see :func:`vln_heatmap.nodes.model.tokenizer.make_tokenizer`.
        params: phrases, words for actions, and how long a dialogue may be.
        kind: of the language model, whose chat is spoken.
        views: what it makes of views; None = what the params say.

    Attributes:
        actions: actions as tokens.
        views: by which the length of a dialogue is counted.
        image_id, memory_id, end_id, pad_id: token ids; ``end_id`` ends every reply.
        between: tokens between a navigation's view and its reply.

    Raises:
        ValueError: a kind of language model that reads no words, or a tokenizer without our special tokens.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        params: DialogueParams,
        kind: str = "qwen2_5_vl",
        *,
        views: ViewTokens | None = None,
    ) -> None:
        if kind not in _CHATS:
            raise ValueError(f"a dialogue needs a language model ({', '.join(_CHATS)}), got kind {kind!r}")
        vocabulary = tokenizer.get_vocab()
        if missing := [name for name in (IMAGE, MEMORY, *ACTIONS) if name not in vocabulary]:
            raise ValueError(f"the tokenizer lacks the special tokens {missing}")
        self.tokenizer, self.params, self.actions = tokenizer, params, ActionWords(tokenizer, params.words)
        self.views = views or ViewTokens(params.image_tokens, 0, params.memory_tokens)
        self.image_id, self.memory_id = vocabulary[IMAGE], vocabulary[MEMORY]
        self.end_id, self.pad_id = int(tokenizer.eos_token_id), int(tokenizer.pad_token_id)
        chat, text = _COMPACT if params.chat == "compact" else _CHATS[kind], _encode
        system = chat.system.replace("{bos}", str(tokenizer.bos_token))
        self._system = text(tokenizer, system.format(SYSTEM))
        self._user, self._reply = text(tokenizer, chat.user), text(tokenizer, chat.reply)
        self._following, self._image = text(tokenizer, chat.following), text(tokenizer, chat.image)
        self.between = len(self._image) - self._image.index(self.image_id) - 1 + len(self._reply)
        self._memory = text(tokenizer, REMEMBERED) + [self.memory_id] + text(tokenizer, "\n")

    def opening(self, instruction: str, *, memory: bool, task: str = "navigation") -> list[int]:
        """Ids before the first view: who one is, what is to be done, what is remembered."""
        return [*self._before(instruction, task), *(self._memory if memory else ())]

    def view(
        self, *, first: bool, phrase: str | None = None, rng: np.random.Generator | None = None
    ) -> list[int]:
        """Ids of a navigation's next view, up to where the reply begins.

        Args:
            first: right after the opening; else after a reply.
            phrase: before the image; None = the first of the params, or one drawn with ``rng``.
        """
        return [*self._next(first), *self._observed(phrase, rng), *self._reply]

    def reply(self, actions: Sequence[int]) -> list[int]:
        """Ids of a reply, its end included."""
        return [*self.actions.encode(actions), self.end_id]

    def write(self, dialogue: Dialogue, rng: np.random.Generator | None = None) -> Written:
        """A dialogue as ids and labels, no longer than ``max_tokens`` when its views are tokens.

        What does not fit is left out whole: the last questions with their replies, then the first views of the
        only question, then the end of the instruction's text. Never a part of an image's span.

        Raises:
            ValueError: not even the shortest form fits.
        """
        before = self._before(dialogue.instruction, dialogue.task)
        memory = self._memory if dialogue.memory_frames else []
        said = [self._exchange(e, dialogue.task, rng) for e in exchanges(dialogue.turns)]
        room = self.params.max_tokens - len(memory) - self._recalled(dialogue)
        while len(said) > 1 and len(before) + sum(e.cost for e in said) > room:
            said.pop()
        if len(said) == 1:
            said[0] = self._fitted(said[0], dialogue.task, room - len(before))
            before = self._shortened(dialogue, before, room - said[0].cost)
        ids, labels = [*before, *memory], [IGNORED] * (len(before) + len(memory))
        for number, exchange in enumerate(said):
            head = [*self._next(number == 0), *(i for part in exchange.asked for i in part), *self._reply]
            ids += [*head, *exchange.reply]
            labels += [*[IGNORED] * len(head), *self._learned(exchange)]
        turns = tuple(turn for exchange in said for turn in exchange.turns)
        shown = replace(dialogue, turns=turns)
        return Written(np.array(ids, np.int64), np.array(labels, np.int64), shown)

    def length(self, written: Written) -> int:
        """Tokens that the model reads of a dialogue, at most: pruning may leave out some of the memory."""
        ids, _, dialogue = written
        return self._cost(ids.tolist(), dialogue.task) + self._recalled(dialogue)

    def _before(self, instruction: str, task: str) -> list[int]:
        spoken = plain(instruction, self.tokenizer)
        words = TASKS[task].format(spoken) if spoken else ""
        return [*self._system, *self._user, *_encode(self.tokenizer, words)]

    def _next(self, first: bool) -> list[int]:
        return [] if first else [*self._following, *self._user]

    def _observed(self, phrase: str | None, rng: np.random.Generator | None) -> list[int]:
        phrases = self.params.observations
        if phrase is None:
            phrase = phrases[0] if rng is None else phrases[int(rng.integers(len(phrases)))]
        return [*_encode(self.tokenizer, phrase), *self._image]

    def _exchange(self, turns: tuple[Turn, ...], task: str, rng: np.random.Generator | None) -> _Exchange:
        asked = []
        for turn in turns:
            shown = [] if turn.frame == NO_FRAME else self._image
            if task == "navigation":
                shown = self._observed(None, rng)
            words = plain(turn.question, self.tokenizer)
            asked.append([*shown, *_encode(self.tokenizer, f"{words}\n" if words else "")])
        last = turns[-1]
        spoken = _encode(self.tokenizer, plain(last.answer, self.tokenizer))
        reply = [*self.actions.encode(last.actions), *spoken, self.end_id]
        return _Exchange(turns, asked, reply, self._price(asked, reply, task))

    def _learned(self, exchange: _Exchange) -> list[int]:
        """Labels of a reply: what was said, or where the expert wants another action, that up to the first token
        that differs."""
        turn, labels, place = exchange.turns[-1], list(exchange.reply), 0
        for done, wanted in zip(turn.actions, turn.wanted, strict=True):
            said, right = self.actions.ids[done], self.actions.ids[wanted]
            if wanted != done:
                same = next(i for i, (a, b) in enumerate(zip(said, right, strict=False)) if a != b)
                known = right[: same + 1]
                labels[place : place + len(said)] = [*known, *[IGNORED] * (len(said) - len(known))]
            place += len(said)
        return labels

    def _price(self, asked: Sequence[list[int]], reply: list[int], task: str) -> int:
        frame = len(self._following) + len(self._user) + len(self._reply)
        return frame + sum(self._cost(ids, task) for ids in asked) + len(reply)

    def _fitted(self, exchange: _Exchange, task: str, room: int) -> _Exchange:
        """The only question with as many of its last views as there is room for; at least with its last."""
        turns, asked = list(exchange.turns), list(exchange.asked)
        while len(turns) > 1 and self._price(asked, exchange.reply, task) > room:
            turns.pop(0)
            asked.pop(0)
        cost = self._price(asked, exchange.reply, task)
        return _Exchange(tuple(turns), asked, exchange.reply, cost)

    def _shortened(self, dialogue: Dialogue, before: list[int], room: int) -> list[int]:
        """What stands before the views, with as much of the instruction's end cut off as must be."""
        fixed = len(self._system) + len(self._user)
        if room < fixed:
            raise ValueError(
                f"max_tokens ({self.params.max_tokens}) is too small for one question of a "
                f"{dialogue.task} dialogue about {dialogue.sequence_id}: {fixed - room} more are needed"
            )
        return before[:room]

    def _cost(self, ids: list[int], task: str) -> int:
        """Tokens that ids without memory count for."""
        return len(ids) + ids.count(self.image_id) * (self.views.of(task) - 1)

    def _recalled(self, dialogue: Dialogue) -> int:
        """Tokens that the memory counts for, beside the words round it."""
        count = len(dialogue.memory_frames)
        return count * self.views.remembered - 1 if count else 0


@dataclass(frozen=True)
class _Exchange:
    """A question and its reply as ids: one list a turn, the reply, and what all of it costs."""

    turns: tuple[Turn, ...]
    asked: list[list[int]]
    reply: list[int]
    cost: int


def _encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []
