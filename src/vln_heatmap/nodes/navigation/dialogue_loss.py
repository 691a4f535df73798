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

from vln_heatmap.nodes.navigation.grounding_loss import GroundingLoss
from vln_heatmap.nodes.training.base import EpochLoss, Losses
from vln_heatmap.params.navigation_model import ContrastParams
from vln_heatmap.simulation.simulators.base import ACTION_NAMES, STOP

#: Share of each loss part, by what a dialogue is about, of contrast and of grounding; they add up to the loss.
ACTIONS, TEXT, CONTRAST, GROUNDING = "actions", "text", "contrast", "grounding"


class DialogueLoss(EpochLoss):
    """Loss of an ``ActionDialogue``.

    Args:
        words: token ids of each action, by its number.
        stop_weight: of STOP; all other tokens weigh 1.
        contrast: what the words of an instruction are worth; None = nothing. Else batches need the ``other``
            words of ``VLNActionDataset``.
        grounding: what words name; None = nothing. Else batches need ``things``.
    """

    def __init__(
        self,
        words: tuple[tuple[int, ...], ...],
        *,
        stop_weight: float = 1.0,
        contrast: ContrastParams | None = None,
        grounding: GroundingLoss | None = None,
    ) -> None:
        self.words, self.stop_weight = words, stop_weight
        self.contrast, self.grounding = contrast, grounding

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
        if self.contrast is not None:
            walks = acting.nonzero()[:, 0].tolist()
            again = walks[:: self.contrast.every]
            short = samples.new_zeros(len(samples))
            if again:
                gain = self.instruction_gain(model, batch, samples, again)  # [again]
                missing = (self.contrast.margin - gain).relu() * (len(walks) / len(again))
                short = short.index_add(0, torch.tensor(again, device=short.device), missing)
                numbers["data/instruction_gain"] = gain.detach().mean()
            parts[CONTRAST] = self.contrast.weight * short.mean()
            samples = samples + self.contrast.weight * short
        if self.grounding is not None:
            parts[GROUNDING] = self.grounding(model, batch)
            samples = samples + parts[GROUNDING]
        moves = acting[reading.rows]  # [n]
        for name, chosen in ((ACTIONS, moves), (TEXT, ~moves)):
            if chosen.any():
                numbers[f"right/{name}"] = reading.right[chosen].float().mean()
        return Losses(samples.mean(), parts, samples, numbers)

    def instruction_gain(
        self, model: Any, batch: Mapping[str, Any], samples: Tensor, walks: list[int]
    ) -> Tensor:
        """How much more some walks of a batch cost with another's instruction [walks], nats an action.

        Args:
            model, batch: as of ``__call__``; the batch has ``other`` words.
            samples: what each of its dialogues costs [B].
            walks: their rows.
        """
        misled = model(_chosen({**batch, **batch["other"]}, walks))
        return self.of_samples(misled, len(walks)) - samples[walks]

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
        self._gains: list[float] = []
        self._pointed: list[bool] = []

    def add(self, model: Any, batch: Mapping[str, Any]) -> None:
        """Take in what a model says of a batch."""
        reading, tasks = model(batch), batch["task"]
        samples = self.loss.of_samples(reading, len(tasks))
        walks = [row for row, task in enumerate(tasks) if task == "navigation"]
        if self.loss.contrast is not None and walks:
            self._gains += self.loss.instruction_gain(model, batch, samples, walks).tolist()
        if self.loss.grounding is not None:
            self._pointed += self.loss.grounding.pointing(model, batch)
        for task, value in zip(tasks, samples.tolist(), strict=True):
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
        ``text_right``: share of other dialogues' tokens; with contrast, ``instruction_gain``: by how many nats a
        walk's actions cost more with another walk's instruction; with grounding, ``pointing``: of the views that
        show what the instruction names, the share where the best match is there. What cannot be told is NaN or
        left out."""
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
        text = {"text_right": _mean(self._right[TEXT])} if TEXT in self._right else {}
        told: dict[str, list[Any]] = {"instruction_gain": self._gains, "pointing": self._pointed}
        return found | text | {name: _mean(values) for name, values in told.items() if values}


def _chosen(batch: Mapping[str, Any], rows: list[int]) -> dict[str, Any]:
    """Some rows of a batch, without other words."""
    return {
        name: value[rows] if isinstance(value, Tensor) else [value[row] for row in rows]
        for name, value in batch.items()
        if name != "other"
    }


def _mean(values: list[Any]) -> float:
    return float(np.mean(values)) if values else float("nan")
