"""Pretraining of the geometry model on the simulator's truth."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from vln_heatmap.params.base import Params
from vln_heatmap.params.losses import LossWeight
from vln_heatmap.params.training import TrainParams


class GeometryLossParams(Params):
    """VGGT's objective. A head of weight 0 is neither built nor trained."""

    camera: LossWeight = 5.0
    depth: LossWeight = 1.0
    points: LossWeight = 0.0
    alpha: float = Field(0.2, gt=0, le=10, description="price of being unsure")
    gamma: float = Field(
        0.6, gt=0, le=1, description="of the camera's rounds, each counts so much of the next"
    )
    huber: float = Field(0.1, gt=0, le=10, description="error from which on a camera's loss grows linearly")


class GeometryParams(Params):
    """The pretrain_geometry stage. ``train.loss`` is not used: ``loss`` is."""

    frames: int = Field(6, ge=2, le=256, description="of a training window; the first is the world")
    gap: tuple[Annotated[int, Field(ge=1, le=1000)], Annotated[int, Field(ge=1, le=1000)]] = Field(
        (1, 4), description="least and most steps between the frames of a window"
    )
    colour: float = Field(0.1, ge=0, le=2, description="standard deviation of the log gain of each colour")
    reverse: float = Field(0.0, ge=0, le=1, description="share of training windows that run back in time")
    loss: GeometryLossParams = GeometryLossParams()
    train: TrainParams = TrainParams(metric="depth_error", mode="min")
    validation_windows: int = Field(32, ge=1, le=100_000)

    @model_validator(mode="after")
    def _check(self) -> GeometryParams:
        if self.gap[0] > self.gap[1]:
            raise ValueError(f"gap must be (least, most), got {self.gap}")
        if not (self.loss.camera or self.loss.depth or self.loss.points):
            raise ValueError("one of loss.camera, loss.depth and loss.points must be above 0")
        return self
