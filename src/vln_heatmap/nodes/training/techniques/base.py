"""What the loop and a technique know of each other.

Invariant: whatever a technique remembers from step to step is in its ``state_dict``, and whatever is random in it
comes from torch's generator, which the loop seeds before each batch. So a run with techniques resumes exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vln_heatmap.nodes.training.techniques.teacher import Teachers

Batch = dict[str, Any]
#: (network or whatever can be called like it, batch) -> its output.
Predict = Callable[[Any, Batch], Any]
#: (output, batch) -> total loss, a scalar: with the weights of the epoch.
Objective = Callable[[Any, Batch], "Tensor"]


@dataclass(frozen=True)
class Context:
    """What a technique may ask of the run that it takes part in.

    Attributes:
        predict: see ``Predict``.
        objective: see ``Objective``; a mean over the windows of a batch.
        patch: side of VGGT's patches in pixels.
        teachers: averaged copies of the model, shared by those who ask for the same decay.
    """

    predict: Predict
    objective: Objective
    patch: int
    teachers: Teachers


class BatchTechnique(Protocol):
    """One technique during a phase. A class that derives from this one writes only the methods it needs."""

    def prepare(self, batch: Batch) -> Batch:
        """The batch to train on instead; the given one is not changed."""
        return batch

    def loss(self, model: nn.Module, batch: Batch, output: Any) -> dict[str, Tensor]:
        """Scalars by name, to be added to the total as they are: their weights are in them already.

        Args:
            model: the network in training mode, gradients enabled.
            batch: what ``prepare`` gave; output: what the network makes of it.
        """
        return {}

    def after_step(self, model: nn.Module) -> None:
        """The weights have been updated."""

    def state_dict(self) -> dict[str, Tensor]:
        """Everything remembered between steps, for a saved run."""
        return {}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of ``state_dict``."""


class Counted(BatchTechnique):
    """A technique that knows how many steps it has been in use."""

    def __init__(self) -> None:
        self.step = 0

    def after_step(self, model: nn.Module) -> None:
        self.step += 1

    def state_dict(self) -> dict[str, Tensor]:
        import torch

        return {"step": torch.tensor(self.step)}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        self.step = int(tensors["step"])
