"""The transformer parts of VGGT: rotary positions in two dimensions, attention, MLP, residual block.

Invariant: parameter names are those of the official checkpoint (``attn.qkv``, ``ls1.gamma``, ``mlp.fc1`` …),
so the names of the modules below are a file format.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROPE_BASE = 100.0

Rotation = tuple[Tensor, Tensor]


def rope_rotation(positions: Tensor, head_dim: int) -> Rotation:
    """Cosines and sines that turn a query or key to its place in the image.

    The first half of the head's channels turns with y, the second with x; channel pair i of a half turns by
    ``position * 100 ** (-2 i / half)`` (RoFormer, arXiv:2104.09864, once per axis), so that the product of a
    query and a key depends on their offset only.

    Args:
        positions: (y, x) of every token [N, 2].
        head_dim: channels of one attention head, a multiple of 4.

    Returns:
        cos, sin: each [N, 2, head_dim / 4], the second axis for (y, x).
    """
    quarter = head_dim // 4
    exponents = torch.arange(quarter, device=positions.device, dtype=torch.float32) / quarter  # [D/4]
    angles = positions[..., None].float() * ROPE_BASE**-exponents  # [N, 2, D/4]
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn queries or keys [B, heads, N, D] by the angles of :func:`rope_rotation`; same shape and dtype."""
    cos, sin = (part.to(x.dtype) for part in rotation)  # [N, 2, D/4]
    first, second = x.unflatten(-1, (2, 2, -1)).unbind(-2)  # each [B, heads, N, 2, D/4]
    turned = torch.stack([first * cos - second * sin, second * cos + first * sin], dim=-2)
    return turned.flatten(-3)  # [B, heads, N, D]


class LayerScale(nn.Module):
    """Per-channel scale of a residual branch (CaiT, arXiv:2103.17239)."""

    def __init__(self, dim: int, scale: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), scale))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Mlp(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, dim: int, hidden: int, out: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Attention(nn.Module):
    """Fused multi-head self-attention, with normalised queries and keys if ``qk_norm``."""

    def __init__(self, dim: int, heads: int, *, qk_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.q_norm = nn.LayerNorm(dim // heads) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(dim // heads) if qk_norm else nn.Identity()
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # [B, N, 3, heads, D]
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each [B, heads, N, D]
        query, key = self.q_norm(query), self.k_norm(key)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        # under autocast the norms return float32, attention wants one dtype
        mixed = F.scaled_dot_product_attention(query.to(value.dtype), key.to(value.dtype), value)
        return self.proj(mixed.transpose(1, 2).flatten(-2))  # [B, N, C]


class Block(nn.Module):
    """Pre-norm transformer block: tokens [B, N, C] -> [B, N, C]."""

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        scale: float,
        qk_norm: bool = False,
        eps: float = 1e-5,
        ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, heads, qk_norm=qk_norm)
        self.ls1 = LayerScale(dim, scale)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, int(dim * ratio), dim)
        self.ls2 = LayerScale(dim, scale)

    def forward(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x), rotation))
        return x + self.ls2(self.mlp(self.norm2(x)))
