"""Losses of single heatmaps: is it seen, how is it spread, is anything seen at all, and why not.

Each function gives the loss of every window, [B]. Invariant: it has its minimum where the prediction equals the
target, soft targets included, and no setting of ``LossParams`` moves that minimum. Where no truth is known
(padding, missing depth) neither a loss nor a gradient arises.

Shapes: B windows, N current views a window, K keyframes a view, heatmap grid h x w. Pretraining on single
views is the case N = K = 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vln_heatmap.nodes.losses.weighting import window_means


def full_precision(x: Tensor) -> Tensor:
    """Half precision becomes float32; float32 and float64 stay."""
    return x.float() if x.dtype in {torch.float16, torch.bfloat16} else x


def known_logits(logits: Tensor, weight: Tensor) -> Tensor:
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
    logits = known_logits(logits, weight)
    target = target.to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")  # [B, ..., h, w]
    if focal:
        loss = loss * (logits.sigmoid() - target).abs().pow(focal)
    return window_means(loss, weight * (1 + (positive_weight - 1) * target))


def dice_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Soft Dice with squared denominator, per map, then the mean over known maps.

    1 - (2 sum(p t) + 1) / (sum(p^2) + sum(t^2) + 1), sums over known pixels (Milletari et al., V-Net, 3DV
    2016, eq. 1). The squares put the minimum, 0, at p = t for soft targets too; the ones make an empty target
    with an empty prediction a perfect match.

    Args:
        logits, target: [B, ..., h, w]; target in [0, 1].
        weight: [B, ..., h, w], broadcastable; 0 = unknown.
    """
    probability = known_logits(logits, weight).sigmoid()  # [B, ..., h, w]
    target = target.to(probability.dtype)
    weight = weight.to(probability.dtype).expand_as(target)
    overlap = (weight * probability * target).sum((-2, -1))  # [B, ...]
    sizes = (weight * (probability.square() + target.square())).sum((-2, -1))
    return window_means(1 - (2 * overlap + 1) / (sizes + 1), weight.amax((-2, -1)) > 0)


def distribution_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Cross-entropy of a distribution over the map, mean over the maps that have one.

    -sum_p t_p log softmax(logits)_p over the h * w pixels; its minimum is the entropy of t.

    Args:
        logits: [B, ..., h, w].
        target: [B, ..., h, w], not negative, each valid map sums to 1.
        valid: [B, ...] bool, false where the target is no distribution.
    """
    log_p = known_logits(logits, valid[..., None, None]).flatten(-2).log_softmax(-1)  # [B, ..., h*w]
    cross_entropy = -(target.flatten(-2).to(log_p.dtype) * log_p).sum(-1)  # [B, ...]
    return window_means(cross_entropy, valid)


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
    log_p = known_logits(logits, weight.unsqueeze(-3)).log_softmax(-3)  # [B, ..., C, h, w]
    target = target.to(log_p.dtype)
    counts = (log_p.new_tensor(class_weights).view(-1, 1, 1) * target).sum(-3)  # [B, ..., h, w]
    return window_means(-(target * log_p).sum(-3), weight * counts)


def validity_loss(logits: Tensor, valid: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy of "is there anything to see", mean over real keyframes.

    Args:
        logits: [B, ...].
        valid: [B, ...] bool or soft in [0, 1].
        weight: [B, ...], 0 where there is no keyframe.
    """
    logits = known_logits(logits, weight)
    loss = F.binary_cross_entropy_with_logits(logits, valid.to(logits.dtype), reduction="none")  # [B, ...]
    return window_means(loss, weight)
