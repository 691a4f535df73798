"""How far away what a view shows is, told in one token: what an agent needs so as not to walk into walls.

Invariant: a token depends on the depth of its own view alone; what is unknown counts as infinitely far.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_HIDDEN = 128


def nearness(depth: Any, side: int) -> Tensor:
    """Mean of 1 / (1 + z) in each of ``side`` x ``side`` cells of depth images [..., side, side], in [0, 1].

    Args:
        depth: z-depth in metres [..., H, W], 0 = unknown.
        side: cells.
    """
    metres = torch.as_tensor(depth).float()
    near = torch.where(metres > 0, 1 / (1 + metres), 0.0)
    shape = (*near.shape[:-2], side, side)
    return F.adaptive_avg_pool2d(near.reshape(-1, 1, *near.shape[-2:]), side).reshape(shape)


class Ranges(nn.Module):
    """A token of each view's depth.

    Args:
        side: cells along a side of the coarse depth image.
        width: channels D of the tokens.
    """

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        self.side = side
        self.read = nn.Sequential(nn.Linear(side**2, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, width))

    def forward(self, near: Tensor) -> Tensor:
        """``nearness`` of N views [N, side, side] as tokens [N, 1, D]."""
        return self.read(near.to(next(self.parameters()).dtype).flatten(1))[:, None]
