"""The flow-matching policy: its data, normalisation, model, training and evaluation."""

from __future__ import annotations

import math
import shlex
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from vln_heatmap.params.base import Params, Share
from vln_heatmap.params.model import LanguageParams
from vln_heatmap.params.training import OptimizerParams, TrainParams

EpisodeFormat = Literal["sequences", "parquet", "lerobot"]
Scaling = Literal["quantile", "min_max", "mean_std", "none"]
HeadName = Literal["flow_matching", "discretised", "regression"]
Dimensions = tuple[Annotated[int, Field(ge=0, lt=4096)], ...]


class ActionHeadParams(Params):
    """What turns the tokens of an observation into a chunk of actions."""

    name: HeadName = "flow_matching"
    horizon: int = Field(8, ge=1, le=256, description="actions of a chunk")
    dimension: int | None = Field(None, ge=1, le=256, description="numbers of an action; null = the data's")
    action_dim: int | None = Field(
        None, ge=1, le=65536, description="numbers of a chunk, checked: horizon * dimension"
    )
    width: int = Field(128, ge=8, le=8192, multiple_of=2)
    depth: int = Field(2, ge=1, le=64)
    attention_heads: int = Field(4, ge=1, le=64)
    steps: int = Field(10, ge=1, le=1000, description="Euler steps of a sample (flow_matching)")
    bins: int = Field(1024, ge=2, le=65536, description="values of a number (discretised)")

    @model_validator(mode="after")
    def _check(self) -> ActionHeadParams:
        if self.width % self.attention_heads:
            raise ValueError(f"width must be a multiple of {self.attention_heads} heads, got {self.width}")
        if self.action_dim is not None and self.action_dim != self.horizon * (self.dimension or 0):
            raise ValueError(
                f"action_dim must be horizon * dimension = {self.horizon} * {self.dimension}, "
                f"got {self.action_dim}"
            )
        return self


class VisionParams(Params):
    """The vision tower, SigLIP; the sizes are used only without a source, for a tower from scratch."""

    source: str | None = Field(
        None, min_length=1, description="folder or hub id of a PaliGemma, whose tower and projector are taken"
    )
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="of frozen weights")
    image_size: int = Field(64, ge=14, le=1024, description="side of the square images, pixels")
    patch: int = Field(16, ge=4, le=64)
    dim: int = Field(64, ge=16, le=8192)
    hidden: int = Field(128, ge=16, le=65536, description="width inside the MLP of a block")
    depth: int = Field(2, ge=1, le=64)
    attention_heads: int = Field(4, ge=1, le=64)

    @model_validator(mode="after")
    def _check(self) -> VisionParams:
        if self.source is None and self.image_size % self.patch:
            raise ValueError(f"image_size must be a multiple of patch {self.patch}, got {self.image_size}")
        if self.dim % self.attention_heads:
            raise ValueError(f"dim must be a multiple of {self.attention_heads} heads, got {self.dim}")
        return self


class ResamplerParams(Params):
    """Fewer tokens of each image: learned queries that look at all of them (Perceiver, arXiv:2103.03206)."""

    tokens: int = Field(4, ge=1, le=4096, description="of an image; a square number")
    depth: int = Field(1, ge=1, le=16)
    attention_heads: int = Field(4, ge=1, le=64)

    @model_validator(mode="after")
    def _check(self) -> ResamplerParams:
        if math.isqrt(self.tokens) ** 2 != self.tokens:
            raise ValueError(f"tokens must be a square number, got {self.tokens}")
        return self


class PolicyModelParams(Params):
    """The whole policy."""

    preset: str = Field("tiny", min_length=1, description="name that checkpoints carry")
    vision: VisionParams = VisionParams()
    language: LanguageParams = LanguageParams(kind="paligemma")
    resampler: ResamplerParams | None = None
    head: ActionHeadParams = ActionHeadParams()
    previous_action: bool = Field(True, description="the state token knows the action that was taken last")
    freeze: tuple[Literal["vision", "language"], ...] = ()

    @model_validator(mode="after")
    def _check(self) -> PolicyModelParams:
        if self.language.kind == "none":
            raise ValueError(
                "a policy reads its prompt: model.language.kind must be a language model, got none"
            )
        for part, dtype in (("vision", self.vision.dtype), ("language", self.language.dtype)):
            if dtype == "bfloat16" and part not in self.freeze:
                raise ValueError(
                    f"{part}.dtype bfloat16 is for frozen weights: add {part} to freeze, or set dtype: float32 "
                    "with train.mixed_precision: bf16"
                )
        return self


