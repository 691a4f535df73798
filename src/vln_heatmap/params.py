"""Every parameter of every stage, as typed and bounded models.

Invariant: unknown keys and values out of bounds are refused before the first node runs, because kedro
validates a ``params:`` input against the type hint of the node that takes it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Params(BaseModel):
    """Base of all parameter groups: frozen, and no key that is not declared."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# --- simulation -----------------------------------------------------------------------------------------


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
    cell: float = Field(0.05, gt=0.01, le=0.5, description="edge of a navigation grid cell")


SimulatorName = Literal["auto", "raster", "raycast"]


# --- heatmap model: fusion and heads ----------------------------------------------------------------------


class FusionParams(Params):
    """How geometry and semantics become one token per cell."""

    kind: Literal["concat_mlp"] = "concat_mlp"
    width: int = Field(128, ge=8, le=8192, description="channels of a fused token")


class HeadParams(Params):
    """The token-to-token heatmap head."""

    heads: int = Field(2, ge=1, le=16, description="learned similarities")
    frozen: int = Field(2, ge=1, le=8, description="similarities of frozen feature groups")
    embed: int = Field(48, ge=4, le=1024, description="channels of a query or key")
    width: int = Field(64, ge=8, le=1024, description="channels of a match description")
    blocks: int = Field(2, ge=1, le=12)
    detail: int = Field(24, ge=4, le=512, description="channels of the current view's fine structure")
    heatmap_size: int = Field(28, ge=7, le=448, description="cells along a side of a heatmap")
