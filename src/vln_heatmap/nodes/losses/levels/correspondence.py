"""Level 2, cross-frame correspondence: a heatmap may be hot only where something of the keyframe looks alike.

Invariant: similarities guide and do not learn; no gradient reaches the tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vln_heatmap.nodes.losses.weighting import window_means
from vln_heatmap.params import Form


@torch.no_grad()
def token_similarity(
    tokens: Tensor, current: Tensor, keyframes: Tensor, size: tuple[int, int] | torch.Size
) -> Tensor:
    """Best cosine of each cell of the current view with any cell of the keyframe, in [0, 1]: [B, N, K, h, w].

    The mean token of a window is taken off first: what all cells share does not count. Negative cosines are 0.

    Args:
        tokens: of all frames [B, T, C, g, g'].
        current: frame of each view [B, N]; keyframes: [B, N, K].
        size: (h, w) of the heatmap; similarities are interpolated to it.
    """
    grid = tokens.shape[-2:]
    flat = tokens.float().flatten(-2).mT  # [B, T, P, C]
    unit = F.normalize(flat - flat.mean((1, 2), keepdim=True), dim=-1)
    views = [
        (own[now][:, None] @ own[keys].mT).amax(
            -1
        )  # [N, K, P]: window by window, or the product would be large
        for own, now, keys in zip(unit, current, keyframes, strict=True)
    ]
    best = torch.stack(views).clamp_min(0).flatten(0, 1).unflatten(-1, grid)  # [B*N, K, g, g']
    maps = F.interpolate(best, size=tuple(size), mode="bilinear", align_corners=False)
    return maps.clamp_max(1).unflatten(0, current.shape)


def correspondence_loss(
    probability: Tensor, target: Tensor, weight: Tensor, similarity: Tensor, *, form: Form = "target"
) -> Tensor:
    """Heat where nothing corresponds, mean over known cells; s is the similarity.

    published: p (1 - s), least for empty maps. target: max(0, p - t) (1 - s), only heat that is too much.

    Args:
        probability, target: [B, N, K, h, w].
        weight: [B, N, K, h, w]; 0 = unknown.
        similarity: in [0, 1], of that shape; 0.6 of VGGT's tokens and 0.4 of the 2-D encoder's by default.
    """
    heat = probability if form == "published" else (probability - target).relu()
    return window_means(heat * (1 - similarity.to(heat.dtype)), weight)
