"""From descriptions of the current view's cells to heatmaps: fine maps, and what is read from them.

Invariant: every map is indexed by cells of the *current view*. A keyframe contributes only through how well its
cells match a current cell (see ``matchers``), never by its own layout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vln_heatmap.nodes.model.fusion import align_grid
from vln_heatmap.nodes.model.matching import ConvBlock, cell_centres
from vln_heatmap.nodes.model.upsampling import Guides, Upsampling
from vln_heatmap.params import HeadParams


@dataclass(frozen=True)
class Evidence:
    """What heatmaps were made from, for losses that look inside.

    Attributes:
        geometry: patch tokens of the geometry model [B, T, 2C, h', w'].
        features: standardised features of the 2-D encoder [B, T, C, g, g].
        tokens: fused tokens that have read the instruction [B, T, D, g, g].
        attention: of the instruction to the cells of each current view, logits [B, N, g, g].
    """

    geometry: Tensor
    features: Tensor
    tokens: Tensor
    attention: Tensor


@dataclass
class HeatmapOutput:
    """Predictions for N current views with K keyframes each, on the heatmap grid h x w.

    Attributes:
        mask_logits: [B, N, K, h, w], sigmoid = probability that the cell is co-visible and referred to.
        distribution_logits: [B, N, K, h, w], softmax over h * w = where to look.
        validity_logits: [B, N, K], sigmoid = probability that anything at all is co-visible and referred to.
        class_logits: [B, N, K, 3, h, w], co-visible / occluded / outside, regardless of the instruction;
            None for single views, where everything is seen.
        referred_logits: [B, N, h, w], what the instruction refers to in the current view.
        evidence: what these were made from; None if it was not asked for.
    """

    mask_logits: Tensor
    distribution_logits: Tensor
    validity_logits: Tensor
    class_logits: Tensor | None
    referred_logits: Tensor
    evidence: Evidence | None = None

    @property
    def distribution(self) -> Tensor:
        """Where to look, [B, N, K, h, w] in float32; sums to 1 over h * w."""
        logits = self.distribution_logits.float()
        return logits.flatten(-2).softmax(-1).view(logits.shape)

    @property
    def position(self) -> Tensor:
        """Soft-argmax: mean place (x, y) of the distribution, [B, N, K, 2] in [-1, 1], edge to edge of the
        current view."""
        weights = self.distribution  # [B, N, K, h, w]
        return weights.flatten(-2) @ cell_centres(weights.shape[-1], weights.device)

    @property
    def entropy(self) -> Tensor:
        """Of the distribution, [B, N, K]: 0 = all in one cell, 1 = anywhere."""
        log_weights = self.distribution_logits.float().flatten(-2).log_softmax(-1)  # [B, N, K, h*w]
        cells = log_weights.shape[-1]
        return -(log_weights.exp() * log_weights).sum(-1) / math.log(cells)


class Detail(nn.Module):
    """Fine structure of the current view, from its pixels, on the heatmap grid.

    Attributes:
        guides: the same on the grids on the way there: of ``start`` cells doubled ``steps`` times.
    """

    def __init__(self, width: int, size: int, *, start: int = 1, steps: int = 0) -> None:
        super().__init__()
        self.size = size
        self.stem = nn.Conv2d(3, width, 5, stride=2, padding=2)
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.guides = Guides(width, start, steps)

    def forward(self, frames: Tensor) -> Tensor:
        """frames [B, 3, H, W] in [0, 1] -> [B, width, size, size]."""
        x = self.conv(F.gelu(self.stem(2 * frames - 1)))
        return F.adaptive_avg_pool2d(x, self.size) if x.shape[-1] != self.size else x


class ReferringHead(nn.Module):
    """Which cells of the current view the instruction speaks of, from the language model's states."""

    def __init__(
        self, token_dim: int, language_dim: int, detail_dim: int, params: HeadParams, *, steps: int = 0
    ) -> None:
        super().__init__()
        self.cell = nn.Linear(token_dim + language_dim, params.width)
        self.text = nn.Linear(language_dim, params.width)
        self.block = ConvBlock(params.width)
        self.up = nn.Conv2d(params.width, 4 * detail_dim, 1)
        self.out = nn.Sequential(
            nn.GELU(), nn.Conv2d(2 * detail_dim, detail_dim, 1), nn.GELU(), nn.Conv2d(detail_dim, 1, 1)
        )
        self.finer = Upsampling(detail_dim, params.heatmap_size, steps)

    def forward(
        self,
        tokens: Tensor,
        states: Tensor,
        text: Tensor,
        detail: Tensor,
        guides: Sequence[Tensor] = (),
    ) -> Tensor:
        """Logits [M, h, w] for M current views.

        Args:
            tokens: [M, D, g, g] fused tokens; states: [M, L, g, g] language states at the visual positions.
            text: [M, L] state that sums up the instruction.
            detail: [M, C, h, w] fine structure; guides: of each step [M, C, s, s], see ``upsampling``.
        """
        cells, query = self._cells(tokens, states), self.text(text)[:, None, None]  # [M, g, g, width]
        cells = (cells * query).movedim(-1, 1) + cells.movedim(-1, 1)
        up = F.pixel_shuffle(self.up(self.block(cells)), 2)  # [M, C, 2g, 2g]
        return self.out(torch.cat([self.finer(up, guides), detail], dim=1))[:, 0]

    def attention(self, tokens: Tensor, states: Tensor, text: Tensor) -> Tensor:
        """How well each visual token matches the instruction, [M, g, g]: q·k / √width with the projections
        that ``forward`` multiplies, arguments as there."""
        cells, query = self._cells(tokens, states), self.text(text)[:, None, None]  # [M, g, g, width]
        return (cells * query).sum(-1) / math.sqrt(cells.shape[-1])

    def _cells(self, tokens: Tensor, states: Tensor) -> Tensor:
        """Projected visual tokens [M, g, g, width]."""
        return self.cell(torch.cat([tokens, states], dim=1).movedim(1, -1))


