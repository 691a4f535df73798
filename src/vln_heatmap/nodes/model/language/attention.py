"""Who sees whom.

Invariant: a token sees everything before it and, if it belongs to a block, the whole block; padding is seen by
itself alone (a row must see something).
"""

from __future__ import annotations

import torch
from torch import Tensor


def visibility(
    block: Tensor, attention: Tensor, *, past: Tensor | None = None, window: int | None = None
) -> Tensor:
    """Who sees whom, bool [B, 1, S (sees), P + S (is seen)].

    Args:
        block: tokens of one block >= 0 see each other both ways; -1 is causal [B, S].
        attention: true where there is a token [B, S].
        past: true where there is a token among the P that stand before and are seen by all [B, P].
        window: causal tokens see no farther back than this (sliding window); None = all the way.
    """
    before = 0 if past is None else past.shape[1]
    order = torch.arange(
        block.shape[1], device=block.device, dtype=torch.int32
    )  # narrow types: L * L of them
    causal = order[:, None] >= order  # [S, S]
    if window:
        causal = causal & (order[:, None] - order < window)
    small = block.to(torch.int16)
    both = (small[:, :, None] == small[:, None]) & (block >= 0)[:, None]  # [B, S, S]
    seen = ((causal | both) & attention[:, None]) | (order[:, None] == order)
    if past is not None:
        behind = past[:, None].expand(-1, len(order), -1)  # [B, S, P]
        if window:
            columns = torch.arange(-before, 0, device=block.device)
            behind = behind & (order[:, None] - columns < window)
        seen = torch.cat([behind, seen], -1)
    return seen[:, None]


def additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """The same as a summand of the attention logits: 0 where seen, the least number where not."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)
