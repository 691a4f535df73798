"""One dialogue as a row of tokens, text and views alike, and several of them as a batch.

Training builds whole rows and the running agent grows one turn by turn, by the same methods. Invariant: a row
depends on what was said and shown and in which order, not on how it was cut into pieces; tokens of one user
turn's views see each other both ways, everything else sees what stands before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vln_heatmap.datasets.dialogue_samples import IGNORED
from vln_heatmap.nodes.model.language.prompt import CAUSAL

Place = tuple[int, int, int]  # time, row, column


class Span(NamedTuple):
    """Visual tokens that stand together.

    Attributes:
        tokens: at the language model's width [n, D].
        places: time, row and column of each from the span's beginning [n, 3].
        extent: by how much later text goes on, whatever was left out of the span.
    """

    tokens: Tensor
    places: NDArray[np.int64]
    extent: int


def grid_span(tokens: Tensor, keep: NDArray[np.bool_] | None = None) -> Span:
    """Views [T, g, g, D] one after the other as one span, without the tokens that ``keep`` [T, g, g] denies."""
    count, grid = tokens.shape[:2]
    places = np.stack(np.meshgrid(*map(np.arange, (count, grid, grid)), indexing="ij"), -1).reshape(-1, 3)
    flat, extent = tokens.flatten(0, 2), max(count, grid)
    if keep is None:
        return Span(flat, places, extent)
    kept = np.flatnonzero(keep)
    return Span(flat[torch.from_numpy(kept).to(flat.device)], places[kept], extent)


@dataclass
class Row:
    """A dialogue so far.

    Attributes:
        end: token that ends a reply; visual tokens up to the next one belong to one turn.
        spatial: see ``LanguageModel``; without it every token is simply counted.
        ids: of text; visual positions hold 0. labels: ``IGNORED`` where there is no loss.
        block: see ``Prompt``. places: of every token. tokens: of the spans, in order.
        next: where the next text token is placed. turn: replies that ended so far.
        senses: vectors [D], each of which is added to some text tokens; felt: of every token, the number of its
        vector, or -1. feeling: the number for the next text token.
    """

    end: int
    spatial: bool
    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    block: list[int] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    tokens: list[Tensor] = field(default_factory=list)
    next: int = 0
    turn: int = 0
    senses: list[Tensor] = field(default_factory=list)
    felt: list[int] = field(default_factory=list)
    feeling: int = -1

    def __len__(self) -> int:
        return len(self.ids)

    def say(self, ids: Iterable[int], labels: Iterable[int] | None = None) -> None:
        """Add text."""
        ids = list(ids)
        self.ids += ids
        self.labels += [IGNORED] * len(ids) if labels is None else list(labels)
        self.block += [CAUSAL] * len(ids)
        self.places += [(n, n, n) for n in range(self.next, self.next + len(ids))]
        self.next += len(ids)
        self.turn += ids.count(self.end)
        for token in ids:
            self.felt.append(self.feeling)
            self.feeling = -1 if token == self.end else self.feeling

    def feel(self, sense: Tensor) -> None:
        """Add a vector [D] to all text from here to the next such vector or the end of the reply."""
        self.feeling = len(self.senses)
        self.senses.append(sense)

    def show(self, span: Span) -> None:
        """Add visual tokens."""
        count = len(span.tokens)
        self.ids += [0] * count
        self.labels += [IGNORED] * count
        self.block += [self.turn] * count
        self.felt += [-1] * count
        self.tokens.append(span.tokens)
        if self.spatial:
            self.places += [tuple(p) for p in (span.places + self.next).tolist()]
            self.next += span.extent
        else:
            self.places += [(n, n, n) for n in range(self.next, self.next + count)]
            self.next += count

    def cut(self, length: int) -> None:
        """Take back the text after the first ``length`` tokens, in which no reply ends.

        Raises:
            ValueError: it is not only such text.
        """
        gone = len(self) - length
        if gone < 0 or any(b != CAUSAL for b in self.block[length:]) or self.end in self.ids[length:]:
            raise ValueError(f"only text of an open reply can be taken back, got {gone} tokens")
        for column in (self.ids, self.labels, self.block, self.places, self.felt):
            del column[length:]
        self.next -= gone
        self.feeling = self.felt[-1] if self.felt else -1
        del self.senses[max(self.felt, default=-1) + 1 :]


@dataclass(frozen=True)
class Batch:
    """Rows, or what of them has not been read, padded on the left.

    Attributes:
        ids, labels, block, felt: int64 [B, S]; attention, visual: bool [B, S]; places: int64 [3, B, S].
        tokens: those at the visual positions, row by row [V, D]; None if there are none.
        senses: those of all rows [F, D], which ``felt`` counts; None if there are none.
    """

    ids: Tensor
    labels: Tensor
    block: Tensor
    attention: Tensor
    visual: Tensor
    places: Tensor
    felt: Tensor
    tokens: Tensor | None
    senses: Tensor | None


def batched(rows: Sequence[Row], starts: Sequence[int], device: torch.device | str = "cpu") -> Batch:
    """Rows from the tokens ``starts`` on."""
    length = max(1, *(len(row) - start for row, start in zip(rows, starts, strict=True)))

    def stacked(columns: Sequence[Sequence[int]], fill: int) -> NDArray[np.int64]:
        out = np.full((len(rows), length), fill, np.int64)
        for target, column, start in zip(out, columns, starts, strict=True):
            if len(column) > start:
                target[length - (len(column) - start) :] = column[start:]
        return out

    firsts = np.cumsum([0, *(len(row.senses) for row in rows)]).tolist()  # of each row's senses among all
    felt = [[n + first if n >= 0 else n for n in row.felt] for row, first in zip(rows, firsts, strict=False)]
    block = stacked([row.block for row in rows], CAUSAL)
    arrays = {
        "ids": stacked([row.ids for row in rows], 0),
        "labels": stacked([row.labels for row in rows], IGNORED),
        "block": block,
        "attention": stacked([[1] * len(row) for row in rows], 0).astype(bool),
        "visual": block != CAUSAL,
        "felt": stacked(felt, -1),
        "places": np.stack([stacked([[p[i] for p in row.places] for row in rows], 0) for i in range(3)]),
    }
    tokens = [t for row, start in zip(rows, starts, strict=True) for t in _unread(row, start)]
    tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    senses = [sense for row in rows for sense in row.senses]
    return Batch(
        **tensors,
        tokens=torch.cat(tokens) if tokens else None,
        senses=torch.stack(senses) if senses else None,
    )


def _unread(row: Row, start: int) -> list[Tensor]:
    """Visual tokens of a row from the token ``start`` on; spans are read as a whole."""
    shown, left = sum(b != CAUSAL for b in row.block[:start]), []
    for tokens in row.tokens:
        if shown <= 0:
            left.append(tokens)
        shown -= len(tokens)
    return left
