"""Prompts as tensors: token ids, where the visual tokens go, and who may look ahead.

Invariant: visual tokens stand frame by frame and row by row; every row of a batch has the same number of them;
padding stands on the left, so that the end of a prompt is the last column of every row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from vln_heatmap.nodes.model.tokenizer import plain

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

EVERYTHING = "everything"  # what an empty instruction means
CAUSAL = -1  # block of a token that sees only what stands before it


@dataclass(frozen=True)
class Prompt:
    """Prompts of a batch, padded on the left to one length.

    Attributes:
        ids: token ids [B, L]; a visual position holds the id of the image token.
        attention: true where there is a token, false in the padding [B, L].
        visual: true at visual positions [B, L]; frame by frame, row by row.
        instruction: true at the tokens of the instruction [B, L], at least one in each row.
        block: tokens of one block >= 0 see each other both ways; ``CAUSAL`` see what is before them [B, L].
        frames: spans of visual tokens in each row, V; grid: tokens along a side of a frame.
    """

    ids: Tensor
    attention: Tensor
    visual: Tensor
    instruction: Tensor
    block: Tensor
    frames: int
    grid: int

    @property
    def visual_places(self) -> Tensor:
        """Columns of the visual tokens, in order: int64 [B, V * g * g]; found without waiting for the device."""
        count = self.frames * self.grid**2
        return self.visual.int().argsort(dim=1, descending=True, stable=True)[:, :count]

    def to(self, device: torch.device | str) -> Prompt:
        """The same prompt on another device."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.type == "Tensor"}
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})

    def followed_by(self, ids: Tensor) -> Prompt:
        """The prompt with causal text [B, S] after it: an answer to learn, or one that was generated."""
        false = torch.zeros_like(ids, dtype=torch.bool)
        more = text_prompt(ids)
        return Prompt(
            torch.cat([self.ids, ids], 1),
            torch.cat([self.attention, more.attention], 1),
            torch.cat([self.visual, false], 1),
            torch.cat([self.instruction, false], 1),
            torch.cat([self.block, more.block], 1),
            self.frames,
            self.grid,
        )


class Piece(NamedTuple):
    """Text of one prompt, in three parts; the middle one is the user's."""

    before: str
    spoken: str
    after: str


def text_prompt(ids: Tensor, attention: Tensor | None = None) -> Prompt:
    """Causal text [B, S] without visual tokens."""
    false = torch.zeros_like(ids, dtype=torch.bool)
    attention = ~false if attention is None else attention
    return Prompt(ids, attention, false, false, torch.full_like(ids, CAUSAL), 0, 1)


def spoken_text(text: str, tokenizer: PreTrainedTokenizerFast) -> str:
    """What a user said, without special tokens; an empty instruction means everything."""
    return plain(text, tokenizer) or EVERYTHING


def encode(
    tokenizer: PreTrainedTokenizerFast, pieces: Sequence[Piece], image: str, grid: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Token ids, attention, visual and instruction, each [B, L], of texts that hold one ``image`` a frame.

    Each image token of the text is repeated ``grid * grid`` times.
    """
    encoded = tokenizer(
        ["".join(piece) for piece in pieces], add_special_tokens=False, return_offsets_mapping=True
    )
    mark: Any = tokenizer.convert_tokens_to_ids(image)
    rows, spoken = [], []
    for piece, ids, offsets in zip(pieces, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        start, end = torch.tensor(offsets).unbind(-1)  # characters of each token
        first = len(piece.before)
        inside = (start < first + len(piece.spoken)) & (end > first)
        row = torch.tensor(ids)
        repeats = (row == mark) * (grid * grid - 1) + 1
        rows.append(row.repeat_interleave(repeats))
        spoken.append(inside.repeat_interleave(repeats))
    ids = _pad_left(rows, tokenizer.pad_token_id)
    attention = _pad_left([torch.ones_like(row, dtype=torch.bool) for row in rows], False)
    return ids, attention, (ids == mark) & attention, _pad_left(spoken, False)


def check_counts(visual_count: int, grid: int, *, least: int = 1) -> None:
    """Refuse a prompt without frames or without tokens in a frame."""
    if visual_count < least or grid < 1:
        raise ValueError(f"visual_count and grid must be at least 1, got {visual_count} and {grid}")


def _pad_left(rows: Sequence[Tensor], value: int) -> Tensor:
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value, padding_side="left")
