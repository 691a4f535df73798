"""Level 4, language reasoning: the instruction looks at what it refers to, and another one would explain less.

Invariant: a window whose other instruction is the same, or that refers to nothing in view, is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vln_heatmap.nodes.losses.elementary import full_precision, known_logits
from vln_heatmap.nodes.losses.weighting import window_means


def attention_loss(logits: Tensor, referred: Tensor, weight: Tensor) -> Tensor:
    """KL(r ‖ softmax(a)) of the attention to the cells of each view and the referred region's distribution.

    Supervised attention (Liu et al., AAAI 2017) with the region as its target; 0 where they agree. Mean over
    views in which something is referred to.

    Args:
        logits: attention a of the instruction to the visual tokens [B, N, g, g].
        referred: share of each cell that is referred to [B, N, h, w].
        weight: 0 where that is unknown [B, N, h, w].
    """
    log_a = full_precision(logits).flatten(-2).log_softmax(-1)  # [B, N, g*g]
    grid = (logits.shape[-2], logits.shape[-1])
    region = F.adaptive_avg_pool2d((referred * weight).to(log_a.dtype), grid).flatten(-2)  # [B, N, g*g]
    mass = region.sum(-1, keepdim=True)  # [B, N, 1]
    r = region / mass.clamp_min(torch.finfo(mass.dtype).tiny)
    return window_means((torch.xlogy(r, r) - r * log_a).sum(-1), mass[..., 0] > 0)


def contrast_loss(
    logits: Tensor, wrong: Tensor, target: Tensor, weight: Tensor, differs: Tensor, *, margin: float
) -> Tensor:
    """max(0, m + L - L'): the right instruction's masks fit the target better than the wrong one's, a ranking
    loss (as for referring expressions, Mao et al., CVPR 2016, eq. 6).

    L and L' are the mean cross-entropies of a window's masks with one and the same target. The minimum, 0, is
    reached as soon as L' exceeds L by m.

    Args:
        logits, wrong: of the masks for the right and the wrong instruction [B, N, K, h, w].
        target: masks for the right one [B, N, K, h, w].
        weight: [B, N, K, h, w]; 0 = unknown.
        differs: whether the wrong instruction is another one [B] bool.
        margin: m, in nats a cell.
    """
    fits = []
    for known in (known_logits(logits, weight), known_logits(wrong, weight)):
        loss = F.binary_cross_entropy_with_logits(known, target.to(known.dtype), reduction="none")
        fits.append(window_means(loss, weight))  # [B]
    asked = differs & (weight.flatten(1).amax(1) > 0)
    return (margin + fits[0] - fits[1]).relu() * asked


def wrong_instructions(batch: Mapping[str, Any]) -> list[str]:
    """B instructions to run the model with for :func:`contrast_loss`.

    ``other_instruction`` of the batch, if the windows bring one of their own (then the loss of a window does
    not depend on its batch), else those of the batch rolled by one.
    """
    if "other_instruction" in batch:
        return list(batch["other_instruction"])
    texts = list(batch["instruction"])
    return texts[-1:] + texts[:-1]


def differing(batch: Mapping[str, Any], device: torch.device) -> Tensor:
    """Whether the wrong instruction of each window is another one than its own: [B] bool."""
    pairs = zip(batch["instruction"], wrong_instructions(batch), strict=True)
    return torch.tensor([right.strip() != wrong.strip() for right, wrong in pairs], device=device)
