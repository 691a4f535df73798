"""Every parameter of every stage, as typed and bounded models.

Invariant: unknown keys and values out of bounds are refused before the first node runs, because kedro
validates a ``params:`` input against the type hint of the node that takes it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


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


# --- model ----------------------------------------------------------------------------------------------


class VGGTParams(Params):
    """Sizes of VGGT; the defaults are those of the tiny preset, :meth:`official` gives the 1B model's."""

    resolution: int = Field(112, ge=14, le=1036, description="longer side of the frames it sees, pixels")
    patch: int = Field(14, ge=4, le=32)
    pretrain_size: int = Field(112, ge=14, le=1036, description="image side of the stored position table")
    dim: int = Field(64, ge=16, le=4096, description="width of a token; what leaves is twice as wide")
    attention_heads: int = Field(4, ge=1, le=64, description="attention heads")
    registers: int = Field(4, ge=0, le=16)
    vit_depth: int = Field(2, ge=1, le=64, description="blocks of the patch embedding")
    pairs: int = Field(2, ge=1, le=64, description="pairs of attention within a frame and across frames")
    layer_scale: float = Field(0.01, gt=0, le=1, description="initial scale of a pair's residual branches")
    layers: tuple[int, int, int, int] = Field((0, 0, 1, 1), description="pairs that the dense heads read")
    heads: tuple[Literal["camera", "depth", "points"], ...] = ("camera", "depth", "points")
    camera_depth: int = Field(2, ge=1, le=16)
    camera_rounds: int = Field(4, ge=1, le=16)
    dense_features: int = Field(32, ge=8, le=1024)
    dense_channels: tuple[int, int, int, int] = (32, 32, 32, 32)
    dense_chunk: int = Field(8, ge=1, le=1024, description="frames that the dense heads take at a time")

    @model_validator(mode="after")
    def _check(self) -> VGGTParams:
        if self.dim % (4 * self.attention_heads):
            raise ValueError(f"dim must be a multiple of 4 * attention heads, got {self.dim}")
        if self.pretrain_size % self.patch or self.resolution < self.patch:
            raise ValueError(f"pretrain_size must be a multiple of {self.patch}, got {self.pretrain_size}")
        if not all(0 <= layer < self.pairs for layer in self.layers):
            raise ValueError(f"layers must lie in [0, {self.pairs}), got {list(self.layers)}")
        if any(width % 4 for width in (*self.dense_channels, self.dense_features // 2)):
            raise ValueError("dense_channels and dense_features / 2 must be multiples of 4")
        return self

    @classmethod
    def official(cls) -> VGGTParams:
        """Sizes of the published VGGT-1B."""
        return cls(
            resolution=518,
            pretrain_size=518,
            dim=1024,
            attention_heads=16,
            vit_depth=24,
            pairs=24,
            layers=(4, 11, 17, 23),
            camera_depth=4,
            dense_features=256,
            dense_channels=(256, 512, 1024, 1024),
        )


class HouseParams(Params):
    """How large and how full the generated houses are; everything else is drawn from the seed."""

    rooms_min: int = Field(3, ge=2, le=8)
    rooms_max: int = Field(6, ge=2, le=8)
    side_min: float = Field(7.0, ge=5.0, le=20.0, description="shortest outer side in metres")
    side_max: float = Field(12.0, ge=5.0, le=20.0, description="longest outer side in metres")
    height: float = Field(2.6, ge=2.3, le=4.0, description="floor to ceiling in metres")
    furniture: float = Field(1.0, ge=0.0, le=1.0, description="share of the furniture that is kept")
    texture_size: int = Field(128, ge=16, le=1024, description="edge of a texture in pixels")
    light: bool = Field(True, description="bake soft light")
    light_voxel: float = Field(0.3, ge=0.1, le=1.0, description="edge of a light voxel in metres")
    light_rays: int = Field(40, ge=8, le=1024, description="rays a voxel")

    @model_validator(mode="after")
    def _ranges(self) -> HouseParams:
        for low, high in (("rooms_min", "rooms_max"), ("side_min", "side_max")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} must be at most {high}, got {getattr(self, low)} > {getattr(self, high)}")
        return self
