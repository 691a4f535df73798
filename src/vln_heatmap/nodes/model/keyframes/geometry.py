"""What a model's own VGGT tells a keyframe sampler: points, how sure they are, and cameras.

Invariant: heads that the sampler has no use for do not run; a sampler without needs costs no pass at all.
Points and poses share one world, the frame of reference of the first candidate, in the model's own scale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vln_heatmap.nodes.model.keyframes.base import KeyframeSampler
from vln_heatmap.nodes.model.vggt import decode_cameras, reconstruct
from vln_heatmap.nodes.model.vggt.points import invert_rigid

#: Points along a side of a frame that samplers are given, about.
SIDE = 64


class MissingGeometryError(ValueError):
    """The keyframe sampler needs what the model's VGGT has no heads for."""


def check_heads(sampler: KeyframeSampler, name: str, heads: tuple[str, ...]) -> None:
    """Refuse a sampler that VGGT with these heads cannot serve.

    Raises:
        MissingGeometryError: names the heads that are missing.
    """
    missing = []
    if "poses" in sampler.needs and "camera" not in heads:
        missing.append("camera")
    if "points" in sampler.needs and "points" not in heads and not {"camera", "depth"} <= set(heads):
        alone = "camera" in heads or "camera" in missing
        missing.append("depth or points" if alone else "points, or camera and depth")
    if missing:
        raise MissingGeometryError(
            f"the {name} sampler needs {' and '.join(sampler.needs)} of VGGT, whose heads are {list(heads)}: "
            f"missing {', '.join(missing)}. Use a model with these in model.vggt.heads and weights that "
            "know geometry, or name the keyframes, or set model.keyframes.name: uniform"
        )


def sampler_geometry(sampler: KeyframeSampler, model: Any, frames: NDArray[np.uint8]) -> dict[str, Any]:
    """The arguments of ``sampler.sample`` that VGGT can give.

    Points are those of depth and camera if VGGT has both heads (in windows of bounded memory), else those of
    the point head; about ``SIDE`` along a side of a frame.

    Args:
        sampler: whose needs are met.
        model: ``HeatmapModel``.
        frames: candidates at VGGT's resolution [T, 3, S, S].

    Raises:
        MissingGeometryError: see :func:`check_heads`.
    """
    if not sampler.needs:
        return {}
    vggt = model.vggt
    heads = tuple(vggt.params.heads)
    check_heads(sampler, model.params.keyframes.name, heads)
    images = torch.from_numpy(frames).to(next(vggt.parameters()).device).float() / 255  # [T, 3, S, S]
    if "points" in sampler.needs and {"camera", "depth"} <= set(heads):
        found = reconstruct(vggt, images)
        return {**_thinned(found.points, found.confidence), "poses": _to_world(found.camera_from_world)}
    wanted = {"poses": "camera", "points": "points"}
    with torch.inference_mode():
        output = vggt(images[None], heads=tuple(wanted[need] for need in sampler.needs))
    given: dict[str, Any] = {}
    if output.pose_encodings is not None:
        size = (images.shape[-2], images.shape[-1])
        given["poses"] = _to_world(decode_cameras(output.pose_encodings[-1][0].float(), size)[0])
    if output.points is not None:
        given |= _thinned(output.points[0], output.points_confidence[0])
    return given


def _to_world(camera_from_world: Tensor) -> NDArray[np.float32]:
    """camera_to_world [T, 4, 4]."""
    return invert_rigid(camera_from_world).numpy(force=True)


def _thinned(points: Tensor, confidence: Tensor) -> dict[str, NDArray[np.float32]]:
    """Every n-th point [T, h, w, 3] and its confidence [T, h, w]."""
    step = max(1, points.shape[1] // SIDE)
    rows = (slice(None), slice(None, None, step), slice(None, None, step))
    return {
        "points": points[rows].float().numpy(force=True),
        "confidence": confidence[rows].numpy(force=True),
    }
