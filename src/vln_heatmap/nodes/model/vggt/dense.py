"""Dense heads of VGGT: depth or world points with a confidence for every pixel (DPT, arXiv:2103.13413).

Invariant: one frame's map depends on that frame's tokens only, so frames are worked on a few at a time and
memory stays bounded however long the video is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vln_heatmap.params import VGGTParams

POSITION_WEIGHT = 0.1


def _waves(positions: Tensor, dim: int) -> Tensor:
    """Sines and cosines of positions [N] at dim/2 frequencies from 1 down to 1/100: [N, dim]."""
    exponents = torch.arange(dim // 2, dtype=torch.float64, device=positions.device) / (dim / 2)
    angles = positions.double()[:, None] * 100.0**-exponents  # [N, dim/2]
    return torch.cat([angles.sin(), angles.cos()], dim=-1).float()


def add_positions(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Add a faint position embedding to a feature map [N, C, h, w] of an image of ``size`` (height, width).

    Pixel centres run over a rectangle of the image's aspect ratio with a diagonal of half-length 1.
    """
    height, width = x.shape[-2:]
    channels = x.shape[1]
    diagonal = (size[0] ** 2 + size[1] ** 2) ** 0.5
    span_x, span_y = size[1] / diagonal * (1 - 1 / width), size[0] / diagonal * (1 - 1 / height)
    across = _waves(torch.linspace(-span_x, span_x, width, device=x.device), channels // 2)  # [w, C/2]
    down = _waves(torch.linspace(-span_y, span_y, height, device=x.device), channels // 2)  # [h, C/2]
    grid = torch.cat(
        [across.expand(height, -1, -1), down[:, None].expand(-1, width, -1)], dim=-1
    )  # [h, w, C]
    return x + POSITION_WEIGHT * grid.permute(2, 0, 1).to(x.dtype)


class ResidualUnit(nn.Module):
    """Two convolutions around a skip of relu(x): the official activation is in place, so x is rectified."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        return x + self.conv2(F.relu(self.conv1(x)))


class Refine(nn.Module):
    """Add a finer level to a coarser one, then upsample to the size of the next finer level."""

    def __init__(self, channels: int, *, skip: bool) -> None:
        super().__init__()
        if skip:
            self.resConfUnit1 = ResidualUnit(channels)
        self.resConfUnit2 = ResidualUnit(channels)
        self.out_conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        if skip is not None:
            x = x + self.resConfUnit1(skip)
        x = F.interpolate(self.resConfUnit2(x), size=size, mode="bilinear", align_corners=True)
        return self.out_conv(x)


class Scratch(nn.Module):
    """The official name of the part that merges four levels and reads the output from the finest."""

    refinenet1: Refine
    refinenet2: Refine
    refinenet3: Refine
    refinenet4: Refine

    def __init__(self, channels: Sequence[int], features: int, outputs: int) -> None:
        super().__init__()
        for level, width in enumerate(channels, start=1):
            setattr(self, f"layer{level}_rn", nn.Conv2d(width, features, 3, padding=1, bias=False))
            setattr(self, f"refinenet{level}", Refine(features, skip=level < 4))
        self.output_conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
        self.output_conv2 = nn.Sequential(
            nn.Conv2d(features // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, outputs, 1)
        )

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels fine to coarse, each [N, C_i, h_i, w_i] -> [N, features/2, 2 h_0, 2 w_0]."""
        one, two, three, four = (
            getattr(self, f"layer{number}_rn")(level) for number, level in enumerate(levels, start=1)
        )
        x = self.refinenet4(four, None, three.shape[-2:])
        x = self.refinenet3(x, three, two.shape[-2:])
        x = self.refinenet2(x, two, one.shape[-2:])
        height, width = one.shape[-2:]
        return self.output_conv1(self.refinenet1(x, one, (2 * height, 2 * width)))


class DenseHead(nn.Module):
    """Values and confidence for every pixel from the tokens of four pairs of the trunk.

    Args:
        params: sizes.
        outputs: channels of the value (1 for depth, 3 for points).
        activation: ``exp`` for depth, ``signed_exp`` (sign(x) * (exp|x| - 1)) for points.
    """

    def __init__(self, params: VGGTParams, outputs: int, activation: Literal["exp", "signed_exp"]) -> None:
        super().__init__()
        channels = params.dense_channels
        self.patch, self.specials, self.chunk = params.patch, 1 + params.registers, params.dense_chunk
        self.activation = activation
        self.norm = nn.LayerNorm(2 * params.dim)
        self.projects = nn.ModuleList(nn.Conv2d(2 * params.dim, width, 1) for width in channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(channels[0], channels[0], 4, 4),
                nn.ConvTranspose2d(channels[1], channels[1], 2, 2),
                nn.Identity(),
                nn.Conv2d(channels[3], channels[3], 3, 2, padding=1),
            ]
        )
        self.scratch = Scratch(channels, params.dense_features, outputs + 1)

    def _maps(self, tokens: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Raw output [N, H, W, outputs + 1] from patch tokens of four levels, each [N, h*w, 2C]."""
        grid = (size[0] // self.patch, size[1] // self.patch)
        levels = []
        for level, project, resize in zip(tokens, self.projects, self.resize_layers, strict=True):
            image = self.norm(level.float()).transpose(1, 2).unflatten(-1, grid)  # [N, 2C, h, w]
            levels.append(resize(add_positions(project(image), size)))
        x = self.scratch(levels)  # [N, features/2, 8h, 8w]
        x = F.interpolate(x, size=size, mode="bilinear", align_corners=True)
        return self.scratch.output_conv2(add_positions(x, size)).permute(0, 2, 3, 1)

    def forward(self, tokens: Sequence[Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Values [B, T, H, W, outputs] and confidence [B, T, H, W] (at least 1).

        Args:
            tokens: of four pairs, each [B, T, 1 + R + h*w, 2C].
            size: (H, W) of the frames.
        """
        batch = tokens[0].shape[0]
        patches = [level[:, :, self.specials :].flatten(0, 1).split(self.chunk) for level in tokens]
        raw = torch.cat([self._maps(chunk, size) for chunk in zip(*patches, strict=True)])  # [B*T, H, W, o+1]
        raw = raw.unflatten(0, (batch, -1))
        value, confidence = raw[..., :-1], 1 + raw[..., -1].exp()
        value = value.exp() if self.activation == "exp" else value.sign() * value.abs().expm1()
        return value, confidence
