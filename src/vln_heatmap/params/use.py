"""Measuring a model and using it: the evaluate and predict stages."""

from __future__ import annotations

from pydantic import Field

from vln_heatmap.params.base import Params


class EvaluateParams(Params):
    """What every method is measured on, and how finely. Fixed apart from any model, so that tables compare."""

    seed: int = Field(0, ge=0, lt=2**32, description="of the drawn windows and of the bootstrap")
    windows: int = Field(200, ge=1, le=1_000_000, description="windows of the test split")
    validation_windows: int = Field(
        100, ge=1, le=1_000_000, description="windows that thresholds are chosen on"
    )
    training_windows: int = Field(
        100, ge=1, le=1_000_000, description="windows that the mean maps are taken of"
    )
    keyframes: int = Field(8, ge=1, le=256, description="keyframes of a window, evenly spread")
    size: int = Field(28, ge=4, le=448, description="cells along a side of the maps that are compared")
    sampled: int = Field(128, ge=4, le=2048, description="pixels along a side that the targets are made of")
    sigma: float = Field(0.6, ge=0, le=32, description="of the targets' Gaussian, in cells")
    resamples: int = Field(1000, ge=10, le=100_000, description="bootstrap resamples of the scenes")
    workers: int = Field(2, ge=1, le=256, description="threads that read windows and run the baselines")
    examples: int = Field(5, ge=1, le=50, description="windows of the figure sheet")


class PredictParams(Params):
    """A user's clip and what to ask of it; frames are numbered as in the clip."""

    video: str | None = Field(None, description="video file or folder of images")
    instruction: str = Field("", max_length=2000, description="free text; empty = everything")
    current: int = Field(-1, description="frame that the heatmaps are drawn in; negative counts from the end")
    keyframes: list[int] | None = Field(
        None, min_length=1, description="None = the keyframe sampler's choice"
    )
    checkpoint: str | None = Field(None, description="checkpoint folder; None = the newest finetuned one")
    threshold: float = Field(0.5, gt=0, lt=1)
    max_frames: int = Field(64, ge=2, le=10_000)
