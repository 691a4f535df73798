"""How well a model replies: cross-entropy on the tokens of replies, and how often they are right.

Invariant: a dialogue's loss is the mean over its own tokens, and a batch's the mean over its dialogues, so that
neither padding nor micro-batches nor long replies change what one dialogue counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vln_heatmap.nodes.training.base import EpochLoss, Losses
from vln_heatmap.simulation.simulators.base import ACTION_NAMES, STOP

#: Share of each loss part, by what a dialogue is about; they add up to the loss.
ACTIONS, TEXT = "actions", "text"


class DialogueLoss(EpochLoss):
    """Loss of an ``ActionDialogue``.

    Args:
        words: token ids of each action, by its number.
        stop_weight: of STOP; all other tokens weigh 1.
    """

    def __init__(self, words: tuple[tuple[int, ...], ...], *, stop_weight: float = 1.0) -> None:
        self.words, self.stop_weight = words, stop_weight

    def __call__(self, model: Any, batch: Mapping[str, Any]) -> Losses:
        """See ``LossFunction``."""
        reading = model(batch)
        samples = self.of_samples(reading, len(batch["task"]))  # [B]
        acting = torch.tensor([task == "navigation" for task in batch["task"]], device=samples.device)
        parts = {
            ACTIONS: (samples * acting).sum() / len(samples),
            TEXT: (samples * ~acting).sum() / len(samples),
        }
        numbers = {"data/memory_pruned": reading.pruned}
        moves = acting[reading.rows]  # [n]
        for name, chosen in ((ACTIONS, moves), (TEXT, ~moves)):
            if chosen.any():
                numbers[f"right/{name}"] = reading.right[chosen].float().mean()
        return Losses(samples.mean(), parts, samples, numbers)

    def of_samples(self, reading: Any, count: int) -> Tensor:
        """Loss of each dialogue [count]; 0 where nothing is to be learned."""
        weights = torch.where(reading.targets == self.words[STOP][0], self.stop_weight, 1.0)  # [n]
        sums = reading.losses.new_zeros(2, count)
        both = torch.stack([reading.losses * weights, weights.to(reading.losses)])  # [2, n]
        sums = sums.index_add(1, reading.rows, both)
        return sums[0] / sums[1].clamp_min(1e-9)


class DialogueValidation:
    """Metrics of dialogues, batch by batch.

    Args:
        loss: of a dialogue.
    """

    def __init__(self, loss: DialogueLoss) -> None:
        self.loss = loss
        self._losses: dict[str, list[float]] = {}
        self._right: dict[str, list[bool]] = {}

    def add(self, reading: Any, tasks: list[str]) -> None:
        """Take in what a model says of a batch."""
        for task, value in zip(tasks, self.loss.of_samples(reading, len(tasks)).tolist(), strict=True):
            self._losses.setdefault(task, []).append(value)
        names = {tokens[0]: ACTION_NAMES[action] for action, tokens in enumerate(self.loss.words)}
        rows, targets, right = (x.tolist() for x in (reading.rows, reading.targets, reading.right))
        for row, target, hit in zip(rows, targets, right, strict=True):
            name = names.get(target) if tasks[row] == "navigation" else TEXT
            if name is not None:  # the token that ends a reply is no action
                self._right.setdefault(name, []).append(hit)

    def metrics(self) -> dict[str, float]:
        """``loss`` and ``loss_<task>``; ``actions_right``: share of actions that were the most probable, after
        the expert's before them; ``right_<action>`` of each action; ``actions_balanced``: their mean;
        ``text_right``: share of other dialogues' tokens. What cannot be told is NaN or left out."""
        every = [value for values in self._losses.values() for value in values]
        by_action = {name: self._right[name] for name in ACTION_NAMES if name in self._right}
        hits = [hit for values in by_action.values() for hit in values]
        shares = {f"right_{name}": _mean(values) for name, values in by_action.items()}
        found = {
            "loss": _mean(every),
            **{f"loss_{task}": _mean(values) for task, values in self._losses.items()},
            "actions_right": _mean(hits),
            "actions_balanced": _mean(list(shares.values())),
            **shares,
        }
        return found | ({"text_right": _mean(self._right[TEXT])} if TEXT in self._right else {})


def _mean(values: list[Any]) -> float:
    return float(np.mean(values)) if values else float("nan")
