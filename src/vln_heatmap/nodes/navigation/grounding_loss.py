"""Learning which words name what is seen: from the names of the things in the cells of the walks' views.

Every cell is asked twice: which of all names is the thing's, and for each instruction of the batch, whether it
names the thing. Invariant: which cells are asked depends on the batch alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vln_heatmap.nodes.model.context.grounding import text_queries
from vln_heatmap.nodes.model.context.looking import look
from vln_heatmap.params.navigation_model import GroundingParams

_SHOWN = 0.1  # share of a cell from which it shows a thing
_UNKNOWN = 0  # number of what has no name


class GroundingLoss:
    """Loss of the ``Grounding`` of an ``ActionDialogue``.

    Args:
        names: of things, by their numbers in the batches' ``things``; the first one is of what has none.
        params: weight, and how many cells are asked.
    """

    def __init__(self, names: Sequence[str], params: GroundingParams) -> None:
        self.names, self.params = tuple(names), params
        every = sorted(filter(None, self.names), key=lambda name: (-len(name), name))
        self._numbers = {name: number for number, name in enumerate(self.names)}
        self._named = re.compile(rf"\b(?:{'|'.join(map(re.escape, every)) or '(?!)'})\b")

    def __call__(self, model: Any, batch: Mapping[str, Any]) -> Tensor:
        """Loss of a batch that has ``things`` [B, N, k, k], numbers of names in a grid finer than the model's, a
        scalar, already weighted; 0 without walks."""
        looks, things, walks = _views(model, batch)
        cells = _cells(things, looks.shape[-1])  # [M * g * g, k * k / g / g]
        count = min(len(cells), self.params.cells)
        if not count:
            return model.context.nothing()
        drawn = torch.arange(count, device=cells.device) * len(cells) // count
        shares = F.one_hot(cells[drawn].long(), len(self.names)).float().mean(1)  # [count, names]
        grounding = model.context.grounding
        keys = grounding.keys(looks).flatten(0, 2)[drawn]
        named = grounding.scores(keys, text_queries(model, list(self.names)))  # [count, names]
        known = shares.index_fill(1, torch.tensor([_UNKNOWN], device=cells.device), 0.0)
        weighted = known / (known.sum(0) + 1).sqrt()  # rare things count more than walls
        naming = -(weighted * named.log_softmax(-1)).sum() / weighted.sum().clamp_min(1e-6)
        texts = [batch["instruction"][walk] for walk in walks]
        asked = grounding.scores(keys, text_queries(model, texts))  # [count, walks]
        answers = (known @ self.mentioned(texts).to(known).T >= _SHOWN).float()
        return self.params.weight * (naming + F.binary_cross_entropy_with_logits(asked, answers))

    def mentioned(self, texts: Sequence[str]) -> Tensor:
        """Which names stand in each text [texts, names]; of "dining table", "table" does not."""
        found = torch.zeros(len(texts), len(self.names), dtype=torch.bool)
        for row, text in zip(found, texts, strict=True):
            row[[self._numbers[name] for name in self._named.findall(text)]] = True
        return found

    def pointing(self, model: Any, batch: Mapping[str, Any]) -> list[bool]:
        """For each view that shows what its walk's instruction names, whether the cell that fits best does."""
        looks, things, walks = _views(model, batch)
        owners = batch["frame_mask"][walks].nonzero()[:, 0].tolist()
        hits, grounding = [], model.context.grounding
        mentioned = self.mentioned([batch["instruction"][walk] for walk in walks]).to(things.device)
        for view, owner in zip(range(len(looks)), owners, strict=True):
            shown = mentioned[owner][_cells(things[view : view + 1], looks.shape[-1]).long()]  # [g * g, n]
            there = shown.float().mean(1) >= _SHOWN
            if there.any():
                words = text_queries(model, [batch["instruction"][walks[owner]]])
                fits = grounding.scores(grounding.keys(looks[view : view + 1]), words)
                hits.append(bool(there[fits.argmax()]))
        return hits


def _views(model: Any, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, list[int]]:
    """Of all walks of a batch: looks of their M views [M, D, g, g], their things [M, k, k], and the walks."""
    walks = [i for i, task in enumerate(batch["task"]) if task == "navigation"]
    there = batch["frame_mask"][walks]
    given = [batch[name][walks] for name in ("looks", "frames", "features", "things") if name in batch]
    *seen, things = [rows[:, : there.shape[1]][there[:, : rows.shape[1]]] for rows in given]
    return (seen[0] if len(seen) == 1 else look(model, *seen)), things, walks


def _cells(things: Tensor, grid: int) -> Tensor:
    """Things [M, k, k] by cell [M * grid * grid, (k / grid)²]."""
    fine = things.shape[-1] // grid
    return things.unflatten(2, (grid, fine)).unflatten(1, (grid, fine)).transpose(2, 3).reshape(-1, fine**2)
