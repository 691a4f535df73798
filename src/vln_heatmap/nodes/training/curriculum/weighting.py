"""Loss weights that follow the losses from epoch to epoch.

Invariant: a part of weight 0 stays at 0, so that what is not computed is never asked for; every change is an
event.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any, Protocol

from vln_heatmap.nodes.training.curriculum.limits import measured
from vln_heatmap.nodes.training.curriculum.trend import relative_slope
from vln_heatmap.nodes.training.director import EpochReport, Event
from vln_heatmap.params.curriculum import WeightingParams


class Weighting(Protocol):
    """A policy of loss weights.

    Attributes:
        weights: of the next epoch, by part.
    """

    weights: dict[str, float]

    def start(self, weights: Mapping[str, float]) -> None:
        """Begin a phase with its own weights."""

    def update(self, report: EpochReport) -> list[Event]:
        """Set the weights of the next epoch; an event for each that changes."""

    def forget(self) -> None:
        """What was reported before says nothing about what comes: keep the weights, begin a new window."""

    def state_dict(self) -> dict[str, Any]:
        """All that reports have changed, for JSON."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of ``state_dict``."""


class FixedWeighting:
    """The weights of the phase."""

    def __init__(self, params: WeightingParams, window: int) -> None:
        self.weights: dict[str, float] = {}

    def start(self, weights: Mapping[str, float]) -> None:
        """See ``Weighting``."""
        self.weights = dict(weights)

    def update(self, report: EpochReport) -> list[Event]:
        """See ``Weighting``."""
        return []

    def forget(self) -> None:
        """See ``Weighting``."""

    def state_dict(self) -> dict[str, Any]:
        """See ``Weighting``."""
        return {"weights": dict(self.weights)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See ``Weighting``."""
        self.weights = dict(state["weights"])


class TrendWeighting(FixedWeighting):
    """A part whose loss rises counts more, one whose loss falls counts less, in favour of the others.

    After each epoch, with t the slope of a part's losses over a full window per epoch and over their mean, less
    (``relative``) the median of all parts': weight * (1 + rate) if t > tolerance, weight * (1 - rate) if
    t < -tolerance, clipped to [least, most]. Relative, because usually all losses fall, and weights that all fell
    with them would only lose the proportions of the phase.

    Args:
        params: of the policy.
        window: epochs of the run.
    """

    def __init__(self, params: WeightingParams, window: int) -> None:
        super().__init__(params, window)
        self.params, self.window = params, window
        self.losses: dict[str, list[float]] = {}  # last ones by part

    def start(self, weights: Mapping[str, float]) -> None:
        """See ``Weighting``: what was learned about another objective is forgotten."""
        super().start(weights)
        self.forget()

    def forget(self) -> None:
        """See ``Weighting``."""
        self.losses = {}

    def update(self, report: EpochReport) -> list[Event]:
        """See ``Weighting``."""
        for part in self.weights:
            loss = measured(report.losses, part)
            if loss is not None and self.weights[part] and part in (self.params.parts or self.weights):
                self.losses[part] = [*self.losses.get(part, []), loss][-self.window :]
        trends = {p: relative_slope(seen) for p, seen in self.losses.items() if len(seen) == self.window}
        usual = median(trends.values()) if trends and self.params.relative else 0.0
        events = []
        for part, trend in trends.items():
            before, after = self.weights[part], self._after(self.weights[part], trend - usual)
            if after != before:
                self.weights[part] = after
                cause = f"loss {trend:+.1%} an epoch over {self.window} epochs"
                cause += f", usual {usual:+.1%}" if self.params.relative else ""
                values = {"before": before, "after": after}
                events.append(Event.after_epoch(report, "weights", part, cause, **values))
        return events

    def _after(self, weight: float, trend: float) -> float:
        params = self.params
        if abs(trend) <= params.tolerance:
            return weight
        factor = 1 + params.rate if trend > 0 else 1 - params.rate
        return min(params.most, max(params.least, weight * factor))

    def state_dict(self) -> dict[str, Any]:
        """See ``Weighting``."""
        losses = {part: list(values) for part, values in self.losses.items()}
        return super().state_dict() | {"losses": losses}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See ``Weighting``."""
        super().load_state_dict(state)
        self.losses = {part: list(values) for part, values in state["losses"].items()}


#: Policies by name. Those that learn their weights by step (``balancing``) start each epoch from fixed ones.
WEIGHTINGS: dict[str, type[FixedWeighting]] = {
    "fixed": FixedWeighting,
    "trend": TrendWeighting,
    "uncertainty": FixedWeighting,
    "gradnorm": FixedWeighting,
}
