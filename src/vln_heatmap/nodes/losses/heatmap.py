"""All parts of the heatmap loss by name, and their weighted sum.

Invariant: a part of weight 0 is not computed and needs nothing of the batch. Every part is one number a window,
and the loss of a batch is the mean of the losses of its windows. Whatever the precision of the model, losses are
computed in float32 at least.

Shapes: B windows, N current views a window, K keyframes a view, heatmap grid h x w. Pretraining on single
views is the case N = K = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from vln_heatmap.nodes.losses.elementary import (
    covisibility_loss,
    dice_loss,
    distribution_loss,
    known_logits,
    mask_loss,
    validity_loss,
)
from vln_heatmap.nodes.losses.end_to_end import continuity_loss
from vln_heatmap.nodes.losses.finetuning import distinctness_loss, entropy_loss, temporal_loss
from vln_heatmap.nodes.losses.levels.coherence import coherence_loss, view_images
from vln_heatmap.nodes.losses.levels.correspondence import correspondence_loss, token_similarity
from vln_heatmap.nodes.losses.levels.discrimination import discrimination_loss
from vln_heatmap.nodes.losses.levels.geometric import distinct_pairs, geometric_loss
from vln_heatmap.nodes.losses.levels.reasoning import attention_loss, contrast_loss, differing
from vln_heatmap.nodes.losses.pretraining import alignment_loss, gradient_loss
from vln_heatmap.nodes.losses.warping import coarser, view_warps
from vln_heatmap.nodes.losses.weighting import weighted_sum
from vln_heatmap.params import Form, LossParams

Targets = Mapping[str, Any]


@dataclass(frozen=True)
class LossInputs:
    """What a part may look at; ``wrong`` is the output for the wrong instructions, if it was computed."""

    output: Any
    batch: Targets
    params: LossParams
    wrong: Any = None

    @cached_property
    def weight(self) -> Tensor:
        """Known cells [B, N, K, h, w]: those of real keyframes where the current view has depth."""
        weight = self.batch["keyframe_mask"][..., None, None] * self.batch["pixel_weight"]
        return weight.expand_as(self.output.mask_logits)

    @cached_property
    def valid(self) -> Tensor:
        """Real keyframes of which something is seen [B, N, K] bool."""
        return self.batch["valid"] & self.batch["keyframe_mask"]

    @cached_property
    def masks(self) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities, targets and weights [B, N, K, h, w] of the masks, of one type."""
        probability = known_logits(self.output.mask_logits, self.weight).sigmoid()
        like = probability.dtype
        return probability, self.batch["mask"].to(like), self.weight.to(like)

    @property
    def distributions(self) -> tuple[Tensor, Tensor, Tensor]:
        """Logits and targets [B, N, K, h, w] of the distributions, and where there is one [B, N, K] bool."""
        return self.output.distribution_logits, self.batch["distribution"], self.valid

    @property
    def balance(self) -> dict[str, float]:
        """Weighting of cells in masks."""
        return {"positive_weight": self.params.positive_weight, "focal": self.params.focal}

    @property
    def evidence(self) -> Any:
        """Tokens in the output.

        Raises:
            KeyError: the model was not asked for them.
        """
        if self.output.evidence is None:
            raise KeyError("evidence (call the model with evidence=True)")
        return self.output.evidence

    def form(self, name: str) -> Form:
        """Form of a part that has two."""
        return getattr(self.params.forms, name)


def _geometric(x: LossInputs) -> Tensor:
    geometry = (x.batch["view_depth"], x.batch["view_pose"], x.batch["intrinsics"])
    warps = view_warps(*geometry, occlusion=x.params.occlusion)
    pairs = distinct_pairs(x.batch["current"], warps)
    frames = (x.batch["keyframes"], x.batch["keyframe_mask"])
    return geometric_loss(*x.masks, *frames, warps, pairs, form=x.form("geometric"))


def _alignment(x: LossInputs) -> Tensor:
    index = x.batch["current"]  # [B, N]
    tokens = x.evidence.tokens[torch.arange(len(index), device=index.device)[:, None], index]
    depth, intrinsics = coarser(x.batch["view_depth"], x.batch["intrinsics"], tokens.shape[-2:])
    warps = view_warps(depth, x.batch["view_pose"], intrinsics, occlusion=x.params.occlusion)
    options: dict[str, Any] = {"form": x.form("alignment"), "temperature": x.params.temperature}
    return alignment_loss(tokens, warps, distinct_pairs(index, warps), **options)


def _correspondence(x: LossInputs) -> Tensor:
    frames, size = (x.batch["current"], x.batch["keyframes"]), x.output.mask_logits.shape[-2:]
    vggt, encoder = (
        share * token_similarity(tokens, *frames, size)
        for share, tokens in zip(x.params.similarity, (x.evidence.geometry, x.evidence.features), strict=True)
    )
    return correspondence_loss(*x.masks, vggt + encoder, form=x.form("correspondence"))


def _coherence(x: LossInputs) -> Tensor:
    images = view_images(x.batch["frames"], x.batch["current"], tuple(x.output.mask_logits.shape[-2:]))
    return coherence_loss(*x.masks, images, form=x.form("coherence"), edges=x.params.edges)


