"""Batches and networks for the tests of techniques: random ones of the right shapes, and one that is linear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import synthetic
import torch
from torch import Tensor, nn

from vln_heatmap.nodes.training.techniques.base import Batch, Context
from vln_heatmap.nodes.training.techniques.teacher import Teachers

WINDOWS, VIEWS, KEYFRAMES, SIZE = 3, 2, 3, 8
GRID, SIDE = synthetic.GRID, 28


def random_batch(*, windows: int = WINDOWS, seed: int = 0) -> Batch:
    """Windows of four frames with two current views, every target made up; the last keyframe is padding."""
    random = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(windows, *shape, generator=random)

    maps = (VIEWS, KEYFRAMES, SIZE, SIZE)
    mask = uniform(*maps)
    known = torch.ones(windows, VIEWS, KEYFRAMES, dtype=torch.bool)
    known[:, :, -1] = False
    keyframes = torch.tensor([[0, 1, 2], [1, 2, 3]]).expand(windows, -1, -1)
    return {
        "frames": (uniform(KEYFRAMES + 1, 3, SIDE, SIDE) * 255).round().to(torch.uint8),
        "features": uniform(KEYFRAMES + 1, synthetic.CHANNELS, GRID, GRID) - 0.5,
        "instruction": ["", *synthetic.PHRASES, "turn left"][:windows],
        "scene": torch.arange(windows),
        "current": torch.tensor([[3, 0]]).expand(windows, -1),
        "keyframes": keyframes,
        "keyframe_mask": known,
        "mask": mask,
        "distribution": mask / mask.sum((-2, -1), keepdim=True),
        "valid": torch.ones(windows, VIEWS, KEYFRAMES, dtype=torch.bool),
        "classes": uniform(VIEWS, KEYFRAMES, 3, SIZE, SIZE).softmax(3),
        "referred": uniform(VIEWS, SIZE, SIZE),
        "pixel_weight": torch.ones(windows, VIEWS, 1, SIZE, SIZE),
    }


@dataclass
class Answer:
    """An output that is made up."""

    mask_logits: Tensor
    distribution_logits: Tensor
    validity_logits: Tensor
    class_logits: Tensor | None


def random_answer(*, seed: int = 1, size: int = SIZE, scale: float = 3.0) -> Answer:
    """Logits of the batch's shapes."""
    random = torch.Generator().manual_seed(seed)
    maps = (WINDOWS, VIEWS, KEYFRAMES, size, size)
    return Answer(
        *(scale * torch.randn(maps, generator=random) for _ in range(2)),
        torch.randn(maps[:3], generator=random),
        scale * torch.randn(*maps[:3], 3, size, size, generator=random),
    )


class Linear(nn.Module):
    """The sum of all inputs of a window, each times its weight: [B]."""

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(2)
        shapes = {
            "frames": (KEYFRAMES + 1, 3, SIDE, SIDE),
            "features": (KEYFRAMES + 1, synthetic.CHANNELS, GRID, GRID),
        }
        self.weights = nn.ParameterDict(
            {name: torch.randn(s, generator=random) for name, s in shapes.items()}
        )

    def forward(self, batch: Batch) -> Tensor:
        return sum((batch[name] * weight).flatten(1).sum(1) for name, weight in self.weights.items())


def context(model: nn.Module, predict: Any = lambda net, batch: net(batch), objective: Any = None) -> Context:
    """A context whose objective is by default the mean over the windows of an output."""
    return Context(predict, objective or (lambda output, _: output.mean()), 14, Teachers(model))
