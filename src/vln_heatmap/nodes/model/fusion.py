"""Where geometry (VGGT) and semantics (2-D encoder) of a frame become one token per grid cell.

Invariant: whatever grids the two sources use (VGGT /14, DINOv3 /16, a CNN's stride), fused tokens lie on the
encoder's grid and cell (i, j) of the result covers the same image area as cell (i, j) of the encoder.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vln_heatmap.params import FusionParams


def align_grid(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample feature maps [..., C, h, w] to [..., C, *size] so that image positions stay where they are.

    Bilinear with half-pixel centres (``align_corners=False``), the convention in which both grids tile the
    same image. Downsampling averages instead of skipping cells: plain means where whole blocks fit, antialiased
    otherwise.
    """
    if features.shape[-2:] == size:
        return features
    flat = features.reshape(-1, *features.shape[-3:])  # [N, C, h, w]
    shrink = size[0] < features.shape[-2] or size[1] < features.shape[-1]
    if features.shape[-2] % size[0] == 0 and features.shape[-1] % size[1] == 0:
        flat = F.avg_pool2d(flat, (features.shape[-2] // size[0], features.shape[-1] // size[1]))
    else:
        full = flat.float()  # half precision has no antialiased kernel on the CPU
        full = F.interpolate(full, size=size, mode="bilinear", align_corners=False, antialias=shrink)
        flat = full.to(flat.dtype)
    return flat.reshape(*features.shape[:-2], *size)


class ConcatMLP(nn.Module):
    """Both sources projected, concatenated, mixed by a two-layer perceptron per cell.

    Args:
        geometry_dim: channels of the geometry tokens.
        semantic_dim: channels of the 2-D encoder.
        params: width of the result.
    """

    def __init__(self, geometry_dim: int, semantic_dim: int, params: FusionParams) -> None:
        super().__init__()
        self.geometry = nn.Sequential(nn.LayerNorm(geometry_dim), nn.Linear(geometry_dim, params.width))
        self.semantic = nn.Sequential(nn.LayerNorm(semantic_dim), nn.Linear(semantic_dim, params.width))
        self.mix = nn.Sequential(nn.GELU(), nn.Linear(2 * params.width, params.width))

    def forward(self, geometry: Tensor, semantic: Tensor) -> Tensor:
        """Fuse maps of the same frames.

        Args:
            geometry: [B, T, Cg, hg, wg] VGGT patch tokens as maps.
            semantic: [B, T, Cs, g, g] encoder features.

        Returns:
            fused tokens as maps [B, T, width, g, g].
        """
        # project first: fewer channels to resample
        geo = self.geometry(geometry.movedim(2, -1)).movedim(-1, 2)  # [B, T, width, hg, wg]
        geo = align_grid(geo, (semantic.shape[-2], semantic.shape[-1])).movedim(2, -1)  # [B, T, g, g, width]
        sem = self.semantic(semantic.movedim(2, -1))  # [B, T, g, g, width]
        return (sem + self.mix(torch.cat([geo, sem], dim=-1))).movedim(-1, 2)


FUSIONS: dict[str, type[nn.Module]] = {"concat_mlp": ConcatMLP}
