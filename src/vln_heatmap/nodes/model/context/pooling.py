"""Fewer tokens of a view: cells pooled now, and pooled further when the view is memory.

Invariant: pooling a view that shows one colour gives that colour, and a view's tokens depend on it alone.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vln_heatmap.params.navigation_model import Pool

_WAVES = 8  # of a time, each as sine and cosine
_LONGEST = 512.0  # actions: period of the slowest wave


def fast_grid(grid: int, factor: int) -> int:
    """Tokens along a side of a current view: cells at the edge may be pooled with fewer others."""
    return math.ceil(grid / factor)


def fast_tokens(cells: Tensor, factor: int, pool: Pool) -> Tensor:
    """Cells [N, g, g, D] with every ``factor`` x ``factor`` of them as one [N, f, f, D]."""
    maps = cells.movedim(-1, 1)  # [N, D, g, g]
    if pool == "max":
        pooled = F.max_pool2d(maps, factor, ceil_mode=True)
    else:
        pooled = F.avg_pool2d(maps, factor, ceil_mode=True, count_include_pad=False)
    return pooled.movedim(1, -1)


def slow_tokens(cells: Tensor, grid: int, pool: Pool) -> Tensor:
    """Cells [N, g, g, D] as ``grid`` x ``grid`` tokens [N, m, m, D], each of the cells that it covers."""
    maps = cells.movedim(-1, 1)  # [N, D, g, g]
    pooled = F.adaptive_max_pool2d(maps, grid) if pool == "max" else F.adaptive_avg_pool2d(maps, grid)
    return pooled.movedim(1, -1)


class Times(nn.Module):
    """How long ago something was, as a summand of its tokens; nothing before training.

    Args:
        width: channels D of the tokens.
    """

    periods: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        steps = torch.linspace(math.log(4.0), math.log(_LONGEST), _WAVES)
        self.register_buffer("periods", steps.exp(), persistent=False)
        self.project = nn.Linear(2 * _WAVES, width)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, ages: Tensor) -> Tensor:
        """Ages in actions [...] as [..., D]."""
        turns = 2 * math.pi * ages[..., None] / self.periods  # [..., W]
        return self.project(torch.cat([turns.sin(), turns.cos()], -1).to(self.project.weight.dtype))


class Places(nn.Module):
    """Where in its view a token lies, as a summand; nothing before training.

    Positions only steer who looks at whom: what a token then says holds its content, but no place, and a language
    model of few layers cannot add it.

    Args:
        side: tokens along a side of a view.
        width: channels D of the tokens.
    """

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(side, side, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [N, f, f, D] of current views with their places."""
        return tokens + self.table.to(tokens.dtype)
