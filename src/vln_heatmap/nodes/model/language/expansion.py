"""New layers for a small language model that is to learn more than it was made for.

Source of ``expand``: block expansion, Wu et al. 2024 (LLaMA Pro, arXiv:2401.02415).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


def expand(text_model: Any, count: int) -> None:
    """Append copies of the last layer whose outputs are zero: before training they change nothing.

    Args:
        text_model: of transformers, with ``layers`` and ``config``; changed in place.
        count: of layers to append.
    """
    layers, config = text_model.layers, text_model.config
    for _ in range(count):
        layer = copy.deepcopy(layers[-1])
        layer.self_attn.layer_idx = len(layers)
        for written in (layer.self_attn.o_proj, layer.mlp.down_proj):
            for parameter in written.parameters():
                nn.init.zeros_(parameter)
        layers.append(layer)
    config.num_hidden_layers = len(layers)
    if getattr(config, "layer_types", None):
        config.layer_types = [*config.layer_types, *[config.layer_types[-1]] * count]


def renew(text_model: Any, *, seed: int = 0) -> None:
    """Give all layers new initial weights, as transformers does; embeddings and the last norm stay.

    Args:
        text_model: of transformers; changed in place.
        seed: of the weights.
    """
    generator = torch.Generator().manual_seed(seed)
    spread = text_model.config.initializer_range
    with torch.no_grad():
        for name, parameter in text_model.layers.named_parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
