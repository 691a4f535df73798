"""Losses of finetuning: heatmaps of different keyframes differ, change and spread as their targets do.

The first part of finetuning, the frame-indexed heatmap, is ``elementary.distribution_loss``: one cross-entropy
for each keyframe. Each function gives the loss of every window, [B].

Invariant: the published forms aim at fixed values (no similarity at all, a variation of 0.5, an entropy of 6),
which heatmaps of overlapping views do not have; in the form "target" every minimum, 0, is reached where the
prediction equals the target.

Shapes: B windows, N current views, K keyframes in order of time, heatmap grid h x w.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vln_heatmap.nodes.losses.elementary import known_logits
from vln_heatmap.nodes.losses.weighting import window_means
from vln_heatmap.params import Form


def both(valid: Tensor) -> Tensor:
    """True for ordered pairs of different valid keyframes: [..., K] bool -> [..., K, K]."""
    other = ~torch.eye(valid.shape[-1], dtype=torch.bool, device=valid.device)
    return valid[..., :, None] & valid[..., None, :] & other


def distinctness_loss(logits: Tensor, target: Tensor, valid: Tensor, *, form: Form = "target") -> Tensor:
    """Inter-frame distinctness, mean over pairs of keyframes k ≠ l of a view; s is the cosine of two maps.

    published: s(p_k, p_l), least (0) for disjoint maps. target: each map resembles its own target more than
    another's by as much as the targets differ, max(0, s(p_k, t_l) - s(p_k, t_k) + 1 - s(t_k, t_l)), a triplet
    loss (Schroff et al., FaceNet, CVPR 2015, eq. 2) whose margin is the targets' own.

    Args:
        logits: of the distributions p [B, N, K, h, w]; target: distributions t of that shape.
        valid: [B, N, K] bool.
    """
    p = F.normalize(_distribution(logits, valid), dim=-1)  # [B, N, K, h*w]
    if form == "published":
        return window_means(p @ p.mT, both(valid))
    t = F.normalize(target.flatten(-2).to(p.dtype), dim=-1)
    cross = p @ t.mT  # [B, N, K, K], p_k with t_l
    own = cross.diagonal(dim1=-2, dim2=-1)[..., None]  # [B, N, K, 1]
    return window_means((cross - own + 1 - t @ t.mT).relu(), both(valid))


def temporal_loss(
    logits: Tensor, target: Tensor, valid: Tensor, *, form: Form = "target", variation: float = 0.5
) -> Tensor:
    """Temporal consistency: (v(p) - v*)², v the change from one keyframe's distribution to the next one's.

    v = ½ Σ |p_{k+1} - p_k|, the total variation distance, in [0, 1]. published: v* = ``variation``. target:
    v* = v(t). Mean over successive keyframes that are both valid.

    Args:
        logits: of the distributions p [B, N, K, h, w]; target: distributions t of that shape.
        valid: [B, N, K] bool.
    """
    change = _distribution(logits, valid).diff(dim=2).abs().sum(-1) / 2  # [B, N, K-1]
    wanted = target.flatten(-2).to(change.dtype).diff(dim=2).abs().sum(-1) / 2
    aim = torch.full_like(change, variation) if form == "published" else wanted
    return window_means((change - aim).square(), valid[:, :, 1:] & valid[:, :, :-1])


def entropy_loss(
    logits: Tensor, target: Tensor, valid: Tensor, *, form: Form = "target", entropy: float = 6.0
) -> Tensor:
    """Spatial reasoning: (H(p) - H*)², H the entropy of a distribution in nats, mean over valid maps.

    published: H* = ``entropy``, of a map that is spread over exp(6) = 403 cells. target: H* = H(t).

    Args:
        logits: of the distributions p [B, N, K, h, w]; target: distributions t of that shape.
        valid: [B, N, K] bool.
    """
    log_p = known_logits(logits, valid[..., None, None]).flatten(-2).log_softmax(-1)  # [B, N, K, h*w]
    have = -(log_p.exp() * log_p).sum(-1)
    t = target.flatten(-2).to(have.dtype)
    aim = torch.full_like(have, entropy) if form == "published" else -torch.xlogy(t, t).sum(-1)
    return window_means((have - aim).square(), valid)


def _distribution(logits: Tensor, valid: Tensor) -> Tensor:
    """Distributions [B, N, K, h*w]; uniform where not valid."""
    return known_logits(logits, valid[..., None, None]).flatten(-2).softmax(-1)
