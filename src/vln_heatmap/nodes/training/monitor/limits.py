"""Is the data good, and do memory and time suffice?

Invariant: a number that a report does not have is not judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import fmean, median
from typing import TYPE_CHECKING

from vln_heatmap.nodes.training.monitor.alerts import Alert, Check, Severity
from vln_heatmap.params.monitor import MonitorParams

if TYPE_CHECKING:
    from vln_heatmap.nodes.training.director import EpochReport


class DataQuality(Check):
    """Alerts ``low_quality`` and ``corruption``: a share of the samples, averaged over some epochs."""

    def __init__(self, params: MonitorParams) -> None:
        super().__init__(params)
        self.params = params.data

    def observe(self, report: EpochReport) -> Iterator[Alert]:
        """See ``Check``."""
        limits: tuple[tuple[str, str, float, Severity, str], ...] = (
            ("low_quality", "low_quality_share", self.params.low_quality, "warning", "are of low quality"),
            ("corruption", "corrupt_share", self.params.corrupt, "critical", "are corrupt"),
        )
        for name, key, limit, severity, text in limits:
            value = report.data.get(key, math.nan)
            if not math.isfinite(value):
                continue
            share = fmean(self.remember(name, value, self.params.epochs))
            if self.begins(name, share, limit):
                cause = f"{share:.1%} of the training samples {text}"
                yield Alert(name, severity, cause, share, limit)


class Resources(Check):
    """Alerts ``memory``, ``slow`` and ``loading``.

    ``slow`` compares the time of a step with the median of the first ``baseline_epochs`` epochs of the phase.
    """

    def __init__(self, params: MonitorParams) -> None:
        super().__init__(params)
        self.params = params.resources

    def observe(self, report: EpochReport) -> Iterator[Alert]:
        """See ``Check``."""
        measured = {name: float(value) for name, value in report.resources.items() if math.isfinite(value)}
        if "memory_share" in measured:
            yield from self._memory(measured["memory_share"])
        if "step_seconds" in measured:
            yield from self._slow(measured["step_seconds"])
        if "wait_share" in measured:
            yield from self._loading(measured["wait_share"])

    def begin_phase(self) -> None:
        """See ``Check``: steps of another phase take another time."""
        self.past.pop("normal", None)
        self.watches.pop("slow", None)

    def _memory(self, share: float) -> Iterator[Alert]:
        if self.begins("memory", share, self.params.memory):
            yield Alert(
                "memory", "critical", f"{share:.1%} of the memory is in use", share, self.params.memory
            )

    def _slow(self, seconds: float) -> Iterator[Alert]:
        known = self.past.get("normal", [])
        if len(known) < self.params.baseline_epochs:
            self.remember("normal", seconds, self.params.baseline_epochs)
            return
        normal = median(known)
        slower = seconds / max(normal, 1e-12) - 1
        if self.begins("slow", slower, self.params.slower, confirm=self.params.epochs):
            cause = (
                f"a step takes {seconds:.3g} s, {slower:.0%} more than the {normal:.3g} s of the first epochs"
            )
            yield Alert("slow", "warning", cause, slower, self.params.slower)

    def _loading(self, share: float) -> Iterator[Alert]:
        if self.begins("loading", share, self.params.loading, confirm=self.params.epochs):
            cause = f"{share:.0%} of the time is spent waiting for data"
            yield Alert("loading", "warning", cause, share, self.params.loading)
