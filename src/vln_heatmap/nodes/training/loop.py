"""The training loop of every stage: epochs that a director plans, steps, validation, saved states.

Invariant: on a CPU a run that is killed at any step and started again gives bit for bit the losses and
weights of a run that was not. That holds because everything a step depends on is either a function of (seed,
step) or saved: the weights, their average, the optimiser's moments, the best weights so far, the history, what
the loss remembers, and the director.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from vln_heatmap.datasets.checkpoint import TrainingState
from vln_heatmap.nodes.training.base import (
    Best,
    DivergedError,
    EpochLoss,
    FixedLoss,
    LossFunction,
    TrainingResult,
    Validate,
)
from vln_heatmap.nodes.training.director import Director, EpochPlan, EpochReport, SinglePhase
from vln_heatmap.nodes.training.loader import Feed, TrainingDataset
from vln_heatmap.nodes.training.machine import torch_settings
from vln_heatmap.nodes.training.monitor.publish import RunLog, publish
from vln_heatmap.nodes.training.monitor.resources import memory_measures
from vln_heatmap.nodes.training.order import Order
from vln_heatmap.nodes.training.report import diverged_report, epoch_report, told
from vln_heatmap.nodes.training.snapshot import Progress, restore, snapshot
from vln_heatmap.nodes.training.state import copied, run_fingerprint, trained_tensors
from vln_heatmap.nodes.training.update import Updater
from vln_heatmap.params import TrainParams

_LOG = logging.getLogger(__name__)
_QUIET = {"weights", "mix"}  # kinds of events that are columns of the history as well
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}

__all__ = ["DivergedError", "TrainingResult", "train"]


def train(
    model: nn.Module,
    loss_fn: LossFunction | EpochLoss,
    dataset: TrainingDataset,
    params: TrainParams,
    *,
    director: Director | None = None,
    state: TrainingState | None = None,
    tracker: RunLog | None = None,
    validate: Validate | None = None,
    weights: Any = None,
    order: Order | None = None,
    fingerprint: str = "",
    name: str = "train",
    leave_out: Collection[str] = (),
) -> TrainingResult:
    """Train ``model`` in place.

    Args:
        model: frozen parameters (``requires_grad`` false) stay as they are and are not part of a saved state.
        loss_fn: see ``LossFunction``; runs as a whole in the precision of the run. If the total is the mean
            over the windows of a batch, accumulation does not change it.
        dataset: training samples, and how they make a batch.
        params: everything else.
        director: plans the epochs; None = one phase by ``params``.
        state: where the run is saved and resumed from; None = it cannot be resumed. The last state is left
            there: call ``state.clear()`` when the result is stored (in kedro: after the node's ``yield``).
        tracker: gets live metrics by the names of the history's columns, and events.
        validate: called at the end of each epoch, without gradients, by every process.
        weights: [len(dataset)] relative frequencies of the samples; None = equal.
        order: which sample stands at which position of the run, in place of an order by the weights. Batch b
            holds the positions from b * batch_size on, however it is accumulated and shared by processes.
        fingerprint: names what the result depends on beside ``params`` and the shapes of the model: data, order,
            model parameters, initial weights, the director's parameters. A saved state of another one is not
            resumed.
        name: of the run, for the progress bar and the log.
        leave_out: names of weights that the result does not hold.

    Raises:
        DivergedError: a loss part or the gradient is not finite, and the director does not roll back; the state
            that was saved last is kept.
        ValueError: the parameters do not fit the model, the data or the machine.
    """
    loss = loss_fn if isinstance(loss_fn, EpochLoss) else FixedLoss(loss_fn)
    with torch_settings(params.threads):
        updater = Updater(model, loss, params)
        feed = Feed(dataset, params, weights=weights, order=order, rank=updater.rank, ranks=updater.ranks)
        run = _Run(updater, director or SinglePhase(params), fingerprint, state, tracker, name)
        run.epochs(feed, validate)
        return run.result(leave_out)


class _Run:
    """A training between two steps; made anew, it goes on where the saved state of the same run ends."""

    def __init__(
        self,
        updater: Updater,
        director: Director,
        fingerprint: str,
        state: TrainingState | None,
        tracker: RunLog | None,
        name: str,
    ) -> None:
        self.updater, self.director, self.state, self.name = updater, director, state, name
        self.model, self.params = updater.model, updater.params
        self.main = updater.rank == 0
        self.tracker = tracker if self.main else None
        self.fingerprint = run_fingerprint(fingerprint, self.params, self.model)
        stored = state.load(self.fingerprint) if state else None
        self.progress = restore(updater, *stored) if stored else Progress()
        self.saved = self.progress.step  # of the state that is stored
        if stored:
            director.load_state_dict(self.progress.director)
        self._announce()

    def epochs(self, feed: Feed, validate: Validate | None) -> None:
        """All epochs that are left, with batches from ``feed``."""
        self.model.train()
        with tqdm(
            total=self.director.expected_steps(),
            initial=self.progress.step,
            desc=self.name,
            unit="step",
            disable=None if self.main else True,
        ) as bar:
            while not self.progress.over:
                plan = self._begin()
                try:
                    self._steps(plan, feed, bar)
                except DivergedError as error:
                    self._diverged(plan, error)
                else:
                    self._end(plan, self._validate(validate) if validate else {})
                bar.total = max(self.director.expected_steps(), self.progress.step)
            self._save()

    def result(self, leave_out: Collection[str]) -> TrainingResult:
        """See ``TrainingResult``."""
        best, stopped = self.progress.best, None
        with self.updater.average.applied():
            kept = {name: t for name, t in self.model.state_dict().items() if name not in leave_out}
            last = copied(kept)
        chosen = last | best.tensors if best and self.params.keep == "best" else last
        events = self.director.events()
        if self.progress.decision == "stop":
            why = events[-1].cause if events else "the director gave no reason"
            stopped = f"{self.name}: stopped after step {self.progress.step}: {why}"
        return TrainingResult(chosen, self.progress.history.frame(), best, last, events, stopped)

    def _begin(self) -> EpochPlan:
        """The plan of the epoch that begins, or goes on."""
        progress = self.progress
        plan = self.updater.shared(self.director.plan)
        progress.director = self.director.state_dict()
        self.updater.begin(plan)
        if progress.loss:
            self.updater.loss.load_state_dict(progress.loss)
            progress.loss = {}
        return plan

    def _steps(self, plan: EpochPlan, feed: Feed, bar: Any) -> None:
        """The steps of an epoch that are left.

        States are saved before a step, also before the first one of an epoch, when all that the epoch changes
        has been changed.
        """
        params, progress = self.params, self.progress
        clip = params.optimizer.clip if plan.clip is None else plan.clip
        end = progress.first + plan.steps
        batches = feed.epoch(plan, progress.first, progress.step)
        while progress.step < end:
            if self._due(params.save_every):
                self._save()
            start = time.perf_counter()
            micro_batches = list(islice(batches, params.accumulation))
            waited = time.perf_counter() - start
            factor = plan.lr_factors[progress.step - progress.first]
            numbers = self.updater.update(micro_batches, progress.step, factor, clip)
            spent = time.perf_counter() - start
            speed = {"samples_per_s": params.batch_size / spent, "wait": waited / spent}
            progress.history.add(numbers | speed, phase=plan.phase, epoch=plan.epoch)
            progress.step += 1
            bar.update()
            self._log_recent(bar, end)

    def _end(self, plan: EpochPlan, validation: Mapping[str, float]) -> None:
        """Report the epoch, and do what the director decides."""
        progress = self.progress
        report = epoch_report(
            plan,
            progress.history.rows[progress.first :],
            step=progress.step,
            batch_size=self.params.batch_size,
            validation=validation,
            sample_losses=self.updater.sample_losses,
            memory=memory_measures(),
        )
        self._decide(report)

    def _diverged(self, plan: EpochPlan, error: DivergedError) -> None:
        """Let the director decide what becomes of an epoch that broke off.

        Raises:
            DivergedError: it neither goes back to the best weights nor stops, or there are none.
        """
        progress = self.progress
        kept = "; the state that was saved last is kept" if self.state else ""
        failure = DivergedError(
            f"{self.name}: {error} at step {progress.step + 1}{kept}. "
            "Lower optimizer.lr or optimizer.clip, or look for targets that are not finite"
        )
        if progress.best is None:
            raise failure from None
        self._decide(diverged_report(plan, step=progress.step, what=str(error).partition(" ")[0]))
        if progress.decision not in {"rollback", "stop"}:
            raise failure from None

    def _decide(self, report: EpochReport) -> None:
        progress = self.progress
        known = len(self.director.events())
        progress.decision = self.updater.shared(lambda: self.director.report(report))
        progress.director = self.director.state_dict()
        progress.first = progress.step
        self.updater.sample_losses = {}
        events = self.director.events()
        for event in events[known:]:
            level = logging.DEBUG if event.kind in _QUIET else _LEVELS[event.severity]
            _LOG.log(level, "%s: %s", self.name, told(event))
        if self.tracker and events[known:]:
            publish(self.tracker, events, known=known)
        if progress.decision == "rollback":
            self._roll_back()

    def _roll_back(self) -> None:
        best = self.progress.best
        if best is None:
            _LOG.warning("%s: no validation so far, so there is nothing to roll back to", self.name)
            return
        self.updater.go_back(best.tensors)
        _LOG.warning("%s: back to the weights of step %d", self.name, best.step)

    def _due(self, every: int) -> bool:
        return self.progress.step % every == 0

    def _log_recent(self, bar: Any, end: int) -> None:
        if self._due(self.params.log_every) or self.progress.step == end:
            recent = self.progress.history.recent(self.params.log_every)
            bar.set_postfix(loss=f"{recent['loss']:.4g}", samples_per_s=f"{recent['samples_per_s']:.3g}")
            self._log_metrics(recent)

    def _log_metrics(self, metrics: Mapping[str, float]) -> None:
        if self.tracker:
            self.tracker.log_metrics(metrics, self.progress.step)

    def _validate(self, validate: Validate) -> dict[str, float]:
        progress, updater = self.progress, self.updater
        self.model.eval()
        with updater.averaged(), updater.accelerator.autocast(), torch.no_grad():
            own = {key: float(value) for key, value in validate(self.model).items()}
        metrics = updater.shared(lambda: own)
        better = self._is_better(metrics)
        if better:
            with updater.average.applied():
                progress.best = Best(progress.step, metrics, copied(trained_tensors(self.model)))
        self.model.train()
        named = {f"val/{key}": value for key, value in metrics.items()}
        progress.history.extend_last(named)
        self._log_metrics(named)
        text = ", ".join(f"{key} {value:.4g}" for key, value in metrics.items())
        mark = " (best so far)" if better else ""
        total = self.director.expected_steps()
        _LOG.info("%s: step %d of %d: %s%s", self.name, progress.step, total, text, mark)
        return metrics

    def _is_better(self, metrics: Mapping[str, float]) -> bool:
        name, sign = self.params.metric, 1 if self.params.mode == "max" else -1
        if name not in metrics:
            raise ValueError(f"metric must be one that validation computes: {sorted(metrics)}, got {name!r}")
        if math.isnan(metrics[name]):
            return False
        best = self.progress.best
        return best is None or sign * metrics[name] > sign * best.metrics[name]

    def _save(self) -> None:
        """Save the state, if it is not what is stored already."""
        if self.state is None or self.saved == self.progress.step:
            return
        tensors, rest = snapshot(self.updater, self.progress)
        if self.main:
            self.state.save(self.fingerprint, tensors, rest)
        self.saved = self.progress.step

    def _announce(self) -> None:
        params, parameters, accelerator = self.params, list(self.model.parameters()), self.updater.accelerator
        trained = sum(p.numel() for p in parameters if p.requires_grad)
        _LOG.info(
            "%s: %d of %d steps done, %d samples each, on %s, precision %s, %.2f M of %.2f M weights train",
            *(self.name, self.progress.step, self.director.expected_steps(), params.batch_size),
            *(accelerator.device, accelerator.mixed_precision),
            *(trained / 1e6, sum(p.numel() for p in parameters) / 1e6),
        )
