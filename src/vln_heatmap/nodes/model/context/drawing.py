"""Heatmaps as the dialogue reads them: drawn by the model as it was finetuned, told in a few numbers a keyframe.

The drawer keeps the weights that it was finetuned with, whatever navigation trains: frozen parts are shared with
the dialogue, parts that train are copied. Invariant: every view is drawn from itself and earlier views only, and
always from the same number of frames; where there are too few earlier ones the view stands in for them.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vln_heatmap.nodes.model.parts import part_of
from vln_heatmap.nodes.navigation.history import memory_frames
from vln_heatmap.params.navigation_model import DialoguePart, SummaryParams


def frozen_twin(model: Any, trained: tuple[DialoguePart, ...]) -> Any:
    """The same ``HeatmapModel``, frozen: its parts that train are copies, all others the same tensors."""
    shared: dict[int, Any] = {
        id(p): p for name, p in model.named_parameters() if part_of(name) not in trained
    }
    shared[id(model.language.tokenizer)] = model.language.tokenizer
    twin = copy.deepcopy(model, shared)
    for name, parameter in twin.named_parameters():
        if part_of(name) in trained:
            parameter.requires_grad_(False)
    return twin.eval()


def drawn_from(view: int, count: int) -> list[int]:
    """Frames that view number ``view`` is drawn from: ``count`` keyframes and the view itself, the last."""
    earlier = memory_frames(view, count)
    return [view] * (count - len(earlier)) + [*earlier, view]


class Summaries(nn.Module):
    """A token for each keyframe of a view, of what its heatmap says.

    Args:
        params: number of keyframes, and cells of a summary.
        width: channels D of the tokens.
    """

    def __init__(self, params: SummaryParams, width: int) -> None:
        super().__init__()
        self.params = params
        self.project = nn.Linear(params.grid**2 + 2, width)

    def forward(self, numbers: Tensor) -> Tensor:
        """Numbers [M, K, n] of ``summarised`` as tokens [M, K, D]."""
        return self.project(numbers.to(self.project.weight.dtype))


@torch.no_grad()
def summarised(
    drawer: Any, frames: Tensor, features: Tensor, instructions: list[str], params: SummaryParams
) -> Tensor:
    """What the heatmaps of M views say of their K keyframes: [M, K, n].

    Mean probability in each cell of a coarse grid, the greatest anywhere, and that of there being anything.

    Args:
        drawer: a frozen ``HeatmapModel``.
        frames: keyframes and view [M, K + 1, 3, S, S] in [0, 1]; features: of them [M, K + 1, C, g, g].
        instructions: M texts.
    """
    count = frames.shape[1] - 1
    current = torch.full((len(frames), 1), count, device=frames.device)
    keyframes = torch.arange(count, device=frames.device).expand(len(frames), 1, -1)
    output = drawer(frames, features, instructions, current, keyframes)
    maps = output.mask_logits[:, 0].float().sigmoid()  # [M, K, h, w]
    coarse = F.adaptive_avg_pool2d(maps, params.grid).flatten(2)  # [M, K, n - 2]
    valid = output.validity_logits[:, 0].float().sigmoid()  # [M, K]
    return torch.cat([coarse, maps.amax((2, 3))[..., None], valid[..., None]], -1)


def line_places(count: int) -> NDArray[np.int64]:
    """Places of tokens that stand side by side [count, 3]."""
    return np.stack([np.zeros(count, np.int64), np.zeros(count, np.int64), np.arange(count)], -1)
