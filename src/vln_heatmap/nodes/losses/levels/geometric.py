"""Level 1, geometric consistency: two views that see one place say the same of it.

Invariant: only places that both views see count, and only keyframes that both views have. Gradients reach both
views' maps, none the geometry.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vln_heatmap.nodes.losses.warping import Warps, sample
from vln_heatmap.nodes.losses.weighting import window_means
from vln_heatmap.params import Form


def distinct_pairs(current: Tensor, warps: Warps) -> Tensor:
    """False where the views of a pair are one frame: current [B, N] -> [B, P] bool."""
    return current[:, warps.source] != current[:, warps.target]


def geometric_loss(
    probability: Tensor,
    target: Tensor,
    weight: Tensor,
    keyframes: Tensor,
    real: Tensor,
    warps: Warps,
    distinct: Tensor,
    *,
    form: Form = "target",
) -> Tensor:
    """|p_i(x') - p_j(x)|, mean over the cells x of view j that view i sees, at x', and the keyframes of both.

    The heatmap of keyframe k in view i, warped into view j, is compared with the heatmap of k in j, for all
    ordered pairs of views at once; photometric consistency (Zhou et al., CVPR 2017, eq. 1) of heatmaps.
    published: as it stands; on a grid even exact targets disagree a little at edges. target: of the errors
    p - t, so that the targets' own disagreement is no error and 0 is at p = t.

    Args:
        probability, target: [B, N, K, h, w].
        weight: [B, N, K, h, w]; 0 = unknown.
        keyframes: frame of each keyframe [B, N, K]; real: false for padding [B, N, K].
        warps: between the views; distinct: [B, P].
    """
    field = probability if form == "published" else probability - target  # [B, N, K, h, w]
    source, goal = warps.source, warps.target  # [P]
    same = keyframes[:, goal][..., :, None] == keyframes[:, source][..., None, :]  # [B, P, K, K]
    same = same & real[:, goal][..., :, None] & real[:, source][..., None, :]
    slot = same.int().argmax(-1)[..., None, None]  # [B, P, K, 1, 1], of the same keyframe in the source view
    slot = slot.expand(-1, -1, -1, *field.shape[-2:])
    warped = sample(field[:, source].gather(2, slot), warps.places)  # [B, P, K, h, w]
    seen = warps.visible[:, :, None] & (same.any(-1) & distinct[..., None])[..., None, None]
    return window_means((warped - field[:, goal]).abs(), torch.where(seen, weight[:, goal], 0.0))
