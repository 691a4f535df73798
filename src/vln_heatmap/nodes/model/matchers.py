"""How a cell of the current view is described with regard to a keyframe: the default, and what it is better than.

Invariant: all kinds take the same inputs and give descriptions [B, N, K, width, g, g] for the same head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vln_heatmap.nodes.model.matching import (
    ConvBlock,
    cell_centres,
    match_statistics,
    match_tokens,
    take,
    views_of,
)
from vln_heatmap.nodes.model.odometry import Odometry, relative_motions
from vln_heatmap.params import HeadParams


class CameraPair(nn.Module):
    """Camera tokens of the current view and of each keyframe, and with odometry their relative motion."""

    def __init__(self, camera_dim: int, params: HeadParams) -> None:
        super().__init__()
        width = params.width // 4
        self.camera = nn.Sequential(nn.LayerNorm(camera_dim), nn.Linear(camera_dim, width))
        self.odometry = Odometry(width) if params.odometry else None
        self.channels = (2 + params.odometry) * width

    def forward(self, camera: Tensor, current: Tensor, keyframes: Tensor, poses: Tensor | None) -> Tensor:
        """Of camera tokens [B, T, Dc]: [B, N, K, channels].

        Raises:
            ValueError: ``odometry`` without poses.
        """
        token = self.camera(camera)  # [B, T, width / 4]
        there = take(token, keyframes)
        pair = [take(token, current)[:, :, None].expand_as(there), there]
        if self.odometry is not None:
            if poses is None:
                raise ValueError("model.head.odometry is on: poses [B, T, 4, 4] are needed, got None")
            pair.append(self.odometry(relative_motions(poses, current, keyframes)))
        return torch.cat(pair, dim=-1)


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
        views = views_of(current, keyframes)
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
        for i, now, keys in views_of(current, keyframes):
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


class PlainMatcher(nn.Module):
    """What the kinds without a learned similarity share: maps of a keyframe from cells, place and cameras.

    Args:
        token_dim: channels of fused tokens; camera_dim: of camera tokens; groups: of frozen features.
        params: of the head.
    """

    def __init__(self, token_dim: int, camera_dim: int, groups: int, params: HeadParams) -> None:
        super().__init__()
        self.frozen_scale = params.frozen_scale
        self.pair = CameraPair(camera_dim, params)
        cells = self.cell_channels(token_dim, groups, params)
        self.enter = nn.Conv2d(cells + 2 + self.pair.channels, params.width, 1)
        self.blocks = nn.Sequential(*(ConvBlock(params.width) for _ in range(params.blocks)))

    def cell_channels(self, token_dim: int, groups: int, params: HeadParams) -> int:
        """Build what ``cells`` needs, and say how many channels it gives."""
        raise NotImplementedError

    def cells(self, tokens: Tensor, frozen: list[Tensor], current: Tensor, keyframes: Tensor) -> Tensor:
        """What is known of each cell with regard to each keyframe [B, N, K, P, channels]."""
        raise NotImplementedError

    def forward(
        self,
        tokens: Tensor,
        camera: Tensor,
        frozen: list[Tensor],
        current: Tensor,
        keyframes: Tensor,
        poses: Tensor | None = None,
    ) -> Tensor:
        """See :meth:`TokenMatcher.forward`."""
        (b, n, k), p = keyframes.shape, tokens.shape[2]
        grid = round(p**0.5)
        pair = self.pair(camera, current, keyframes, poses)
        parts = [
            self.cells(tokens, frozen, current, keyframes),
            cell_centres(grid, tokens.device).expand(b, n, k, -1, -1),
            pair[:, :, :, None].expand(-1, -1, -1, p, -1),
        ]
        maps = torch.cat(parts, dim=-1).flatten(0, 2).transpose(1, 2).unflatten(-1, (grid, grid))
        return self.blocks(self.enter(maps)).unflatten(0, (b, n, k))


class FrozenCosine(PlainMatcher):
    """Matches by the plain cosines of the frozen features alone; no similarity is learned."""

    def cell_channels(self, token_dim: int, groups: int, params: HeadParams) -> int:
        self.own = nn.Linear(token_dim, params.width // 2)
        return params.width // 2 + 2 * (8 + groups)

    def cells(self, tokens: Tensor, frozen: list[Tensor], current: Tensor, keyframes: Tensor) -> Tensor:
        own = take(self.own(tokens), current)[:, :, None].expand(-1, -1, keyframes.shape[2], -1, -1)
        plain = self.compared(frozen, current, keyframes).to(own.dtype)
        return torch.cat([own, plain, plain.mean(3, keepdim=True).expand_as(plain)], dim=-1)

    @torch.no_grad()
    def compared(self, frozen: list[Tensor], current: Tensor, keyframes: Tensor) -> Tensor:
        """Best cosine of each group, and the statistics of their mean [B, N, K, P, groups + 8]."""
        centres = cell_centres(round(frozen[0].shape[2] ** 0.5), frozen[0].device)
        cosines = torch.stack(
            [take(f, current)[:, :, None] @ take(f, keyframes).transpose(-1, -2) for f in frozen]
        )  # [G, B, N, K, P, Q]
        statistics, _ = match_statistics(self.frozen_scale * cosines.mean(0), centres)
        return torch.cat([cosines.amax(-1).movedim(0, -1), statistics], dim=-1)


class OwnTokens(PlainMatcher):
    """Draws keyframe k's own tokens where they lie in keyframe k: in the wrong frame of reference.

    The variant that a token-to-token head is the answer to. It can learn what usually is where, and from the
    cameras which way to move it, but not which cell of the current view shows the same thing.
    """

    def cell_channels(self, token_dim: int, groups: int, params: HeadParams) -> int:
        self.own = nn.Linear(token_dim, params.width)
        return params.width

    def cells(self, tokens: Tensor, frozen: list[Tensor], current: Tensor, keyframes: Tensor) -> Tensor:
        return take(self.own(tokens), keyframes)


#: By ``HeadParams.kind``.
MATCHERS: dict[str, type[TokenMatcher] | type[PlainMatcher]] = {
    "token_to_token": TokenMatcher,
    "frozen_cosine": FrozenCosine,
    "own_tokens": OwnTokens,
}
