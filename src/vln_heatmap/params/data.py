"""Limits of good data, splits and samples: the validate and normalize stages."""

from __future__ import annotations

from typing import Literal

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
