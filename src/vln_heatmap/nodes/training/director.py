"""What a training does next, epoch by epoch: the one thing that the loop asks and reports to.

Invariant: ``plan`` changes nothing, so it may be asked again; ``report`` alone moves a director on, and what it
does is a function of the reports so far. So a director that is restored from its state, in any epoch, goes on
as if it had never stopped. No torch here: directors decide in one process, for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.nodes.training.schedule import learning_rate_factor
from vln_heatmap.params import TrainParams, WindowParams

if TYPE_CHECKING:
    from vln_heatmap.nodes.training.monitor.alerts import Alert
    from vln_heatmap.params.curriculum import CurriculumParams
    from vln_heatmap.params.monitor import MonitorParams

#: What the loop does after an epoch: the next one; the next one from the best weights so far; end the run as
#: failed (the last event says why); end it as planned.
Decision = Literal["continue", "rollback", "stop", "done"]
EventKind = Literal["phase", "mix", "weights", "adjustment", "alert", "rollback", "stop"]
Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True)
class EpochPlan:
    """What the next epoch is. An epoch ends with a validation, whatever share of the data it covers.

    Attributes:
        epoch: over the whole run, from 0; epochs after a rollback have numbers of their own.
        phase: its name.
        steps: updates of the weights.
        lr_factors: [steps] times the peak learning rate of the optimiser's parameters.
        loss_weights: by name of the loss part; a part that is not named, or of weight 0, is not computed.
        sample_weights: [samples] relative frequencies of the training samples, in their order; None = those
            that they have.
        clip: largest norm of the gradient; None = the optimiser's parameter.
        weight_decay: of the parameters that are decayed; None = the optimiser's parameter.
        window: values of ``WindowParams`` fields that differ in this epoch.
        techniques: settings of the techniques in use, by name.
        balancing: settings of what learns the weights of the losses step by step, as ``make_balancer``
            (``curriculum.balancing``) takes them; empty = nothing does.
    """

    epoch: int
    phase: str
    steps: int
    lr_factors: tuple[float, ...]
    loss_weights: Mapping[str, float]
    sample_weights: NDArray | None = None
    clip: float | None = None
    weight_decay: float | None = None
    window: Mapping[str, Any] = field(default_factory=dict)
    techniques: Mapping[str, Any] = field(default_factory=dict)
    balancing: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EpochReport:
    """What became of an epoch.

    Attributes:
        epoch: the plan's; step: updates done in the whole run.
        losses: means over the epoch by loss part, without their weights; "loss" = the weighted total.
        validation: metrics by name, NaN where one could not be computed.
        grad_norm, grad_norm_max: mean and greatest over the epoch; lr: the last one of the largest group.
        resources: memory_share, step_seconds, wait_share.
        data: low_quality_share, corrupt_share of the samples seen.
        sample_losses: the last total loss of each sample that was seen, by its index.
    """

    epoch: int
    step: int
    losses: Mapping[str, float]
    validation: Mapping[str, float] = field(default_factory=dict)
    grad_norm: float = 0.0
    grad_norm_max: float = 0.0
    lr: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)
    data: Mapping[str, float] = field(default_factory=dict)
    sample_losses: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """Something that was decided or noticed after the epoch that ended with ``step``, and why."""

    step: int
    epoch: int
    kind: EventKind
    name: str
    cause: str
    before: float | str | None = None
    after: float | str | None = None
    severity: Severity = "info"

    @classmethod
    def after_epoch(cls, report: EpochReport, kind: EventKind, name: str, cause: str, **values: Any) -> Event:
        """An event of the epoch that was reported; ``values``: before, after, severity."""
        return cls(report.step, report.epoch, kind, name, cause, **values)


class Director(Protocol):
    """Plans epochs. JSON holds its state exactly."""

    def plan(self) -> EpochPlan:
        """The next epoch, the same until it is reported.

        Raises:
            RuntimeError: the run is over.
        """

    def report(self, report: EpochReport) -> Decision:
        """Take in what became of the planned epoch.

        Raises:
            ValueError: the report is of another epoch.
        """

    def events(self) -> list[Event]:
        """All so far, in order."""

    def expected_steps(self) -> int:
        """Updates of the whole run, as far as can be said now."""

    def state_dict(self) -> dict[str, Any]:
        """All that reports have changed: nested dicts and lists of what JSON can hold."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of ``state_dict``, for a director made of the same parameters."""


