"""The training loop of every stage: steps, validation, saved states.

Invariant: on a CPU a run that is killed at any step and started again gives bit for bit the losses and
weights of a run that was not. That holds because everything a step depends on is either a function of (seed,
step) or saved: the weights, their average, the optimiser's moments, the best weights so far and the history.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from vln_heatmap.datasets.checkpoint import TrainingState
from vln_heatmap.nodes.training.ema import WeightAverage
from vln_heatmap.nodes.training.history import History
from vln_heatmap.nodes.training.loader import TrainingDataset, make_loader
from vln_heatmap.nodes.training.machine import make_accelerator, torch_settings
from vln_heatmap.nodes.training.optimizer import (
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    set_learning_rate,
)
from vln_heatmap.nodes.training.order import SampleOrder
from vln_heatmap.nodes.training.schedule import learning_rate_factor
from vln_heatmap.nodes.training.seeds import Stream, torch_seed
from vln_heatmap.nodes.training.state import copied, group, grouped, run_fingerprint, trained_tensors
from vln_heatmap.params import TrainParams

_LOG = logging.getLogger(__name__)

#: (model, batch on its device) -> total loss and its parts, scalars that carry gradients.
LossFunction = Callable[[Any, Any], tuple[Tensor, Mapping[str, Tensor]]]
#: (model with averaged weights, in evaluation mode) -> metrics.
Validate = Callable[[Any], Mapping[str, float]]


class MetricsLog(Protocol):
    """Where live metrics go."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None: ...


