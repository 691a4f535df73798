"""An exponential moving average of the weights: what is validated and kept.

Invariant: outside ``applied`` the model holds its own weights, inside it the averaged ones; nothing is copied
to swap them, unless they are spread over processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vln_heatmap.nodes.training.sharding import is_sharded, like


class WeightAverage:
    """Average of the trainable parameters of a model; frozen ones are not stored.

    The decay of update t (0, 1, …) is min(decay, (1 + t) / (10 + t)), so that the average is not held back by
    the initial weights (as TensorFlow's ExponentialMovingAverage).

    Args:
        model: whose weights are averaged.
        decay: in [0, 1); 0 = the average is the weights themselves.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self._parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.tensors = {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after update ``step``."""
        keep = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.tensors.values()), list(self._parameters.values()), 1 - keep)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averaged weights into the model for a while."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            if is_sharded(parameter):  # whoever gathers it has its own hold on the memory
                own = parameter.detach().clone()
                parameter.copy_(self.tensors[name])
                self.tensors[name].copy_(own)
            else:
                parameter.data, self.tensors[name] = self.tensors[name], parameter.data

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over stored averages of the same parameters."""
        for name, own in self.tensors.items():
            own.copy_(like(tensors[name], own))
