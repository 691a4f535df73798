"""Synthetic histories of trainings with known faults in them, to measure the monitor by.

Every number has the noise that it has in trainings of the tiny preset: epoch means of losses scatter by 1 to
3 %, metrics of a fixed validation set by up to 0.01 with memory from one epoch to the next, times by 10 %. There
are also things that must not raise an alert: single slow epochs, drops, rises and shares below the threshold.

Invariant: a history is a function of its seed and the amount of noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vln_heatmap.nodes.training.director import EpochReport
from vln_heatmap.params.monitor import MonitorParams

EPOCHS = 90
STEPS = 100  # a synthetic epoch
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Planted:
    """A fault, and when an alert may say so.

    Attributes:
        name: of the alert.
        first, last: epochs of the fault.
        begin, latest: first and last epoch at which the alert is right.
        needed: whether a missing alert is a mistake. False where either answer would do.
    """

    name: str
    first: int
    last: int
    begin: int
    latest: int
    needed: bool = True

    def asks_for_rollback(self) -> bool:
        """Whether the alert does."""
        return self.name in {"not_finite", "severe_degradation/auc"}

    def is_of_weights(self) -> bool:
        """Whether a rollback makes an end of it, or lets it be judged anew."""
        return self.name.startswith(("plateau", "rise", "swing", "degradation", "severe_degradation"))


def _around_rollbacks(planted: Sequence[Planted]) -> Iterator[Planted]:
    """Where a rollback falls into another fault of the weights: the history goes on as if there had been none,
    so an alert about that fault is neither needed nor wrong, once or twice.
    """
    rollbacks = [fault for fault in planted if fault.asks_for_rollback()]
    for fault in planted:
        hit = any(r.begin <= fault.last + 2 and fault.first <= r.latest for r in rollbacks if r is not fault)
        free = hit and fault.is_of_weights()
        yield replace(fault, needed=False, latest=fault.last + 12) if free else fault


@dataclass(frozen=True)
class PlantedHistory:
    """Reports of one training, and what is wrong with it."""

    reports: tuple[EpochReport, ...]
    planted: tuple[Planted, ...]


def planted_history(seed: int, params: MonitorParams, *, noise: float = 1.0) -> PlantedHistory:
    """A training of 90 epochs; each fault is there in about half of the histories.

    Args:
        seed: of everything.
        params: the thresholds; faults are planted clearly beyond them, decoys clearly below.
        noise: times the noise of trainings of the tiny preset.
    """
    rng = np.random.default_rng([seed, 7])
    history = _Builder(rng, params, noise)
    for part in ("geometric", "correspondence", "reasoning"):
        history.losses[part] = history.falling(part, params.convergence.plateau_epochs[part])
    history.losses["loss"] = history.total()
    history.validation["auc"] = history.metric("auc", severe_epochs=params.performance.severe_epochs + 1)
    history.validation["correspondence_accuracy"] = history.metric("correspondence_accuracy", severe_epochs=8)
    history.plant_resources()
    history.plant_data()
    history.plant_gradient()
    return PlantedHistory(tuple(history.reports()), tuple(_around_rollbacks(history.planted)))


class _Builder:
    """The series of one history while it is made."""

    def __init__(self, rng: Generator, params: MonitorParams, noise: float) -> None:
        self.rng, self.params, self.noise = rng, params, noise
        self.losses: dict[str, Values] = {}
        self.validation: dict[str, Values] = {}
        self.resources: dict[str, Values] = {}
        self.data: dict[str, Values] = {}
        self.gradient = np.ones(EPOCHS)
        self.planted: list[Planted] = []

    def plant(
        self, name: str, first: int, length: int, *, within: int, after: int = 0, needed: bool = True
    ) -> None:
        """Note a fault whose alert is right from ``after`` epochs after its first one, for ``within`` more."""
        begin = first + after
        self.planted.append(Planted(name, first, first + length - 1, begin, begin + within, needed))

    def reports(self) -> Iterator[EpochReport]:
        """One an epoch."""
        for epoch in range(EPOCHS):
            losses, validation, resources, data = (
                {name: float(values[epoch]) for name, values in group.items()}
                for group in (self.losses, self.validation, self.resources, self.data)
            )
            norm = float(self.gradient[epoch])
            yield EpochReport(
                epoch,
                (epoch + 1) * STEPS,
                losses,
                validation,
                grad_norm=norm / 3,
                grad_norm_max=norm,
                resources=resources,
                data=data,
            )

    # losses

    def falling(self, part: str, patience: int) -> Values:
        """A loss that falls by 2 to 6 % an epoch, in half of the cases with one plateau."""
        rate = np.full(EPOCHS, self.rng.uniform(0.02, 0.06))  # relative fall of each epoch
        if self.rng.random() < 0.5:
            begin = int(self.rng.integers(12, EPOCHS - 3 * patience - 8))
            length = 2 * patience + int(self.rng.integers(4, 8))
            rate[begin : begin + length] = 0
            self.plant(f"plateau/{part}", begin, length, after=patience - 3, within=patience + 5)
        return self._scattered(self.rng.uniform(0.5, 5) * np.exp(-np.cumsum(rate)))

    def total(self) -> Values:
        """The total loss: with a plateau, a rise, a swing, a value that is not finite, or none of these."""
        fault = self.rng.choice(["plateau", "rise", "swing", "not_finite", "decoy"])
        if fault == "plateau":
            return self.falling("loss", self.params.convergence.plateau_epochs["loss"])
        values = self._scattered(5 * np.exp(-self.rng.uniform(0.02, 0.05) * np.arange(EPOCHS)))
        begin = int(self.rng.integers(15, EPOCHS - 25))
        if fault == "rise":
            length = int(self.rng.integers(4, 6))
            values[begin : begin + length] *= self.rng.uniform(2.2, 4)
            self.plant("rise", begin, length, within=4)
        elif fault == "decoy":
            values[begin : begin + 4] *= self.rng.uniform(1.05, 1.25)
            values[begin + 10] *= 3  # one bad epoch is no rise
        elif fault == "swing":
            self._swing(values, begin)
        elif fault == "not_finite":
            values[begin] = self.rng.choice([np.nan, np.inf])
            self.plant("not_finite", begin, 1, within=0)
        return values

    def _swing(self, values: Values, begin: int) -> None:
        length = int(self.rng.integers(12, 20))
        sign = (-1.0) ** np.arange(length)
        values[begin : begin + length] *= 1 + sign * self.rng.uniform(0.15, 0.35, length)
        self.plant("swing", begin, length, within=self.params.stability.swing_epochs + 2)
        latest = length + 2 * self.params.convergence.plateau_epochs["loss"]
        self.plant("plateau/loss", begin, length, within=latest, needed=False)  # it does not fall either

    def _scattered(self, values: Values) -> Values:
        scale = self.noise * self.rng.uniform(0.01, 0.03)
        return values * np.exp(scale * self.rng.standard_normal(EPOCHS))

    # metrics

    def metric(self, name: str, *, severe_epochs: int) -> Values:
        """A metric that saturates, with a drop, a severe drop, a small one, a single bad value, or none."""
        limits, time = self.params.performance, np.arange(EPOCHS)
        values = self.rng.uniform(0.8, 0.95) - 0.3 * np.exp(-time / self.rng.uniform(5, 15))
        values += self._lasting(self.noise * self.rng.uniform(0.002, 0.01))
        fault = self.rng.choice(["drop", "severe", "decoy", "none"])
        begin = int(self.rng.integers(30, EPOCHS - 20))
        if fault == "drop":
            length = int(self.rng.integers(8, 14))
            share = self.rng.uniform(0.3, 0.5)  # between the two thresholds
            values[begin : begin + length] -= limits.drop + share * (limits.severe_drop - limits.drop)
            self.plant(f"degradation/{name}", begin, length, within=limits.bad_epochs + 3)
        elif fault == "severe":
            values[begin : begin + severe_epochs] -= limits.severe_drop * self.rng.uniform(1.5, 3)
            self.plant(f"severe_degradation/{name}", begin, severe_epochs, within=limits.severe_epochs)
        elif fault == "decoy":
            values[begin : begin + 6] -= 0.4 * limits.drop
            values[begin + 12] -= 0.2
        return np.clip(values, 0, 1)

    def _lasting(self, scale: float) -> Values:
        """Noise of that standard deviation, correlated by 0.5 from one epoch to the next."""
        fresh, values = self.rng.standard_normal(EPOCHS), np.empty(EPOCHS)
        values[0] = fresh[0]
        for t in range(1, EPOCHS):
            values[t] = 0.5 * values[t - 1] + np.sqrt(0.75) * fresh[t]
        return scale * values

    # everything else

    def plant_resources(self) -> None:
        """Memory, time of a step, share of waiting; each with a fault or a decoy."""
        limits = self.params.resources
        memory = self.rng.uniform(0.3, 0.8) + self._lasting(0.01 * self.noise)
        if begin := self._begin():
            over = limits.memory + self.rng.uniform(0.3, 0.8) * (1 - limits.memory)
            leak = int(self.rng.integers(1, 12))  # epochs that it takes to fill
            rise = np.clip((np.arange(EPOCHS) - begin + leak) / leak, 0, 1)
            memory += rise * np.maximum(over - memory, 0)
            self.plant("memory", begin - leak, EPOCHS, after=leak - leak // 2, within=leak // 2 + 1)
        self.resources["memory_share"] = np.clip(memory, 0, 1)
        scatter = np.exp(0.1 * self.noise * self.rng.standard_normal(EPOCHS))
        seconds = self.rng.uniform(0.05, 2) * scatter
        seconds[0] *= 3  # compiling, cold caches
        self._lasting_fault("slow", seconds, 1 + limits.slower, limits.epochs, usual=1.0, times=True)
        self.resources["step_seconds"] = seconds
        usual = self.rng.uniform(0.01, 0.15)
        waiting = usual * np.exp(0.2 * self.noise * self.rng.standard_normal(EPOCHS))
        self._lasting_fault("loading", waiting, limits.loading, limits.epochs, usual=usual, times=False)
        self.resources["wait_share"] = np.clip(waiting, 0, 1)

    def _lasting_fault(
        self, name: str, values: Values, limit: float, confirm: int, *, usual: float, times: bool
    ) -> None:
        """Raise ``values`` well above ``limit`` for some epochs, and once for a single one, which is a decoy."""
        high = limit * self.rng.uniform(1.3, 2.5) / usual
        begin = self._begin()
        if begin:
            length = int(self.rng.integers(6, 20))
            values[begin : begin + length] *= high
            self.plant(name, begin, length, within=confirm + 1)
        if begin is None or begin > 30:
            values[int(self.rng.integers(10, 25))] *= 2 if times else high

    def plant_data(self) -> None:
        """Shares of low-quality and corrupt samples, counted over 800 samples an epoch."""
        limits = self.params.data
        for name, limit, usual in (
            ("low_quality", limits.low_quality, self.rng.uniform(0.02, 0.12)),
            ("corruption", limits.corrupt, self.rng.uniform(0, 0.002)),
        ):
            rate = np.full(EPOCHS, usual)
            if begin := self._begin():
                length = int(self.rng.integers(6, 20))
                rate[begin : begin + length] = limit * self.rng.uniform(1.4, 4)
                self.plant(name, begin, length, within=limits.epochs + 1)
            else:
                decoy = int(self.rng.integers(10, EPOCHS - 10))
                rate[decoy : decoy + 6] = max(usual, 0.6 * limit) if name == "low_quality" else 0.4 * limit
            share = self.rng.binomial(800, np.clip(rate, 0, 1)) / 800
            self.data["corrupt_share" if name == "corruption" else "low_quality_share"] = share

    def plant_gradient(self) -> None:
        """Greatest gradients of the epochs: heavy-tailed, with one explosion or one harmless peak."""
        usual = self.rng.uniform(0.5, 20)
        spread = np.exp(0.35 * self.noise * self.rng.standard_normal(EPOCHS))
        self.gradient = usual * spread * np.exp(-np.arange(EPOCHS) / 60)
        if begin := self._begin():
            self.gradient[begin] *= self.params.stability.gradient * self.rng.uniform(3, 10)
            self.plant("gradient", begin, 1, within=0)
        else:
            self.gradient[int(self.rng.integers(15, EPOCHS))] *= 3

    def _begin(self) -> int | None:
        """Epoch of a fault in half of the cases."""
        begin = int(self.rng.integers(20, EPOCHS - 25))
        return begin if self.rng.random() < 0.5 else None