class DivergedError(RuntimeError):
    """A loss or gradient is not finite."""


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
        state_dict: averaged weights of the whole model on the CPU: the best ones, or the last (``keep``).
        history: one row a step: step, loss, loss/<part>, grad_norm, lr, samples_per_s, wait (share of the
            time spent waiting for data) and, where validated, val/<metric>.
        best: the best validation; None if nothing was validated.
        last: averaged weights after the last step.
    """

    state_dict: dict[str, Tensor]
    history: pd.DataFrame
    best: Best | None
    last: dict[str, Tensor]


def train(
    model: nn.Module,
    loss_fn: LossFunction,
    dataset: TrainingDataset,
    params: TrainParams,
    *,
    state: TrainingState | None = None,
    tracker: MetricsLog | None = None,
    validate: Validate | None = None,
    weights: Any = None,
    fingerprint: str = "",
    name: str = "train",
) -> TrainingResult:
    """Train ``model`` in place.

    Args:
        model: frozen parameters (``requires_grad`` false) stay as they are and are not part of a saved state.
        loss_fn: see ``LossFunction``; runs as a whole in the precision of the run. If the total is the mean
            over the windows of a batch, accumulation does not change it.
        dataset: training samples, and how they make a batch.
        params: everything else.
        state: where the run is saved and resumed from; None = it cannot be resumed. The last state is left
            there: call ``state.clear()`` when the result is stored (in kedro: after the node's ``yield``).
        tracker: gets live metrics by the names of the history's columns.
        validate: called every ``validate_every`` steps and after the last one, without gradients.
        weights: [len(dataset)] relative frequencies of the samples; None = equal.
        fingerprint: names what the result depends on beside ``params`` and the shapes of the model: data,
            model parameters, initial weights. A saved state of another one is not resumed.
        name: of the run, for the progress bar and the log.

    Raises:
        DivergedError: a loss part or the gradient is not finite; the state that was saved last is kept.
        ValueError: the parameters do not fit the model, the data or the machine.
    """
    order = SampleOrder(len(dataset), seed=params.seed, weights=weights)
    with torch_settings(params.threads):
        run = _Run(model, loss_fn, params, fingerprint, state=state, tracker=tracker, name=name)
        if run.step < params.steps:
            run.steps(make_loader(dataset, order, params, start=run.step), validate)
        return run.result()


class _Objective(nn.Module):
    """Model and loss as one module: Accelerate's wrappers hold for whatever of the model is called."""

    def __init__(self, model: nn.Module, loss_fn: LossFunction) -> None:
        super().__init__()
        self.model, self.loss_fn = model, loss_fn

    def forward(self, batch: Any) -> tuple[Tensor, Mapping[str, Tensor]]:
        return self.loss_fn(self.model, batch)


class _Run:
    """A training between two steps; made anew, it goes on where the saved state of the same run ends."""

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFunction,
        params: TrainParams,
        fingerprint: str,
        *,
        state: TrainingState | None,
        tracker: MetricsLog | None,
        name: str,
    ) -> None:
        self.model, self.params, self.state, self.tracker, self.name = model, params, state, tracker, name
        self.fingerprint = run_fingerprint(fingerprint, params, model)
        self.accelerator = make_accelerator(params)
        optimizer = make_optimizer(model, params.optimizer)
        self.objective, self.optimizer = self.accelerator.prepare(_Objective(model, loss_fn), optimizer)
        self.average = WeightAverage(model, decay=params.ema_decay)
        self.history = History()
        self.best: Best | None = None
        self.step = 0  # updates done
        self._restore()
        self._announce()

    def steps(self, loader: DataLoader, validate: Validate | None) -> None:
        """All steps that are left, with batches from ``loader``."""
        params, batches = self.params, iter(loader)
        self.model.train()
        with tqdm(
            total=params.steps, initial=self.step, desc=self.name, unit="step", disable=None
        ) as progress:
            while self.step < params.steps:
                start = time.perf_counter()
                micro_batches = list(islice(batches, params.accumulation))
                waited = time.perf_counter() - start
                numbers = self._update(micro_batches)
                spent = time.perf_counter() - start
                speed = {"samples_per_s": params.batch_size / spent, "wait": waited / spent}
                self.history.add(numbers | speed)
                self.step += 1
                progress.update()
                self._after_step(progress, validate)

    def result(self) -> TrainingResult:
        with self.average.applied():
            last = copied(self.model.state_dict())
        chosen = last | self.best.tensors if self.best and self.params.keep == "best" else last
        return TrainingResult(chosen, self.history.frame(), self.best, last)

    def _update(self, micro_batches: list[Any]) -> dict[str, float]:
        """One update of the weights and of their average; returns its numbers."""
        params = self.params
        factor = learning_rate_factor(self.step, params.steps, params.schedule)
        set_learning_rate(self.optimizer, factor)
        sums: dict[str, Tensor] = {}
        for number, batch in enumerate(micro_batches):
            torch.manual_seed(torch_seed(params.seed, Stream.STEP, self.step, number))
            with self.accelerator.accumulate(self.objective):
                total, parts = self.objective(_to_device(batch, self.accelerator.device))
                self.accelerator.backward(total)
            for key, part in {"loss": total, **{f"loss/{k}": v for k, v in parts.items()}}.items():
                sums[key] = sums.get(key, torch.zeros_like(part)) + part.detach() / len(micro_batches)
        sums["grad_norm"] = self.accelerator.clip_grad_norm_(self.model.parameters(), params.optimizer.clip)
        numbers = dict(zip(sums, torch.stack([v.float() for v in sums.values()]).tolist(), strict=True))
        self._check(numbers)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update(self.step)
        return numbers | {"lr": params.optimizer.lr * factor}

    def _check(self, numbers: Mapping[str, float]) -> None:
        """Refuse an update by anything that is not finite. A gradient scaler deals with its own overflows."""
        bad = [name for name, value in numbers.items() if not math.isfinite(value)]
        if not bad or (bad == ["grad_norm"] and self.accelerator.scaler is not None):
            return
        what = next((name for name in bad if name.startswith("loss/")), bad[0])  # a part tells more
        kept = "; the state that was saved last is kept" if self.state else ""
        raise DivergedError(
            f"{self.name}: {what} is {numbers[what]} at step {self.step + 1}{kept}. "
            "Lower optimizer.lr or optimizer.clip, or look for targets that are not finite"
        )

    def _after_step(self, progress: Any, validate: Validate | None) -> None:
        """Live metrics, validation, saved state: each when it is due."""
        if self._due(self.params.log_every):
            recent = self.history.recent(self.params.log_every)
            progress.set_postfix(loss=f"{recent['loss']:.4g}", samples_per_s=f"{recent['samples_per_s']:.3g}")
            self._log_metrics(recent)
        if validate and self._due(self.params.validate_every):
            self._validate(validate)
        if self.state and self._due(self.params.save_every):
            self._save(self.state)

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.params.steps

    def _log_metrics(self, metrics: Mapping[str, float]) -> None:
        if self.tracker:
            self.tracker.log_metrics(metrics, self.step)

    def _validate(self, validate: Validate) -> None:
        self.model.eval()
        with self.average.applied(), self.accelerator.autocast(), torch.no_grad():
            metrics = {key: float(value) for key, value in validate(self.model).items()}
            better = self._is_better(metrics)
            if better:
                self.best = Best(self.step, metrics, copied(trained_tensors(self.model)))
        self.model.train()
        named = {f"val/{key}": value for key, value in metrics.items()}
        self.history.extend_last(named)
        self._log_metrics(named)
        text = ", ".join(f"{key} {value:.4g}" for key, value in metrics.items())
        mark = " (best so far)" if better else ""
        _LOG.info("%s: step %d of %d: %s%s", self.name, self.step, self.params.steps, text, mark)

    def _is_better(self, metrics: Mapping[str, float]) -> bool:
        name, sign = self.params.metric, 1 if self.params.mode == "max" else -1
        if name not in metrics:
            raise ValueError(f"metric must be one that validation computes: {sorted(metrics)}, got {name!r}")
        if math.isnan(metrics[name]):
            return False
        return self.best is None or sign * metrics[name] > sign * self.best.metrics[name]

    def _save(self, state: TrainingState) -> None:
        columns, values = self.history.tensor()
        scaler, best = self.accelerator.scaler, self.best
        tensors = grouped(
            weights=trained_tensors(self.model),
            average=self.average.tensors,
            best=best.tensors if best else {},
            optimizer=optimizer_tensors(self.optimizer),
            history={"values": values},
        )
        rest = {
            "step": self.step,
            "columns": columns,
            "best": {"step": best.step, "metrics": best.metrics} if best else None,
            "scaler": scaler.state_dict() if scaler else None,
        }
        state.save(self.fingerprint, tensors, rest)

    def _restore(self) -> None:
        stored = self.state.load(self.fingerprint) if self.state else None
        if stored is None:
            return
        tensors, rest = stored
        self.model.load_state_dict(group("weights", tensors), strict=False)
        self.average.load(group("average", tensors))
        load_optimizer_tensors(self.optimizer, group("optimizer", tensors))
        if rest["best"]:
            self.best = Best(**rest["best"], tensors=group("best", tensors))
        if rest["scaler"]:
            self.accelerator.scaler.load_state_dict(rest["scaler"])
        self.history = History.from_tensor(rest["columns"], group("history", tensors)["values"])
        self.step = rest["step"]

    def _announce(self) -> None:
        params, parameters = self.params, list(self.model.parameters())
        trained = sum(p.numel() for p in parameters if p.requires_grad)
        _LOG.info(
            "%s: %d of %d steps done, %d samples each, on %s, precision %s, %.2f M of %.2f M weights train",
            *(self.name, self.step, params.steps, params.batch_size, self.accelerator.device),
            *(self.accelerator.mixed_precision, trained / 1e6, sum(p.numel() for p in parameters) / 1e6),
        )


def _to_device(batch: Any, device: torch.device) -> Any:
    from accelerate.utils import send_to_device

    return send_to_device(batch, device, non_blocking=True)
