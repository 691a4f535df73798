"""Looks that training never saw, and what a model is measured on in each."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from vln_heatmap.params.base import Params
from vln_heatmap.params.data import FinetuneSampleParams
from vln_heatmap.params.sensor import SensorParams
from vln_heatmap.params.simulation import HouseParams, VideoParams
from vln_heatmap.params.use import RgbdParams

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


def _folders(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class LookParams(Params):
    """How a look differs from the collection: None = as there."""

    house: dict[str, Any] = Field({}, description="values of collect.house")
    renderer: Literal["same", "other"] = Field("same", description="other = raycast instead of raster")
    hfov: float | None = Field(None, gt=10, lt=160, description="degrees")
    aspect: float | None = Field(None, ge=0.5, le=3, description="width / height, the width stays")
    camera_height: float | None = Field(None, gt=0.1, le=2.2, description="metres over the floor")
    pitch: float | None = Field(None, ge=0, le=45, description="degrees of tilt, drawn from +- this")
    sensor: float = Field(0.0, ge=0, le=2, description="strength of the camera's faults")
    counted: bool = Field(True, description="in the mean over looks")

    @field_validator("house")
    @classmethod
    def _known(cls, values: dict[str, Any]) -> dict[str, Any]:
        HouseParams.model_validate(values)
        return values


class GeneralityParams(Params):
    """The generality stage. Map size, keyframes and bootstrap are those of ``evaluate``."""

    checkpoint: str | None = Field(None, description="checkpoint folder; None = the newest finetuned one")
    seed: int = Field(9001, ge=1, le=900_000, description="of houses, walks and cameras; not that of collect")
    scenes: int = Field(6, ge=2, le=10_000, description="houses; every look films the same ones")
    walks_per_scene: int = Field(2, ge=1, le=1000)
    length: tuple[int, int] = Field((18, 24), description="least and greatest frames of a walk")
    scenarios: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {"random_exploration": 1.0, "systematic_sweep": 1.0, "object_focused": 1.0}, min_length=1
    )
    reference: str = Field("plain", description="look that thresholds and the mean map are taken from")
    looks: dict[str, LookParams] = Field({"plain": LookParams(counted=False)}, min_length=1)
    sensor: SensorParams = Field(SensorParams(), description="faults at strength 1")
    recordings: Annotated[tuple[str, ...], BeforeValidator(_folders)] = Field(
        (), description="folders of real RGB-D recordings, a look each"
    )
    fps: float = Field(30.0, gt=0, le=240, description="of the recordings")
    rgbd: RgbdParams = Field(RgbdParams(stride=5, length=40, sequences=6, width=128))
    samples: FinetuneSampleParams = Field(
        FinetuneSampleParams(
            test=3, everything=0.67, phrases=0.33, route=0, reasoning=0, new_phrases=24, new_questions=0
        ),
        description="``test`` are current views of a walk",
    )
    video: VideoParams = VideoParams()
    workers: int = Field(2, ge=0, le=4096, description="processes that film")

    @model_validator(mode="after")
    def _check(self) -> GeneralityParams:
        for name in self.looks:
            if not _NAME.fullmatch(name):
                raise ValueError(f"a look's name must be letters, digits, '_' and '-', got {name!r}")
        if self.reference not in self.looks:
            raise ValueError(
                f"reference must be one of the looks {sorted(self.looks)}, got {self.reference!r}"
            )
        if not self.recordings and not any(look.counted for look in self.looks.values()):
            raise ValueError("no look is counted: set looks.<name>.counted, or name a recording")
        if not 2 <= self.length[0] <= self.length[1] <= 100_000:
            raise ValueError(f"length must be (least, most) within 2 .. 100000, got {self.length}")
        return self
