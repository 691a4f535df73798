"""Houses, cameras, the agent and the video codec."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from vln_heatmap.params.base import Params

SimulatorName = Literal["auto", "raster", "raycast", "habitat"]


TrajectoryName = Literal[
    "random_exploration",
    "point_to_point",
    "circular_motion",
    "forward_backward",
    "systematic_sweep",
    "object_focused",
    "room_transition",
]


class CameraParams(Params):
    """Image size in pixels and horizontal field of view in degrees."""

    width: int = Field(128, ge=16, le=2048)
    height: int = Field(128, ge=16, le=2048)
    hfov: float = Field(90.0, gt=10, lt=170)


class AgentParams(Params):
    """Body and steps of the agent, in metres and degrees."""

    height: float = Field(1.4, gt=0.2, le=2.5, description="top of the body")
    radius: float = Field(0.18, gt=0.0, le=1.0)
    camera_height: float = Field(1.25, gt=0.1, le=2.5)
    forward_step: float = Field(0.25, gt=0.0, le=2.0)
    turn_angle: float = Field(15.0, gt=0.0, le=180.0)
    sliding: bool = Field(False, description="slide along what is bumped into; only habitat can")
    cell: float = Field(0.05, gt=0.01, le=0.5, description="edge of a navigation grid cell")


class HabitatParams(Params):
    """Scene data set and device of the ``habitat`` simulator."""

    dataset: str | None = Field(
        None, min_length=1, description=".scene_dataset_config.json; None = generated houses are exported"
    )
    scenes: tuple[str, ...] = Field((), description="patterns of scene names; none = all of the data set")
    gpu: int = Field(-1, ge=-1, le=63, description="CUDA device; -1 = software rendering")
    navmesh: Literal["auto", "recompute"] = Field(
        "auto", description="auto = the data set's own if it has one"
    )


class HouseParams(Params):
    """How large and how full the generated houses are; everything else is drawn from the seed."""

    rooms_min: int = Field(3, ge=2, le=8)
    rooms_max: int = Field(6, ge=2, le=8)
    side_min: float = Field(7.0, ge=5.0, le=20.0, description="shortest outer side in metres")
    side_max: float = Field(12.0, ge=5.0, le=20.0, description="longest outer side in metres")
    height: float = Field(2.6, ge=2.3, le=4.0, description="floor to ceiling in metres")
    storeys: int = Field(1, ge=1, le=2, description="floors; two are joined by stairs")
    furniture: float = Field(1.0, ge=0.0, le=1.0, description="share of the furniture that is kept")
    clutter: Literal["none", "low", "normal", "high"] = Field(
        "normal", description="amount of small movable things on floors and furniture"
    )
    pattern: Literal["mixed", "repetitive", "distinctive", "photographs", "ornaments"] = Field(
        "mixed",
        description="surfaces: shared by rooms | the same regular patterns all over | no two alike | cut from "
        "photographs | loud ornaments (the last two are kept for measuring generality)",
    )
    texture_size: int = Field(128, ge=16, le=1024, description="edge of a texture in pixels")
    light: bool = Field(True, description="bake soft light")
    light_voxel: float = Field(0.3, ge=0.2, le=1.0, description="edge of a light voxel in metres")
    light_rays: int = Field(64, ge=8, le=256, description="rays a voxel")

    @model_validator(mode="after")
    def _ranges(self) -> HouseParams:
        for low, high in (("rooms_min", "rooms_max"), ("side_min", "side_max")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(
                    f"{low} must be at most {high}, got {getattr(self, low)} > {getattr(self, high)}"
                )
        return self


class VariationParams(Params):
    """How much the camera differs between recordings; each value is drawn evenly from +- the range."""

    camera_height: float = Field(0.1, ge=0, le=1.0, description="metres, per sequence")
    pitch: float = Field(8.0, ge=0, le=45.0, description="degrees, per sequence")
    hfov: float = Field(4.0, ge=0, le=40.0, description="degrees, per scene")


class VideoParams(Params):
    """How colour images are compressed; depth and ids are always lossless."""

    crf: int = Field(18, ge=0, le=51, description="x264's constant rate factor, 0 = lossless")
    preset: Literal["ultrafast", "veryfast", "fast", "medium", "slow"] = "veryfast"
    pixel_format: Literal["yuv420p", "yuv444p"] = "yuv420p"
    depth_context: Literal[0, 1] = Field(
        0, description="FFV1's context model for depth and ids; 1 is a little smaller and slower"
    )
