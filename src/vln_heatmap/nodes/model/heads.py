"""From tokens to heatmaps: the current view's cells are correlated with each keyframe's cells.

Invariant: every map is indexed by cells of the *current view*. A keyframe contributes only through how well its
cells match a current cell, never by its own layout, and the order of the keyframes does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vln_heatmap.nodes.model.fusion import align_grid
from vln_heatmap.nodes.model.odometry import Odometry, relative_motions
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


def cell_centres(grid: int, device: torch.device | None = None) -> Tensor:
    """Centres (x, y) of a grid's cells in [-1, 1], row by row: [grid * grid, 2]."""
    line = (torch.arange(grid, device=device) + 0.5) / grid * 2 - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def take(frames: Tensor, index: Tensor) -> Tensor:
    """Pick frames [B, T, ...] by index [B, ...I] -> [B, ...I, ...]."""
    batch = torch.arange(len(frames), device=frames.device).view(-1, *[1] * (index.dim() - 1))
    return frames[batch, index]


def _views(current: Tensor, keyframes: Tensor) -> list[tuple[int, Tensor, Tensor]]:
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
    for i, now, keys in _views(current, keyframes):
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


class TokenMatcher(nn.Module):
    """Correlates current tokens with keyframe tokens and describes every current cell by how it matches.

    Two kinds of similarity lie side by side: learned ones of the fused tokens, and plain cosines of the frozen
    2-D features, which training cannot spoil.
    """

    def __init__(self, token_dim: int, camera_dim: int, groups: int, params: HeadParams) -> None:
        super().__init__()
        self.heads, self.embed, self.frozen_scale = params.heads, params.embed, params.frozen_scale
        self.query = nn.Linear(token_dim, params.heads * params.embed)
        self.key = nn.Linear(token_dim, params.heads * params.embed)
        self.value = nn.Linear(token_dim, params.width // 2)
        self.own = nn.Linear(token_dim, params.width // 2)
        self.camera = nn.Sequential(nn.LayerNorm(camera_dim), nn.Linear(camera_dim, params.width // 4))
        self.log_scale = nn.Parameter(torch.full((params.heads, 1), 2.5))
        statistics = 8 * (params.heads + 1) + groups
        channels = 2 * (params.width // 2) + 2 * statistics + 2 + (2 + params.odometry) * (params.width // 4)
        self.enter = nn.Conv2d(channels, params.width, 1)
        self.blocks = nn.ModuleList(ConvBlock(params.width) for _ in range(params.blocks))
        self.share = nn.Linear(2 * params.width, params.width)
        self.odometry = Odometry(params.width // 4) if params.odometry else None

    def forward(
        self,
        tokens: Tensor,
        camera: Tensor,
        frozen: list[Tensor],
        current: Tensor,
        keyframes: Tensor,
        poses: Tensor | None = None,
    ) -> Tensor:
        """Describe current cells.

        Args:
            tokens: [B, T, P, D] fused tokens of all frames.
            camera: [B, T, Dc] VGGT camera tokens.
            frozen: groups of frozen features, each of unit length [B, T, P, c].
            current: [B, N] frame index of each current view.
            keyframes: [B, N, K] frame indices of its keyframes.
            poses: camera_to_world of all frames [B, T, 4, 4]; looked at with ``odometry`` only.

        Returns:
            [B, N, K, width, g, g].

        Raises:
            ValueError: ``odometry`` without poses.
        """
        (b, n, k), p = keyframes.shape, tokens.shape[2]
        grid = round(p**0.5)
        centres = cell_centres(grid, tokens.device)
        learned, found = self._learned(tokens, centres, current, keyframes)
        plain = self._plain(frozen, centres, current, keyframes)
        cells = torch.cat([learned, plain.to(learned.dtype)], dim=-1)  # [B, N, K, P, statistics]
        parts = [
            found,
            self.own(take(tokens, current))[:, :, None].expand(-1, -1, k, -1, -1),
            cells,
            cells.mean(3, keepdim=True).expand_as(cells),
            centres.expand(b, n, k, -1, -1),
            self.camera_pair(camera, current, keyframes, poses)[:, :, :, None].expand(-1, -1, -1, p, -1),
        ]
        maps = torch.cat(parts, dim=-1).flatten(0, 2).transpose(1, 2).unflatten(-1, (grid, grid))
        maps = self.enter(maps)  # [BNK, width, g, g]
        for block in self.blocks:
            maps = block(maps)
            maps = maps + self.among_keyframes(maps.unflatten(0, (b, n, k))).flatten(0, 2)
        return maps.unflatten(0, (b, n, k))

    def _learned(
        self, tokens: Tensor, centres: Tensor, current: Tensor, keyframes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Statistics [B, N, K, P, 8 * heads] and found values [B, N, K, P, V], view by view.

        One view's matrices fit into the cache of a CPU and are made anew in the backward pass, which is faster
        there than keeping those of a batch in memory.
        """
        shape = (self.heads, self.embed)
        query = (
            F.normalize(self.query(tokens).unflatten(-1, shape), dim=-1) * self.log_scale.exp()
        )  # [B,T,P,S,E]
        key = F.normalize(self.key(tokens).unflatten(-1, shape), dim=-1)
        value = self.value(tokens)
        views = _views(current, keyframes)
        results = [
            checkpoint(
                match_tokens,
                *(query[i, now][0], key[i, keys], value[i, keys], centres),
                use_reentrant=False,
                preserve_rng_state=False,
            )
            for i, now, keys in views
        ]
        statistics, found = zip(*results, strict=True)
        return torch.stack(statistics).unflatten(0, current.shape), torch.stack(found).unflatten(
            0, current.shape
        )

    @torch.no_grad()
    def _plain(self, frozen: list[Tensor], centres: Tensor, current: Tensor, keyframes: Tensor) -> Tensor:
        """Best cosine of each group, and the statistics of their mean: [B, N, K, P, groups + 8]."""
        rows = []
        for i, now, keys in _views(current, keyframes):
            cosines = torch.stack(
                [f[i, now][0] @ f[i, keys].transpose(-1, -2) for f in frozen]
            )  # [G, K, P, Q]
            statistics, _ = match_statistics(self.frozen_scale * cosines.mean(0), centres)
            rows.append(torch.cat([cosines.amax(-1).movedim(0, -1), statistics], dim=-1))
        return torch.stack(rows).unflatten(0, current.shape)

    def camera_pair(
        self, camera: Tensor, current: Tensor, keyframes: Tensor, poses: Tensor | None = None
    ) -> Tensor:
        """Projected camera tokens of both frames, and with odometry their relative motion: [B, N, K, pair]."""
        token = self.camera(camera)  # [B, T, width/4]
        there = take(token, keyframes)
        pair = [take(token, current)[:, :, None].expand_as(there), there]
        if self.odometry is not None:
            if poses is None:
                raise ValueError("model.head.odometry is on: poses [B, T, 4, 4] are needed, got None")
            pair.append(self.odometry(relative_motions(poses, current, keyframes)))
        return torch.cat(pair, dim=-1)

    def among_keyframes(self, maps: Tensor) -> Tensor:
        """What the other keyframes of the same view see at each cell (mean and max), [B, N, K, C, g, g]."""
        pooled = torch.cat(
            [maps.mean(2, keepdim=True), maps.amax(2, keepdim=True)], dim=3
        )  # [B, N, 1, 2C, g, g]
        return self.share(pooled.movedim(3, -1)).movedim(-1, 3).expand_as(maps)


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
