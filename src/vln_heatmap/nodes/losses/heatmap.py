"""Losses of frame-indexed heatmaps: is it seen, how is it spread, is anything seen at all, and why not.

Invariant: each loss has its minimum where the prediction equals the target, soft targets included, and no
setting of ``LossParams`` moves that minimum. Where no truth is known (padding, missing depth) neither a loss
nor a gradient arises.

Shapes: B windows, N current views a window, K keyframes a view, heatmap grid h x w. Pretraining on single
views is the case N = K = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vln_heatmap.nodes.losses.weighting import weighted_sum, window_mean
from vln_heatmap.params import LossParams

Targets = Mapping[str, Any]


def full_precision(x: Tensor) -> Tensor:
    """Half precision becomes float32; float32 and float64 stay."""
    return x.float() if x.dtype in {torch.float16, torch.bfloat16} else x


def _known(logits: Tensor, weight: Tensor) -> Tensor:
    """Logits with 0 where the weight is 0, so that whatever a model leaves there cannot become NaN."""
    return full_precision(logits).masked_fill(weight.expand(logits.shape) == 0, 0.0)


def mask_loss(
    logits: Tensor, target: Tensor, weight: Tensor, *, positive_weight: float = 1.0, focal: float = 0.0
) -> Tensor:
    """Binary cross-entropy with soft targets, mean over known pixels.

    -[t log p + (1 - t) log(1 - p)] with p = sigmoid(logit), times |p - t|^focal, in a mean in which a pixel
    counts w (1 + (positive_weight - 1) t) times. At p = t it equals the entropy of t (0 if focal > 0). Both
    weightings depend on p only through |p - t|, so the minimum stays at p = t.

    Args:
        logits, target: [B, ..., h, w]; target in [0, 1].
        weight: [B, ..., h, w], broadcastable; 0 = unknown.
        positive_weight: how much more a pixel of target 1 counts than one of target 0.
        focal: exponent of the quality focal loss (Li et al., Generalized Focal Loss, NeurIPS 2020, eq. 4).
    """
    logits = _known(logits, weight)
    target = target.to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")  # [B, ..., h, w]
    if focal:
        loss = loss * (logits.sigmoid() - target).abs().pow(focal)
    return window_mean(loss, weight * (1 + (positive_weight - 1) * target))


def dice_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Soft Dice with squared denominator, per map, then the mean over known maps.

    1 - (2 sum(p t) + 1) / (sum(p^2) + sum(t^2) + 1), sums over known pixels (Milletari et al., V-Net, 3DV
    2016, eq. 1). The squares put the minimum, 0, at p = t for soft targets too; the ones make an empty target
    with an empty prediction a perfect match.

    Args:
        logits, target: [B, ..., h, w]; target in [0, 1].
        weight: [B, ..., h, w], broadcastable; 0 = unknown.
    """
    probability = _known(logits, weight).sigmoid()  # [B, ..., h, w]
    target = target.to(probability.dtype)
    weight = weight.to(probability.dtype).expand_as(target)
    overlap = (weight * probability * target).sum((-2, -1))  # [B, ...]
    sizes = (weight * (probability.square() + target.square())).sum((-2, -1))
    return window_mean(1 - (2 * overlap + 1) / (sizes + 1), weight.amax((-2, -1)) > 0)


