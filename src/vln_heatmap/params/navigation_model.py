"""The model that answers views with actions: its context, what of it trains, and its two stages."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from vln_heatmap.params.base import Params, Share
from vln_heatmap.params.model import LoraParams
from vln_heatmap.params.training import TrainParams

Pool = Literal["mean", "max"]
DialoguePart = Literal["vggt", "fusion", "projector", "language", "lora", "context"]


class VoxelParams(Params):
    """Which remembered tokens are left out because a later one shows the same place."""

    source: Literal["given", "vggt"] = Field(
        "given", description="points of depth and pose that come with the frames, or of VGGT's own heads"
    )
    edge: float = Field(0.3, gt=0, le=10, description="of a voxel in metres, for given points")
    divisions: int = Field(
        20, ge=1, le=1000, description="voxels along the longest side of all points, for VGGT's"
    )
    least: Share = Field(0.0, description="a frame of which a smaller share is left is left out whole")


class SurroundingsParams(Params):
    """A map of the floor round the robot, remembered from all depth images of the walk."""

    side: int = Field(16, ge=4, le=64, description="cells of 0.2 m along a side; most of it lies ahead")
    hfov: float = Field(90.0, gt=10, lt=170, description="of the depth camera in degrees")
    low: float = Field(-1.1, description="metres above the camera, so negative: what is lower is floor")
    high: float = Field(0.15, description="metres above the camera: what is higher blocks nobody")

    @model_validator(mode="after")
    def _check(self) -> SurroundingsParams:
        if self.low >= self.high:
            raise ValueError(f"low must be less than high, got {self.low} and {self.high}")
        return self


class ValueMapParams(Params):
    """Where round the robot the views in the context showed what the instruction names, in polar cells."""

    sectors: int = Field(16, ge=4, le=64, description="directions, the first one and the last one behind")
    rings: tuple[float, ...] = Field((0.8, 1.6, 3.2), description="metres at which one ring becomes the next")
    hfov: float = Field(90.0, gt=10, lt=170, description="of the depth camera in degrees")

    @property
    def cells(self) -> int:
        """How many there are."""
        return self.sectors * (len(self.rings) + 1)

    @model_validator(mode="after")
    def _check(self) -> ValueMapParams:
        if list(self.rings) != sorted({*self.rings}) or min(self.rings, default=1) <= 0:
            raise ValueError(f"rings must be rising distances above 0, got {list(self.rings)}")
        return self


class ContextParams(Params):
    """How many tokens a view is worth now (fast) and later (slow)."""

    pool: Pool = Field("mean", description="how cells become one")
    fast: int = Field(
        2, ge=1, le=16, description="cells along a side that become one token of a current view"
    )
    memory_grid: int = Field(2, ge=1, le=64, description="tokens along a side of a remembered view")
    history: int = Field(
        64, ge=2, le=4096, description="views that a running agent keeps to build memory from"
    )
    ranges: int = Field(
        0,
        ge=0,
        le=64,
        description="cells along a side of the depth image that is sensed at each current view, by agents with "
        "a depth camera; 0 = no depth",
    )
    odometry: bool = Field(
        False, description="sense where the walk has led too, for agents that know their pose"
    )
    surroundings: SurroundingsParams | None = Field(
        None,
        description="sense what of the floor around is blocked, from depth and poses so far; null = do not",
    )
    value_map: ValueMapParams | None = Field(
        None,
        description="match words with what is seen, and sense where round the robot the matches are, for agents "
        "with depth and poses; null = do not",
    )
    voxels: VoxelParams | None = Field(None, description="3-D-aware pruning of memory; null = none")

    @property
    def senses(self) -> bool:
        """Whether anything is sensed beside the picture."""
        return self.ranges > 0 or self.odometry or self.surroundings is not None or self.value_map is not None


class SummaryParams(Params):
    """What the dialogue is told of the heatmaps of a view."""

    keyframes: int = Field(4, ge=1, le=64, description="earlier views whose heatmaps are drawn")
    grid: int = Field(4, ge=1, le=32, description="cells along a side of a summary")


class ActionModelParams(Params):
    """The action dialogue, beside the parts that it has from the heatmap model."""

    context: ContextParams = ContextParams()
    heatmaps: bool = Field(False, description="draw the keyframes' heatmaps in each view and read them too")
    summary: SummaryParams = SummaryParams()
    tunable_parts: tuple[DialoguePart, ...] = Field(
        ("projector", "language", "context"), min_length=1, description="parts that train"
    )
    lora: LoraParams | None = Field(
        None, description="adapters for navigation; null = those that the heatmap model has, if any"
    )
    extra_layers: int = Field(
        0, ge=0, le=64, description="appended to the language model, which change nothing before they train"
    )
    fresh_language: bool = Field(
        False,
        description="begin with new layers of the language model, for toy ones: those that drew heatmaps pass on "
        "so much of what they saw that words and senses are hardly heard beside it",
    )
    gradient_checkpointing: bool = Field(False, description="recompute the language model's layers backward")

    def of_stage(self, stage: DialogueStageParams) -> ActionModelParams:
        """The same with the parts that a stage trains."""
        changes = {} if stage.tunable_parts is None else {"tunable_parts": stage.tunable_parts}
        return ActionModelParams.model_validate(self.model_dump() | changes)

    @property
    def fixed_looks(self) -> bool:
        """Whether what the eyes make of a frame never changes, and nobody else needs the frame."""
        seen_again = self.heatmaps or (
            self.context.voxels is not None and self.context.voxels.source == "vggt"
        )
        return not (seen_again or {"vggt", "fusion"} & set(self.tunable_parts))

    @model_validator(mode="after")
    def _check(self) -> ActionModelParams:
        if self.lora is not None and "language" in self.tunable_parts:
            raise ValueError(
                "with lora the language model's own weights stay: take language out of tunable_parts"
            )
        if self.lora is not None and "lora" not in self.tunable_parts:
            raise ValueError("lora is set, but tunable_parts has no lora: the adapters would not train")
        return self


class DialogueTrainParams(TrainParams):
    """A training run on dialogues."""

    batch_size: int = Field(8, ge=1, le=65536, description="dialogues a step, over all micro-batches")
    metric: str = Field(
        "actions_balanced", min_length=1, description="validation metric that picks the best weights"
    )


class ContrastParams(Params):
    """What the words of an instruction are worth: with those of another walk the same actions must cost more."""

    weight: float = Field(2.0, gt=0, le=100, description="in the loss")
    margin: float = Field(
        0.3, gt=0, le=10, description="nats that an action should cost more with another walk's instruction"
    )
    candidates: int = Field(
        4,
        ge=1,
        le=64,
        description="other instructions drawn, of which the one of the nearest length is taken",
    )
    every: int = Field(
        1,
        ge=1,
        le=1024,
        description="every n-th walk of a batch is read again, and counts n times, to save time",
    )


class GroundingParams(Params):
    """Learning which words name what is seen, from the names of the things in the walks' views."""

    weight: float = Field(1.0, gt=0, le=100, description="in the loss")
    cells: int = Field(1024, ge=1, le=1_000_000, description="of a batch that are named, evenly spread")


class DialogueStageParams(Params):
    """One of the stages: navigation only, or co-training."""

    train: DialogueTrainParams = DialogueTrainParams()
    tunable_parts: tuple[DialoguePart, ...] | None = Field(
        None,
        min_length=1,
        description="parts that train in this stage; null = those of the model's parameters",
    )
    stop_weight: float = Field(1.0, gt=0, le=100, description="of STOP in the loss; other tokens weigh 1")
    mirror: Share = Field(
        0.0, description="of the walks that are learned in the mirror image of their building"
    )
    contrast: ContrastParams | None = Field(
        None, description="learn that the words matter, at twice the time a step; null = do not"
    )
    grounding: GroundingParams | None = Field(
        None, description="teach the words of context.value_map what they name; null = do not"
    )
    validation_samples: int = Field(64, ge=1, le=100_000, description="dialogues that a validation looks at")
