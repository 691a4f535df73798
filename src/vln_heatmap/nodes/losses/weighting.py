"""How the parts of a loss become one number.

Invariant: every window of a batch weighs the same whatever is valid in it. So the loss of a batch is the mean
of the losses of its windows, and neither gradient accumulation nor the number of processes changes it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def window_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean within each window, then the mean over windows.

    Args:
        values: [B, ...] finite.
        weight: [B, ...] not negative, broadcastable to ``values``; bool or float.

    Returns:
        Scalar mean_b (sum_i w_bi v_bi / sum_i w_bi); a window without weight contributes 0.
    """
    weight = weight.to(values.dtype).expand_as(values).reshape(len(values), -1)  # [B, I]
    total = weight.sum(1)  # [B]
    mean = (weight * values.reshape(len(values), -1)).sum(1) / total.clamp_min(torch.finfo(values.dtype).tiny)
    return mean.mean()


def weighted_sum(parts: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Sum of scalar ``parts``, each times its weight.

    Raises:
        ValueError: there is nothing to add up, so nothing could be learned.
    """
    if not parts:
        raise ValueError("every loss weight is 0: set at least one of loss.weights above 0")
    return torch.stack([weights[name] * part for name, part in parts.items()]).sum()