class HeatmapHead(nn.Module):
    """Refines match descriptions to the heatmap grid and reads masks, distributions, validity and classes."""

    def __init__(self, params: HeadParams, detail_dim: int, *, steps: int = 0) -> None:
        super().__init__()
        self.up = nn.Conv2d(params.width, 4 * detail_dim, 1)
        self.detail = nn.Conv2d(detail_dim, detail_dim, 1)
        self.out = nn.Sequential(
            nn.GELU(), nn.Conv2d(detail_dim, detail_dim, 1), nn.GELU(), nn.Conv2d(detail_dim, 4, 1)
        )
        self.sharpness = nn.Parameter(torch.tensor(1.0))
        self.validity = nn.Sequential(nn.Linear(3, 16), nn.GELU(), nn.Linear(16, 1))
        self.finer = Upsampling(detail_dim, params.heatmap_size, steps)

    def forward(
        self,
        maps: Tensor,
        detail: Tensor,
        referred: Tensor,
        everything: Tensor,
        guides: Sequence[Tensor] = (),
        residual: Tensor | None = None,
    ) -> HeatmapOutput:
        """Read the heatmaps.

        Args:
            maps: [B, N, K, width, g, g] match descriptions.
            detail: [B, N, C, h, w] fine structure of the current views.
            referred: [B, N, h, w] logits of what the instruction refers to.
            everything: [B] bool, true where the instruction is empty and so refers to everything.
            guides: of each step [B * N, C, s, s], see ``upsampling``.
            residual: [B, N, K, g, g], added to the logits of co-visible.
        """
        b, n, k = maps.shape[:3]
        up = F.pixel_shuffle(self.up(maps.flatten(0, 2)), 2)  # [BNK, C, 2g, 2g]
        up = self.finer(up, guides)
        fine = self.detail(detail.flatten(0, 1)).unflatten(0, (b, n))[:, :, None]  # [B, N, 1, C, h, w]
        out = self.out((up.unflatten(0, (b, n, k)) + fine).flatten(0, 2)).float()  # [BNK, 4, h, w]
        out = out.unflatten(0, (b, n, k))
        if residual is not None:
            fine = F.pad(align_grid(residual, out.shape[-2:]).float().unsqueeze(3), (0, 0, 0, 0, 0, 3))
            out = out + fine  # [B, N, K, 4, h, w]
        log_classes = out[:, :, :, :3].log_softmax(dim=3)  # [B, N, K, 3, h, w]
        log_seen, log_unseen = log_classes[:, :, :, 0], log_classes[:, :, :, 1:].logsumexp(3)
        named = referred.float().masked_fill(everything[:, None, None, None], torch.inf)[:, :, None]
        log_mask = log_seen + F.logsigmoid(named)  # [B, N, K, h, w]
        log_rest = torch.logaddexp(log_unseen, log_seen + F.logsigmoid(-named))
        return self.read(log_mask, log_rest, out[:, :, :, 3], referred, out[:, :, :, :3])

    def alone(self, referred: Tensor) -> HeatmapOutput:
        """The output for single views [B, h, w] of referred logits: the view is its own and only keyframe."""
        named = referred.float()[:, None, None]  # [B, 1, 1, h, w]
        shape = torch.zeros_like(named)
        return self.read(F.logsigmoid(named), F.logsigmoid(-named), shape, referred[:, None], None)

    def read(
        self,
        log_mask: Tensor,
        log_rest: Tensor,
        shape: Tensor,
        referred: Tensor,
        class_logits: Tensor | None,
    ) -> HeatmapOutput:
        """Masks, distribution and validity from the log-probabilities [B, N, K, h, w] of a cell being co-visible
        and referred to, and of it not being so: both, because a logit from one alone loses its gradient."""
        logits = log_mask - log_rest
        mask = log_mask.exp().flatten(3)  # [B, N, K, h*w]
        summary = torch.stack([mask.amax(-1), mask.mean(-1), logits.flatten(3).logsumexp(-1) / 10], dim=-1)
        return HeatmapOutput(
            mask_logits=logits,
            distribution_logits=self.sharpness * log_mask + shape,
            validity_logits=self.validity(summary)[..., 0],
            class_logits=class_logits,
            referred_logits=referred,
        )
