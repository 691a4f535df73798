"""Reading on where one stopped: what a language model remembers, and answers token by token.

Invariant: reading in pieces gives the hidden states that reading at once gives; a finished row of a batch goes
on as padding and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from vln_heatmap.nodes.model.language.prompt import Prompt, text_prompt

if TYPE_CHECKING:
    from vln_heatmap.nodes.model.language.base import LanguageModel


@dataclass
class Memory:
    """What has been read: keys and values of every layer; grows with each ``extend``.

    Attributes:
        cache: transformers' cache of keys and values.
        attention: true where a token was read, false in padding [B, P].
        next: position of the next text token of each row [B].
    """

    cache: Any
    attention: Tensor
    next: Tensor

    def __len__(self) -> int:
        return self.attention.shape[1]

    def mark(self) -> tuple[int, Tensor]:
        """Where the memory is now, for ``rewind``."""
        return len(self), self.next

    def rewind(self, mark: tuple[int, Tensor]) -> None:
        """Forget everything read since ``mark``: one prefix can serve many continuations."""
        length, self.next = mark
        self.cache.crop(length - len(self))  # counts what is to be removed, as a negative number
        self.attention = self.attention[:, :length]


class Answer(NamedTuple):
    """Generated tokens.

    Attributes:
        ids: [B, N], padding after a row's end.
        said: true up to and with the token that ended the row [B, N].
        memory: of the prompt and all the tokens, to read on from.
    """

    ids: Tensor
    said: Tensor
    memory: Memory


@torch.no_grad()
def answer(
    language: LanguageModel,
    visual_tokens: Tensor | None,
    prompt: Prompt,
    *,
    limit: int,
    stop: int | None = None,
    memory: Memory | None = None,
) -> Answer:
    """The most probable next token, again and again (greedy decoding).

    Args:
        language: any language model.
        visual_tokens: [B, V, g, g, D] of the prompt; None if it has none.
        prompt: what to answer.
        limit: largest number of tokens, at least 1.
        stop: token that ends an answer; None = the tokenizer's end of turn.
        memory: what was read before the prompt; it is extended.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    stop = language.tokenizer.eos_token_id if stop is None else stop
    if memory is None:
        hidden, memory = language.prefill(visual_tokens, prompt)
    else:
        hidden = language.extend(memory, prompt, visual_tokens)
    open_rows = torch.ones(len(hidden), dtype=torch.bool, device=hidden.device)
    ids, said = [], []
    for _ in range(limit):
        chosen = language.logits(hidden[:, -1]).argmax(-1)  # [B]
        ids.append(chosen.where(open_rows, language.tokenizer.pad_token_id))
        said.append(open_rows)
        hidden = language.extend(memory, text_prompt(ids[-1][:, None], open_rows[:, None]))
        open_rows = open_rows & (chosen != stop)
        if not open_rows.any():
            break
    return Answer(torch.stack(ids, 1), torch.stack(said, 1), memory)
