"""VGGT-Omega behind the interface of VGGT.

Its code (package ``vggt_omega``) and its weights are published under terms of their own and are not part of
this project: they are used if they are installed. Invariant: upstream's trunk and heads are called as they
are; only the layout of what comes out is changed.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from vln_heatmap.nodes.model.vggt.base import Head, Origin, VGGTOutput, check_request
from vln_heatmap.nodes.model.vggt.points import depth_points
from vln_heatmap.nodes.model.vggt.weights import fingerprint, locate, read_state
from vln_heatmap.params import VGGTParams

_MODULE = "vggt_omega.models.vggt_omega"


class VGGTOmegaMissingError(ImportError):
    """VGGT-Omega was asked for and is not installed."""


class VGGTOmega(nn.Module):
    """Adapter: tokens, poses and depth of VGGT-Omega as a :class:`VGGTOutput`.

    It has no point head: points are those of depth and camera, with the depth's confidence, and ``layers`` is
    empty. Poses come in one round.

    Args:
        params: ``patch``, ``dim``, heads, precision and whether it is trained; depths are upstream's own.
        upstream: the module to wrap; None builds the one of the package ``vggt_omega``.

    Raises:
        VGGTOmegaMissingError: no module is given and the package is not installed.
    """

    upstream: Any

    def __init__(self, params: VGGTParams, upstream: Any = None) -> None:
        super().__init__()
        self.params = params
        self.origin: Origin | None = None
        upstream = _build(params) if upstream is None else upstream
        self.upstream = upstream
        self.channels = 2 * upstream.aggregator.camera_token.shape[-1]
        upstream.aggregator.to(getattr(torch, params.dtype))
        self.requires_grad_(not params.frozen)

    @classmethod
    def from_source(cls, params: VGGTParams) -> VGGTOmega:
        """The model with the weights that ``params.source`` names.

        Raises:
            VGGTOmegaMissingError: the package is not installed.
            FileNotFoundError, ValueError: no weights there, or of another size or layout.
        """
        if params.source is None:
            raise ValueError("vggt.source must name weights, got none")
        model = cls(params)
        model.load(params.source)
        return model

    def load(self, source: str) -> None:
        """Fill in weights as upstream publishes them; heads that are not built are dropped.

        Raises:
            FileNotFoundError, ValueError: as :meth:`from_source`.
        """
        path = locate(source)
        state = _renamed(read_state(path))
        absent = tuple(
            f"{part}." for part in ("camera_head", "dense_head", "alignment_head") if not self._has(part)
        )
        state = {name: value for name, value in state.items() if not name.startswith(absent)}
        try:
            self.upstream.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise ValueError(f"{path} holds no VGGT-Omega of this size and version: {error}") from error
        self.origin = Origin(source, fingerprint(state))

    def forward(self, frames: Tensor, heads: Collection[Head] = ()) -> VGGTOutput:
        """Tokens of frames [B, T, 3, H, W] in [0, 1], and the outputs of ``heads`` and no others.

        Raises:
            ValueError: frames of another shape, sides that are no multiples of the patch, a head unknown
                or not built.
        """
        check_request(self.params, frames, heads)
        images = frames.to(self.upstream.aggregator.camera_token.dtype)
        layers, start = self.upstream.aggregator(images)  # each [B, T, start + h*w, 2C]
        height, width = (side // self.params.patch for side in frames.shape[-2:])
        last = layers[-1].to(frames.dtype)
        return VGGTOutput(
            layers=[],
            patch_tokens=last[:, :, start:],
            camera_tokens=last[:, :, 0],
            grid=(height, width),
            **self._read_heads(heads, layers, frames, start),
        )

    def _read_heads(
        self, heads: Collection[Head], layers: list[Tensor], frames: Tensor, start: int
    ) -> dict[str, Any]:
        """Outputs of the heads that were asked for, by field of :class:`VGGTOutput`."""
        found: dict[str, Any] = {}
        with torch.autocast(frames.device.type, enabled=False):
            layers = [layer.float() for layer in layers] if heads else layers
            if {"camera", "points"} & set(heads):
                found["pose_encodings"] = [self.upstream.camera_head(layers, patch_token_start=start)]
            if {"depth", "points"} & set(heads):
                depth, confidence = self.upstream.dense_head(
                    layers, images=frames.float(), patch_token_start=start
                )
                found["depth"], found["depth_confidence"] = depth[..., 0], confidence
            if "points" in heads:
                found["points"] = depth_points(found["depth"], found["pose_encodings"][-1])
                found["points_confidence"] = found["depth_confidence"]
        return found

    def _has(self, part: str) -> bool:
        return getattr(self.upstream, part, None) is not None


def _build(params: VGGTParams) -> Any:
    """Upstream's module with the heads that ``params.heads`` need."""
    return _package().VGGTOmega(
        patch_size=params.patch,
        embed_dim=params.dim,
        enable_camera=bool({"camera", "points"} & set(params.heads)),
        enable_depth=bool({"depth", "points"} & set(params.heads)),
    )


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names of the installed version, by its own rules if it has any."""
    try:
        package = _package()
    except VGGTOmegaMissingError:  # a module of the caller's own, with its own names
        return state
    rename, rules = (
        getattr(package, name, None) for name in ("rename_state_dict_keys", "checkpoint_key_renames")
    )
    return rename(state, rules) if rename and rules else state


def _package() -> Any:
    try:
        return importlib.import_module(_MODULE)
    except ImportError as error:
        raise VGGTOmegaMissingError(
            "model.vggt.name is vggt_omega, and the package vggt_omega is not installed. Install it from "
            "https://github.com/facebookresearch/vggt-omega, accept the licence of its weights (gated, "
            "non-commercial), and set model.vggt.source to model.pt of VGGT-Omega-1B-512"
        ) from error