def _reasoning(x: LossInputs) -> Tensor:
    known = x.batch["pixel_weight"].squeeze(2)  # [B, N, h, w]
    total = attention_loss(x.evidence.attention, x.batch["referred"], known)
    if not x.params.contrast:
        return total
    if x.wrong is None:
        raise KeyError("wrong (the output for wrong_instructions(batch); or set loss.contrast to 0)")
    logits, wrong = x.output.mask_logits, x.wrong.mask_logits
    differs = differing(x.batch, logits.device)
    loss = contrast_loss(logits, wrong, x.batch["mask"], x.weight, differs, margin=x.params.margin)
    return total + x.params.contrast * loss


#: Every part of the loss by the name of its weight. Formulas: docs/losses.md.
PARTS: dict[str, Callable[[LossInputs], Tensor]] = {
    "mask": lambda x: mask_loss(x.output.mask_logits, x.batch["mask"], x.weight, **x.balance),
    "dice": lambda x: dice_loss(x.output.mask_logits, x.batch["mask"], x.weight),
    "distribution": lambda x: distribution_loss(*x.distributions),
    "classes": lambda x: covisibility_loss(
        x.output.class_logits, x.batch["classes"], x.weight, class_weights=x.params.class_weights
    ),
    "validity": lambda x: validity_loss(x.output.validity_logits, x.batch["valid"], x.batch["keyframe_mask"]),
    "referred": lambda x: mask_loss(
        x.output.referred_logits, x.batch["referred"], x.batch["pixel_weight"].squeeze(2), **x.balance
    ),
    "gradient": lambda x: gradient_loss(*x.masks, form=x.form("gradient")),
    "alignment": _alignment,
    "distinctness": lambda x: distinctness_loss(*x.distributions, form=x.form("distinctness")),
    "temporal": lambda x: temporal_loss(
        *x.distributions, form=x.form("temporal"), variation=x.params.published_variation
    ),
    "entropy": lambda x: entropy_loss(
        *x.distributions, form=x.form("entropy"), entropy=x.params.published_entropy
    ),
    "continuity": lambda x: continuity_loss(*x.masks, form=x.form("continuity")),
    "geometric": _geometric,
    "correspondence": _correspondence,
    "coherence": _coherence,
    "reasoning": _reasoning,
    "discrimination": lambda x: discrimination_loss(*x.masks, x.valid, form=x.form("discrimination")),
}


class HeatmapLoss:
    """Weighted sum of the parts whose weight is above 0.

    Args:
        params: weights, forms and constants.
    """

    def __init__(self, params: LossParams) -> None:
        self.params = params
        self.weights = params.weights.model_dump()

    def windows(
        self, output: Any, batch: Targets, weights: Mapping[str, float] | None = None, *, wrong: Any = None
    ) -> dict[str, Tensor]:
        """Every part with weight, of each window [B], without its weight.

        Args:
            output: model output with mask_logits [B, N, K, h, w], distribution_logits [B, N, K, h, w],
                validity_logits [B, N, K], class_logits [B, N, K, 3, h, w], referred_logits [B, N, h, w] and
                ``evidence`` (only those of the parts in use).
            batch: ``mask`` [B, N, K, h, w] in [0, 1]; ``distribution`` [B, N, K, h, w]; ``valid`` [B, N, K]
                bool; ``classes`` [B, N, K, 3, h, w] fractions; ``referred`` [B, N, h, w] in [0, 1];
                ``pixel_weight`` [B, N, 1, h, w], 0 where the current depth is missing; ``keyframe_mask``
                [B, N, K] bool, false for padding. Parts that look further need ``current`` [B, N],
                ``keyframes`` [B, N, K], ``frames`` [B, T, 3, S, S], ``instruction`` (B texts), ``view_depth``
                [B, N, h, w] metres (0 = unknown), ``view_pose`` [B, N, 4, 4] camera_to_world, ``intrinsics``
                [B, 3, 3] in cells.
            weights: by name of the part, in place of the parameters'; a part that is not named has 0.
            wrong: output for the wrong instructions; see ``LossParams.needs`` and ``wrong_instructions``.

        Raises:
            KeyError: a part is in use and what it needs is missing, or there is no part of that name.
        """
        inputs, parts = LossInputs(output, batch, self.params, wrong), {}
        with torch.autocast(
            batch["keyframe_mask"].device.type, enabled=False
        ):  # geometry needs all its digits
            for name in self.chosen(weights):
                if name not in PARTS:
                    raise KeyError(f"loss parts are {sorted(PARTS)}, got {name!r}")
                try:
                    parts[name] = PARTS[name](inputs)
                except KeyError as error:
                    raise KeyError(f"loss part {name!r} needs {error}; got {sorted(batch)}") from None
        return parts

    def chosen(self, weights: Mapping[str, float] | None = None) -> dict[str, float]:
        """Weights above 0; of the parameters if none are given."""
        return {name: w for name, w in (self.weights if weights is None else weights).items() if w > 0}

    def __call__(
        self, output: Any, batch: Targets, weights: Mapping[str, float] | None = None, *, wrong: Any = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch: the total, and every part without its weight, all scalars; see :meth:`windows`.

        Raises:
            ValueError: every weight is 0.
        """
        parts = {
            name: part.mean() for name, part in self.windows(output, batch, weights, wrong=wrong).items()
        }
        return weighted_sum(parts, self.chosen(weights)), parts
