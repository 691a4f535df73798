"""Measuring a model and using it, and giving data away: the evaluate, predict, export and import stages."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat

from vln_heatmap.params.base import Params
from vln_heatmap.params.simulation import VideoParams


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
    success_windows: int = Field(
        32, ge=1, le=1_000_000, description="test windows that are asked again from other views"
    )
    timed_sequences: int = Field(3, ge=1, le=1000, description="sequences that inference is timed on")


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


InterchangeFormat = Literal["lerobot", "episodes", "streamvln"]


class LeRobotParams(Params):
    """A LeRobot data set, version 3."""

    depth: bool = Field(True, description="as 12-bit codes in lossless HEVC")
    farthest: float = Field(
        20.0, gt=0.1, le=1000, description="metres that the largest depth code stands for"
    )
    data_megabytes: int = Field(100, ge=1, le=10_000, description="of a data file, at most")
    video_megabytes: int = Field(200, ge=1, le=10_000, description="of a video file, at most")
    stats_frames: int = Field(
        8, ge=1, le=10_000, description="images an episode that statistics are taken of"
    )


class ExportParams(Params):
    """Which walks to write, and in what format of another project."""

    format: InterchangeFormat = "lerobot"
    ids: tuple[str, ...] | None = Field(None, min_length=1, description="sequences; None = all")
    image: Literal["png", "jpeg"] = Field("png", description="images of Parquet episodes")
    quality: int = Field(95, ge=1, le=100, description="of JPEG")
    lerobot: LeRobotParams = LeRobotParams()


ImportFormat = Literal[InterchangeFormat, "rgbd"]


class RgbdParams(Params):
    """How much of a recording of a real camera is read, and at what size."""

    stride: int = Field(1, ge=1, le=10_000, description="every so many frames of the recording one is taken")
    length: int = Field(
        64, ge=2, le=100_000, description="frames of a sequence, at most: a longer recording becomes several"
    )
    sequences: int | None = Field(
        None, ge=1, le=100_000, description="of a recording, at most, spread evenly over it; None = all"
    )
    width: int = Field(224, ge=16, le=2048, multiple_of=2, description="of the images, in pixels")
    intrinsics: tuple[PositiveFloat, PositiveFloat, float, float] | None = Field(
        None, description="fx, fy, cx, cy of the colour images in pixels, where no file says them"
    )


class ImportParams(Params):
    """Where the walks of another project lie, and what their files do not say."""

    format: ImportFormat = "episodes"
    source: str | None = Field(None, min_length=1, description="folder")
    hfov: float = Field(90.0, gt=10, lt=170, description="degrees, where the data does not say it")
    fps: float = Field(10.0, gt=0, le=240, description="where the data does not say it")
    drop: tuple[Literal["depth", "instance", "pose", "state", "velocity"], ...] = Field(
        (), description="modalities to leave out"
    )
    strict: bool = Field(False, description="stop at the first broken episode instead of leaving it out")
    rgbd: RgbdParams = RgbdParams()
    video: VideoParams = VideoParams()
