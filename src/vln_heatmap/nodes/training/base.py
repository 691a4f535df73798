"""What the training loop is given, and what it gives back.

Invariant: a loss is the mean over the windows of a batch, so that neither micro-batches nor processes change it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd
from torch import Tensor

from vln_heatmap.nodes.training.director import EpochPlan, Event

#: (model with averaged weights, in evaluation mode) -> metrics.
Validate = Callable[[Any], Mapping[str, float]]


class Losses(NamedTuple):
    """What a loss says of a batch of B windows.

    Attributes:
        total: scalar that carries gradients.
        parts: its parts by name, scalars without their weights.
        samples: loss of each window [B]; None = not known.
        numbers: others by their column of the history (data/low_quality, norm/mask, …), scalars.
    """

    total: Tensor
    parts: Mapping[str, Tensor]
    samples: Tensor | None = None
    numbers: Mapping[str, Tensor] = {}


#: (model, batch on its device) -> ``Losses``, or the first two of them.
LossFunction = Callable[[Any, Any], tuple]


class EpochLoss(ABC):
    """A loss that changes with the plan of the epoch, and may remember something from step to step."""

    def begin(self, plan: EpochPlan, model: Any) -> None:  # noqa: B027
        """The epoch of ``plan`` begins, or goes on."""

    @abstractmethod
    def __call__(self, model: Any, batch: Any) -> tuple:
        """See ``LossFunction``."""

    def columns(self) -> Mapping[str, float]:
        """What the next step is made with, for the history: weight/<part>, mix/<level>."""
        return {}

    def after_step(self, model: Any, numbers: Mapping[str, float]) -> None:  # noqa: B027
        """The weights were updated; ``numbers`` of the step, means over micro-batches and processes."""

    def rolled_back(self) -> None:  # noqa: B027
        """The model has the weights of an earlier step: forget what was remembered of those that it had."""

    def state_dict(self) -> dict[str, Tensor]:
        """Everything remembered between steps."""
        return {}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:  # noqa: B027
        """Inverse of ``state_dict``; called after ``begin`` of the same epoch."""


class FixedLoss(EpochLoss):
    """The same loss in every epoch."""

    def __init__(self, loss_fn: LossFunction) -> None:
        self.loss_fn = loss_fn

    def __call__(self, model: Any, batch: Any) -> tuple:
        return self.loss_fn(model, batch)


class DivergedError(RuntimeError):
    """A loss or gradient is not finite."""


class TrainingStoppedError(RuntimeError):
    """The director stopped the run: what it trained cannot be trusted to get better."""


@dataclass(frozen=True)
class Best:
    """The best validation, its step, and the averaged weights (without frozen ones) that it was made with."""

    step: int
    metrics: dict[str, float]
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class TrainingResult:
    """What a training gives.

    Attributes:
        state_dict: averaged weights on the CPU, of the whole model but for what was to be left out: the best
            ones, or the last (``keep``).
        history: one row a step: step, phase, epoch, loss, loss/<part>, data/<share>, grad_norm, lr,
            samples_per_s, wait (share of the time spent waiting for data), what the loss tells of its epoch
            (weight/<part>, mix/<level>) and, where validated, val/<metric>.
        best: the best validation; None if nothing was validated.
        last: averaged weights after the last step.
        events: what the director decided and noticed.
        stopped: why the director stopped the run; None = it ended as planned.
    """

    state_dict: dict[str, Tensor]
    history: pd.DataFrame
    best: Best | None
    last: dict[str, Tensor]
    events: list[Event] = field(default_factory=list)
    stopped: str | None = None
