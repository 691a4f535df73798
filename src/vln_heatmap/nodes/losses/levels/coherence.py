"""Level 3, spatial coherence: a heatmap is smooth but for edges that the image has too."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from vln_heatmap.nodes.losses.weighting import window_means
from vln_heatmap.params import Form


def view_images(frames: Tensor, current: Tensor, size: tuple[int, int]) -> Tensor:
    """Current views in [0, 1] on the heatmap grid [B, N, 3, h, w].

    Args:
        frames: [B, T, 3, S, S] in [0, 255]; current: index of each view [B, N].
        size: (h, w).
    """
    index = current[..., None, None, None].expand(-1, -1, *frames.shape[2:])
    views = frames.gather(1, index).flatten(0, 1).float() / 255  # [B*N, 3, S, S]
    return F.adaptive_avg_pool2d(views, size).unflatten(0, current.shape)


def coherence_loss(
    probability: Tensor,
    target: Tensor,
    weight: Tensor,
    images: Tensor,
    *,
    form: Form = "target",
    edges: float = 10.0,
) -> Tensor:
    """Edge-aware smoothness: |∂p| exp(-λ |∂I|), means over known neighbours, of both directions added.

    Source: Godard et al., CVPR 2017, eq. 4 (there of disparity), |∂I| the mean over colours. published: as it
    stands, least for constant maps, though a target has edges where the image has none (at the border of what
    the keyframe saw). target: max(0, |∂p| - |∂t|) in place of |∂p|, only edges that are too steep.

    Args:
        probability, target: [B, N, K, h, w].
        weight: [B, N, K, h, w]; 0 = unknown.
        images: I in [0, 1], [B, N, 3, h, w].
        edges: λ.
    """
    total = probability.new_zeros(len(probability))  # [B]
    for dim in (-2, -1):
        count = probability.shape[dim] - 1
        slope = probability.diff(dim=dim).abs()
        if form == "target":
            slope = (slope - target.diff(dim=dim).abs()).relu()
        excuse = (-edges * images.to(slope.dtype).diff(dim=dim).abs().mean(2, keepdim=True)).exp()
        pair = weight.narrow(dim, 0, count) * weight.narrow(dim, 1, count)
        total = total + window_means(slope * excuse, pair)
    return total
