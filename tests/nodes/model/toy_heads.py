"""Matcher and heatmap head at toy size, with inputs."""

from typing import Any

import torch
from torch import Tensor

from vln_heatmap.nodes.model.heads import HeatmapHead
from vln_heatmap.nodes.model.matchers import TokenMatcher
from vln_heatmap.params import HeadParams

PARAMS = HeadParams(heads=2, embed=8, width=16, blocks=2, detail=6, heatmap_size=8)
GRID, DIM, CAMERA, FROZEN = 4, 12, 10, (5, 3)
BEST, ENTROPY, CYCLE, POSITION, DISPLACEMENT, SPREAD = 0, 1, 2, slice(3, 5), slice(5, 7), 7


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def matcher(params: HeadParams = PARAMS) -> TokenMatcher:
    torch.manual_seed(0)
    return TokenMatcher(DIM, CAMERA, len(FROZEN), params).eval()


def tokens(batch: int = 2, frames: int = 5, *, seed: int = 0) -> dict[str, Any]:
    """What the matcher takes of all frames."""
    cells = GRID * GRID
    frozen = [random(batch, frames, cells, c, seed=seed + 2 + c) for c in FROZEN]
    return {
        "tokens": random(batch, frames, cells, DIM, seed=seed),
        "camera": random(batch, frames, CAMERA, seed=seed + 1),
        "frozen": [torch.nn.functional.normalize(f, dim=-1) for f in frozen],
    }


def head(params: HeadParams = PARAMS) -> HeatmapHead:
    torch.manual_seed(0)
    return HeatmapHead(params, params.detail)


def head_inputs(b: int = 2, n: int = 2, k: int = 3) -> dict[str, Tensor]:
    size = PARAMS.heatmap_size
    return {
        "maps": random(b, n, k, PARAMS.width, GRID, GRID),
        "detail": random(b, n, PARAMS.detail, size, size, seed=1),
        "referred": 3 * random(b, n, size, size, seed=2),
        "everything": torch.tensor([True, False][:b]),
    }