def distribution_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Cross-entropy of a distribution over the map, mean over the maps that have one.

    -sum_p t_p log softmax(logits)_p over the h * w pixels; its minimum is the entropy of t.

    Args:
        logits: [B, ..., h, w].
        target: [B, ..., h, w], not negative, each valid map sums to 1.
        valid: [B, ...] bool, false where the target is no distribution.
    """
    log_p = _known(logits, valid[..., None, None]).flatten(-2).log_softmax(-1)  # [B, ..., h*w]
    cross_entropy = -(target.flatten(-2).to(log_p.dtype) * log_p).sum(-1)  # [B, ...]
    return window_mean(cross_entropy, valid)


def covisibility_loss(
    logits: Tensor, target: Tensor, weight: Tensor, *, class_weights: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> Tensor:
    """Cross-entropy of soft classes, mean over known pixels.

    -sum_c t_c log softmax(logits)_c, in a mean in which a pixel counts w sum_c(class_weight_c t_c) times; its
    minimum is the entropy of t.

    Args:
        logits, target: [B, ..., C, h, w]; target sums to 1 over C where it is known.
        weight: [B, ..., h, w], broadcastable; 0 = unknown.
        class_weights: how much a pixel of each class counts.
    """
    log_p = _known(logits, weight.unsqueeze(-3)).log_softmax(-3)  # [B, ..., C, h, w]
    target = target.to(log_p.dtype)
    counts = (log_p.new_tensor(class_weights).view(-1, 1, 1) * target).sum(-3)  # [B, ..., h, w]
    return window_mean(-(target * log_p).sum(-3), weight * counts)


def validity_loss(logits: Tensor, valid: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy of "is there anything to see", mean over real keyframes.

    Args:
        logits: [B, ...].
        valid: [B, ...] bool or soft in [0, 1].
        weight: [B, ...], 0 where there is no keyframe.
    """
    logits = _known(logits, weight)
    loss = F.binary_cross_entropy_with_logits(logits, valid.to(logits.dtype), reduction="none")  # [B, ...]
    return window_mean(loss, weight)


def _weight(t: Targets) -> Tensor:
    """Known pixels [B, N, K, h, w]: those of real keyframes where the current view has depth."""
    return t["keyframe_mask"][..., None, None] * t["pixel_weight"]


def _mask(output: Any, t: Targets, params: LossParams) -> Tensor:
    balance = {"positive_weight": params.positive_weight, "focal": params.focal}
    return mask_loss(output.mask_logits, t["mask"], _weight(t), **balance)


def _referred(output: Any, t: Targets, params: LossParams) -> Tensor:
    balance = {"positive_weight": params.positive_weight, "focal": params.focal}
    return mask_loss(output.referred_logits, t["referred"], t["pixel_weight"].squeeze(2), **balance)


def _classes(output: Any, t: Targets, params: LossParams) -> Tensor:
    weights = params.class_weights
    return covisibility_loss(output.class_logits, t["classes"], _weight(t), class_weights=weights)


#: Every part of the loss by the name of its weight.
PARTS: dict[str, Callable[[Any, Targets, LossParams], Tensor]] = {
    "mask": _mask,
    "dice": lambda output, t, _: dice_loss(output.mask_logits, t["mask"], _weight(t)),
    "distribution": lambda output, t, _: distribution_loss(
        output.distribution_logits, t["distribution"], t["valid"] & t["keyframe_mask"]
    ),
    "classes": _classes,
    "validity": lambda output, t, _: validity_loss(output.validity_logits, t["valid"], t["keyframe_mask"]),
    "referred": _referred,
}


class HeatmapLoss:
    """Weighted sum of the parts whose weight is above 0.

    Args:
        params: weights and balancing.
    """

    def __init__(self, params: LossParams) -> None:
        self.params = params
        self.weights = {name: w for name, w in params.weights.model_dump().items() if w > 0}

    def __call__(self, output: Any, targets: Targets) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch.

        Args:
            output: model output with mask_logits [B, N, K, h, w], distribution_logits [B, N, K, h, w],
                validity_logits [B, N, K], class_logits [B, N, K, 3, h, w], referred_logits [B, N, h, w]
                (only those of the parts in use).
            targets: ``mask`` [B, N, K, h, w] in [0, 1]; ``distribution`` [B, N, K, h, w]; ``valid`` [B, N, K]
                bool; ``classes`` [B, N, K, 3, h, w] fractions; ``referred`` [B, N, h, w] in [0, 1];
                ``pixel_weight`` [B, N, 1, h, w], 0 where the current depth is missing; ``keyframe_mask``
                [B, N, K] bool, false for padding.

        Returns:
            The total, and every part without its weight (both scalars).

        Raises:
            KeyError: a part is in use and its target is missing.
        """
        parts = {}
        for name in self.weights:
            try:
                parts[name] = PARTS[name](output, targets, self.params)
            except KeyError as error:
                raise KeyError(
                    f"loss part {name!r} needs the target {error}; got {sorted(targets)}"
                ) from None
        return weighted_sum(parts, self.weights), parts
