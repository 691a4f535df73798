"""The same windows at several resolutions: near things look as if they were far, and the other way round.

Frames go to multiples of VGGT's patch, the encoder's features to a finer or coarser grid of the same image area.
The heatmap grid is the model's own at any resolution, so the targets stay as they are. Invariant: cell (i, j) of
an h x w grid covers the same share of the image before and after.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from vln_heatmap.nodes.model.fusion import align_grid
from vln_heatmap.nodes.training.techniques.base import Batch, Context, Counted
from vln_heatmap.params.techniques import MultiScaleParams


def scaled(batch: Batch, scale: float, *, patch: int) -> Batch:
    """The batch at another resolution.

    Args:
        batch: with frames [B, T, 3, S, S] in [0, 255] and features [B, T, C, g, g].
        scale: of the sides; the nearest multiple of the patch, at least one patch and one cell.
        patch: side of VGGT's patches in pixels.
    """
    frames, features = batch["frames"], batch["features"]
    side = max(1, round(frames.shape[-1] * scale / patch)) * patch
    grid = max(1, round(features.shape[-1] * scale))
    return {**batch, "frames": resized(frames, side), "features": align_grid(features, (grid, grid))}


def resized(frames: Tensor, side: int) -> Tensor:
    """Frames [B, T, 3, S, S] at another side, in float if they change."""
    if frames.shape[-1] == side:
        return frames
    flat = frames.flatten(0, 1).float()
    small = F.interpolate(flat, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
    return small.unflatten(0, frames.shape[:2])


class MultiScale(Counted):
    """Each step has one of the scales, in turn, for all its micro-batches."""

    def __init__(self, params: MultiScaleParams, context: Context) -> None:
        super().__init__()
        self.params, self.patch = params, context.patch

    def prepare(self, batch: Batch) -> Batch:
        scale = self.params.scales[self.step % len(self.params.scales)]
        return batch if scale == 1 else scaled(batch, scale, patch=self.patch)