class Watcher(Protocol):
    """A monitor, as far as directors know it."""

    def observe(self, report: EpochReport) -> list[Alert]:
        """Alerts that begin with this epoch, at most one of them with an action."""

    def begin_phase(self) -> None:
        """The next report is of another phase."""

    def state_dict(self) -> dict[str, Any]:
        """For JSON."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of ``state_dict``."""


def alert_event(report: EpochReport, alert: Alert) -> Event:
    """An alert as an event; its value is the one after."""
    values = {"after": alert.value, "severity": alert.severity}
    return Event.after_epoch(report, "alert", alert.name, alert.cause, **values)


def check_epoch(report: EpochReport, epoch: int) -> None:
    """Refuse a report of any other epoch than the planned one."""
    if report.epoch != epoch:
        raise ValueError(f"the report must be of epoch {epoch}, which was planned, got {report.epoch}")


class SinglePhase:
    """A plain training: one phase, ``train.schedule``, the weights of ``train.loss``.

    An epoch is ``train.validate_every`` steps; the last one may be shorter.

    Args:
        train: parameters of the run.
        monitor: whose alerts become events; nothing else is done about them.
    """

    def __init__(self, train: TrainParams, *, monitor: Watcher | None = None) -> None:
        self.train, self.monitor, self._epoch = train, monitor, 0
        self._events: list[Event] = []

    def plan(self) -> EpochPlan:
        """See ``Director``."""
        train, first = self.train, self._epoch * self.train.validate_every
        if first >= train.steps:
            raise RuntimeError(f"the run is over after {self._epoch} epochs, there is nothing to plan")
        steps = range(first, min(first + train.validate_every, train.steps))
        return EpochPlan(
            epoch=self._epoch,
            phase="train",
            steps=len(steps),
            lr_factors=tuple(learning_rate_factor(step, train.steps, train.schedule) for step in steps),
            loss_weights=train.loss.weights.model_dump(),
        )

    def report(self, report: EpochReport) -> Decision:
        """See ``Director``."""
        check_epoch(report, self._epoch)
        alerts = self.monitor.observe(report) if self.monitor else []
        self._events += [alert_event(report, alert) for alert in alerts]
        self._epoch += 1
        return "continue" if self._epoch * self.train.validate_every < self.train.steps else "done"

    def events(self) -> list[Event]:
        """Alerts."""
        return list(self._events)

    def expected_steps(self) -> int:
        """Exactly ``train.steps``."""
        return self.train.steps

    def state_dict(self) -> dict[str, Any]:
        """See ``Director``."""
        return {
            "epoch": self._epoch,
            "monitor": self.monitor.state_dict() if self.monitor else None,
            "events": [asdict(event) for event in self._events],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See ``Director``."""
        self._epoch = int(state["epoch"])
        if self.monitor:
            self.monitor.load_state_dict(state["monitor"])
        self._events = [Event(**event) for event in state["events"]]


def make_director(
    train: TrainParams,
    curriculum: CurriculumParams | None,
    samples: pd.DataFrame,
    monitor: MonitorParams | None,
    *,
    window: WindowParams | None = None,
) -> Director:
    """The director of a run.

    Args:
        train: of the run.
        curriculum: None or not enabled = a plain run.
        samples: the training samples in the order of the data set.
        monitor: thresholds; None = nobody watches.
        window: of the stage; None = the default.

    Raises:
        ValueError: the curriculum names something that does not exist.
    """
    from vln_heatmap.nodes.training.curriculum.director import CurriculumDirector
    from vln_heatmap.nodes.training.monitor import Monitor

    watcher = Monitor(monitor) if monitor else None
    if curriculum is None or not curriculum.enabled:
        return SinglePhase(train, monitor=watcher)
    return CurriculumDirector(train, curriculum, samples, window=window or WindowParams(), monitor=watcher)
