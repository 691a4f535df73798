"""Where each token stands, as the rotary embeddings of the language models count.

Invariant: padding counts nothing, so a prompt has the same positions with and without it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mrope_positions(visual: Tensor, attention: Tensor, grid: int) -> Tensor:
    """Positions (time, row, column) of every token, as Qwen2.5-VL counts them (arXiv:2502.13923).

    Text goes on by one a token in all three; the tokens of an image share their time and count rows and
    columns from there; after an image, text goes on ``grid`` later.

    Args:
        visual: true at visual tokens [B, L]; attention: true where there is a token [B, L].
        grid: tokens along a side of an image.

    Returns:
        int64 [3, B, L], 0 in the padding.
    """
    images = visual.long().cumsum(-1) - visual.long()  # visual tokens before [B, L]
    text = (attention & ~visual).long()
    start = text.cumsum(-1) - text + images // grid**2 * grid  # [B, L]
    inside = images % grid**2 * visual  # place within the image, 0 for text
    return torch.stack([start, start + inside // grid, start + inside % grid]) * attention


def counted_positions(attention: Tensor) -> Tensor:
    """Tokens counted from 0, whatever they are: int64 [B, L], 0 in the padding."""
    return (attention.long().cumsum(-1) - 1) * attention
