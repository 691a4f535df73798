"""How the parts of a loss become one number.

Invariant: every window of a batch weighs the same whatever is valid in it. So the loss of a batch is the mean
of the losses of its windows, and neither gradient accumulation nor the number of processes changes it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def window_means(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean within each window.

    Args:
        values: [B, ...] finite; axes of size 0 are allowed.
        weight: [B, ...] not negative, broadcastable to ``values``; bool or float.

    Returns:
        [B], sum_i w_bi v_bi / sum_i w_bi; 0 for a window without weight.
    """
    weight = weight.to(values.dtype).expand_as(values)
    if values.dim() > 1:
        weight, values = weight.flatten(1), values.flatten(1)  # [B, I]
        total, values = weight.sum(1), (weight * values).sum(1)  # [B]
    else:
        total, values = weight, weight * values
    return values / total.clamp_min(torch.finfo(values.dtype).tiny)


def window_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean within each window, then the mean over windows: a scalar; see :func:`window_means`."""
    return window_means(values, weight).mean()


def weighted_sum(parts: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Sum of ``parts`` of one shape, each times its weight.

    Raises:
        ValueError: there is nothing to add up, so nothing could be learned.
    """
    if not parts:
        raise ValueError("every loss weight is 0: set at least one of loss.weights above 0")
    return torch.stack([weights[name] * part for name, part in parts.items()]).sum(0)
