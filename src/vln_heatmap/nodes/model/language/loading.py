"""Official weights from a folder or a hub id, without what we do not use.

Invariant: the vision tower is neither built nor read, weights go straight into their final precision, and a
folder that lacks any weight of the text model is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from vln_heatmap.nodes.model.language.flash import register
from vln_heatmap.params import LanguageParams


def attention_name(attention: str) -> str:
    """Name of an attention in transformers: its own, but flash attention is ours, which knows our masks."""
    return register() if attention == "flash_attention_2" else attention


def load_official(
    params: LanguageParams, dtype: torch.dtype, *, no_tower: Mapping[str, int]
) -> tuple[Any, nn.Module | None]:
    """Text model and output layer (None where it is the embedding) of a vision-language model.

    transformers reads the shards one tensor at a time into modules that hold no memory before, so that the
    peak is the weights themselves.

    Args:
        params: with a ``source``.
        dtype: of the weights.
        no_tower: values of the vision configuration with which the tower has no layers.

    Raises:
        ValueError: the source is another kind of model, or lacks weights.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText
    from transformers.utils import logging

    source = str(params.source)
    config: Any = AutoConfig.from_pretrained(source)
    if config.model_type != params.kind:
        raise ValueError(f"{params.source} must be a {params.kind} model, it is {config.model_type!r}")
    for name, value in no_tower.items():
        setattr(config.vision_config, name, value)
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # it would list every weight of the tower
    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            source,
            config=config,
            dtype=dtype,
            attn_implementation=attention_name(params.attention),
            output_loading_info=True,
        )
    finally:
        logging.set_verbosity(before)
    whole, info = loaded
    if missing := sorted(
        name for name in info["missing_keys"] if "vis" not in name and "projector" not in name
    ):
        raise ValueError(
            f"{params.source} lacks {len(missing)} weights of the text model, such as {missing[0]}"
        )
    tied = whole.lm_head.weight is whole.get_input_embeddings().weight
    return whole.model.language_model, None if tied else whole.lm_head
