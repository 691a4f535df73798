"""The curriculum as a director: phases, mix, loss weights, adjustments and alerts in one place.

Invariant: what a phase adapts ends with it; what a rollback changes lasts until the run ends. Everything is a
function of the reports, so that a restored director goes on as if it had never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.nodes.training.curriculum.adjuster import Settings, TrainingAdjuster
from vln_heatmap.nodes.training.curriculum.limits import measured
from vln_heatmap.nodes.training.curriculum.mix import (
    DataScheduler,
    focused,
    limited_repeats,
    mixed_weights,
    served,
)
from vln_heatmap.nodes.training.curriculum.phase_schedule import phase_factors
from vln_heatmap.nodes.training.curriculum.phases import PhaseMachine
from vln_heatmap.nodes.training.curriculum.weighting import WEIGHTINGS, Weighting
from vln_heatmap.nodes.training.director import (
    Decision,
    EpochPlan,
    EpochReport,
    Event,
    Watcher,
    alert_event,
    check_epoch,
)
from vln_heatmap.nodes.training.techniques.sampling import SAMPLING, sample_weights
from vln_heatmap.params import LossWeights, TrainParams, WindowParams
from vln_heatmap.params.curriculum import CurriculumParams
from vln_heatmap.params.techniques import technique_params


class CurriculumDirector:
    """Directs a training through the phases of a curriculum.

    Args:
        train: of the run; its ``steps``, ``schedule`` and ``validate_every`` do not count here.
        params: of the curriculum.
        samples: the training samples in the order of the data set, with columns ``weight`` and ``levels``, and
            what the techniques that choose samples read.
        window: of the stage, which the phases change.
        monitor: whose alerts are obeyed; None = nobody watches.

    Raises:
        ValueError: a phase names a loss part, window field or technique that does not exist.
    """

    def __init__(
        self,
        train: TrainParams,
        params: CurriculumParams,
        samples: pd.DataFrame,
        *,
        window: WindowParams,
        monitor: Watcher | None = None,
    ) -> None:
        self.train, self.params, self.window, self.monitor = train, params, window, monitor
        self.samples = samples.reset_index(drop=True)
        self.base = samples["weight"].to_numpy(np.float64)
        self.serves = served(samples["levels"].tolist())
        self.steps = params.steps_per_epoch or math.ceil(len(samples) / train.batch_size)
        self.objectives = _checked(train, params, window)  # loss weights by phase
        self.mining = any(name in SAMPLING for p in params.phases.values() for name in p.techniques)
        self.mining |= params.adjuster.enabled  # it may turn hard negatives on
        self.phases = PhaseMachine(params)
        self.scheduler = DataScheduler(params.scheduler)
        window_epochs = params.epochs(params.weighting.window, at_least=3)
        self.weighting: Weighting = WEIGHTINGS[params.weighting.name](params.weighting, window_epochs)
        self.adjuster = TrainingAdjuster(params)
        self.epoch, self.step = 0, 0  # the next one, and updates done
        self.rollbacks, self.lr, self.clip = 0, 1.0, 1.0  # how often, and the factors that remain of it
        self.stopped = False
        self.losses: dict[int, float] = {}  # last one by sample
        self._events = [Event(0, 0, "phase", self.phases.name, "start of the run", None, self.phases.name)]
        self._begin_phase()

    def plan(self) -> EpochPlan:
        """See ``Director``."""
        if self.stopped or self.phases.over:
            raise RuntimeError(f"the run is over after {self.epoch} epochs, there is nothing to plan")
        phase, settings = self.phases.phase, self.adjuster.settings
        total, first = self.phases.planned(self.phases.name) * self.steps, self.phases.done * self.steps
        factors = phase_factors(phase, first=first, steps=self.steps, total=total)
        techniques = self._techniques()
        return EpochPlan(
            epoch=self.epoch,
            phase=self.phases.name,
            steps=self.steps,
            lr_factors=tuple(factor * settings.lr * self.lr for factor in factors),
            loss_weights=self._loss_weights(),
            sample_weights=self._sample_weights(techniques),
            clip=settings.clip * self.clip,
            weight_decay=settings.weight_decay,
            window={**phase.window, "views": settings.views},
            techniques=techniques,
            balancing=self._balancing(),
        )

    def report(self, report: EpochReport) -> Decision:
        """See ``Director``."""
        check_epoch(report, self.epoch)
        self.epoch, self.step = self.epoch + 1, report.step
        if self.mining:
            self.losses |= {int(i): float(v) for i, v in report.sample_losses.items() if math.isfinite(v)}
        alerts = self.monitor.observe(report) if self.monitor else []
        self._events += [alert_event(report, alert) for alert in alerts]
        asked = {str(alert.action): alert.cause for alert in reversed(alerts)}
        if not math.isfinite(report.losses.get("loss", 0.0)):
            asked.setdefault("rollback", "the loss is not finite")  # the epoch broke off and does not count
        else:
            self._adapt(report)
            if self._advance(report):
                return "done"
        if "stop" in asked:
            return self._stop(report, asked["stop"])
        return self._rollback(report, asked["rollback"]) if "rollback" in asked else "continue"

    def events(self) -> list[Event]:
        """See ``Director``."""
        return list(self._events)

    def expected_steps(self) -> int:
        """See ``Director``."""
        left = 0 if self.stopped else self.phases.expected_epochs()
        return self.step + left * self.steps

    def _adapt(self, report: EpochReport) -> None:
        """Set mix, weights and settings of the next epoch of this phase."""
        phase, weights = self.phases.phase, self.objectives[self.phases.name]
        parts = {name: measured(report.losses, name) for name, weight in weights.items() if weight}
        known = [weights[name] * loss for name, loss in parts.items() if loss is not None]
        objective = sum(known) if known else measured(report.losses, "loss")
        self._events += self.scheduler.update(report, phase.shares)
        self._events += self.weighting.update(report)
        self._events += self.adjuster.update(report, objective)

    def _advance(self, report: EpochReport) -> bool:
        """Go on to the next phase if it is time; whether the run is over."""
        before = self.phases.index
        self._events += self.phases.advance(report)
        if self.phases.over or self.phases.index == before:
            return self.phases.over
        self._begin_phase()
        if self.monitor:
            self.monitor.begin_phase()
        return False

    def _begin_phase(self) -> None:
        phase, optimizer = self.phases.phase, self.train.optimizer
        self.scheduler.start(phase.shares)
        self.weighting.start(self.objectives[self.phases.name])
        views = int(phase.window.get("views", self.window.views))
        negatives = technique_params(phase.techniques).get("hard_negatives")
        share = negatives.share if negatives else 0.0
        self.adjuster.start(Settings(1.0, 1.0, views, share, optimizer.weight_decay, optimizer.clip))

    def _rollback(self, report: EpochReport, cause: str) -> Decision:
        if self.rollbacks >= self.params.rollback.times:
            return self._stop(report, f"{cause}, after {self.rollbacks} rollback(s)")
        self.rollbacks += 1
        self.weighting.forget()
        self.adjuster.forget()
        for name in ("lr", "clip"):
            before: float = getattr(self, name)
            after: float = before * getattr(self.params.rollback, name)
            setattr(self, name, after)
            values = {"before": before, "after": after, "severity": "critical"}
            self._events.append(Event.after_epoch(report, "rollback", f"{name}_factor", cause, **values))
        return "rollback"

    def _stop(self, report: EpochReport, cause: str) -> Decision:
        self.stopped = True
        text = (
            f"{cause}: stopped in phase {self.phases.name} after epoch {report.epoch}. The best weights are "
            "kept; lower optimizer.lr or the phase's lr, and look at the alerts and adjustments before this"
        )
        self._events.append(Event.after_epoch(report, "stop", "run", text, severity="critical"))
        return "stop"

    def _loss_weights(self) -> dict[str, float]:
        """The policy's, with the adjuster's focus; it lifts no weight above the policy's limit."""
        weights, plateau = dict(self.weighting.weights), self.params.adjuster.plateau
        own = weights[plateau.level]
        focus = own * self.adjuster.settings.focus
        weights[plateau.level] = min(focus, max(own, self.params.weighting.most))
        return weights

    def _sample_weights(self, techniques: Mapping[str, Any]) -> NDArray:
        """Mix of the levels first, then what the techniques prefer: [samples], mean 1."""
        plateau, settings = self.params.adjuster.plateau, self.adjuster.settings
        shares = focused(self.scheduler.shares, plateau.level, settings.focus)
        mixed = mixed_weights(self.serves, self.base, shares, most=self.params.scheduler.most)
        progress = min(1.0, self.phases.done / self.phases.planned(self.phases.name))
        samples = self.samples.assign(weight=mixed)
        chosen = sample_weights(samples, self.losses, techniques, progress)
        if chosen is None:
            return mixed
        draws, repeats = self.steps * self.train.batch_size, self.params.scheduler.repeats
        return limited_repeats(chosen, self.base, draws=draws, repeats=repeats)

    def _techniques(self) -> dict[str, Any]:
        """The phase's, with at least the adjuster's share of hard negatives."""
        techniques: dict[str, Any] = {name: dict(own) for name, own in self.phases.phase.techniques.items()}
        share = self.adjuster.settings.hard_negatives
        if share:
            techniques["hard_negatives"] = {**techniques.get("hard_negatives", {}), "share": share}
        return techniques

    def _balancing(self) -> dict[str, Any]:
        """Settings of the policies that learn weights by step."""
        weighting = self.params.weighting
        return weighting.model_dump() if weighting.name in ("uncertainty", "gradnorm") else {}

    def state_dict(self) -> dict[str, Any]:
        """See ``Director``."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "rollbacks": [self.rollbacks, self.lr, self.clip],
            "stopped": self.stopped,
            "phases": self.phases.state_dict(),
            "mix": self.scheduler.state_dict(),
            "weighting": self.weighting.state_dict(),
            "adjuster": self.adjuster.state_dict(),
            "monitor": self.monitor.state_dict() if self.monitor else None,
            "losses": [list(self.losses), list(self.losses.values())],
            "events": [asdict(event) for event in self._events],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See ``Director``."""
        self.epoch, self.step, self.stopped = int(state["epoch"]), int(state["step"]), bool(state["stopped"])
        self.rollbacks, self.lr, self.clip = state["rollbacks"]
        self.phases.load_state_dict(state["phases"])
        self.scheduler.load_state_dict(state["mix"])
        self.weighting.load_state_dict(state["weighting"])
        self.adjuster.load_state_dict(state["adjuster"])
        if self.monitor:
            self.monitor.load_state_dict(state["monitor"])
        self.losses = {int(i): float(loss) for i, loss in zip(*state["losses"], strict=True)}
        self._events = [Event(**event) for event in state["events"]]


def _checked(
    train: TrainParams, params: CurriculumParams, window: WindowParams
) -> dict[str, dict[str, float]]:
    """Loss weights of each phase; what the phases name exists."""
    objectives = {}
    for name, phase in params.phases.items():
        try:
            weights = LossWeights.model_validate({**train.loss.weights.model_dump(), **phase.loss})
            WindowParams.model_validate({**window.model_dump(), **phase.window})
            technique_params(phase.techniques)
        except ValueError as error:
            raise ValueError(f"phase {name!r} of the curriculum: {error}") from None
        objectives[name] = weights.model_dump()
    return objectives
