"""Limits of good data, splits and samples: the validate and normalize stages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from vln_heatmap.params.base import Params, Share


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


Limits = tuple[float, float]
#: Share of an ordinary walk's coverage that a scenario or trajectory asks for; those not listed ask for all.
CLAIMS: dict[str, float] = {
    "vertical_motion": 0.3,
    "forward": 0.5,
    "backward": 0.5,
    "lateral": 0.5,
    "forward_backward": 0.5,
    "rotation_in_place": 0.5,
    "same_place_other_angles": 0.4,
    "same_object_other_distances": 0.3,
    "occlusion": 0.3,
    "heavy_occlusion": 0.3,
    "object_focused": 0.4,
    "circular_motion": 0.4,
    "single_object_tracking": 0.2,
    "multi_object_tracking": 0.2,
    "appearing_disappearing": 0.2,
    "object_motion": 0.0,
    "scene_change": 0.0,
    "lighting_variation": 0.0,
    "motion_blur": 0.5,
    "scale_variation": 0.3,
    "wall_corners": 0.4,
    "doors_and_windows": 0.4,
    "furniture": 0.4,
    "behind_in_front": 0.3,
    "left_right": 0.3,
    "above_below": 0.3,
    "inside_outside": 0.3,
    "near_far": 0.3,
    "between": 0.3,
    "spatial_relationship": 0.3,
    "temporal_coherence": 0.5,
}


class QualityParams(Params):
    """What a good sequence is.

    A pair of ``limits`` is (bad, good): a measured value is graded 0 at the first, 1 at the second, and
    linearly between. What is measured stands with the functions of ``nodes/quality``.
    """

    score_limit: Share = Field(0.7, description="least value of each of the five scores")
    overall_limit: Share = Field(0.75, description="least value of their weighted mean")
    weights: tuple[Share, Share, Share, Share, Share] = Field(
        (0.25, 0.20, 0.20, 0.15, 0.20),
        description="of geometric, visual, coverage, smoothness and annotation in the overall score",
    )
    pairs: int = Field(64, ge=1, le=100_000, description="pairs of neighbouring frames that are looked at")
    samples: int = Field(32, ge=4, le=1024, description="compared pixels along the shorter side of an image")
    tolerance: float = Field(0.05, gt=0, lt=1, description="relative depth error that counts as agreement")
    jump_metres: float = Field(0.3, gt=0, le=100, description="longest step between frames")
    jump_degrees: float = Field(20.0, gt=0, le=180, description="largest turn between frames")
    jump: Limits = Field((1.25, 1.0), description="step or turn, as a multiple of those")
    depth_valid: Limits = Field((0.3, 0.6), description="share of pixels with depth")
    depth_noise: Limits = Field((0.02, 0.008), description="bend of inverse depth on a surface, relative")
    floor_error: Limits = Field((0.03, 0.01), description="relative error of the camera's height over floors")
    displaced: Limits = Field((0.6, 0.3), description="share of a frame's instances outside their boxes")
    depth_error: Limits = Field((0.015, 0.005), description="median relative disagreement of two frames")
    depth_inliers: Limits = Field((0.75, 0.9), description="share of points on which two frames agree")
    sharpness: Limits = Field((0.3, 0.5), description="share of an edge's contrast between two pixels")
    dark: Limits = Field((5.0, 20.0), description="mean grey level, 0 to 255")
    bright: Limits = Field((250.0, 235.0), description="mean grey level, 0 to 255")
    clipped: Limits = Field((0.9, 0.5), description="share of black and white pixels")
    entropy: Limits = Field((0.3, 1.5), description="bits of the grey levels in 64 bins")
    voxel: float = Field(0.5, gt=0, le=10, description="metres, of seen space and of view points")
    growth: float = Field(
        1.0, ge=0, le=100, description="more space that 32 frames see than one, as a multiple"
    )
    viewpoints: float = Field(0.1, ge=0, le=1, description="new view points a frame")
    things: int = Field(3, ge=0, le=1000, description="different things that are seen well")
    clear_share: Share = Field(0.002, description="share of the image that counts as seen well")
    claims: dict[str, Share] = Field(CLAIMS, description="share of that coverage by scenario or trajectory")
    change: Limits = Field((0.01, 0.03), description="change between images that must differ, over contrast")
    moved_pixels: float = Field(1.0, gt=0, le=1000, description="shift from which images must differ")
    contrast: float = Field(3.0, gt=0, le=255, description="grey levels; less says nothing about change")
    clock: Limits = Field((1.0, 0.1), description="deviation of a time step, in time steps")
    jitter: Limits = Field((0.8, 0.5), description="share of steps that take back the one before")
    labelled: Limits = Field((0.9, 0.99), description="share of pixels with depth that have an id")
    miscounted: Limits = Field((0.005, 0.0), description="share of pixels on which table and ids differ")
    misplaced: Limits = Field((0.5, 0.25), description="share of an instance's points outside its box")
    box_margin: float = Field(0.05, ge=0, le=1, description="metres by which boxes are widened")

    @model_validator(mode="after")
    def _check(self) -> QualityParams:
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if field.annotation == Limits and value[0] == value[1]:
                raise ValueError(f"{name} needs two different limits (bad, good), got {value}")
        if sum(self.weights) <= 0:
            raise ValueError(f"at least one weight must be above 0, got {self.weights}")
        return self


class CollectionParams(Params):
    """One Great Expectations check of a column of the whole collection; it rejects no single sequence.

    A column that the collection does not have, or that is empty, is not checked.
    """

    type: Literal[
        "expect_column_mean_to_be_between",
        "expect_column_values_to_be_between",
        "expect_column_unique_value_count_to_be_between",
        "expect_column_kl_divergence_to_be_less_than",
    ]
    column: str = Field(min_length=1)
    min_value: float | None = Field(None, ge=-1e9, le=1e9, description="of mean, values or count")
    max_value: float | None = Field(None, ge=-1e9, le=1e9, description="of mean, values or count")
    mostly: Share | None = Field(None, description="share of the values that must lie between")
    shares: dict[str, Annotated[float, Field(gt=0, le=1)]] | None = Field(
        None, description="how often each value should occur, relative to each other"
    )
    threshold: float | None = Field(
        None, ge=0, le=100, description="greatest divergence from the shares, nats"
    )

    @model_validator(mode="after")
    def _check(self) -> CollectionParams:
        limits = self.min_value is not None or self.max_value is not None
        if limits != self.type.endswith("between"):
            raise ValueError(
                f"min_value and max_value go with (and one is needed by) between, not {self.type}"
            )
        if (self.mostly is not None) != (self.type == "expect_column_values_to_be_between"):
            raise ValueError(f"mostly goes with (and is needed by) column_values, not {self.type}")
        for name in ("shares", "threshold"):
            if (getattr(self, name) is None) == self.type.endswith("less_than"):
                raise ValueError(f"{name} goes with (and is needed by) kl_divergence, not {self.type}")
        return self


class EffectParams(Params):
    """How the quality of data is turned into what a training on it should give."""

    weights: tuple[Share, Share, Share, Share, Share] = Field(
        (0.25, 0.20, 0.20, 0.15, 0.20),
        description="of geometric, visual, coverage, smoothness and annotation, until they can be fitted",
    )
    min_runs: int = Field(8, ge=3, le=10_000, description="finished runs that a fit needs")
    min_spread: float = Field(
        0.002, gt=0, le=1, description="standard deviation of their quality that it needs"
    )
    ridge: float = Field(1.0, ge=1e-6, le=1e6, description="how much the fit leans towards the weights")
    model: str = Field(
        "finetuned_model", min_length=1, description="dataset that marks the runs to learn from"
    )
    metric: str = Field("val/auc", min_length=1, description="validation metric of these runs")
    mode: Literal["max", "min"] = "max"
    same: tuple[str, ...] = Field(("model.preset",), description="parameters in which the runs must agree")
    converged: float = Field(
        0.95, gt=0, le=1, description="share of the improvement that counts as converged"
    )
    converging: Share = Field(0.75, description="least quality on which a training is expected to converge")
    aim: Share = Field(0.9, description="scores below it call for an adjustment")

    @model_validator(mode="after")
    def _some_weight(self) -> EffectParams:
        if sum(self.weights) <= 0:
            raise ValueError(f"at least one weight must be above 0, got {self.weights}")
        return self


class ValidateParams(Params):
    """What is looked at in a sequence, and the limits of what is acceptable."""

    workers: int = Field(0, ge=0, le=256, description="threads; 0 = one a core")
    min_accepted_share: float = Field(0.9, ge=0, le=1, description="below it the run stops")
    thumbnails: int = Field(12, ge=0, le=200, description="rejected sequences shown in the summary")
    quality: QualityParams = QualityParams()
    effect: EffectParams = EffectParams()
    frames: dict[str, ExpectationParams] = Field(description="limits of the frame table, by reason")
    sequences: dict[str, ExpectationParams] = Field(description="limits of the sequence table, by reason")
    collection: dict[str, CollectionParams] = Field(
        {}, description="what the whole collection should be like; it is reported, nothing is rejected"
    )


class FinetuneSampleParams(Params):
    """Samples with keyframes. ``train``, ``val`` and ``test`` are current views of a sequence, at most."""

    train: int = Field(12, ge=0, le=10_000)
    val: int = Field(6, ge=0, le=10_000)
    test: int = Field(12, ge=0, le=10_000)
    include_last: bool = Field(True, description="the last frame is always one of the current views")
    min_candidates: int = Field(8, ge=1, le=10_000, description="frames before a current view, at least")
    any_frame: bool = Field(False, description="in training, later frames are candidates too")
    everything: Share = Field(0.4, description="share of samples without an instruction")
    phrases: Share = Field(0.3, description="share of referring phrases")
    route: Share = Field(0.1, description="share of route instructions")
    reasoning: Share = Field(0.2, description="share of questions that take reasoning")
    visible: Share = Field(0.85, description="share of phrases about something in view, not nothing")
    min_share: Share = Field(0.003, description="share of the image that counts as in view")
    new_phrases: int = Field(24, ge=0, le=1000, description="phrases to add to the recorded ones")
    new_questions: int = Field(12, ge=0, le=1000, description="questions to add to the recorded ones")

    @model_validator(mode="after")
    def _some_kind(self) -> FinetuneSampleParams:
        if self.everything + self.phrases + self.route + self.reasoning <= 0:
            raise ValueError("one of the shares everything, phrases, route and reasoning must be above 0")
        return self


class PretrainSampleParams(Params):
    """Samples of single views. ``train``, ``val`` and ``test`` are frames of a sequence, at most."""

    train: int = Field(8, ge=0, le=10_000)
    val: int = Field(3, ge=0, le=10_000)
    test: int = Field(3, ge=0, le=10_000)
    phrases: int = Field(2, ge=1, le=1000, description="phrases a frame, at most")


class SamplingParams(Params):
    """How often training draws each sample."""

    levels: bool = Field(
        True, description="so that the levels of the losses get the shares of collect.levels"
    )
    quality: float = Field(0.0, ge=0, le=16, description="exponent of the sequence's quality score")
    most: float = Field(
        10.0, ge=1, le=1e6, description="greatest factor by which a level is drawn more or less"
    )


class NormalizeParams(Params):
    """Splits by scene, and the samples of each split."""

    seed: int = Field(0, ge=0, lt=2**32)
    val_share: float = Field(0.1, gt=0, lt=0.5, description="of the scenes; at least one")
    test_share: float = Field(0.1, gt=0, lt=0.5, description="of the scenes; at least one")
    finetune: FinetuneSampleParams = FinetuneSampleParams()
    pretrain: PretrainSampleParams = PretrainSampleParams()
    sampling: SamplingParams = SamplingParams()
