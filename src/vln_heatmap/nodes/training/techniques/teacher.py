"""Teachers: an average of the model's own past, or a checkpoint.

Invariant: a teacher has no gradient, answers in evaluation mode, and leaves the model, its weights and its modes
as they were. Frozen weights are the model's own; only trainable ones are averaged.

Source of the averaged teacher: Tarvainen & Valpola, "Mean teachers are better role models", NeurIPS 2017,
arXiv:1703.01780.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vln_heatmap.nodes.training.ema import WeightAverage
from vln_heatmap.nodes.training.techniques.base import Batch, Predict


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients for a while; each module gets its own mode back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


class Teacher:
    """Exponential average of a model's trainable weights, which can answer like the model.

    Args:
        model: whose weights are averaged, from now on.
        decay: of ``WeightAverage``.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.model, self.average = model, WeightAverage(model, decay=decay)
        self.step = 0
        self._answered: tuple[Batch, Any] | None = None

    def answer(self, batch: Batch, predict: Predict) -> Any:
        """What ``predict`` gives with the averaged weights in place; the same batch is answered only once."""
        if self._answered is None or self._answered[0] is not batch:
            with evaluating(self.model):
                output = predict(self._call, batch)
            self._answered = batch, output
        return self._answered[1]

    def _call(self, *args: Any, **more: Any) -> Any:
        return functional_call(self.model, self.average.tensors, args, more)

    def update(self) -> None:
        """Take in the model's weights after a step."""
        self.average.update(self.step)
        self.step += 1
        self._answered = None

    def restart(self) -> None:
        """Begin anew with the model's weights of now."""
        self.average, self.step = WeightAverage(self.model, decay=self.average.decay), 0
        self._answered = None

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "step": torch.tensor(self.step),
            **{f"weights.{k}": t for k, t in self.average.tensors.items()},
        }

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        self.step, self._answered = int(tensors["step"]), None
        self.average.load({k.removeprefix("weights."): t for k, t in tensors.items() if k != "step"})


class Teachers:
    """The averaged teachers of a run, by their decay, so that techniques that agree on it share one.

    Args:
        model: whose averages they are. A teacher begins with the weights that the model has when it is first
            asked for.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._teachers: dict[float, Teacher] = {}

    def get(self, decay: float) -> Teacher:
        """The teacher of this decay."""
        if decay not in self._teachers:
            self._teachers[decay] = Teacher(self.model, decay=decay)
        return self._teachers[decay]

    def keep(self, decays: set[float]) -> None:
        """Dismiss all others."""
        self._teachers = {decay: t for decay, t in self._teachers.items() if decay in decays}

    def restart(self) -> None:
        for teacher in self._teachers.values():
            teacher.restart()

    def update(self) -> None:
        for teacher in self._teachers.values():
            teacher.update()

    def state_dict(self) -> dict[str, Tensor]:
        return {
            f"{decay!r}/{name}": tensor
            for decay, teacher in self._teachers.items()
            for name, tensor in teacher.state_dict().items()
        }

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Load those that are there, and make those that are not."""
        for decay in {key.partition("/")[0] for key in tensors}:
            prefix = f"{decay}/"
            own = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
            self.get(float(decay)).load_state_dict(own)
