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


class Projections(nn.Module):
    """Both sources normalised and projected to one width, on the semantic grid: what every fusion starts with.

    Args:
        geometry_dim: channels of the geometry tokens.
        semantic_dim: channels of the 2-D encoder.
        params: width of the result.
    """

    def __init__(self, geometry_dim: int, semantic_dim: int, params: FusionParams) -> None:
        super().__init__()
        self.geometry = nn.Sequential(nn.LayerNorm(geometry_dim), nn.Linear(geometry_dim, params.width))
        self.semantic = nn.Sequential(nn.LayerNorm(semantic_dim), nn.Linear(semantic_dim, params.width))

    def project(self, geometry: Tensor, semantic: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [B, T, Cg, hg, wg] and [B, T, Cs, g, g] to tokens of one width, each [B, T, g, g, width]."""
        # project first: fewer channels to resample
        geo = self.geometry(geometry.movedim(2, -1)).movedim(-1, 2)  # [B, T, width, hg, wg]
        geo = align_grid(geo, (semantic.shape[-2], semantic.shape[-1])).movedim(2, -1)  # [B, T, g, g, width]
        return geo, self.semantic(semantic.movedim(2, -1))


class Additive(Projections):
    """The sum of both projections: nothing is mixed, the cheapest fusion."""

    def forward(self, geometry: Tensor, semantic: Tensor) -> Tensor:
        """See :meth:`ConcatMLP.forward`."""
        geo, sem = self.project(geometry, semantic)
        return (sem + geo).movedim(-1, 2)


class ConcatMLP(Projections):
    """Both sources projected, concatenated, mixed by a two-layer perceptron per cell."""

    def __init__(self, geometry_dim: int, semantic_dim: int, params: FusionParams) -> None:
        super().__init__(geometry_dim, semantic_dim, params)
        self.mix = nn.Sequential(nn.GELU(), nn.Linear(2 * params.width, params.width))

    def forward(self, geometry: Tensor, semantic: Tensor) -> Tensor:
        """Fuse maps of the same frames.

        Args:
            geometry: [B, T, Cg, hg, wg] VGGT patch tokens as maps.
            semantic: [B, T, Cs, g, g] encoder features.

        Returns:
            fused tokens as maps [B, T, width, g, g].
        """
        geo, sem = self.project(geometry, semantic)
        return (sem + self.mix(torch.cat([geo, sem], dim=-1))).movedim(-1, 2)


class GatedCrossAttention(Projections):
    """Semantic tokens ask all geometry tokens of their frame, and a gate lets the answer in.

    The gate, tanh of a learned number that starts at 0, begins closed (Flamingo, arXiv:2204.14198): training
    starts from the semantic tokens alone. The geometry of the same cell is added to the query, so that a cell
    can find itself.
    """

    def __init__(self, geometry_dim: int, semantic_dim: int, params: FusionParams) -> None:
        super().__init__(geometry_dim, semantic_dim, params)
        self.attention_heads = params.attention_heads
        self.ask = nn.Linear(params.width, params.width)
        self.answer = nn.Linear(params.width, 2 * params.width)
        self.leave = nn.Linear(params.width, params.width)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, geometry: Tensor, semantic: Tensor) -> Tensor:
        """See :meth:`ConcatMLP.forward`."""
        geo, sem = self.project(geometry, semantic)  # [B, T, g, g, width]
        queries = self._heads(self.ask(sem + geo))  # [B*T, heads, g*g, width / heads]
        keys, values = (self._heads(part) for part in self.answer(geo).chunk(2, dim=-1))
        found = F.scaled_dot_product_attention(queries, keys, values)
        found = self.leave(found.transpose(1, 2).flatten(2)).view(sem.shape)  # [B, T, g, g, width]
        return (sem + torch.tanh(self.gate) * found).movedim(-1, 2)

    def _heads(self, tokens: Tensor) -> Tensor:
        """[B, T, g, g, width] to [B*T, heads, g*g, width / heads]."""
        flat = tokens.flatten(0, 1).flatten(1, 2)  # [B*T, g*g, width]
        return flat.unflatten(-1, (self.attention_heads, -1)).transpose(1, 2)


FUSIONS: dict[str, type[Projections]] = {
    "concat_mlp": ConcatMLP,
    "additive": Additive,
    "gated_cross_attention": GatedCrossAttention,
}
