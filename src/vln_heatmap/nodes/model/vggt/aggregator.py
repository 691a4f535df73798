"""VGGT's trunk: a DINOv2 patch embedding, then pairs of attention within a frame and across all frames.

Invariant: a frame block never mixes frames and a global block mixes all of one sample; the first frame alone
carries its own camera and register tokens, because it is the world's frame of reference.

Source: "VGGT: Visual Geometry Grounded Transformer", arXiv:2503.11651.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vln_heatmap.nodes.model.vggt.layers import Block, Rotation, rope_rotation
from vln_heatmap.params import VGGTParams

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PatchProjection(nn.Module):
    """Cut images [N, 3, H, W] into patches and project them: [N, h*w, C]."""

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, patch)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)


class PatchEmbedding(nn.Module):
    """DINOv2 with registers: images [N, 3, H, W] -> normalised patch tokens [N, h*w, C]."""

    def __init__(self, params: VGGTParams) -> None:
        super().__init__()
        dim, self.patch, self.registers = params.dim, params.patch, params.registers
        self.side = params.pretrain_size // self.patch  # of the stored position table, in patches
        self.patch_embed = PatchProjection(dim, self.patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + self.side**2, dim) * 0.02)
        self.register_tokens = nn.Parameter(torch.zeros(1, self.registers, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, dim), requires_grad=False)  # in the checkpoint, unused
        self.blocks = nn.ModuleList(
            Block(dim, params.attention_heads, scale=1.0, eps=1e-6) for _ in range(params.vit_depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def _positions(self, height: int, width: int) -> Tensor:
        """Position table [1, 1 + h*w, C] for a grid of patches, resampled from the stored one."""
        if height == width == self.side:
            return self.pos_embed
        table = self.pos_embed[:, 1:].float().unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)
        table = F.interpolate(table, size=(height, width), mode="bicubic", antialias=True)  # [1, C, h, w]
        patches = table.flatten(2).transpose(1, 2).to(self.pos_embed.dtype)  # [1, h*w, C]
        return torch.cat([self.pos_embed[:, :1], patches], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        count = images.shape[0]
        height, width = images.shape[-2] // self.patch, images.shape[-1] // self.patch
        positions = self._positions(height, width)
        patches = self.patch_embed(images) + positions[:, 1:]  # [N, h*w, C]
        cls = (self.cls_token + positions[:, :1]).expand(count, -1, -1)  # [N, 1, C]
        registers = self.register_tokens.expand(count, -1, -1)  # [N, R, C], they have no position
        tokens = torch.cat([cls, registers, patches], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens[:, 1 + self.registers :])


def token_positions(height: int, width: int, specials: int, device: torch.device) -> Tensor:
    """(y, x) of one frame's tokens [specials + h*w, 2]: special ones at (0, 0), patches from (1, 1) on."""
    rows = torch.arange(1, height + 1, device=device)
    columns = torch.arange(1, width + 1, device=device)
    return torch.cat([rows.new_zeros(specials, 2), torch.cartesian_prod(rows, columns)])


class Aggregator(nn.Module):
    """Frames [B, T, 3, H, W] in [0, 1] -> tokens after chosen pairs, frame and global side by side.

    Each token tensor is [B, T, 1 + R + h*w, 2C]: one camera token, R registers, then the patches row by row.
    """

    def __init__(self, params: VGGTParams) -> None:
        super().__init__()
        dim, heads, scale = params.dim, params.attention_heads, params.layer_scale
        self.patch, self.head_dim = params.patch, dim // heads
        self.specials = 1 + params.registers
        self.patch_embed = PatchEmbedding(params)
        self.frame_blocks = nn.ModuleList(
            Block(dim, heads, scale=scale, qk_norm=True) for _ in range(params.pairs)
        )
        self.global_blocks = nn.ModuleList(
            Block(dim, heads, scale=scale, qk_norm=True) for _ in range(params.pairs)
        )
        self.camera_token = nn.Parameter(torch.randn(1, 2, 1, dim) * 1e-6)  # [first frame, all others]
        self.register_token = nn.Parameter(torch.randn(1, 2, params.registers, dim) * 1e-6)

    def _normalised(self, frames: Tensor) -> Tensor:
        """Images [B*T, 3, H, W] by ImageNet's statistics, in the precision of the weights.

        The statistics are no buffers, so that a model made on the meta device lacks nothing but its weights.
        """
        mean, std = (frames.new_tensor(part).view(3, 1, 1) for part in (IMAGENET_MEAN, IMAGENET_STD))
        return ((frames.flatten(0, 1) - mean) / std).to(self.camera_token.dtype)

    def _special_tokens(self, batch: int, frames: int) -> Tensor:
        """Camera and register tokens of every frame [B*T, 1 + R, C]."""
        pair = torch.cat([self.camera_token, self.register_token], dim=2)  # [1, 2, 1 + R, C]
        which = [0] + [1] * (frames - 1)
        return pair[:, which].expand(batch, -1, -1, -1).flatten(0, 1)

    def _rotations(
        self, height: int, width: int, frames: int, device: torch.device
    ) -> tuple[Rotation, Rotation]:
        """Rotary angles of one frame's tokens, and of all frames' tokens one after the other."""
        positions = token_positions(height, width, self.specials, device)  # [P, 2]
        cos, sin = rope_rotation(positions, self.head_dim)  # each [P, 2, D/4]
        return (cos, sin), (cos.repeat(frames, 1, 1), sin.repeat(frames, 1, 1))

    def forward(self, frames: Tensor, layers: Collection[int]) -> dict[int, Tensor]:
        """Tokens after each pair of ``layers`` (0 = the first pair), by pair."""
        batch, count = frames.shape[:2]
        height, width = (side // self.patch for side in frames.shape[-2:])
        patches = self.patch_embed(self._normalised(frames))  # [B*T, h*w, C]
        tokens = torch.cat([self._special_tokens(batch, count), patches], dim=1)  # [B*T, P, C]
        in_frame, in_sample = self._rotations(height, width, count, frames.device)
        chosen = {}
        for index, (frame_block, global_block) in enumerate(
            zip(self.frame_blocks, self.global_blocks, strict=True)
        ):
            local = frame_block(tokens, in_frame)  # [B*T, P, C]
            mixed = global_block(local.unflatten(0, (batch, count)).flatten(1, 2), in_sample)  # [B, T*P, C]
            tokens = mixed.unflatten(1, (count, -1)).flatten(0, 1)  # [B*T, P, C]
            if index in layers:
                chosen[index] = torch.cat([local, tokens], dim=-1).unflatten(0, (batch, count))
        return chosen
