"""Which phase a training is in, and when it goes on to the next.

Invariant: where a run is depends on the validation metrics reported so far and on nothing else, and every change
of phase, and every extension of one, says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vln_heatmap.nodes.training.curriculum.limits import described, holds, measured
from vln_heatmap.nodes.training.director import EpochReport, Event
from vln_heatmap.params.curriculum import CurriculumParams, PhaseParams


class PhaseMachine:
    """Phases in order. A phase ends

    - when its criteria hold, after ``least`` of its epochs at the earliest;
    - else after its epochs and an ``extension`` of them;
    - after its epochs if none of its criteria is measured.

    A criterion that is not measured decides nothing. Numbers of epochs are those of the run.

    Attributes:
        index: of the phase, from 0; the number of phases when all are done.
        done: epochs done in it.
    """

    def __init__(self, params: CurriculumParams) -> None:
        self.params, self.names = params, list(params.phases)
        self.index, self.done = 0, 0

    @property
    def over(self) -> bool:
        """Whether all phases are done."""
        return self.index == len(self.names)

    @property
    def name(self) -> str:
        """Of the phase."""
        return self.names[self.index]

    @property
    def phase(self) -> PhaseParams:
        """The phase that the run is in."""
        return self.params.phases[self.name]

    def planned(self, name: str) -> int:
        """Epochs of a phase without an extension."""
        return self.params.epochs(self.params.phases[name].epochs)

    def expected_epochs(self) -> int:
        """Epochs that are left, if no phase from here on ends early or extends further."""
        if self.over:
            return 0
        left = max(1, self.planned(self.name) - self.done)
        return left + sum(self.planned(name) for name in self.names[self.index + 1 :])

    def advance(self, report: EpochReport) -> list[Event]:
        """Take in an epoch: the end of the phase or its extension, or nothing."""
        self.done += 1
        planned = self.planned(self.name)
        most = planned + int(planned * self.params.extension + 0.5)
        met, unmet = self._criteria(report.validation)
        if met and not unmet and self.done >= max(1, round(self.params.least * planned)):
            return [self._end(report, "converged", "; ".join(met), "info")]
        if self.done < planned:
            return []
        if not unmet:
            return [self._end(report, "finished", self._why_finished(), "info")]
        if self.done >= most:
            return [
                self._end(report, "limit", f"{self.done} epochs, and still {'; '.join(unmet)}", "warning")
            ]
        if self.done > planned:
            return []
        cause = "; ".join(unmet)
        name = f"{self.name}: extended"
        values = {"before": float(planned), "after": float(most)}
        return [Event.after_epoch(report, "phase", name, cause, **values)]

    def _criteria(self, validation: Mapping[str, float]) -> tuple[list[str], list[str]]:
        """Those that are measured: those that hold, and those that do not, in words."""
        met: list[str] = []
        unmet: list[str] = []
        for name, limit in self.phase.criteria.items():
            value = measured(validation, name)
            if value is not None:
                (met if holds(value, limit) else unmet).append(described(name, value, limit))
        return met, unmet

    def _why_finished(self) -> str:
        unmeasured = ", ".join(self.phase.criteria)
        return f"{self.done} epochs; not measured: {unmeasured}" if unmeasured else f"{self.done} epochs"

    def _end(self, report: EpochReport, how: str, cause: str, severity: str) -> Event:
        before = self.name
        self.index, self.done = self.index + 1, 0
        after = "end" if self.over else self.name
        values = {"before": before, "after": after, "severity": severity}
        return Event.after_epoch(report, "phase", f"{before}: {how}", cause, **values)

    def state_dict(self) -> dict[str, Any]:
        """Where the run is."""
        return {"index": self.index, "done": self.done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of ``state_dict``."""
        self.index, self.done = int(state["index"]), int(state["done"])
