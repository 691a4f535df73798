"""Every parameter of every stage, as typed and bounded models.

Invariant: unknown keys and values out of bounds are refused before the first node runs, because kedro
validates a ``params:`` input against the type hint of the node that takes it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


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

    heads: int = Field(1, ge=1, le=16, description="learned similarities")
    frozen_scale: float = Field(12.0, gt=0, le=100, description="inverse temperature of frozen cosines")
    embed: int = Field(48, ge=4, le=1024, description="channels of a query or key")
    width: int = Field(64, ge=8, le=1024, description="channels of a match description")
    blocks: int = Field(2, ge=1, le=12)
    detail: int = Field(24, ge=4, le=512, description="channels of the current view's fine structure")
    heatmap_size: int = Field(28, ge=7, le=448, description="cells along a side of a heatmap")


# --- model ----------------------------------------------------------------------------------------------


class VGGTParams(Params):
    """Sizes of VGGT; the defaults are those of the tiny preset, :meth:`official` gives the 1B model's."""

    resolution: int = Field(112, ge=14, le=1036, description="side of the square frames it is given")
    patch: int = Field(14, ge=4, le=32)
    pretrain_size: int = Field(112, ge=14, le=1036, description="image side of the stored position table")
    dim: int = Field(64, ge=16, le=4096, description="width of a token; what leaves is twice as wide")
    attention_heads: int = Field(4, ge=1, le=64, description="attention heads")
    registers: int = Field(4, ge=0, le=16)
    vit_depth: int = Field(2, ge=1, le=64, description="blocks of the patch embedding")
    pairs: int = Field(2, ge=1, le=64, description="pairs of attention within a frame and across frames")
    layer_scale: float = Field(0.01, gt=0, le=1, description="initial scale of a pair's residual branches")
    layers: tuple[int, int, int, int] = Field((0, 0, 1, 1), description="pairs that the dense heads read")
    heads: tuple[Literal["camera", "depth", "points"], ...] = Field((), description="outputs beside tokens")
    camera_depth: int = Field(2, ge=1, le=16)
    camera_rounds: int = Field(4, ge=1, le=16)
    dense_features: int = Field(32, ge=8, le=1024)
    dense_channels: tuple[int, int, int, int] = (32, 32, 32, 32)
    dense_chunk: int = Field(8, ge=1, le=1024, description="frames that the dense heads take at a time")

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
            heads=("camera", "depth", "points"),
            camera_depth=4,
            dense_features=256,
            dense_channels=(256, 512, 1024, 1024),
        )


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

    name: Literal["efficientnet_lite0", "dinov3"] = "efficientnet_lite0"
    input_size: int = Field(224, ge=32, le=1024, description="side to which frames are resized, pixels")
    grid: int = Field(14, ge=2, le=128, description="cells along a side of the features")
    blocks: tuple[Annotated[int, Field(ge=0, le=15)], ...] = Field(
        (4, 10), min_length=1, max_length=16, description="blocks of efficientnet_lite0 whose maps are kept"
    )
    colour: bool = Field(True, description="add mean and standard deviation of the colours of each cell")
    batch: int = Field(2, ge=1, le=1024, description="frames at a time; few are fastest on a CPU")
    dinov3: Dinov3Params = Dinov3Params()


class LanguageParams(Params):
    """The language model; the sizes are used only without a source, for a model from scratch."""

    source: str | None = Field(None, min_length=1, description="local folder or hub id of Qwen2.5-VL")
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
        return self


class KeyframeParams(Params):
    """Which earlier frames are remembered."""

    name: Literal["uniform", "space_aware"] = "uniform"
    count: int = Field(8, ge=1, le=256, description="keyframes")
    divisions: int = Field(20, ge=1, le=1000, description="voxels along the smallest side of the scene")
    percentile: float = Field(50.0, ge=0, le=100, description="points of lower confidence are left out")
    min_confidence: float = Field(0.1, ge=0, description="points up to this confidence are left out")


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


# --- collect --------------------------------------------------------------------------------------------

TrajectoryName = Literal["random_exploration", "point_to_point"]


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


