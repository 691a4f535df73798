"""Losses of pretraining: edges of the heatmap lie where the target's do, and one place looks alike in two views.

The third part of pretraining, cross-entropy with the Gaussian target, is ``elementary.distribution_loss``.
Each function gives the loss of every window, [B].
Invariant: in the form "target" the minimum of each, 0, is where a perfect model is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vln_heatmap.nodes.losses.elementary import full_precision
from vln_heatmap.nodes.losses.warping import Warps, bilinear_weights, sample
from vln_heatmap.nodes.losses.weighting import window_means
from vln_heatmap.params import Form


def gradient_loss(probability: Tensor, target: Tensor, weight: Tensor, *, form: Form = "target") -> Tensor:
    """Spatial consistency: mean gradient magnitude over cells whose right and lower neighbours are known too.

    published: |∇p|, total variation (Rudin, Osher, Fatemi, Physica D 1992), least for constant maps. target:
    |∇(p - t)|, gradient matching (Eigen & Fergus, ICCV 2015, eq. 1), 0 at p = t. ∇ is forward differences.

    Args:
        probability, target: [B, ..., h, w].
        weight: [B, ..., h, w]; 0 = unknown.
    """
    field = probability if form == "published" else probability - target
    across, down = field.diff(dim=-1)[..., :-1, :], field.diff(dim=-2)[..., :, :-1]  # [B, ..., h-1, w-1]
    magnitude = torch.linalg.vector_norm(torch.stack([across, down], dim=-1), dim=-1)
    return window_means(magnitude, weight[..., :-1, :-1] * weight[..., :-1, 1:] * weight[..., 1:, :-1])


def alignment_loss(
    features: Tensor, warps: Warps, distinct: Tensor, *, form: Form = "target", temperature: float = 0.1
) -> Tensor:
    """Cross-frame feature alignment: the same place has the same feature in two views, mean over its cells.

    published: 1 - cos(f_j(x), f_i(x')), x' the place of x in view i. Its minimum, 0, is reached by features
    that are the same everywhere. target: the cells of view i compete, KL(β ‖ softmax_q cos(f_j(x), f_i(q)) / τ)
    with β the bilinear weights of x' (InfoNCE, van den Oord et al., arXiv:1807.03748; per cell as in DenseCL,
    Wang et al., CVPR 2021); constant features cost log of the number of cells less the entropy of β.

    Args:
        features: of the N current views [B, N, C, h, w].
        warps: between the views, on the same grid.
        distinct: false for pairs of views that are one frame [B, P].
        temperature: τ.
    """
    unit = F.normalize(full_precision(features), dim=2)
    here, there = unit[:, warps.target], unit[:, warps.source]  # [B, P, C, h, w]
    known = warps.visible & distinct[..., None, None]  # [B, P, h, w]
    if form == "published":
        return window_means(1 - F.cosine_similarity(here, sample(there, warps.places), dim=2), known)
    similarity = torch.einsum("bpcx,bpcq->bpxq", here.flatten(-2), there.flatten(-2)) / temperature
    wanted = bilinear_weights(warps.places, features.shape[-2:]).to(similarity.dtype)  # [B, P, h*w, h*w]
    divergence = (torch.xlogy(wanted, wanted) - wanted * similarity.log_softmax(-1)).sum(-1)
    return window_means(divergence, known.flatten(-2))
