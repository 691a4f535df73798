"""From depth and cameras to points, and rigid motions of cameras.

Invariant: points that are unprojected with a pose encoding's own camera lie in the frame of reference that the
point head uses: that of the first camera, OpenCV axes, in the model's scale. Pixel centres lie at +0.5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vln_heatmap.nodes.model.vggt.camera import decode_cameras


def invert_rigid(transform: Tensor) -> Tensor:
    """Inverses of rigid transforms [..., 4, 4]."""
    rotation = transform[..., :3, :3].mT
    inverse = torch.zeros_like(transform)
    inverse[..., :3, :3] = rotation
    inverse[..., :3, 3] = -(rotation @ transform[..., :3, 3:])[..., 0]
    inverse[..., 3, 3] = 1
    return inverse


def unproject(depth: Tensor, camera_from_world: Tensor, intrinsics: Tensor) -> Tensor:
    """World points [..., H, W, 3] of all pixels.

    X = R^T (d K^-1 (u, v, 1) - t), with u, v at pixel centres.

    Args:
        depth: z-depth [..., H, W].
        camera_from_world: rigid transforms [..., 4, 4], OpenCV axes.
        intrinsics: pinhole matrices [..., 3, 3] in pixels of that size.
    """
    height, width = depth.shape[-2:]
    u = torch.arange(width, device=depth.device, dtype=depth.dtype) + 0.5  # [W]
    v = torch.arange(height, device=depth.device, dtype=depth.dtype) + 0.5  # [H]
    centre, focal = intrinsics[..., :2, 2], intrinsics.diagonal(dim1=-2, dim2=-1)[..., :2]  # each [..., 2]
    x = (u - centre[..., 0, None]) / focal[..., 0, None]  # [..., W]
    y = (v - centre[..., 1, None]) / focal[..., 1, None]  # [..., H]
    rays = torch.stack(
        [x[..., None, :].expand(depth.shape), y[..., :, None].expand(depth.shape), torch.ones_like(depth)], -1
    )  # [..., H, W, 3]
    world_from_camera = invert_rigid(camera_from_world)
    turned = (rays * depth[..., None]).flatten(-3, -2) @ world_from_camera[..., :3, :3].mT  # [..., H*W, 3]
    return (turned + world_from_camera[..., None, :3, 3]).unflatten(-2, (height, width))


def depth_points(depth: Tensor, encoding: Tensor) -> Tensor:
    """Points [..., H, W, 3] of depth maps [..., H, W] seen by the cameras of pose encodings [..., 9]."""
    height, width = depth.shape[-2:]
    return unproject(depth, *decode_cameras(encoding, (height, width)))