class CollectParams(Params):
    """What is recorded. Everything but ``workers`` decides the content of the data."""

    seed: int = Field(0, ge=0, lt=10_000)
    scenes: int = Field(80, ge=1, le=20_000, description="generated houses; not used with scenes_folder")
    scenes_folder: str | None = Field(None, min_length=1, description="take the .glb and .gltf files in here")
    walks_per_scene: int = Field(3, ge=1, le=1000)
    length: int = Field(32, ge=2, le=100_000, description="frames of a walk (greatest number for routes)")
    trajectories: dict[TrajectoryName, Annotated[float, Field(ge=0)]] = Field(
        {"random_exploration": 0.6, "point_to_point": 0.4}, description="shares"
    )
    route_distance: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = Field(
        (1.5, 6.0), description="range of walkable metres from start to goal"
    )
    instructions: int = Field(8, ge=0, le=1000, description="referring phrases a sequence")
    fps: float = Field(10.0, gt=0, le=240, description="frames a second of the videos and timestamps")
    simulator: SimulatorName = "auto"
    workers: int = Field(2, ge=0, le=256, description="processes; 0 or 1 = in this process")
    camera: CameraParams = CameraParams()
    agent: AgentParams = AgentParams()
    variation: VariationParams = VariationParams()
    video: VideoParams = VideoParams()
    house: HouseParams = HouseParams()

    @model_validator(mode="after")
    def _check(self) -> CollectParams:
        if sum(self.trajectories.values()) <= 0:
            raise ValueError(f"at least one trajectory needs a share above 0, got {self.trajectories}")
        if self.route_distance[0] > self.route_distance[1]:
            raise ValueError(f"route_distance must be (least, most), got {self.route_distance}")
        if self.camera.width % 2 or self.camera.height % 2:
            raise ValueError(f"video needs even sizes, got {self.camera.width}x{self.camera.height}")
        if not 10 < self.camera.hfov - self.variation.hfov <= self.camera.hfov + self.variation.hfov < 170:
            raise ValueError(f"hfov must stay in (10, 170), got {self.camera.hfov} +- {self.variation.hfov}")
        return self


# --- training -------------------------------------------------------------------------------------------

LossWeight = Annotated[float, Field(ge=0, le=100)]


class LossWeights(Params):
    """Weight of each part of the heatmap loss; a part of weight 0 is not computed and needs no target."""

    mask: LossWeight = 1.0
    dice: LossWeight = 1.0
    distribution: LossWeight = 0.2
    classes: LossWeight = 1.0
    validity: LossWeight = 0.2
    referred: LossWeight = 0.0


class LossParams(Params):
    """The heatmap loss. No setting moves its minimum, which is always the target itself."""

    weights: LossWeights = LossWeights()
    positive_weight: float = Field(1.0, ge=1, le=100, description="how much more a pixel of mask 1 counts")
    focal: float = Field(0.0, ge=0, le=5, description="exponent of |prediction - target|; 0 = plain")
    class_weights: tuple[LossWeight, LossWeight, LossWeight] = Field(
        (1.0, 1.0, 1.0), description="co-visible, occluded, outside"
    )

    @field_validator("focal")
    @classmethod
    def _smooth(cls, value: float) -> float:
        if 0 < value < 1:
            raise ValueError(f"focal must be 0 or in [1, 5], got {value}: below 1 its gradient is unbounded")
        return value


class OptimizerParams(Params):
    """AdamW. Norms, biases and scalars (parameters of fewer than two axes) are not decayed."""

    lr: float = Field(1e-3, gt=0, le=1)
    weight_decay: float = Field(0.01, ge=0, le=1)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.99)
    eps: float = Field(1e-8, gt=0, le=1e-2)
    clip: float = Field(1.0, gt=0, le=1e6, description="largest norm of the whole gradient")
    lr_multipliers: dict[str, Annotated[float, Field(gt=0, le=100)]] = Field(
        {}, description="by module path, e.g. {language: 0.5}; the longest path that fits a parameter wins"
    )


class ScheduleParams(Params):
    """Learning rate over the run: linear warm-up, then a curve from the peak to ``final`` of the peak."""

    name: Literal["cosine", "constant"] = "cosine"
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the steps")
    final: float = Field(0.02, ge=0, le=1, description="last learning rate / peak learning rate")


