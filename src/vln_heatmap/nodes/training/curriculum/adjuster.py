"""What is changed while a phase trains badly.

Invariant: a rule acts on a full window of epochs since the phase began or since it last acted, and every value it
changes is an event with its cause, the value before and the value after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from vln_heatmap.nodes.training.curriculum.limits import measured
from vln_heatmap.nodes.training.curriculum.trend import is_plateau, mean_change, slope, turning_share
from vln_heatmap.nodes.training.director import EpochReport, Event
from vln_heatmap.params.curriculum import AdjusterParams, CurriculumParams


@dataclass(frozen=True)
class Settings:
    """What rules may change.

    Attributes:
        lr: factor of the phase's learning rate.
        focus: factor of the focused level's loss weight and data share.
        views: current views of a window.
        hard_negatives: least share of hard negatives.
        weight_decay, clip: the optimiser's.
    """

    lr: float = 1.0
    focus: float = 1.0
    views: int = 1
    hard_negatives: float = 0.0
    weight_decay: float = 0.0
    clip: float = 1.0


class TrainingAdjuster:
    """Three rules: plateau, slow metric, swinging metric.

    Attributes:
        settings: of the next epoch.
    """

    def __init__(self, params: CurriculumParams) -> None:
        self.params: AdjusterParams = params.adjuster
        self.patience = {
            "plateau": params.epochs(self.params.plateau.patience, at_least=2),
            "slow": params.epochs(self.params.slow.patience, at_least=2),
            "oscillation": params.epochs(self.params.oscillation.patience, at_least=4),
        }
        self.start(Settings())

    def start(self, settings: Settings) -> None:
        """Begin a phase with its own settings."""
        self.first = self.settings = settings
        self.spent: list[str] = []  # rules that have said that they can change nothing further
        self.forget()

    def forget(self) -> None:
        """What was reported before says nothing about what comes: keep the settings, begin new windows."""
        self.values: dict[str, list[float]] = {rule: [] for rule in self.patience}

    def update(self, report: EpochReport, objective: float | None) -> list[Event]:
        """Take in an epoch.

        Args:
            report: of the epoch.
            objective: the loss by weights that do not adapt; None = not measured.
        """
        if not self.params.enabled:
            return []
        self._remember("plateau", objective)
        self._remember("slow", measured(report.validation, self.params.slow.metric))
        self._remember("oscillation", measured(report.validation, self.params.oscillation.metric))
        events = []
        for name, rule in (
            ("plateau", self._plateau),
            ("slow", self._slow),
            ("oscillation", self._oscillation),
        ):
            after, cause = rule(self.values[name], self.patience[name])
            if cause:
                events += self._events(report, name, cause, after)
                self.settings = after
                self.values[name] = self.values[name][-1:]
        return events

    def _remember(self, rule: str, value: float | None) -> None:
        if value is not None:
            self.values[rule] = [*self.values[rule], value]

    def _plateau(self, values: list[float], patience: int) -> tuple[Settings, str]:
        rule, now = self.params.plateau, self.settings
        if not is_plateau(values, patience=patience, tolerance=rule.tolerance):
            return now, ""
        lr, focus = max(rule.least_lr, now.lr * rule.lr), min(rule.most_focus, now.focus * rule.focus)
        cause = f"plateau: loss {values[-1]:.4g}, not {rule.tolerance:.0%} better for {patience} epochs"
        return replace(now, lr=min(now.lr, lr), focus=max(now.focus, focus)), cause

    def _slow(self, values: list[float], patience: int) -> tuple[Settings, str]:
        rule, now, recent = self.params.slow, self.settings, values[-patience:]
        gain = slope(recent)
        if len(recent) < patience or recent[-1] >= rule.least or gain >= rule.gain:
            return now, ""
        views = max(now.views, min(rule.most_views, int(now.views * rule.views + 0.5)))
        share = max(now.hard_negatives, rule.hard_negatives)
        cause = f"slow: {rule.metric} {recent[-1]:.4g} < {rule.least:g}, {gain:+.4f} an epoch"
        return replace(now, views=views, hard_negatives=share), cause

    def _oscillation(self, values: list[float], patience: int) -> tuple[Settings, str]:
        rule, now, recent = self.params.oscillation, self.settings, values[-patience:]
        swing, turns = mean_change(recent), turning_share(recent)
        if len(recent) < patience or turns < rule.turns or swing < rule.amplitude:
            return now, ""
        most, least = self.first.weight_decay * rule.most_weight_decay, self.first.clip * rule.least_clip
        decay, clip = min(most, now.weight_decay * rule.weight_decay), max(least, now.clip * rule.clip)
        cause = f"oscillation: {rule.metric} turns in {turns:.0%} of {patience} epochs, by {swing:.3f} each"
        return replace(now, weight_decay=decay, clip=clip), cause

    def _events(self, report: EpochReport, rule: str, cause: str, after: Settings) -> list[Event]:
        """An event for each setting that changes; once, one that says that none can change any further."""
        old, new = asdict(self.settings), asdict(after)
        events = [
            Event.after_epoch(report, "adjustment", name, cause, before=old[name], after=new[name])
            for name in old
            if old[name] != new[name]
        ]
        if events or rule in self.spent:
            return events
        self.spent.append(rule)
        text = f"{cause}; nothing is left to change"
        return [Event.after_epoch(report, "adjustment", rule, text, severity="warning")]

    def state_dict(self) -> dict[str, Any]:
        """Settings and what the rules have seen."""
        values = {rule: list(seen) for rule, seen in self.values.items()}
        settings = {"first": asdict(self.first), "settings": asdict(self.settings)}
        return {**settings, "spent": list(self.spent), "values": values}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of ``state_dict``."""
        self.first, self.settings = Settings(**state["first"]), Settings(**state["settings"])
        self.spent = list(state["spent"])
        self.values = {rule: list(seen) for rule, seen in state["values"].items()}
