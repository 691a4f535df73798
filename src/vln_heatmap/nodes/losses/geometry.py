"""VGGT's training objective: cameras, depth and points from the truth of a simulator.

Source: "VGGT: Visual Geometry Grounded Transformer", arXiv:2503.11651, section 3.4. Invariants: the truth is
in the frame of reference of the first camera, and its unit is the mean distance of all known points from that
camera, so that a scene twice as large is the same scene; predictions are never normalised, the model has to
learn the unit. Where depth is unknown neither a loss nor a gradient arises.

Shapes: B windows, T frames, image H x W.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vln_heatmap.nodes.losses.weighting import weighted_sum, window_mean
from vln_heatmap.nodes.model.vggt.base import Head
from vln_heatmap.nodes.model.vggt.camera import encode_cameras
from vln_heatmap.nodes.model.vggt.points import invert_rigid, unproject
from vln_heatmap.params import GeometryLossParams

_FOV_WEIGHT = 0.5


def geometry_targets(depth: Tensor, poses: Tensor, fov: Tensor) -> dict[str, Tensor]:
    """The truth as VGGT is to tell it.

    Args:
        depth: z-depth in metres [B, T, H, W], 0 = unknown.
        poses: camera_to_world [B, T, 4, 4], OpenCV axes.
        fov: field of view of the height and width [B, 2], radians.

    Returns:
        ``encoding`` [B, T, 9], ``depth`` [B, T, H, W], ``points`` [B, T, H, W, 3] in units of ``scale`` [B]
        metres, ``valid`` [B, T, H, W] bool.
    """
    height, width = depth.shape[-2:]
    cameras = invert_rigid(poses.double()) @ poses[:, :1].double()  # camera from first camera [B, T, 4, 4]
    intrinsics = _intrinsics(fov.double(), (height, width))[:, None]  # [B, 1, 3, 3]
    points = unproject(depth.double(), cameras, intrinsics)  # [B, T, H, W, 3]
    valid = depth > 0
    known = valid.flatten(1).double()  # [B, T*H*W]
    distance = (points.norm(dim=-1).flatten(1) * known).sum(1) / known.sum(1).clamp_min(1)  # [B]
    scale = torch.where(distance > 0, distance, torch.ones_like(distance))
    cameras[..., :3, 3] /= scale[:, None, None]
    return {
        "encoding": encode_cameras(cameras, intrinsics, (height, width)).float(),
        "depth": (depth / scale[:, None, None, None]).float(),
        "points": (points / scale[:, None, None, None, None]).float(),
        "valid": valid,
        "scale": scale.float(),
    }


def _intrinsics(fov: Tensor, size: tuple[int, int]) -> Tensor:
    """Pinhole matrices [B, 3, 3] in pixels of an image of ``size`` with angles ``fov`` [B, 2]."""
    centre = fov.new_tensor([size[1] / 2, size[0] / 2])  # x, y
    matrix = torch.diag_embed(F.pad(centre / (fov.flip(-1) / 2).tan(), (0, 1), value=1.0))  # [B, 3, 3]
    matrix[:, :2, 2] = centre
    return matrix


def camera_loss(encodings: list[Tensor], target: Tensor, *, gamma: float, huber: float) -> Tensor:
    """Huber loss of pose encodings after each round, later rounds counting more.

    sum_i gamma^(N-1-i) [H(t) + H(q) + H(fov) / 2], each the mean over frames and components, with
    H(e) = |e| - h/2 for |e| > h and e^2 / (2h) below. A quaternion and its negative are the same rotation,
    so that the nearer of the two is the target.

    Args:
        encodings: N of [B, T, 9].
        target: [B, T, 9].
    """
    total = target.new_zeros(())
    for round_, encoding in enumerate(encodings):
        quaternion = target[..., 3:7]
        opposite = (encoding[..., 3:7] * quaternion).sum(-1, keepdim=True) < 0
        nearer = torch.where(opposite, -quaternion, quaternion)
        pairs = (
            (encoding[..., :3], target[..., :3], 1.0),
            (encoding[..., 3:7], nearer, 1.0),
            (encoding[..., 7:], target[..., 7:], _FOV_WEIGHT),
        )
        loss = sum(w * F.smooth_l1_loss(have, want, beta=huber) for have, want, w in pairs)
        total = total + gamma ** (len(encodings) - 1 - round_) * loss
    return total


def confident_loss(
    value: Tensor, target: Tensor, confidence: Tensor, valid: Tensor, *, alpha: float
) -> Tensor:
    """Errors of a map and of its slopes, weighted by a confidence that has its price.

    mean over known pixels of c |v - t| - alpha log c, plus the means over known neighbours (right, below) of
    c |∇(v - t)|. For an error e its minimum over c is at c = alpha / e, or at 1 if that is less.

    Args:
        value, target: [B, T, H, W, C].
        confidence: at least 1 [B, T, H, W].
        valid: [B, T, H, W] bool.
    """
    error = (value - target).masked_fill(~valid[..., None], 0.0)
    total = window_mean(confidence * error.norm(dim=-1) - alpha * confidence.log(), valid)
    for dim in (-3, -2):  # of [B, T, H, W, C]
        count = error.shape[dim] - 1
        slope = error.diff(dim=dim).norm(dim=-1)
        both = valid.narrow(dim + 1, 0, count) & valid.narrow(dim + 1, 1, count)
        total = total + window_mean(confidence.narrow(dim + 1, 0, count) * slope, both)
    return total


class GeometryLoss:
    """Weighted sum of the parts whose weight is above 0.

    Args:
        params: weights and constants.
    """

    def __init__(self, params: GeometryLossParams) -> None:
        self.params = params
        weights = {"camera": params.camera, "depth": params.depth, "points": params.points}
        self.weights = {name: weight for name, weight in weights.items() if weight > 0}

    @property
    def heads(self) -> tuple[Head, ...]:
        """Heads that the model must run."""
        names: tuple[Head, ...] = ("camera", "depth", "points")
        return tuple(name for name in names if name in self.weights)

    def __call__(self, output: Any, targets: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch: the total, and every part without its weight.

        Args:
            output: ``VGGTOutput`` with the outputs of ``heads``.
            targets: of :func:`geometry_targets`.
        """
        params, parts = self.params, {}
        if "camera" in self.weights:
            options = {"gamma": params.gamma, "huber": params.huber}
            parts["camera"] = camera_loss(output.pose_encodings, targets["encoding"], **options)
        if "depth" in self.weights:
            maps = (output.depth[..., None], targets["depth"][..., None], output.depth_confidence)
            parts["depth"] = confident_loss(*maps, targets["valid"], alpha=params.alpha)
        if "points" in self.weights:
            maps = (output.points, targets["points"], output.points_confidence)
            parts["points"] = confident_loss(*maps, targets["valid"], alpha=params.alpha)
        return weighted_sum(parts, self.weights), parts