class TrainParams(Params):
    """One training run of any stage. A step is one update of the weights."""

    seed: int = Field(0, ge=0, lt=2**32)
    steps: int = Field(1000, ge=1, le=10_000_000)
    batch_size: int = Field(8, ge=1, le=65536, description="windows a step, over all micro-batches")
    accumulation: int = Field(1, ge=1, le=65536, description="micro-batches a step; divides batch_size")
    loss: LossParams = LossParams()
    optimizer: OptimizerParams = OptimizerParams()
    schedule: ScheduleParams = ScheduleParams()
    ema_decay: float = Field(0.99, ge=0, lt=1, description="of the averaged weights; 0 = no averaging")
    mixed_precision: Literal["no", "bf16", "fp16", "auto"] = Field(
        "no", description="auto = bf16 where the hardware has it, else no"
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = Field(None, ge=1, le=1024, description="of torch on the CPU; null = as they are")
    num_workers: int = Field(1, ge=0, le=256, description="processes that prepare batches; 0 = none")
    prefetch: int = Field(4, ge=1, le=256, description="batches each worker prepares ahead")
    validate_every: int = Field(200, ge=1, description="steps; the last step is always validated")
    save_every: int = Field(200, ge=1, description="steps between saved states, from which a run resumes")
    log_every: int = Field(10, ge=1, description="steps between live metrics")
    metric: str = Field("auc", min_length=1, description="validation metric that picks the best weights")
    mode: Literal["max", "min"] = "max"
    keep: Literal["best", "last"] = Field("best", description="which averaged weights are the result")

    @model_validator(mode="after")
    def _divides(self) -> TrainParams:
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"accumulation must divide batch_size, got {self.accumulation} and {self.batch_size}"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """What the result depends on: a run may resume with any other value of everything else."""
        operational = {"device", "threads", "num_workers", "prefetch", "save_every", "log_every"}
        return self.model_dump(mode="json", exclude=operational)


# --- validation -----------------------------------------------------------------------------------------


class ExpectationParams(Params):
    """One Great Expectations check of every row of a table; any row that fails rejects its sequence."""

    type: Literal[
        "expect_column_values_to_not_be_null",
        "expect_column_values_to_be_between",
        "expect_column_values_to_be_in_set",
        "expect_column_values_to_be_unique",
        "expect_compound_columns_to_be_unique",
    ]
    column: str | None = Field(None, min_length=1)
    column_list: tuple[str, ...] | None = Field(None, min_length=2)
    min_value: float | None = Field(None, ge=-1e9, le=1e9)
    max_value: float | None = Field(None, ge=-1e9, le=1e9)
    strict_min: bool | None = None
    strict_max: bool | None = None
    value_set: tuple[int, ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> ExpectationParams:
        if (self.column_list is None) != (self.type != "expect_compound_columns_to_be_unique"):
            raise ValueError(
                f"column_list goes with expect_compound_columns_to_be_unique, not with {self.type}"
            )
        if (self.column is None) == (self.column_list is None):
            raise ValueError(f"{self.type} needs a column")
        between = self.type == "expect_column_values_to_be_between"
        if between and self.min_value is None and self.max_value is None:
            raise ValueError("expect_column_values_to_be_between needs min_value, max_value or both")
        if (self.type == "expect_column_values_to_be_in_set") != (self.value_set is not None):
            raise ValueError("value_set goes with expect_column_values_to_be_in_set")
        return self


class ValidateParams(Params):
    """What is looked at in a sequence, and the limits of what is acceptable."""

    workers: int = Field(0, ge=0, le=256, description="threads; 0 = one a core")
    pairs: int = Field(16, ge=1, le=100_000, description="pairs of frames whose images are compared")
    stride: int = Field(2, ge=1, le=64, description="compare every n-th pixel of every n-th row")
    agreement: float = Field(0.05, gt=0, lt=1, description="relative depth error that counts as agreement")
    frozen_change: float = Field(0.5, ge=0, le=255, description="grey levels; less than that is no change")
    moved_metres: float = Field(0.1, gt=0, le=10, description="step from which an image must change")
    moved_degrees: float = Field(5.0, gt=0, le=180, description="turn from which an image must change")
    min_accepted_share: float = Field(0.9, ge=0, le=1, description="below it the run stops")
    thumbnails: int = Field(12, ge=0, le=200, description="rejected sequences shown in the summary")
    frames: dict[str, ExpectationParams] = Field(description="limits of the frame table, by reason")
    sequences: dict[str, ExpectationParams] = Field(description="limits of the sequence table, by reason")


# --- normalize ------------------------------------------------------------------------------------------

Share = Annotated[float, Field(ge=0, le=1)]


class FinetuneSampleParams(Params):
    """Samples with keyframes. ``train``, ``val`` and ``test`` are current views of a sequence, at most."""

    train: int = Field(12, ge=0, le=10_000)
    val: int = Field(6, ge=0, le=10_000)
    test: int = Field(12, ge=0, le=10_000)
    include_last: bool = Field(True, description="the last frame is always one of the current views")
    min_candidates: int = Field(8, ge=1, le=10_000, description="frames before a current view, at least")
    any_frame: bool = Field(False, description="in training, later frames are candidates too")
    everything: Share = Field(0.5, description="share of samples without an instruction")
    phrases: Share = Field(0.4, description="share of referring phrases")
    route: Share = Field(0.1, description="share of route instructions")
    visible: Share = Field(0.85, description="share of phrases about something in view, not nothing")
    min_share: Share = Field(0.003, description="share of the image that counts as in view")
    new_phrases: int = Field(24, ge=0, le=1000, description="phrases to add to the recorded ones")

    @model_validator(mode="after")
    def _some_kind(self) -> FinetuneSampleParams:
        if self.everything + self.phrases + self.route <= 0:
            raise ValueError("one of the shares everything, phrases and route must be above 0")
        return self


class PretrainSampleParams(Params):
    """Samples of single views. ``train``, ``val`` and ``test`` are frames of a sequence, at most."""

    train: int = Field(8, ge=0, le=10_000)
    val: int = Field(3, ge=0, le=10_000)
    test: int = Field(3, ge=0, le=10_000)
    phrases: int = Field(2, ge=1, le=1000, description="phrases a frame, at most")


class NormalizeParams(Params):
    """Splits by scene, and the samples of each split."""

    seed: int = Field(0, ge=0, lt=2**32)
    val_share: float = Field(0.1, gt=0, lt=0.5, description="of the scenes; at least one")
    test_share: float = Field(0.1, gt=0, lt=0.5, description="of the scenes; at least one")
    finetune: FinetuneSampleParams = FinetuneSampleParams()
    pretrain: PretrainSampleParams = PretrainSampleParams()


# --- heatmap model and its stages -------------------------------------------------------------------------


class ModelParams(Params):
    """The whole model. The frozen 2-D encoder is named here too, because every other part is built on it."""

    preset: str = Field("tiny", min_length=1, description="name that checkpoints carry")
    vggt: VGGTParams = VGGTParams()
    encoder: Encoder2dParams = Encoder2dParams()
    keyframes: KeyframeParams = KeyframeParams()
    fusion: FusionParams = FusionParams()
    language: LanguageParams = LanguageParams()
    head: HeadParams = HeadParams()


class WindowParams(Params):
    """How a training sample becomes tensors."""

    views: int = Field(3, ge=1, le=64, description="frames of a training window that serve as current view")
    sampled: int = Field(
        56, ge=7, le=1024, description="pixels along a side at which co-visibility is computed"
    )
    sigma: float = Field(0.6, ge=0, le=32, description="of the target's Gaussian, in heatmap cells")
    mirror: float = Field(0.5, ge=0, le=1, description="share of mirrored windows")
    colour: float = Field(0.1, ge=0, le=2, description="standard deviation of the log gain of each colour")
    feature_noise: float = Field(0.05, ge=0, le=2, description="relative noise on the frozen features")


class StageParams(Params):
    """Pretraining or finetuning."""

    window: WindowParams = WindowParams()
    train: TrainParams = TrainParams()
    validation_samples: int = Field(64, ge=1, le=100_000, description="windows that a validation looks at")


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


# --- evaluate -------------------------------------------------------------------------------------------


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
