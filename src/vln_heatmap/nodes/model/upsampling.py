"""From the cells of tokens to fine heatmaps: doubling by doubling, guided by the current view's pixels.

Invariant: a map stays in the current view's frame, and a pixel acts only on its neighbourhood. Untrained, each
step is plain bilinear interpolation; without steps there is nothing here, no weight and no random number.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


def doublings(start: int, size: int) -> int:
    """How often a grid of ``start`` cells can double and still has at most ``size``."""
    return max(0, (size // start).bit_length() - 1)


class Guides(nn.Module):
    """What the current view shows at each resolution on the way.

    Args:
        width: channels; start: cells before the first doubling; steps: doublings.
    """

    def __init__(self, width: int, start: int, steps: int) -> None:
        super().__init__()
        self.sizes = [start << step for step in range(1, steps + 1)]
        self.convs = nn.ModuleList(nn.Conv2d(3, width, 3, padding=1) for _ in self.sizes)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """frames [M, 3, H, W] in [0, 1] -> for each step [M, width, s, s]."""
        return [
            conv(2 * F.interpolate(frames, size=(s, s), mode="bilinear", antialias=True) - 1)
            for s, conv in zip(self.sizes, self.convs, strict=True)
        ]


class Doubling(nn.Module):
    """Bilinear doubling, and a correction by maps and guide together."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.near = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.mix = nn.Conv2d(width, width, 1)
        self.correct = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.correct.weight)
        nn.init.zeros_(self.correct.bias)  # type: ignore[arg-type]

    def forward(self, maps: Tensor, guide: Tensor) -> Tensor:
        size = (guide.shape[-2], guide.shape[-1])  # 2s, but for frames and features of another resolution
        up = F.interpolate(maps, size=size, mode="bilinear", align_corners=False)  # [M, C, 2s, 2s]
        seen = self.mix(self.near(self.norm(up))) + guide
        return up + self.correct(F.gelu(seen))


class Upsampling(nn.Module):
    """Maps of a coarse grid on a finer one.

    Args:
        width: channels; size: cells along a side of the result; steps: doublings, the rest is interpolated.
    """

    def __init__(self, width: int, size: int, steps: int) -> None:
        super().__init__()
        self.size = size
        self.steps = nn.ModuleList(Doubling(width) for _ in range(steps))

    def forward(self, maps: Tensor, guides: Sequence[Tensor] = ()) -> Tensor:
        """Maps [V * K, C, s, s] -> [V * K, C, size, size].

        Args:
            maps: K of each of V views, view by view.
            guides: of each step [V, C, s_i, s_i].

        Raises:
            ValueError: another number of guides than of steps.
        """
        if len(guides) != len(self.steps):
            raise ValueError(f"there must be one guide a step ({len(self.steps)}), got {len(guides)}")
        for step, guide in zip(self.steps, guides, strict=True):
            maps = step(maps, guide.repeat_interleave(len(maps) // len(guide), dim=0))
        return F.interpolate(maps, size=(self.size, self.size), mode="bilinear", align_corners=False)
