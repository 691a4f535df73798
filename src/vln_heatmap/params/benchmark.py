"""What keyframe samplers are compared on."""

from __future__ import annotations

from typing import get_args

from pydantic import Field

from vln_heatmap.params.base import Params
from vln_heatmap.params.model import SamplerName


class SamplerBenchmarkParams(Params):
    """Windows of the comparison; map sizes, thresholds and bootstrap are those of ``evaluate``."""

    windows: int = Field(60, ge=1, le=1_000_000, description="windows of the test split")
    validation_windows: int = Field(
        30, ge=1, le=1_000_000, description="windows that thresholds are chosen on"
    )
    samplers: tuple[SamplerName, ...] = Field(get_args(SamplerName), min_length=1)
    pixels: int = Field(56, ge=4, le=1024, description="points along the longer side of a frame, at most")
    voxel: float = Field(0.1, gt=0, le=10, description="edge of the voxels that are counted, metres")
