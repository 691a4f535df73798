"""Cells of one frame compared with the cells of others: what every head is built from.

Invariant: every result is indexed by cells of the current view, and the order of the keyframes does not matter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def cell_centres(grid: int, device: torch.device | None = None) -> Tensor:
    """Centres (x, y) of a grid's cells in [-1, 1], row by row: [grid * grid, 2]."""
    line = (torch.arange(grid, device=device) + 0.5) / grid * 2 - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def take(frames: Tensor, index: Tensor) -> Tensor:
    """Pick frames [B, T, ...] by index [B, ...I] -> [B, ...I, ...]."""
    batch = torch.arange(len(frames), device=frames.device).view(-1, *[1] * (index.dim() - 1))
    return frames[batch, index]


def views_of(current: Tensor, keyframes: Tensor) -> list[tuple[int, Tensor, Tensor]]:
    """Sample, current view [1] and keyframes [K] of each view. Tensors, because to read a number of a tensor on
    a GPU is to wait for it."""
    b, n, _ = keyframes.shape
    return [(i, current[i, j : j + 1], keyframes[i, j]) for i in range(b) for j in range(n)]


def match_statistics(similarity: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """What a similarity matrix says about each current cell.

    Args:
        similarity: [..., P, Q] scaled similarities of current cells P with keyframe cells Q.
        centres: [Q, 2] positions of the keyframe's cells.

    Returns:
        statistics [..., P, 8] and the soft assignment [..., P, Q]. The statistics are: the best similarity,
        the normalised entropy of the assignment in [0, 1], the cycle probability (going to the keyframe and
        back ends where it began), expected position x, y, displacement x, y, and the spread (standard
        deviation) of the assignment.
    """
    assignment = similarity.softmax(dim=-1)  # [..., P, Q]
    back = similarity.softmax(dim=-2)  # keyframe cell -> current cells
    best = similarity.amax(dim=-1)
    entropy = similarity.logsumexp(dim=-1) - (assignment * similarity).sum(-1)
    cycle = (assignment * back).sum(-1)
    moments = assignment @ torch.cat([centres, centres.square().sum(-1, keepdim=True)], dim=-1)  # [..., P, 3]
    position = moments[..., :2]
    spread = (moments[..., 2] - position.square().sum(-1)).clamp_min(1e-6).sqrt()
    scalars = torch.stack([best, entropy / math.log(similarity.shape[-1]), cycle], dim=-1)
    return torch.cat([scalars, position, position - centres, spread[..., None]], dim=-1), assignment


def match_tokens(query: Tensor, key: Tensor, value: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Statistics [K, P, S * 8] of current cells and the values [K, P, V] that they find in each keyframe.

    Args:
        query: [P, S, E] of one current view, scaled; key: [K, Q, S, E]; value: [K, Q, V].
        centres: [Q, 2].
    """
    similarity = torch.einsum("pse,kqse->kspq", query, key)
    statistics, assignment = match_statistics(similarity, centres)
    return statistics.movedim(1, 2).flatten(2), assignment.mean(1) @ value


@torch.no_grad()
def best_cosines(frozen: list[Tensor], current: Tensor, keyframes: Tensor) -> Tensor:
    """Best mean cosine of each current cell with the cells of each keyframe, [B, N, K, g, g].

    Args:
        frozen: groups of features, each of unit length [B, T, P, c]; the cosines are averaged over groups.
        current: [B, N] and keyframes [B, N, K], frame indices.
    """
    grid = round(frozen[0].shape[2] ** 0.5)
    rows = []
    for i, now, keys in views_of(current, keyframes):
        cosines = torch.stack([f[i, now][0] @ f[i, keys].transpose(-1, -2) for f in frozen]).mean(
            0
        )  # [K, P, Q]
        rows.append(cosines.amax(-1).unflatten(-1, (grid, grid)))
    return torch.stack(rows).unflatten(0, current.shape)


class ConvBlock(nn.Module):
    """Residual depthwise 5x5 + pointwise block on maps [N, C, h, w]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.depthwise = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.pointwise = nn.Sequential(
            nn.Conv2d(width, 2 * width, 1), nn.GELU(), nn.Conv2d(2 * width, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pointwise(self.depthwise(self.norm(x)))
