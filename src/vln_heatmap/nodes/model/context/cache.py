"""What a language model has read of each dialogue, so that several are read on together and go apart again.

Invariant: a cache holds a dialogue's own tokens and no padding, so it does not matter with whom it was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vln_heatmap.nodes.model.language.decoding import Memory


@dataclass(frozen=True)
class Cache:
    """Keys and values of every layer, each [H, P, d], of the first P tokens of a dialogue."""

    layers: tuple[tuple[Tensor, Tensor], ...] = ()

    def __len__(self) -> int:
        return self.layers[0][0].shape[1] if self.layers else 0

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return sum(side.numel() * side.element_size() for layer in self.layers for side in layer)

    def first(self, length: int) -> Cache:
        """Of the first ``length`` tokens only."""
        if length >= len(self):
            return self
        return Cache(tuple((key[:, :length], value[:, :length]) for key, value in self.layers))


def together(caches: Sequence[Cache], device: torch.device) -> Memory:
    """One memory of several caches, padded on the left."""
    from transformers import DynamicCache

    longest = max(len(cache) for cache in caches)
    zero = torch.zeros(len(caches), dtype=torch.long, device=device)
    if not longest:
        return Memory(DynamicCache(), zero[:, None][:, :0].bool(), zero)
    lengths = torch.tensor([len(cache) for cache in caches], device=device)
    attention = torch.arange(longest, device=device) >= longest - lengths[:, None]  # [B, P]
    model = next(cache for cache in caches if len(cache)).layers
    layers = []
    for number, (key, value) in enumerate(model):
        sides = [
            torch.stack([_padded(c.layers[number][side] if len(c) else empty, longest) for c in caches])
            for side, empty in enumerate((key[:, :0], value[:, :0]))
        ]
        layers.append(tuple(sides))
    return Memory(DynamicCache(layers), attention, zero)


def apart(memory: Memory) -> list[Cache]:
    """The cache of each row, without padding; a copy, so that nothing else is kept alive."""
    columns = [row.nonzero()[:, 0] for row in memory.attention]
    return [
        Cache(tuple((layer.keys[row][:, c], layer.values[row][:, c]) for layer in memory.cache.layers))
        for row, c in enumerate(columns)
    ]


def _padded(side: Tensor, length: int) -> Tensor:
    return F.pad(side, (0, 0, length - side.shape[1], 0))
