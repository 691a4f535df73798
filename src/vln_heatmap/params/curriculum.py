"""The curriculum: phases as data, and what changes in a phase while it runs.

Epochs are those of the full plan everywhere in here; ``epoch_scale`` turns them into epochs of the run.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from vln_heatmap.params.base import Params, Share

Name = Annotated[str, Field(min_length=1)]
Weight = Annotated[float, Field(ge=0, le=100)]
Level = Literal["geometric", "correspondence", "coherence", "reasoning", "discrimination"]
Epochs = Annotated[int, Field(ge=1, le=10_000)]
Factor = Annotated[float, Field(gt=0, le=100)]


class LimitParams(Params):
    """The range in which a metric is as it should be."""

    least: float | None = Field(None, allow_inf_nan=False)
    most: float | None = Field(None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check(self) -> LimitParams:
        if self.least is None and self.most is None:
            raise ValueError("a limit needs least, most or both")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError(f"least must not be above most, got {self.least} and {self.most}")
        return self


class MetricLimitParams(LimitParams):
    """The limit of one validation metric."""

    metric: Name


class PhaseScheduleParams(Params):
    """Learning rate within a phase, over the phase's peak. After the planned epochs it stays as it ended."""

    name: Literal["constant", "cosine_restarts", "steps", "polynomial"] = "constant"
    warmup: float = Field(0.0, ge=0, le=10_000, description="epochs of linear growth, before everything else")
    final: Share = Field(0.0, description="of cosine_restarts and polynomial: lowest value")
    cycles: int = Field(1, ge=1, le=100, description="of cosine_restarts")
    growth: float = Field(1.0, ge=1, le=10, description="of cosine_restarts: each cycle over the one before")
    milestones: tuple[Annotated[float, Field(gt=0)], ...] = Field((), description="of steps: epochs")
    gamma: float = Field(0.3, gt=0, le=1, description="of steps: factor at each milestone")
    power: float = Field(0.9, gt=0, le=10, description="of polynomial")


class PhaseParams(Params):
    """One phase: its data, its objective, how it trains, and when it has done its work."""

    epochs: Epochs = Field(description="planned, in the full plan")
    data: dict[Level, Share] = Field(min_length=1, description="shares of the levels; they add up to 1")
    lr: float = Field(1.0, gt=0, le=1, description="peak over that of the optimiser")
    schedule: PhaseScheduleParams = PhaseScheduleParams()
    loss: dict[Name, Weight] = Field({}, description="weights that differ from train.loss.weights, by part")
    window: dict[Name, Any] = Field({}, description="fields of the window that differ, by name")
    techniques: dict[Name, dict[str, Any]] = Field({}, description="settings of those in use, by name")
    criteria: dict[Name, LimitParams] = Field(
        {}, description="the phase has done its work: all of these hold"
    )

    @model_validator(mode="after")
    def _check(self) -> PhaseParams:
        if not math.isclose(sum(self.data.values()), 1, abs_tol=1e-6):
            raise ValueError(f"data shares must add up to 1, got {sum(self.data.values()):g}")
        if self.schedule.warmup >= self.epochs:
            raise ValueError(f"warmup must be below epochs = {self.epochs}, got {self.schedule.warmup}")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """``data`` by plain names."""
        return {str(level): share for level, share in self.data.items()}


class DataScheduleParams(Params):
    """Levels whose metric is out of its limit get more of the next epoch's data."""

    enabled: bool = True
    limits: dict[Level, MetricLimitParams] = Field(
        {
            "geometric": MetricLimitParams(metric="geometric_loss", most=0.15),
            "correspondence": MetricLimitParams(metric="correspondence_accuracy", least=0.85),
            "reasoning": MetricLimitParams(metric="reasoning_accuracy", least=0.80),
        },
        description="out of them a level is critical",
    )
    critical: Share = Field(
        0.6, description="at least; more if the phase's own plan has more of these levels"
    )
    important: Share = Field(0.3, description="of the other levels, the one that the phase has most of")
    maintenance: Share = Field(0.1, description="the rest")
    most: float = Field(5.0, ge=1, le=1e6, description="times that a level's samples may be drawn more often")
    repeats: float = Field(
        2.0,
        gt=0,
        le=1e6,
        description="times an epoch that a sample may be expected, if it is chosen for itself",
    )

    @model_validator(mode="after")
    def _check(self) -> DataScheduleParams:
        total = self.critical + self.important + self.maintenance
        if not math.isclose(total, 1, abs_tol=1e-6):
            raise ValueError(f"critical, important and maintenance must add up to 1, got {total:g}")
        return self


