"""One update of the weights: forward, backward, clipping, optimiser, average.

Invariant: what an update draws at random depends on the seed, its step, the micro-batch and the process alone,
and nothing is updated by numbers that are not finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vln_heatmap.nodes.training.base import DivergedError, EpochLoss, Losses
from vln_heatmap.nodes.training.director import EpochPlan
from vln_heatmap.nodes.training.ema import WeightAverage
from vln_heatmap.nodes.training.loader import Loaded
from vln_heatmap.nodes.training.machine import make_accelerator
from vln_heatmap.nodes.training.optimizer import make_optimizer, set_learning_rate, set_weight_decay
from vln_heatmap.nodes.training.seeds import Stream, torch_seed
from vln_heatmap.nodes.training.sharding import gathered, load_weights, whole
from vln_heatmap.params import TrainParams

T = TypeVar("T")


class _Objective(nn.Module):
    """Model and loss as one module: Accelerate's wrappers hold for whatever of the model is called."""

    def __init__(self, model: nn.Module, loss: EpochLoss, compiler: str) -> None:
        super().__init__()
        self.model, self.loss = model, loss
        called = model if compiler == "no" else torch.compile(model, backend=compiler)
        self._called = [called]  # in a list, or it would be a second child with the same weights

    def forward(self, batch: Any) -> Losses:
        total, parts, samples, more = Losses(*self.loss(self._called[0], batch))
        detached = {
            name: part.detach() for name, part in parts.items()
        }  # or processes wait for their gradients
        return Losses(total, detached, samples if samples is None else samples.detach(), more)


class Updater:
    """The weights with everything that moves them.

    Attributes:
        accelerator: of the run; optimizer: prepared; average: of the weights.
        sample_losses: last loss of each sample seen since it was emptied, by index.
    """

    def __init__(self, model: nn.Module, loss: EpochLoss, params: TrainParams) -> None:
        self.model, self.params, self.loss = model, params, loss
        self.accelerator = make_accelerator(params)
        optimizer = make_optimizer(model, params.optimizer)
        objective = _Objective(model, loss, params.compile)
        self.objective, self.optimizer = self.accelerator.prepare(objective, optimizer)
        self.average = WeightAverage(model, decay=params.ema_decay)
        self.sample_losses: dict[int, float] = {}

    @property
    def rank(self) -> int:
        return self.accelerator.process_index

    @property
    def ranks(self) -> int:
        return self.accelerator.num_processes

    def shared(self, make: Callable[[], T]) -> T:
        """What ``make`` gives in rank 0, in every process."""
        if self.ranks == 1:
            return make()
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([make() if self.rank == 0 else None])[0]

    def begin(self, plan: EpochPlan) -> None:
        """Set what holds for a whole epoch."""
        decay = self.params.optimizer.weight_decay if plan.weight_decay is None else plan.weight_decay
        set_weight_decay(self.optimizer, decay)
        self.loss.begin(plan, self.model)

    def update(self, micro_batches: list[Loaded], step: int, factor: float, clip: float) -> dict[str, float]:
        """Update ``step`` (0, 1, …) of the run; returns its numbers.

        Args:
            micro_batches: this process's share of the batch.
            step: of the run.
            factor: learning rate / peak learning rate.
            clip: largest norm of the gradient.

        Raises:
            DivergedError: a number is not finite; the weights are as before.
        """
        set_learning_rate(self.optimizer, factor)
        columns = dict(self.loss.columns())
        sums: dict[str, Tensor] = {}
        known: list[tuple[list[int], Tensor]] = []
        for number, (indices, batch) in enumerate(micro_batches):
            place = (step, number, self.rank) if self.rank else (step, number)
            torch.manual_seed(torch_seed(self.params.seed, Stream.STEP, *place))
            with self.accelerator.accumulate(self.objective):
                losses = self.objective(to_device(batch, self.accelerator.device))
                self.accelerator.backward(losses.total)
            for key, part in _named(losses).items():
                sums[key] = sums.get(key, torch.zeros_like(part)) + part.detach() / len(micro_batches)
            if losses.samples is not None:
                known.append((indices, losses.samples))
        sums["grad_norm"] = whole(self.accelerator.clip_grad_norm_(self.model.parameters(), clip))
        numbers = self._mean(sums)
        try:
            check_finite(numbers, overflow_is_handled=self.accelerator.scaler is not None)
        except DivergedError:
            self.optimizer.zero_grad()
            raise
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update(step)
        self.loss.after_step(self.model, numbers)
        self._remember(known)
        return numbers | columns | {"lr": self.params.optimizer.lr * factor}

    def _mean(self, sums: Mapping[str, Tensor]) -> dict[str, float]:
        """Mean over the processes."""
        values = torch.stack([value.float() for value in sums.values()])
        if self.ranks > 1:
            values = self.accelerator.reduce(values, "mean")
        return dict(zip(sums, values.tolist(), strict=True))

    def _remember(self, known: list[tuple[list[int], Tensor]]) -> None:
        """Keep the losses of the samples of all processes."""
        if not known:
            return
        losses = torch.cat([samples.float() for _, samples in known])  # [n]
        indices = torch.tensor([i for numbers, _ in known for i in numbers], device=losses.device)
        if self.ranks > 1:
            losses, indices = self.accelerator.gather(losses), self.accelerator.gather(indices)
        self.sample_losses |= dict(zip(indices.tolist(), losses.tolist(), strict=True))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The averaged weights in the model for a while, which may be called by itself."""
        with self.average.applied(), gathered(self.objective):
            yield

    def go_back(self, tensors: Mapping[str, Tensor]) -> None:
        """Take these weights for the model and its average, and forget the optimiser's moments."""
        load_weights(self.model, tensors)
        self.average.load(tensors)
        self.optimizer.state.clear()
        self.loss.rolled_back()


def _named(losses: Losses) -> dict[str, Tensor]:
    """Every number of a batch by its column of the history."""
    parts = {f"loss/{name}": part for name, part in losses.parts.items()}
    return {"loss": losses.total, **parts, **losses.numbers}


def check_finite(numbers: Mapping[str, float], *, overflow_is_handled: bool) -> None:
    """Refuse numbers that are not finite; a gradient scaler deals with its own overflows.

    Raises:
        DivergedError: names the part that tells most.
    """
    bad = [name for name, value in numbers.items() if not math.isfinite(value)]
    if not bad or (bad == ["grad_norm"] and overflow_is_handled):
        return
    what = next((name for name in bad if name.startswith("loss/")), bad[0])
    raise DivergedError(f"{what} is {numbers[what]}")


def to_device(batch: Any, device: torch.device) -> Any:
    """Tensors of nested containers on a device."""
    from accelerate.utils import send_to_device

    return send_to_device(batch, device, non_blocking=True)
