"""Training techniques of a phase, by name: what may be set of each.

Invariant: ``TECHNIQUE_PARAMS`` is the only list of names; a technique that is not named does nothing and costs
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from vln_heatmap.params.base import Params, Share

PartWeight = Annotated[float, Field(ge=0, le=100)]


class HardNegativeParams(Params):
    """Draw hard samples more often, and show keyframes of look-alike places that were never visited."""

    share: Share = Field(0.3, description="of each epoch that is drawn from the hardest samples")
    top: float = Field(0.2, gt=0, le=1, description="share of the samples of known loss that are the hardest")
    lookalikes: Share = Field(0.3, description="of the windows that get a keyframe of another scene")


class EasyToHardParams(Params):
    """The easiest share of the samples first, growing to all of them."""

    start: float = Field(0.3, gt=0, le=1, description="share of the samples at the beginning of the phase")
    until: float = Field(0.7, gt=0, le=1, description="progress of the phase at which all take part")
    power: float = Field(2.0, ge=0.1, le=10, description="2 = square root (fast, then slow), 1 = linear")
    overlap: PartWeight = Field(1.0, description="how much little overlap with the keyframes counts")
    language: PartWeight = Field(0.5, description="how much the instruction's level and distractors count")
    span: PartWeight = Field(0.0, description="how much the reach of the keyframes in time counts")

    @model_validator(mode="after")
    def _something_counts(self) -> EasyToHardParams:
        if not self.overlap + self.language + self.span:
            raise ValueError("one of overlap, language and span must be above 0, got 0 for all of them")
        return self


class MultiScaleParams(Params):
    """Frames and features of a step at one of several resolutions, in turn."""

    scales: tuple[Annotated[float, Field(ge=0.25, le=4)], ...] = Field((0.5, 1.0, 1.5), min_length=1)


class DistillationParams(Params):
    """Agree with a teacher."""

    teacher: str = Field("ema", min_length=1, description="ema, or the folder of a checkpoint")
    decay: float = Field(0.999, ge=0, lt=1, description="of the averaged teacher, at each step")
    temperature: float = Field(2.0, gt=0, le=100)
    mask: PartWeight = 0.3
    distribution: PartWeight = 0.1
    classes: PartWeight = 0.3


class SelfTrainingParams(Params):
    """Learn from an averaged teacher's confident answers where nobody knows the truth."""

    decay: float = Field(0.999, ge=0, lt=1, description="of the averaged teacher, at each step")
    confidence: float = Field(0.9, gt=0.5, lt=1, description="probability from which an answer is a label")
    mask: PartWeight = 0.5
    classes: PartWeight = 0.5


class AdversarialParams(Params):
    """Inputs changed so that the model errs, within a ball, and shifted or mirrored views."""

    every: int = Field(2, ge=1, le=1_000_000, description="steps; 1 = each step")
    weight: PartWeight = Field(0.5, description="of the loss of changed inputs; 0 = none")
    norm: Literal["linf", "l2"] = "linf"
    frames: float = Field(2 / 255, ge=0, le=1, description="radius in units of the colours' range")
    features: float = Field(0.05, ge=0, le=10, description="radius in standard deviations of each channel")
    steps: int = Field(1, ge=1, le=100, description="1 = FGSM, more = PGD")
    step_size: float = Field(1.0, gt=0, le=4, description="of one step, in radii")
    random_start: bool = False
    spatial: PartWeight = Field(0.5, description="weight of the loss of shifted and mirrored views; 0 = none")
    shift: float = Field(0.25, ge=0, lt=1, description="largest shift, as a share of the side")
    mirror: Share = Field(0.5, description="share of mirrored candidates")
    candidates: int = Field(2, ge=1, le=64, description="of which the one with the largest loss is learned")


#: Settings of every technique by name.
TECHNIQUE_PARAMS: dict[str, type[Params]] = {
    "easy_to_hard": EasyToHardParams,
    "hard_negatives": HardNegativeParams,
    "multi_scale": MultiScaleParams,
    "distillation": DistillationParams,
    "self_training": SelfTrainingParams,
    "adversarial": AdversarialParams,
}


def technique_params(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Checked settings by name, in the order of ``TECHNIQUE_PARAMS``; None or {} = the defaults.

    Raises:
        ValueError: an unknown name or setting.
    """
    if unknown := sorted(set(settings) - set(TECHNIQUE_PARAMS)):
        raise ValueError(f"techniques must be among {sorted(TECHNIQUE_PARAMS)}, got {unknown}")
    return {
        name: kind.model_validate(settings[name] or {})
        for name, kind in TECHNIQUE_PARAMS.items()
        if name in settings
    }
