"""Does validation keep the level that it had reached?

Invariant: a metric is compared with a level that it held for several validations in a row, so that neither one
lucky nor one unlucky validation raises an alert.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vln_heatmap.nodes.training.monitor.alerts import Action, Alert, Check
from vln_heatmap.params.monitor import MonitorParams

if TYPE_CHECKING:
    from vln_heatmap.nodes.training.director import EpochReport


def less_is_better(metric: str) -> bool:
    """Whether a validation metric is a loss or an error."""
    return metric.endswith(("loss", "error"))


class Performance(Check):
    """Alerts ``degradation/<metric>`` and ``severe_degradation/<metric>``.

    The level of a metric is the best value that it reached or surpassed in ``bad_epochs`` validations in a row.
    A metric that is NaN was not measured. Losses and errors are followed with their sign changed.
    """

    def __init__(self, params: MonitorParams) -> None:
        super().__init__(params)
        self.params = params.performance

    def observe(self, report: EpochReport) -> Iterator[Alert]:
        """See ``Check``."""
        for metric, value in report.validation.items():
            if math.isfinite(value):
                yield from self._judge(metric, float(-value if less_is_better(metric) else value))

    def rolled_back(self) -> None:
        """See ``Check``: levels stay, recent values are those of weights that are no more."""
        self.watches.clear()
        self.past = {name: values for name, values in self.past.items() if name.startswith("level/")}

    def _judge(self, metric: str, value: float) -> Iterator[Alert]:
        params, key = self.params, f"level/{metric}"
        recent = self.remember(metric, value, params.bad_epochs)
        if len(recent) == params.bad_epochs:
            self.past[key] = [max(min(recent), *self.past.get(key, [-math.inf]))]
        if key not in self.past:
            return
        level = self.past[key][0]
        drop = level - value
        cause = (
            f"{metric} is {abs(value):.3f}, {drop:.3f} worse than the level of {abs(level):.3f} that it held"
        )
        severe = f"severe_degradation/{metric}"
        if self.begins(severe, drop, params.severe_drop, confirm=params.severe_epochs):
            action: Action = "rollback" if metric in params.rollback_on else "none"
            yield Alert(severe, "critical", cause, drop, params.severe_drop, action)
        if self.active(severe):
            return  # the greater alert is enough
        if self.begins(f"degradation/{metric}", drop, params.drop, confirm=params.bad_epochs):
            cause += f", for {params.bad_epochs} validations in a row"
            yield Alert(f"degradation/{metric}", "warning", cause, drop, params.drop)