class PolicyDataParams(Params):
    """Which episodes, and how they become windows."""

    format: EpisodeFormat = Field("sequences", description="sequences = our own collection")
    source: str | None = Field(None, min_length=1, description="folder (parquet: or one file)")
    cameras: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(
        None, min_length=1, description="columns or features, the main one first; null = all there are"
    )
    state: str | None = Field(None, min_length=1, description="column or feature; null = the format's own")
    action: str | None = Field(None, min_length=1, description="column or feature; null = the format's own")
    max_seq_len: int = Field(4, ge=1, le=1024, description="steps of a window; shorter ones are padded")
    last_action: bool = Field(
        False, description="learn the action of an episode's last row, which mostly means nothing"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of the splits")
    val_share: Share = Field(0.1, description="of the episodes, where the data have no splits of their own")
    test_share: Share = 0.1
    cache_megabytes: int = Field(256, ge=1, le=100_000, description="of row groups kept by a process")

    @model_validator(mode="after")
    def _check(self) -> PolicyDataParams:
        if (self.format == "sequences") != (self.source is None):
            wants = "is our own collection and has no" if self.source else "needs a"
            raise ValueError(f"data.format {self.format} {wants} data.source")
        if self.val_share + self.test_share >= 1:
            raise ValueError("val_share + test_share must be below 1: something must be left to train on")
        return self


class NormalisationParams(Params):
    """How numbers are brought to about [-1, 1]; ``untouched`` dimensions (a gripper) stay as they are."""

    state: Scaling = Field("quantile", description="quantile: q01 .. q99 to [-1, 1]")
    action: Scaling = "quantile"
    untouched_state: Dimensions = ()
    untouched_action: Dimensions = ()


class PolicyTrainParams(TrainParams):
    """Training of a policy: the best weights are those of the smallest error of sampled actions."""

    steps: int = Field(400, ge=1, le=10_000_000)
    batch_size: int = Field(16, ge=1, le=65536, description="windows a step, over all micro-batches")
    optimizer: OptimizerParams = OptimizerParams(weight_decay=0.01, betas=(0.9, 0.95))
    metric: str = Field("mse", min_length=1, description="validation metric that picks the best weights")
    mode: Literal["max", "min"] = "min"


class PolicyEvaluateParams(Params):
    """What the trained policy is measured on."""

    windows: int = Field(64, ge=1, le=1_000_000, description="windows of the test split")
    validation_windows: int = Field(16, ge=1, le=100_000, description="windows that a validation looks at")
    samples: int = Field(8, ge=1, le=1024, description="chunks sampled to estimate their mean")
    bins: int = Field(1024, ge=2, le=65536, description="of the discretised accuracy")
    seed: int = Field(0, ge=0, lt=2**32, description="of the noise")


class ChunkingParams(Params):
    """What a new chunk has to do with the old one."""

    name: Literal["none", "real_time"] = Field(
        "none", description="real_time: it goes on where the old one is being done (arXiv:2506.07339)"
    )
    delay: int = Field(0, ge=0, le=256, description="actions that are done while the policy thinks")
    strength: float = Field(5.0, gt=0, le=1000, description="of the pull towards the old chunk")


class PolicyParams(Params):
    """The policy stage."""

    data: PolicyDataParams = PolicyDataParams()
    normalisation: NormalisationParams = NormalisationParams()
    model: PolicyModelParams = PolicyModelParams()
    train: PolicyTrainParams = PolicyTrainParams()
    evaluate: PolicyEvaluateParams = PolicyEvaluateParams()
    compare: tuple[HeadName, ...] = Field(
        ("regression",), description="heads that are trained beside it, in the same way, for comparison"
    )
    warm_start: str | None = Field(None, min_length=1, description="checkpoint folder to start from")


Numbers = tuple[float, ...]


class RequestParams(Params):
    """One moment of a robot, and what is asked of it. On a command line, words and numbers part at spaces."""

    images: tuple[str, ...] | None = Field(None, min_length=1, description="files, one of each camera")
    prompt: str | None = Field(None, max_length=2000)
    state: Numbers | None = Field(None, min_length=1, description="in the units of the data")
    previous: Numbers | None = Field(None, min_length=1, description="action taken last; null = none yet")
    left: tuple[Numbers, ...] | None = Field(
        None,
        min_length=1,
        description="actions of the last chunk that were not done yet (chunking real_time)",
    )

    @field_validator("images", "state", "previous", mode="before")
    @classmethod
    def _words(cls, given: Any) -> Any:
        return tuple(shlex.split(str(given))) if isinstance(given, str | int | float) else given


class ActParams(RequestParams):
    """Asking a trained policy once; what is given here counts before what is in the file ``request``."""

    request: str | None = Field(None, min_length=1, description="JSON or YAML file with the other keys")
    checkpoint: str | None = Field(None, description="checkpoint folder; null = the newest policy")
    seed: int = Field(0, ge=0, lt=2**32, description="of the noise")
    chunking: ChunkingParams = ChunkingParams()


class InspectDataParams(Params):
    """Which data to look at, and how closely."""

    data: PolicyDataParams = PolicyDataParams()
    image_stride: int = Field(1, ge=1, le=100_000, description="every so many rows images are decoded")
    shown: int = Field(20, ge=1, le=100_000, description="problems of a kind that are listed of a file")
