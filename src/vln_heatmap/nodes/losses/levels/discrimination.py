"""Level 5, frame discrimination: heatmaps of two keyframes are not more alike than what the keyframes saw."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from vln_heatmap.nodes.losses.finetuning import both
from vln_heatmap.nodes.losses.weighting import window_means
from vln_heatmap.params import Form


def discrimination_loss(
    probability: Tensor, target: Tensor, weight: Tensor, valid: Tensor, *, form: Form = "target"
) -> Tensor:
    """Cosine of the masks of two keyframes k ≠ l of a view, mean over pairs of valid ones.

    published: s(p_k, p_l), which punishes all similarity. target: max(0, s(p_k, p_l) - s(t_k, t_l)):
    keyframes that saw the same things may, and should, have the same heatmap.

    Args:
        probability, target: [B, N, K, h, w].
        weight: [B, N, K, h, w]; 0 = unknown.
        valid: [B, N, K] bool, whether anything is seen.
    """
    root = weight.sqrt()  # so that weights count once in a product of two maps
    p = F.normalize((probability * root).flatten(-2), dim=-1)  # [B, N, K, h*w]
    alike = p @ p.mT  # [B, N, K, K]
    if form == "target":
        t = F.normalize((target * root).flatten(-2), dim=-1)
        alike = (alike - t @ t.mT).relu()
    return window_means(alike, both(valid))
