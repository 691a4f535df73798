"""Losses of training end to end: heatmaps of successive keyframes change where their targets change.

The other parts are ``elementary.distribution_loss`` (heatmap) and ``pretraining.gradient_loss`` (spatial
consistency). The loss of every window, [B], is given. Invariant: in the form "target" the minimum, 0, is where
the prediction equals the target.
"""

from __future__ import annotations

from torch import Tensor

from vln_heatmap.nodes.losses.weighting import window_means
from vln_heatmap.params import Form


def continuity_loss(probability: Tensor, target: Tensor, weight: Tensor, *, form: Form = "target") -> Tensor:
    """Temporal coherence: squared change of each cell from one keyframe's mask to the next one's, mean over
    cells that are known for both.

    published: (p_{k+1} - p_k)², least for maps that never change. target: (Δp - Δt)².

    Args:
        probability, target: [B, N, K, h, w], keyframes in order of time.
        weight: [B, N, K, h, w]; 0 = unknown.
    """
    field = probability if form == "published" else probability - target
    return window_means(field.diff(dim=2).square(), weight[:, :, 1:] * weight[:, :, :-1])
