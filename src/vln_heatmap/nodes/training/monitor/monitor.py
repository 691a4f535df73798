"""All checks of a training in one object.

Invariant: what the monitor says is a function of its parameters and of the reports (and phases) so far; a
monitor that is restored from its state says the same as one that was never interrupted. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vln_heatmap.nodes.training.monitor.alerts import Action, Alert, Check
from vln_heatmap.nodes.training.monitor.limits import DataQuality, Resources
from vln_heatmap.nodes.training.monitor.losses import Convergence, Stability
from vln_heatmap.nodes.training.monitor.performance import Performance
from vln_heatmap.params.monitor import MonitorParams

if TYPE_CHECKING:
    from vln_heatmap.nodes.training.director import EpochReport


class Monitor:
    """Raises alerts about a training, each when its condition begins.

    Of the alerts that ask for a rollback the first ``params.rollbacks`` do; after these they ask to stop. When
    a rollback has been asked for, the epochs that follow are taken to be those of the older weights.

    Args:
        params: the thresholds.
    """

    def __init__(self, params: MonitorParams) -> None:
        self.params, self.rollbacks = params, 0  # asked for so far
        self.checks: dict[str, Check] = {
            "convergence": Convergence(params),
            "performance": Performance(params),
            "data": DataQuality(params),
            "resources": Resources(params),
            "stability": Stability(params),
        }

    def observe(self, report: EpochReport) -> list[Alert]:
        """Alerts that begin with this epoch, at most one of them with an action."""
        alerts = [alert for check in self.checks.values() for alert in check.observe(report)]
        asking = next((i for i, alert in enumerate(alerts) if alert.action != "none"), None)
        if asking is None:
            return alerts
        action: Action = "rollback" if self.rollbacks < self.params.rollbacks else "stop"
        self.rollbacks += action == "rollback"
        for check in self.checks.values():
            check.rolled_back()
        return [replace(a, action=action if i == asking else "none") for i, a in enumerate(alerts)]

    def begin_phase(self) -> None:
        """The next report is of another phase: losses and times are not compared across."""
        for check in self.checks.values():
            check.begin_phase()

    def state_dict(self) -> dict[str, Any]:
        """Everything that later alerts depend on, as JSON."""
        return {
            "rollbacks": self.rollbacks,
            "checks": {name: check.state_dict() for name, check in self.checks.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of ``state_dict``, for a monitor of the same parameters."""
        self.rollbacks = int(state["rollbacks"])
        for name, check in self.checks.items():
            check.load_state_dict(state["checks"][name])
