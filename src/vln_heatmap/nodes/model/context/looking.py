"""What the model's eyes make of a view: geometry and features in one map, before the projector.

Invariant: a view is looked at by itself, so that what frozen eyes see of a frame can be stored and read again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vln_heatmap.nodes.model.fusion import align_grid


def look(eyes: Any, frames: Tensor, features: Tensor) -> Tensor:
    """Maps [N, D, g, g] of N views, g = the language model's grid, D = fusion's width.

    Args:
        eyes: a ``HeatmapModel`` or an ``ActionDialogue``.
        frames: [N, 3, S, S] uint8, S = VGGT's resolution.
        features: of the 2-D encoder [N, C, h, w].
    """
    grid, params = eyes.params.language.grid, eyes.params
    if not len(frames):
        return torch.zeros(0, params.fusion.width, grid, grid, device=eyes.feature_mean.device)
    geometry = eyes.vggt(frames[:, None].float() / 255)
    maps = geometry.patch_tokens.movedim(-1, 2).unflatten(-1, geometry.grid)  # [N, 1, 2C, h, w]
    mean, std = eyes.feature_mean[:, None, None], eyes.feature_std[:, None, None]
    standard = ((features.float() - mean) / std).clamp(-6, 6)  # as the heatmap model has it
    tokens = eyes.fusion(maps, standard[:, None])  # [N, 1, D, h, w]
    return align_grid(tokens, (grid, grid))[:, 0]
