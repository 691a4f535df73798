"""VGGT at any size under the official names: tokens that know the scene's geometry, and its camera and maps.

Invariant: built with ``VGGTParams.official()`` its state dict has the names and shapes of the official 1B
checkpoint without the track head, so that checkpoint loads strictly; smaller sizes differ in numbers only.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vln_heatmap.nodes.model.vggt.aggregator import Aggregator
from vln_heatmap.nodes.model.vggt.base import Head, Origin, VGGTOutput, check_request
from vln_heatmap.nodes.model.vggt.camera import CameraHead
from vln_heatmap.nodes.model.vggt.dense import DenseHead
from vln_heatmap.nodes.model.vggt.weights import load_source
from vln_heatmap.params import VGGTParams

_PREFIXES = {"camera": "camera_head.", "depth": "depth_head.", "points": "point_head."}
_TRACK_HEAD = "track_head."


class VGGT(nn.Module):
    """Visual Geometry Grounded Transformer (arXiv:2503.11651), without its point tracker.

    Args:
        params: sizes, which heads exist, precision of the trunk, and whether it is trained. Weights are random:
            see :meth:`from_source`.
    """

    def __init__(self, params: VGGTParams) -> None:
        super().__init__()
        self.params = params
        self.origin: Origin | None = None
        self.channels = 2 * params.dim  # of every token that leaves
        self.aggregator = Aggregator(params)
        if "camera" in params.heads:
            self.camera_head = CameraHead(params)
        if "points" in params.heads:
            self.point_head = DenseHead(params, 3, "signed_exp")
        if "depth" in params.heads:
            self.depth_head = DenseHead(params, 1, "exp")
        self.aggregator.to(getattr(torch, params.dtype))
        self.requires_grad_(not params.frozen)
        self.aggregator.patch_embed.mask_token.requires_grad_(False)  # in the checkpoint, unused

    @classmethod
    def from_source(cls, params: VGGTParams) -> VGGT:
        """The model with the weights that ``params.source`` names; no random ones are made before.

        Raises:
            FileNotFoundError, ValueError: see :func:`load_official`.
        """
        if params.source is None:
            raise ValueError("vggt.source must name weights, got none")
        with torch.device("meta"):
            model = cls(params)
        return load_official(model, params.source)

    def forward(self, frames: Tensor, heads: Collection[Head] = ()) -> VGGTOutput:
        """Tokens of frames [B, T, 3, H, W] in [0, 1], and the outputs of ``heads`` and no others.

        Raises:
            ValueError: frames of another shape, sides that are no multiples of the patch, a head unknown
                or not built.
        """
        check_request(self.params, frames, heads)
        last = self.params.pairs - 1
        tokens = self.aggregator(frames, {*self.params.layers, last})
        layers = [tokens[layer] for layer in self.params.layers]
        height, width = frames.shape[-2:]
        camera_tokens = tokens[last][:, :, 0].to(frames.dtype)  # [B, T, 2C]
        return VGGTOutput(
            layers=layers,
            patch_tokens=tokens[last][:, :, self.aggregator.specials :].to(frames.dtype),
            camera_tokens=camera_tokens,
            grid=(height // self.params.patch, width // self.params.patch),
            **self._read_heads(heads, camera_tokens, layers, (height, width)),
        )

    def _read_heads(
        self, heads: Collection[Head], camera_tokens: Tensor, layers: list[Tensor], size: tuple[int, int]
    ) -> dict[str, Any]:
        """Outputs of the heads that were asked for, by field of :class:`VGGTOutput`."""
        found: dict[str, Any] = {}
        if not heads:
            return found
        with torch.autocast(camera_tokens.device.type, enabled=False):  # poses and maps need full precision
            if "camera" in heads:
                found["pose_encodings"] = self.camera_head(camera_tokens.float())
            if "depth" in heads:
                depth, found["depth_confidence"] = self.depth_head(layers, size)
                found["depth"] = depth[..., 0]
            if "points" in heads:
                found["points"], found["points_confidence"] = self.point_head(layers, size)
        return found


def load_official(model: VGGT, source: str | Path) -> VGGT:
    """Fill ``model`` with a checkpoint in the official layout, and return it.

    Args:
        model: built at the checkpoint's size (``VGGTParams.official()`` for VGGT-1B).
        source: a ``.safetensors`` or ``.pt`` file, a folder with ``model.safetensors`` or ``model.pt``, or a hub
            id such as ``facebook/VGGT-1B``.

    Raises:
        FileNotFoundError: none of these.
        ValueError: names or shapes that differ from the model's. The track head, and heads that ``model`` was
            built without, are dropped.
    """
    absent = [prefix for head, prefix in _PREFIXES.items() if head not in model.params.heads]
    model.origin = load_source(model, source, (_TRACK_HEAD, *absent))
    return model
