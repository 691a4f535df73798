"""Sizes of every part of the model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from vln_heatmap.params.base import Params

#: Sizes of the published models by name. Resolution, heads and memory stay free.
PUBLISHED: dict[str, dict[str, Any]] = {
    "vggt": {
        "patch": 14,
        "pretrain_size": 518,
        "dim": 1024,
        "attention_heads": 16,
        "registers": 4,
        "vit_depth": 24,
        "pairs": 24,
        "layer_scale": 0.01,
        "layers": (4, 11, 17, 23),
        "camera_depth": 4,
        "camera_rounds": 4,
        "dense_features": 256,
        "dense_channels": (256, 512, 1024, 1024),
    },
    "vggt_omega": {
        "patch": 16,
        "pretrain_size": 224,
        "dim": 1024,
        "attention_heads": 16,
        "registers": 16,
        "vit_depth": 24,
        "pairs": 24,
        "layers": (4, 11, 17, 23),
    },
}


class VGGTParams(Params):
    """Which geometry model, its sizes and where its weights come from; the defaults are the tiny preset's."""

    name: Literal["vggt", "vggt_omega", "none"] = Field(
        "vggt", description="none: no geometry, its tokens are all zero"
    )
    source: str | None = Field(
        None,
        min_length=1,
        description="weights: a .safetensors or .pt file, a folder, or a hub id (facebook/VGGT-1B)",
    )
    size: Literal["custom", "official"] = Field(
        "custom", description="official: the published sizes, whatever the keys from patch on say"
    )
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="of the trunk; heads are float32")
    frozen: bool = Field(False, description="not trained; with a source, checkpoints leave its weights out")
    resolution: int = Field(112, ge=14, le=1036, description="side of the square frames it is given")
    heads: tuple[Literal["camera", "depth", "points"], ...] = Field((), description="outputs beside tokens")
    dense_chunk: int = Field(8, ge=1, le=1024, description="frames that the dense heads take at a time")
    patch: int = Field(14, ge=4, le=32)
    pretrain_size: int = Field(112, ge=14, le=1036, description="image side of the stored position table")
    dim: int = Field(64, ge=16, le=4096, description="width of a token; what leaves is twice as wide")
    attention_heads: int = Field(4, ge=1, le=64, description="attention heads")
    registers: int = Field(4, ge=0, le=16)
    vit_depth: int = Field(2, ge=1, le=64, description="blocks of the patch embedding")
    pairs: int = Field(2, ge=1, le=64, description="pairs of attention within a frame and across frames")
    layer_scale: float = Field(0.01, gt=0, le=1, description="initial scale of a pair's residual branches")
    layers: tuple[int, int, int, int] = Field((0, 0, 1, 1), description="pairs that the dense heads read")
    camera_depth: int = Field(2, ge=1, le=16)
    camera_rounds: int = Field(4, ge=1, le=16)
    dense_features: int = Field(32, ge=8, le=1024)
    dense_channels: tuple[int, int, int, int] = (32, 32, 32, 32)

    @model_validator(mode="before")
    @classmethod
    def _published(cls, values: Any) -> Any:
        """The published sizes instead of those given, if ``size`` asks for them."""
        if not isinstance(values, dict) or values.get("size") != "official":
            return values
        name = values.get("name", "vggt")
        if name not in PUBLISHED:
            return values  # refused as a name
        free = {"resolution": 512 if name == "vggt_omega" else 518, "heads": ("camera", "depth", "points")}
        return free | values | PUBLISHED[name]

    @model_validator(mode="after")
    def _check(self) -> VGGTParams:
        if self.dim % (4 * self.attention_heads):
            raise ValueError(f"dim must be a multiple of 4 * attention heads, got {self.dim}")
        for name in ("resolution", "pretrain_size"):
            if getattr(self, name) % self.patch:
                raise ValueError(f"{name} must be a multiple of {self.patch}, got {getattr(self, name)}")
        if not all(0 <= layer < self.pairs for layer in self.layers):
            raise ValueError(f"layers must lie in [0, {self.pairs}), got {list(self.layers)}")
        if any(width % 4 for width in (*self.dense_channels, self.dense_features // 2)):
            raise ValueError("dense_channels and dense_features / 2 must be multiples of 4")
        if self.name == "none" and (self.source or self.heads):
            raise ValueError("vggt.name none knows nothing: it has neither source nor heads")
        if self.dtype == "bfloat16" and not self.frozen:
            raise ValueError(
                "a trunk in bfloat16 cannot be trained: set frozen: true, or dtype: float32 with "
                "train.mixed_precision: bf16"
            )
        return self

    @classmethod
    def official(cls, **changes: Any) -> VGGTParams:
        """Sizes of the published VGGT-1B, all heads; ``changes`` to what is free (resolution, dtype, …)."""
        return cls.model_validate({"size": "official", **changes})


class Dinov3Params(Params):
    """Where DINOv3 comes from; the sizes are used only without a source, for a random model."""

    source: str | None = Field(None, min_length=1, description="local folder or hub id of the weights")
    dim: int = Field(64, ge=16, le=8192)
    depth: int = Field(2, ge=1, le=64)
    attention_heads: int = Field(4, ge=1, le=64)
    patch: int = Field(16, ge=4, le=32)
    registers: int = Field(4, ge=0, le=16)
    seed: int = Field(0, ge=0)


class Encoder2dParams(Params):
    """The frozen 2-D encoder of a frame."""

    name: Literal["efficientnet_lite0", "dinov3", "none"] = Field(
        "efficientnet_lite0", description="none: the colours of each cell and nothing else"
    )
    input_size: int = Field(224, ge=32, le=1024, description="side to which frames are resized, pixels")
    grid: int = Field(14, ge=2, le=128, description="cells along a side of the features")
    blocks: tuple[Annotated[int, Field(ge=0, le=15)], ...] = Field(
        (4, 10), min_length=1, max_length=16, description="blocks of efficientnet_lite0 whose maps are kept"
    )
    colour: bool = Field(True, description="add mean and standard deviation of the colours of each cell")
    batch: int = Field(2, ge=1, le=1024, description="frames at a time; few are fastest on a CPU")
    dinov3: Dinov3Params = Dinov3Params()

    @model_validator(mode="after")
    def _check(self) -> Encoder2dParams:
        if self.name == "none" and not self.colour:
            raise ValueError("encoder.name none leaves nothing but colour: it needs colour: true")
        return self


class LanguageParams(Params):
    """The language model; the sizes are used only without a source, for a model from scratch."""

    kind: Literal["qwen2_5_vl", "paligemma", "none"] = Field(
        "qwen2_5_vl", description="none: the words are not read"
    )
    source: str | None = Field(None, min_length=1, description="local folder or hub id of the weights")
    tokenizer: Literal["trained", "qwen"] = Field(
        "trained", description="without a source: learned from the instructions, or Qwen's own vocabulary"
    )
    attention: Literal["sdpa", "eager", "flash_attention_2"] = Field(
        "sdpa", description="flash_attention_2: torch's own kernels, half precision on CUDA"
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="of its frozen weights; what trains, LoRA too, is float32"
    )
    grid: int = Field(7, ge=1, le=64, description="visual tokens along a side of a frame")
    vocab_size: int = Field(1536, ge=270, le=200_000, description="of the tokenizer trained for it")
    dim: int = Field(128, ge=32, le=16384)
    hidden: int = Field(384, ge=32, le=65536, description="width inside the MLP of a block")
    depth: int = Field(3, ge=1, le=128)
    attention_heads: int = Field(4, ge=1, le=128)
    kv_heads: int = Field(2, ge=1, le=128)

    @model_validator(mode="after")
    def _check(self) -> LanguageParams:
        if self.dim % (8 * self.attention_heads):
            raise ValueError(f"dim must be a multiple of 8 * attention_heads, got {self.dim}")
        if self.attention_heads % self.kv_heads:
            raise ValueError(f"kv_heads must divide attention_heads, got {self.kv_heads}")
        if self.kind == "none" and self.source is not None:
            raise ValueError(f"language.kind none has no weights, but source is {self.source!r}")
        if self.tokenizer == "qwen" and self.kind != "qwen2_5_vl":
            raise ValueError(f"tokenizer qwen belongs to kind qwen2_5_vl, got {self.kind}")
        return self

    @classmethod
    def official(cls, size: Literal["3b", "7b"]) -> LanguageParams:
        """Sizes of the published Qwen2.5-VL, for random weights at full size."""
        sizes = {
            "3b": {"dim": 2048, "hidden": 11008, "depth": 36, "attention_heads": 16, "kv_heads": 2},
            "7b": {"dim": 3584, "hidden": 18944, "depth": 28, "attention_heads": 28, "kv_heads": 4},
        }
        return cls.model_validate({"tokenizer": "qwen", **sizes[size]})


SamplerName = Literal["uniform", "fast", "quality", "enhanced", "space_aware"]


class KeyframeParams(Params):
    """Which earlier frames are remembered."""

    name: SamplerName = "uniform"
    count: int = Field(8, ge=1, le=256, description="keyframes")
    divisions: int = Field(20, ge=1, le=1000, description="voxels along the smallest side of the scene")
    percentile: float = Field(50.0, ge=0, le=100, description="points of lower confidence are left out")
    min_confidence: float = Field(0.1, ge=0, description="points up to this confidence are left out")
    diversity: float = Field(0.4, ge=0, le=1, description="enhanced: weight of distance between cameras")
    coverage: float = Field(0.3, ge=0, le=1, description="enhanced: weight of new voxels")
    novelty: float = Field(0.3, ge=0, le=1, description="enhanced: weight of being unlike chosen frames")


class FusionParams(Params):
    """How geometry and semantics become one token per cell."""

    kind: Literal["concat_mlp", "additive", "gated_cross_attention"] = "concat_mlp"
    width: int = Field(128, ge=8, le=8192, description="channels of a fused token")
    attention_heads: int = Field(4, ge=1, le=64, description="of gated_cross_attention")

    @model_validator(mode="after")
    def _check(self) -> FusionParams:
        if self.width % self.attention_heads:
            raise ValueError(f"width must be a multiple of {self.attention_heads} heads, got {self.width}")
        return self


class HeadParams(Params):
    """The heatmap head."""

    kind: Literal["token_to_token", "frozen_cosine", "own_tokens"] = Field(
        "token_to_token",
        description="frozen_cosine: matches by plain cosines alone; own_tokens: draws each keyframe's own tokens",
    )
    heads: int = Field(1, ge=1, le=16, description="learned similarities")
    frozen_scale: float = Field(12.0, gt=0, le=100, description="inverse temperature of frozen cosines")
    embed: int = Field(48, ge=4, le=1024, description="channels of a query or key")
    width: int = Field(64, ge=8, le=1024, description="channels of a match description")
    blocks: int = Field(2, ge=1, le=12)
    detail: int = Field(24, ge=4, le=512, description="channels of the current view's fine structure")
    heatmap_size: int = Field(28, ge=7, le=448, description="cells along a side of a heatmap")
    residual: float = Field(
        0.0, ge=0, le=50, description="plain cosines, times this, on top of what is learned; 0 = none"
    )
    odometry: bool = Field(False, description="give it the relative poses of the keyframes' cameras, too")


class LoraParams(Params):
    """Low-rank adapters of the language model."""

    rank: int = Field(16, ge=1, le=1024)
    alpha: int = Field(32, ge=1, le=4096, description="adapters are scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj"), min_length=1, description="linear layers that get one"
    )


TunablePart = Literal["vggt", "fusion", "projector", "language", "lora", "heads"]


class TuningParams(Params):
    """What of the model is trained, and how its memory is kept low."""

    tunable_parts: tuple[TunablePart, ...] | None = Field(
        None, min_length=1, description="null = all but the 2-D encoder and, with lora, the language model"
    )
    lora: LoraParams | None = None
    gradient_checkpointing: bool = Field(False, description="recompute the language model's layers backward")

    @model_validator(mode="after")
    def _check(self) -> TuningParams:
        if self.lora is None and "lora" in (self.tunable_parts or ()):
            raise ValueError("tunable_parts has lora, but there are no adapters: set tuning.lora")
        return self

    def trains(self, part: str) -> bool:
        """Whether the part's weights may train."""
        if self.tunable_parts is None:
            return part != "language" or self.lora is None
        return part in self.tunable_parts


Device = Annotated[str, Field(pattern=r"^(cpu|meta|mps|cuda(:\d+)?)$")]


class PlacementParams(Params):
    """Which device each part lives on."""

    devices: Device | dict[Literal["vggt", "encoder", "language", "heads"], Device] | None = Field(
        None, min_length=1, description="one for all, or by part; null = as the caller says"
    )
    offload: tuple[Literal["language"], ...] = Field(
        (), description="off its device between uses; no training"
    )
    rest: Literal["cpu", "disk"] = Field("cpu", description="where it is then")

    @model_validator(mode="after")
    def _check(self) -> PlacementParams:
        if self.offload and self.devices is None:
            raise ValueError("offload needs devices: name the one that the language model works on")
        return self


class ModelParams(Params):
    """The whole model. The frozen 2-D encoder is named here too, because every other part is built on it."""

    preset: str = Field("tiny", min_length=1, description="name that checkpoints carry")
    vggt: VGGTParams = VGGTParams()
    encoder: Encoder2dParams = Encoder2dParams()
    keyframes: KeyframeParams = KeyframeParams()
    fusion: FusionParams = FusionParams()
    language: LanguageParams = LanguageParams()
    head: HeadParams = HeadParams()
    tuning: TuningParams = TuningParams()
    placement: PlacementParams = PlacementParams()

    @model_validator(mode="after")
    def _check(self) -> ModelParams:
        if self.language.dtype == "bfloat16" and self.tuning.trains("language"):
            raise ValueError(
                "language.dtype bfloat16 is for frozen weights: set tuning.lora or leave language out of "
                "tuning.tunable_parts, or set dtype: float32 with train.mixed_precision: bf16"
            )
        if self.language.kind == "none" and (self.tuning.lora or self.tuning.gradient_checkpointing):
            raise ValueError("language.kind none has no layers for tuning.lora or gradient_checkpointing")
        if self.vggt.frozen and "vggt" in (self.tuning.tunable_parts or ()):
            raise ValueError("tunable_parts has vggt, but vggt.frozen is true")
        return self