class WeightingParams(Params):
    """How loss weights change within a phase."""

    name: Literal["fixed", "trend", "uncertainty", "gradnorm"] = Field(
        "fixed",
        description="trend: by epoch; uncertainty, gradnorm: learned by step (nodes/training/curriculum)",
    )
    parts: tuple[Name, ...] | None = Field(None, description="that may change; null = all in use")
    window: Epochs = Field(5, ge=2, description="of trend: epochs")
    rate: float = Field(0.1, ge=0, lt=1, description="of trend: change of a weight after an epoch")
    relative: bool = Field(
        True, description="of trend: to the median of all parts; false = each part by itself"
    )
    tolerance: float = Field(0.01, ge=0, le=1, description="of trend: relative slope per epoch that is none")
    least: float = Field(0.1, gt=0, le=100)
    most: float = Field(2.0, gt=0, le=100)
    lr: float = Field(0.025, gt=0, le=1, description="of uncertainty and gradnorm: of what they learn")
    alpha: float = Field(1.5, ge=0, le=10, description="of gradnorm: how much slow parts are preferred")
    every: int = Field(
        10, ge=1, le=1_000_000, description="of gradnorm: steps between two looks at gradients"
    )

    @model_validator(mode="after")
    def _check(self) -> WeightingParams:
        if self.least > self.most:
            raise ValueError(f"least must not be above most, got {self.least} and {self.most}")
        return self


class PlateauParams(Params):
    """The objective improves no more: a lower learning rate, and more geometry in loss and data."""

    patience: Epochs = 5
    tolerance: float = Field(0.01, ge=0, le=1, description="relative gain over the patience that is none")
    lr: float = Field(0.5, gt=0, le=1, description="factor each time")
    least_lr: float = Field(0.1, gt=0, le=1, description="product of all factors")
    focus: float = Field(1.5, ge=1, le=10, description="factor of the level's loss weight and data share")
    most_focus: float = Field(2.25, ge=1, le=100, description="product of all factors")
    level: Level = "geometric"


class SlowParams(Params):
    """A metric is below its limit and hardly grows: more views in a window, and harder negatives."""

    metric: Name = "correspondence_accuracy"
    least: float = Field(0.85, allow_inf_nan=False, description="from here on all is well")
    patience: Epochs = 5
    gain: float = Field(0.005, ge=0, le=1, description="slope per epoch that is not slow")
    views: float = Field(1.5, ge=1, le=10, description="factor each time")
    most_views: int = Field(24, ge=1, le=64)
    hard_negatives: Share = Field(0.3, description="at least this share")


class OscillationParams(Params):
    """A metric goes up and down: more weight decay, and shorter steps where the gradient is large."""

    metric: Name = "reasoning_accuracy"
    patience: Epochs = Field(6, ge=3)
    turns: Share = Field(0.75, description="share of the inner epochs that are turning points")
    amplitude: float = Field(0.05, ge=0, description="mean change per epoch")
    weight_decay: float = Field(2.0, ge=1, le=100, description="factor each time")
    most_weight_decay: float = Field(8.0, ge=1, le=1e4, description="product of all factors")
    clip: float = Field(0.5, gt=0, le=1, description="factor each time")
    least_clip: float = Field(0.1, gt=0, le=1, description="product of all factors")


class AdjusterParams(Params):
    """What is changed when training goes badly; it lasts until the phase ends."""

    enabled: bool = True
    plateau: PlateauParams = PlateauParams()
    slow: SlowParams = SlowParams()
    oscillation: OscillationParams = OscillationParams()


class RollbackParams(Params):
    """What is changed when the run goes on from the best weights; it lasts until the run ends."""

    times: int = Field(1, ge=0, le=10, description="the next time the run stops")
    lr: float = Field(0.5, gt=0, le=1, description="factor")
    clip: float = Field(0.5, gt=0, le=1, description="factor")


class CurriculumParams(Params):
    """Phases in order, and everything that adapts."""

    enabled: bool = Field(True, description="false = one phase, as if there were no curriculum")
    epoch_scale: float = Field(1.0, gt=0, le=100, description="epochs of the run over those of the plan")
    steps_per_epoch: int | None = Field(None, ge=1, le=10_000_000, description="null = once through the data")
    phases: dict[Name, PhaseParams] = Field(min_length=1)
    least: Share = Field(0.5, description="of a phase's epochs before it may end, criteria or not")
    extension: float = Field(0.2, ge=0, le=10, description="of a phase's epochs, while criteria do not hold")
    scheduler: DataScheduleParams = DataScheduleParams()
    weighting: WeightingParams = WeightingParams()
    adjuster: AdjusterParams = AdjusterParams()
    rollback: RollbackParams = RollbackParams()

    def epochs(self, planned: float, *, at_least: int = 1) -> int:
        """Epochs of the run for epochs of the plan, ``at_least`` so many."""
        return max(at_least, math.floor(planned * self.epoch_scale + 0.5))
