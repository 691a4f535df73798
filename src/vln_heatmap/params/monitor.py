"""When the monitor of a training raises an alert. What each alert means: docs/monitoring.md."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from vln_heatmap.params.base import Params

Epochs = Annotated[int, Field(ge=1, le=10_000)]


class ConvergenceParams(Params):
    """A loss part that no longer falls."""

    plateau_epochs: dict[str, Epochs] = Field(
        {"geometric": 5, "correspondence": 8, "reasoning": 10, "loss": 10},
        description="epochs without progress, by loss part; loss = the weighted total; others are not watched",
    )
    tolerance: float = Field(
        0.01, gt=0, lt=1, description="least progress, as a share of the best loss so far"
    )
    smoothing: int = Field(3, ge=1, le=100, description="epochs over which the loss is averaged")


class PerformanceParams(Params):
    """A validation metric that falls behind what was reached."""

    drop: float = Field(0.05, gt=0, le=1, description="below the best level, in units of the metric")
    bad_epochs: int = Field(3, ge=1, le=100, description="validations in a row with that drop, or of a level")
    severe_drop: float = Field(0.10, gt=0, le=1)
    severe_epochs: int = Field(2, ge=1, le=100, description="validations in a row with a severe drop")
    rollback_on: tuple[str, ...] = Field(
        ("auc",), description="metrics whose severe drop asks for a rollback; that of others is only reported"
    )

    @model_validator(mode="after")
    def _ordered(self) -> PerformanceParams:
        if self.severe_drop < self.drop:
            raise ValueError(f"severe_drop must be at least drop ({self.drop:g}), got {self.severe_drop:g}")
        return self


class DataQualityParams(Params):
    """Training samples of low quality, or that cannot be read."""

    low_quality: float = Field(0.20, ge=0, le=1, description="largest share of low-quality samples")
    corrupt: float = Field(0.01, ge=0, le=1, description="largest share of corrupt samples")
    epochs: int = Field(3, ge=1, le=100, description="epochs over which the shares are averaged")


class ResourceLimits(Params):
    """Memory, time of a step, waiting for data."""

    memory: float = Field(0.95, gt=0, le=1, description="largest share of the memory limit in use")
    slower: float = Field(0.5, gt=0, le=100, description="largest growth of the time of a step: 0.5 = +50 %")
    loading: float = Field(0.30, gt=0, le=1, description="largest share of the time spent waiting for data")
    epochs: int = Field(2, ge=1, le=100, description="epochs in a row that count for time and loading")
    baseline_epochs: int = Field(
        5, ge=1, le=100, description="first epochs of a phase; their median is the normal time of a step"
    )


class StabilityParams(Params):
    """A loss that rises or swings, gradients that explode."""

    rise: float = Field(0.5, gt=0, le=100, description="largest rise of the loss over its best: 0.5 = +50 %")
    swing: float = Field(
        0.15,
        gt=0,
        le=10,
        description="largest distance of the loss from the mean of its neighbours, relative to that",
    )
    swing_epochs: int = Field(8, ge=4, le=100, description="epochs over which the swing is measured")
    gradient: float = Field(10.0, gt=1, le=1e6, description="largest gradient, in multiples of the usual one")


class MonitorParams(Params):
    """All thresholds of the monitor."""

    convergence: ConvergenceParams = ConvergenceParams()
    performance: PerformanceParams = PerformanceParams()
    data: DataQualityParams = DataQualityParams()
    resources: ResourceLimits = ResourceLimits()
    stability: StabilityParams = StabilityParams()
    rollbacks: int = Field(1, ge=0, le=100, description="asked for; the alert after the last one says stop")
    release: float = Field(
        0.9, gt=0, le=1, description="share of its threshold below which a value is normal again"
    )
    calm: int = Field(2, ge=1, le=100, description="normal epochs in a row that end an alert")
