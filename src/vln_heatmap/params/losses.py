"""Weights, forms and constants of the parts of the heatmap loss, and what each part must be given.

Invariant: a part of weight 0 is not computed and needs nothing; in the form ``target`` no setting moves the
minimum of a part away from a prediction that equals the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from vln_heatmap.params.base import Params, Share

LossWeight = Annotated[float, Field(ge=0, le=100)]
#: ``published``: the plain textbook formula. ``target``: what the target has of the same is no error.
Form = Literal["target", "published"]
#: geometry: depth and poses of the views in the batch; evidence: tokens in the model's output; contrast: the
#: output for a wrong instruction, which takes a second forward pass.
LossNeed = Literal["geometry", "evidence", "contrast"]
LossSet = Literal["pretraining", "finetuning", "end_to_end", "levels"]

#: Weights that belong together, by name.
LOSS_SETS: dict[str, dict[str, float]] = {
    "pretraining": {"distribution": 1.0, "gradient": 0.1, "alignment": 0.1},
    "finetuning": {"distribution": 1.0, "distinctness": 0.3, "temporal": 0.6, "entropy": 0.4},
    "end_to_end": {"distribution": 1.0, "gradient": 0.1, "continuity": 0.1},
    "levels": {
        "geometric": 1.0,
        "correspondence": 0.8,
        "coherence": 0.6,
        "reasoning": 0.7,
        "discrimination": 0.5,
    },
}
#: What parts need beside the model's maps and their targets.
LOSS_NEEDS: dict[str, frozenset[LossNeed]] = {
    "geometric": frozenset({"geometry"}),
    "alignment": frozenset({"geometry", "evidence"}),
    "correspondence": frozenset({"evidence"}),
    "reasoning": frozenset({"evidence", "contrast"}),
}


class LossWeights(Params):
    """Weight of each part of the heatmap loss; a part of weight 0 is not computed and needs no target."""

    mask: LossWeight = 1.0
    dice: LossWeight = 1.0
    distribution: LossWeight = 0.2
    classes: LossWeight = 1.0
    validity: LossWeight = 0.2
    referred: LossWeight = 0.0
    gradient: LossWeight = 0.0
    alignment: LossWeight = 0.0
    distinctness: LossWeight = 0.0
    temporal: LossWeight = 0.0
    entropy: LossWeight = 0.0
    continuity: LossWeight = 0.0
    geometric: LossWeight = 0.0
    correspondence: LossWeight = 0.0
    coherence: LossWeight = 0.0
    reasoning: LossWeight = 0.0
    discrimination: LossWeight = 0.0


class LossForms(Params):
    """Form of each part that has two, see ``Form`` and docs/losses.md."""

    gradient: Form = "target"
    alignment: Form = "target"
    distinctness: Form = "target"
    temporal: Form = "target"
    entropy: Form = "target"
    continuity: Form = "target"
    geometric: Form = "target"
    correspondence: Form = "target"
    coherence: Form = "target"
    discrimination: Form = "target"


class LossParams(Params):
    """The heatmap loss."""

    weights: LossWeights = LossWeights()
    sets: tuple[LossSet, ...] = Field(
        (), description="weights of parts that ``weights`` does not name; a later set wins"
    )
    forms: LossForms = LossForms()
    positive_weight: float = Field(1.0, ge=1, le=100, description="how much more a pixel of mask 1 counts")
    focal: float = Field(0.0, ge=0, le=5, description="exponent of |prediction - target|; 0 = plain")
    class_weights: tuple[LossWeight, LossWeight, LossWeight] = Field(
        (1.0, 1.0, 1.0), description="co-visible, occluded, outside"
    )
    published_entropy: float = Field(6.0, ge=0, le=20, description="nats; aim of the published form")
    published_variation: Share = Field(0.5, description="of successive maps; aim of the published form")
    occlusion: float = Field(
        0.05, gt=0, le=1, description="depth error from which a cell is hidden, relative"
    )
    temperature: float = Field(0.1, gt=0, le=10, description="of the similarities that alignment compares")
    similarity: tuple[Share, Share] = Field((0.6, 0.4), description="VGGT, 2-D encoder; add up to 1")
    edges: float = Field(
        10.0, ge=0, le=1000, description="how soon an edge of the image excuses one of the map"
    )
    contrast: LossWeight = Field(1.0, description="of the wrong instruction within reasoning; 0 = without it")
    margin: float = Field(0.1, gt=0, le=10, description="nats a cell by which the right instruction must win")

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, given: Any) -> Any:
        """Put the weights of the sets where none are given."""
        if not isinstance(given, Mapping) or not given.get("sets"):
            return given
        sets = [given["sets"]] if isinstance(given["sets"], str) else list(given["sets"])
        weights: dict[str, Any] = {}
        for name in sets:
            weights |= LOSS_SETS.get(str(name), {})  # an unknown name is refused by the field
        own = given.get("weights", {})
        own = own.model_dump(exclude_unset=True) if isinstance(own, LossWeights) else own
        return {**given, "sets": sets, "weights": {**weights, **own} if isinstance(own, Mapping) else own}

    @field_validator("focal")
    @classmethod
    def _smooth(cls, value: float) -> float:
        if 0 < value < 1:
            raise ValueError(f"focal must be 0 or in [1, 5], got {value}: below 1 its gradient is unbounded")
        return value

    @field_validator("similarity")
    @classmethod
    def _whole(cls, value: tuple[float, float]) -> tuple[float, float]:
        if abs(sum(value) - 1) > 1e-6:
            raise ValueError(f"the shares of similarity must add up to 1, got {value[0]:g} + {value[1]:g}")
        return value

    def needs(self, weights: Mapping[str, float] | None = None) -> frozenset[LossNeed]:
        """What the parts of these weights (None = ``self.weights``) must be given, see ``LossNeed``."""
        given = self.weights.model_dump() if weights is None else weights
        needs = frozenset(need for name, w in given.items() if w > 0 for need in LOSS_NEEDS.get(name, ()))
        return needs if self.contrast else needs - {"contrast"}
