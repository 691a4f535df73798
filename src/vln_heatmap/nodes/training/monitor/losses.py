"""Does the loss still fall, and does it fall steadily?

Invariant: losses are compared within one phase only, because a phase changes what they are made of. A loss that
is not finite raises its own alert and enters no mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import TYPE_CHECKING

from vln_heatmap.nodes.training.monitor.alerts import Alert, Check, Watch
from vln_heatmap.params.monitor import MonitorParams

if TYPE_CHECKING:
    from vln_heatmap.nodes.training.director import EpochReport

_SCATTER = 20  # epochs that tell how much a loss scatters
_USUAL = 10  # epochs that tell what a usual gradient is
_LEAST = 5  # of them, before one is judged


def jumps(values: Sequence[float]) -> list[float]:
    """How far each value is from the mean of the one before and the one after, relative to that mean, sorted.

    0 on straight lines. Of values that change their sign the mean of the sizes takes the place of the mean.
    """
    return sorted(
        abs(value - (before + after) / 2) / max((abs(before) + abs(after)) / 2, 1e-12)
        for before, value, after in zip(values, values[1:], values[2:], strict=False)
    )


def scatter(values: Sequence[float]) -> float:
    """Relative standard deviation of white noise on a smooth curve; 0 of one or two values.

    The distance of such a value from its neighbours' mean has the standard deviation sqrt(3/2) of the noise, and
    the median of its size is 0.6745 of that (normal distribution).
    """
    return median(jumps(values)) / (0.6745 * math.sqrt(1.5)) if len(values) > 2 else 0.0


class Convergence(Check):
    """Alert ``plateau/<part>``: no progress for as many epochs as the part is given.

    Progress is a mean over ``smoothing`` epochs that is lower than the best such mean so far by more than
    ``tolerance`` of it (as in PyTorch's ReduceLROnPlateau) and by more than twice its standard error, which is
    estimated from the scatter of the last 20 epochs; else luck would count as progress in short epochs. A
    plateau ends with a progress of twice that size.
    """

    def __init__(self, params: MonitorParams) -> None:
        super().__init__(params)
        self.params = params.convergence

    def observe(self, report: EpochReport) -> Iterator[Alert]:
        """See ``Check``."""
        for part, epochs in self.params.plateau_epochs.items():
            value = report.losses.get(part, math.nan)
            if math.isfinite(value):
                yield from self._judge(part, float(value), epochs)

    def begin_phase(self) -> None:
        """See ``Check``."""
        self.past.clear()
        self.watches.clear()

    def rolled_back(self) -> None:
        """See ``Check``: the losses go on from higher values."""
        self.begin_phase()

    def _judge(self, part: str, value: float, epochs: int) -> Iterator[Alert]:
        count, tolerance = self.params.smoothing, self.params.tolerance
        values = self.remember(part, value, max(count, _SCATTER))
        if len(values) < count:
            return
        level, watch = fmean(values[-count:]), self.watches.setdefault(part, Watch())
        if f"best/{part}" not in self.past:
            self.past[f"best/{part}"] = [level]
            return
        best = self.past[f"best/{part}"][0]
        gain = (best - level) / max(abs(best), 1e-12)
        progress = max(tolerance, 2 * scatter(values) / math.sqrt(count))
        if gain > (2 if watch.active else 1) * progress:
            self.past[f"best/{part}"] = [level]
            watch.active, watch.count = False, 0
            return
        watch.count += 1  # epochs since the last progress
        if watch.active or watch.count < epochs:
            return
        watch.active = True
        what = "the loss" if part == "loss" else f"the loss part {part}"
        cause = f"{what} has not fallen by {progress:.1%} of its best, {best:.4g}, in {epochs} epochs"
        yield Alert(f"plateau/{part}", "info", cause, gain, progress)


class Stability(Check):
    """Alerts ``not_finite``, ``rise``, ``swing`` and ``gradient``.

    - ``rise``: the median of the last four losses is above the least such median by more than ``rise`` of it.
      One bad epoch does not move that median, and losses that alternate do not either.
    - ``swing``: how far a loss is from the mean of the one before and the one after, relative to that
      mean; what three quarters of the last ``swing_epochs`` epochs surpass, so that one rise and one fall do
      not count. A straight line has 0, white noise of relative standard deviation s about 0.4 s, an alternation
      by ±s 2 s.
    - ``gradient``: the greatest gradient norm of the epoch, over the median of the last ten of these.
    """

    def __init__(self, params: MonitorParams) -> None:
        super().__init__(params)
        self.params = params.stability

    def observe(self, report: EpochReport) -> Iterator[Alert]:
        """See ``Check``."""
        yield from self._finite(report.losses)
        loss = report.losses.get("loss", math.nan)
        if math.isfinite(loss):
            values = self.remember("loss", float(loss), self.params.swing_epochs)
            yield from self._rise(values)
            yield from self._swing(values)
        if math.isfinite(report.grad_norm_max):
            yield from self._gradient(float(report.grad_norm_max))

    def begin_phase(self) -> None:
        """See ``Check``."""
        self.past.clear()
        self.watches.clear()

    def rolled_back(self) -> None:
        """See ``Check``: only what is usual for gradients stays."""
        self.past = {name: values for name, values in self.past.items() if name == "gradient"}
        self.watches.clear()

    def _finite(self, losses: Mapping[str, float]) -> Iterator[Alert]:
        bad = [part for part, value in losses.items() if not math.isfinite(value)]
        if self.begins("not_finite", len(bad), 0.5):
            cause = "the mean over the epoch is not finite: " + ", ".join(f"{p} {losses[p]}" for p in bad)
            yield Alert("not_finite", "critical", cause, len(bad), 0, "rollback")

    def _rise(self, values: list[float]) -> Iterator[Alert]:
        if len(values) < 4:
            return
        level = median(values[-4:])
        least = min(level, *self.past.get("least", [level]))
        self.past["least"] = [least]
        rise = (level - least) / max(abs(least), 1e-12)
        if self.begins("rise", rise, self.params.rise):
            cause = f"the loss has risen from {least:.4g} to {level:.4g}"
            yield Alert("rise", "warning", cause, rise, self.params.rise)

    def _swing(self, values: list[float]) -> Iterator[Alert]:
        if len(values) < self.params.swing_epochs:
            return
        away = jumps(values)
        swing = away[len(away) // 4]
        if self.begins("swing", swing, self.params.swing):
            cause = f"the loss swings by {swing:.0%} from epoch to epoch"
            yield Alert("swing", "warning", cause, swing, self.params.swing)

    def _gradient(self, norm: float) -> Iterator[Alert]:
        before = self.past.get("gradient", [])
        self.remember("gradient", norm, _USUAL)
        if len(before) < _LEAST or not median(before):
            return
        times = norm / median(before)
        if self.begins("gradient", times, self.params.gradient):
            cause = f"a gradient of norm {norm:.4g}, {times:.3g} times the usual one"
            yield Alert("gradient", "warning", cause, times, self.params.gradient)
