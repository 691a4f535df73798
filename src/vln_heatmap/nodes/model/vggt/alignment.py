"""Putting two reconstructions of the same things into one world: similarity transforms from point pairs.

Invariant: applied to a camera, its depth and its points together, a similarity changes no image: what
projected to a pixel still does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation.

    Attributes:
        scale: positive [].
        rotation: proper [3, 3].
        translation: [3].
    """

    scale: Tensor
    rotation: Tensor
    translation: Tensor

    @classmethod
    def identity(cls, like: Tensor) -> Similarity:
        """The similarity that changes nothing, on the device and in the precision of ``like``."""
        return cls(like.new_ones(()), torch.eye(3, dtype=like.dtype, device=like.device), like.new_zeros(3))

    def points(self, points: Tensor) -> Tensor:
        """Points [..., 3] in the new world."""
        return self.scale * points @ self.rotation.mT + self.translation

    def cameras(self, camera_from_world: Tensor) -> Tensor:
        """The same cameras [..., 4, 4] in the new world, whose unit of length their own frames take on.

        With x' = s R x + t a camera E = (Q, q) becomes (Q R^T, s q - Q R^T t).
        """
        moved = camera_from_world.clone()
        turned = camera_from_world[..., :3, :3] @ self.rotation.mT  # [..., 3, 3]
        moved[..., :3, :3] = turned
        moved[..., :3, 3] = self.scale * camera_from_world[..., :3, 3] - turned @ self.translation
        return moved


def umeyama(source: Tensor, target: Tensor, weights: Tensor) -> Similarity:
    """The similarity that minimises sum_i w_i |s R x_i + t - y_i|^2.

    Closed form of Umeyama (PAMI 1991, eqs. 34-42) with weights: from the weighted covariance
    S = sum w (y - ȳ)(x - x̄)^T = U D V^T follow R = U C V^T with C = diag(1, 1, det U det V),
    s = tr(D C) / sum w |x - x̄|^2 and t = ȳ - s R x̄. Computed in float64.

    Args:
        source, target: point pairs [N, 3].
        weights: [N], not negative.

    Raises:
        ValueError: fewer than three pairs of weight above 0, points that are not finite, or points on a line,
            whose rotation is undetermined.
    """
    x, y, w = source.double(), target.double(), weights.double()
    if int((w > 0).sum()) < 3:
        raise ValueError(f"a similarity needs at least 3 weighted point pairs, got {int((w > 0).sum())}")
    w = w / w.sum()
    x_mean, y_mean = w @ x, w @ y  # [3]
    x_centred, y_centred = x - x_mean, y - y_mean
    covariance = (w[:, None] * y_centred).mT @ x_centred  # [3, 3]
    if not covariance.isfinite().all():
        raise ValueError("point pairs must be finite")
    u, singular, v_t = torch.linalg.svd(covariance)
    if singular[1] <= 1e-9 * singular[0]:
        raise ValueError("point pairs lie on a line or in one place: their rotation is undetermined")
    signs = torch.ones_like(singular)
    signs[2] = torch.sign(torch.linalg.det(u) * torch.linalg.det(v_t))
    rotation = (u * signs) @ v_t
    scale = (singular * signs).sum() / (w @ x_centred.square().sum(-1))
    result = Similarity(scale, rotation, y_mean - scale * rotation @ x_mean)
    return Similarity(
        *(part.to(source.dtype) for part in (result.scale, result.rotation, result.translation))
    )
