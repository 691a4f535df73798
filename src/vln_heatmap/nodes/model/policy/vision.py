"""What a policy's cameras show, as tokens of the language model: SigLIP and PaliGemma's projector.

SigLIP: arXiv:2303.15343. Invariant: with a source, tokens are those of transformers' PaliGemma for the same
image; a resampler replaces them by fewer that have looked at all of them.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from vln_heatmap.nodes.model.vggt.base import Origin
from vln_heatmap.nodes.model.vggt.weights import fingerprint
from vln_heatmap.params.policy import ResamplerParams, VisionParams


class SiglipVision(nn.Module):
    """Images to square grids of tokens of the language model's width.

    Args:
        params: sizes, or where the weights come from.
        width: channels D of the language model's tokens.

    Attributes:
        image_size: side S of the images; grid: tokens along a side.
        origin: where frozen weights come from that a checkpoint need not store; None for random ones.

    Raises:
        ValueError: the source is no PaliGemma, lacks weights, or has another image size or width.
    """

    def __init__(self, params: VisionParams, width: int) -> None:
        super().__init__()
        self.tower: Any
        self.origin: Origin | None = None
        if params.source is None:
            self.tower, self.project = _random_tower(params), nn.Linear(params.dim, width)
        else:
            self.tower, self.project = _official_tower(params.source, getattr(torch, params.dtype))
            self.origin = Origin(params.source, fingerprint(self.state_dict(), ""))
        config = self.tower.config
        if (params.image_size, width) != (config.image_size, self.project.out_features):
            raise ValueError(
                f"the vision tower takes images of {config.image_size} pixels and gives tokens of width "
                f"{self.project.out_features}, but vision.image_size is {params.image_size} and the language "
                f"model's width {width}"
            )
        self.image_size = params.image_size
        self.grid = config.image_size // config.patch_size

    def forward(self, images: Tensor) -> Tensor:
        """Tokens [N, g, g, D] of images [N, 3, S, S], uint8."""
        weights = self.project.weight
        pixels = images.to(weights.device, weights.dtype) / 127.5 - 1  # [-1, 1], as SigLIP was trained
        tokens = self.project(self.tower(pixel_values=pixels).last_hidden_state)  # [N, g * g, D]
        return tokens.unflatten(1, (self.grid, self.grid))


class Resampler(nn.Module):
    """Learned queries that look at all tokens of an image (Perceiver resampler, arXiv:2204.14198)."""

    def __init__(self, params: ResamplerParams, width: int) -> None:
        super().__init__()
        self.side = math.isqrt(params.tokens)
        self.queries = nn.Parameter(0.02 * torch.randn(params.tokens, width))
        layer = nn.TransformerDecoderLayer(
            width, params.attention_heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.look = nn.TransformerDecoder(layer, params.depth, norm=nn.LayerNorm(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [N, g, g, D] to [N, r, r, D]."""
        flat = tokens.flatten(1, 2).to(self.queries.dtype)  # [N, g * g, D]
        found = self.look(self.queries.expand(len(flat), -1, -1), flat)
        return found.unflatten(1, (self.side, self.side))


def _random_tower(params: VisionParams) -> Any:
    from transformers import SiglipVisionConfig, SiglipVisionModel

    config: Any = SiglipVisionConfig(
        image_size=params.image_size,
        patch_size=params.patch,
        hidden_size=params.dim,
        intermediate_size=params.hidden,
        num_hidden_layers=params.depth,
        num_attention_heads=params.attention_heads,
        vision_use_head=False,
    )
    return SiglipVisionModel(config)


def _official_tower(source: str, dtype: torch.dtype) -> tuple[Any, nn.Linear]:
    """Tower and projector of a PaliGemma, whose text layers are neither built nor read."""
    from transformers import AutoConfig, AutoModelForImageTextToText
    from transformers.utils import logging

    config: Any = AutoConfig.from_pretrained(source)
    if config.model_type != "paligemma":
        raise ValueError(f"{source} must be a paligemma model, it is {config.model_type!r}")
    config.text_config.num_hidden_layers = 0
    if getattr(config.text_config, "layer_types", None):
        config.text_config.layer_types = []
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # it would list every weight of the text model
    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            source, config=config, dtype=dtype, output_loading_info=True
        )
    finally:
        logging.set_verbosity(before)
    whole, info = loaded
    if missing := sorted(name for name in info["missing_keys"] if "vis" in name or "projector" in name):
        raise ValueError(f"{source} lacks {len(missing)} weights of the vision tower, such as {missing[0]}")
    return whole.model.vision_tower, whole.model.multi_modal_projector.linear
