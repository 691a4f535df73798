"""What an alert is, and the hysteresis that lets it fire once.

Invariant: a condition that lasts fires once, however long it lasts; it can fire again only after the value was
clearly normal for some epochs in a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from vln_heatmap.params.monitor import MonitorParams

if TYPE_CHECKING:  # the director imports the monitor
    from vln_heatmap.nodes.training.director import EpochReport

Severity = Literal["info", "warning", "critical"]
Action = Literal["none", "rollback", "stop"]


@dataclass(frozen=True)
class Alert:
    """A condition that began in this epoch.

    Attributes:
        name: its kind and, after a slash, the loss part or metric: ``plateau/geometric``, ``memory``.
        severity: of the condition.
        cause: a sentence with the numbers.
        value: what was measured; threshold: the limit that it crossed.
        action: what the training should do about it.
    """

    name: str
    severity: Severity
    cause: str
    value: float
    threshold: float
    action: Action = "none"

    @property
    def kind(self) -> str:
        """The name without part or metric."""
        return self.name.partition("/")[0]


@dataclass
class Watch:
    """Whether one condition holds now, and for how many epochs in a row the opposite has been seen."""

    active: bool = False
    count: int = 0

    def begins(self, *, bad: bool, clear: bool, confirm: int, calm: int) -> bool:
        """Take in an epoch; true where the condition begins.

        Args:
            bad: the value is beyond its threshold; it takes ``confirm`` such epochs in a row to begin.
            clear: the value is clearly normal; it takes ``calm`` such epochs in a row to end.
            confirm, calm: at least 1.
        """
        self.count = self.count + 1 if (clear if self.active else bad) else 0
        if self.count < (calm if self.active else confirm):
            return False
        self.active, self.count = not self.active, 0
        return self.active


class Check:
    """Base of the checks: numbers of past epochs and the watches, both of which can be saved as JSON.

    Args:
        params: ``release`` and ``calm`` are for all checks; a check takes its own thresholds beside.
    """

    def __init__(self, params: MonitorParams) -> None:
        self.release, self.calm = params.release, params.calm
        self.past: dict[str, list[float]] = {}
        self.watches: dict[str, Watch] = {}

    def observe(self, report: EpochReport) -> Iterator[Alert]:
        """Alerts that begin with this epoch."""
        raise NotImplementedError

    def begin_phase(self) -> None:
        """What is learned, and how, changes now: forget what can no longer be compared. Default: nothing."""

    def rolled_back(self) -> None:
        """The weights are older ones now: judge the next epochs anew. Default: nothing."""

    def remember(self, name: str, value: float, length: int) -> list[float]:
        """The last ``length`` values of that name, this one included."""
        values = [*self.past.get(name, []), float(value)][-length:]
        self.past[name] = values
        return values

    def begins(self, name: str, value: float, threshold: float, *, confirm: int = 1) -> bool:
        """Whether ``value`` has been above ``threshold`` for ``confirm`` epochs and was not before."""
        return self.watches.setdefault(name, Watch()).begins(
            bad=value > threshold, clear=value < self.release * threshold, confirm=confirm, calm=self.calm
        )

    def active(self, name: str) -> bool:
        """Whether that condition holds."""
        return name in self.watches and self.watches[name].active

    def state_dict(self) -> dict[str, Any]:
        """Everything that later epochs depend on, as JSON."""
        return {
            "past": {name: list(values) for name, values in self.past.items()},
            "watches": {name: [watch.active, watch.count] for name, watch in self.watches.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of ``state_dict``."""
        self.past = {name: list(values) for name, values in state["past"].items()}
        self.watches = {name: Watch(bool(a), int(c)) for name, (a, c) in state["watches"].items()}
