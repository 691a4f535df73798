"""VGGT at any size under the official names: tokens that know the scene's geometry, and its camera and maps.

Invariant: built with ``VGGTParams.official()`` its state dict has the names and shapes of the official 1B
checkpoint without the track head, so that checkpoint loads strictly; smaller sizes differ in numbers only.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vln_heatmap.nodes.model.vggt.aggregator import Aggregator
from vln_heatmap.nodes.model.vggt.camera import CameraHead
from vln_heatmap.nodes.model.vggt.dense import DenseHead
from vln_heatmap.params import VGGTParams

Head = Literal["camera", "depth", "points"]
_PREFIXES = {"camera": "camera_head.", "depth": "depth_head.", "points": "point_head."}
_TRACK_HEAD = "track_head."


@dataclass(frozen=True)
class VGGTOutput:
    """What VGGT knows of frames [B, T, 3, H, W]; a head that was not asked for leaves None.

    Attributes:
        layers: tokens after the pairs ``VGGTParams.layers``, each [B, T, 1 + R + h*w, 2C].
        patch_tokens: patches after the last pair, row by row [B, T, h*w, 2C].
        camera_tokens: camera tokens after the last pair [B, T, 2C].
        grid: (h, w), patches down and across.
        pose_encodings: after each refinement round, the last is the answer, each [B, T, 9]; see
            :mod:`vln_heatmap.nodes.model.vggt.camera`.
        depth: z-depth in the scene's own scale [B, T, H, W].
        depth_confidence: at least 1 [B, T, H, W].
        points: in the frame of reference of the first camera [B, T, H, W, 3].
        points_confidence: at least 1 [B, T, H, W].
    """

    layers: list[Tensor]
    patch_tokens: Tensor
    camera_tokens: Tensor
    grid: tuple[int, int]
    pose_encodings: list[Tensor] | None = None
    depth: Tensor | None = None
    depth_confidence: Tensor | None = None
    points: Tensor | None = None
    points_confidence: Tensor | None = None


class VGGT(nn.Module):
    """Visual Geometry Grounded Transformer (arXiv:2503.11651), without its point tracker.

    Args:
        params: sizes, and which heads exist.
    """

    def __init__(self, params: VGGTParams) -> None:
        super().__init__()
        self.params = params
        self.channels = 2 * params.dim  # of every token that leaves
        self.aggregator = Aggregator(params)
        if "camera" in params.heads:
            self.camera_head = CameraHead(params)
        if "points" in params.heads:
            self.point_head = DenseHead(params, 3, "signed_exp")
        if "depth" in params.heads:
            self.depth_head = DenseHead(params, 1, "exp")

    def forward(self, frames: Tensor, heads: Collection[Head] = ()) -> VGGTOutput:
        """Tokens of frames [B, T, 3, H, W] in [0, 1], and the outputs of ``heads`` and no others.

        Raises:
            ValueError: frames of another shape, sides that are no multiples of the patch, a head unknown
                or not built.
        """
        self._check(frames, heads)
        last = self.params.pairs - 1
        tokens = self.aggregator(frames, {*self.params.layers, last})
        layers = [tokens[layer] for layer in self.params.layers]
        height, width = frames.shape[-2:]
        camera_tokens = tokens[last][:, :, 0]  # [B, T, 2C]
        return VGGTOutput(
            layers=layers,
            patch_tokens=tokens[last][:, :, self.aggregator.specials :],
            camera_tokens=camera_tokens,
            grid=(height // self.params.patch, width // self.params.patch),
            **self._read_heads(heads, camera_tokens, layers, (height, width)),
        )

    def _read_heads(
        self, heads: Collection[Head], camera_tokens: Tensor, layers: list[Tensor], size: tuple[int, int]
    ) -> dict[str, Any]:
        """Outputs of the heads that were asked for, by field of :class:`VGGTOutput`."""
        found: dict[str, Any] = {}
        with torch.autocast(camera_tokens.device.type, enabled=False):  # poses and maps need full precision
            if "camera" in heads:
                found["pose_encodings"] = self.camera_head(camera_tokens.float())
            if "depth" in heads:
                depth, found["depth_confidence"] = self.depth_head([layer.float() for layer in layers], size)
                found["depth"] = depth[..., 0]
            if "points" in heads:
                points = self.point_head([layer.float() for layer in layers], size)
                found["points"], found["points_confidence"] = points
        return found

    def _check(self, frames: Tensor, heads: Collection[Head]) -> None:
        patch = self.params.patch
        if frames.ndim != 5 or frames.shape[1] < 1 or frames.shape[2] != 3:
            raise ValueError(f"frames must be [B, T >= 1, 3, H, W], got {list(frames.shape)}")
        if any(side < patch or side % patch for side in frames.shape[-2:]):
            height, width = frames.shape[-2:]
            raise ValueError(f"frame sides must be multiples of the patch ({patch}), got {height}x{width}")
        for head in heads:
            if head not in self.params.heads:
                raise ValueError(f"head must be one of those built {list(self.params.heads)}, got {head!r}")


def load_official(model: VGGT, path: Path) -> VGGT:
    """Fill ``model`` with a checkpoint in the official layout, and return it.

    Args:
        model: built at the checkpoint's size (``VGGTParams.official()`` for VGGT-1B).
        path: a ``.safetensors`` or ``.pt`` file, or a folder with ``model.safetensors`` or ``model.pt``.

    Raises:
        FileNotFoundError: no such file, or a folder without one of the two.
        ValueError: names or shapes that differ from the model's. The track head, and heads that ``model`` was
            built without, are dropped.
    """
    state = _read_state(_checkpoint_file(path))
    absent = [_TRACK_HEAD] + [prefix for head, prefix in _PREFIXES.items() if head not in model.params.heads]
    state = {name: value for name, value in state.items() if not name.startswith(tuple(absent))}
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ValueError(f"{path} holds a VGGT of another size or layout: {error}") from error
    return model


def _checkpoint_file(path: Path) -> Path:
    if path.is_dir():
        for name in ("model.safetensors", "model.pt"):
            if (path / name).is_file():
                return path / name
        raise FileNotFoundError(f"{path} must hold model.safetensors or model.pt, found neither")
    if not path.is_file():
        raise FileNotFoundError(f"no VGGT checkpoint at {path}")
    return path


def _read_state(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)
