"""Camera head of VGGT and the pose encoding that it predicts.

Invariant: an encoding is (tx, ty, tz, qx, qy, qz, qw, fov_h, fov_w) of a camera-from-world pose, OpenCV axes,
in the frame of reference of the first frame; angles in radians. Encoding a camera and decoding it again
gives the same matrices.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vln_heatmap.nodes.model.vggt.layers import Block, Mlp
from vln_heatmap.params import VGGTParams

ENCODING = 9


def rotation_from_quaternion(quaternion: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] of quaternions [..., 4] in (x, y, z, w) order; any length but zero."""
    x, y, z, w = F.normalize(quaternion, dim=-1).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def quaternion_from_rotation(rotation: Tensor) -> Tensor:
    """Unit quaternions [..., 4] (x, y, z, w), w >= 0, of rotation matrices [..., 3, 3].

    The outer product of the quaternion with itself is linear in the matrix (Bar-Itzhack 2000); its column
    with the largest diagonal entry is the quaternion times its own largest component, hence never near zero.
    """
    m = rotation
    xx = 1 + m[..., 0, 0] - m[..., 1, 1] - m[..., 2, 2]
    yy = 1 - m[..., 0, 0] + m[..., 1, 1] - m[..., 2, 2]
    zz = 1 - m[..., 0, 0] - m[..., 1, 1] + m[..., 2, 2]
    ww = 1 + m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    xy, xz, yz = (m[..., i, j] + m[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    xw, yw, zw = (m[..., i, j] - m[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0)))
    rows = [[xx, xy, xz, xw], [xy, yy, yz, yw], [xz, yz, zz, zw], [xw, yw, zw, ww]]
    outer = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)  # 4 q q^T, [..., 4, 4]
    largest = outer.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)  # [...]
    column = torch.take_along_dim(outer, largest[..., None, None], dim=-1)[..., 0]  # [..., 4]
    unit = F.normalize(column, dim=-1)
    return torch.where(unit[..., 3:] < 0, -unit, unit)


def encode_cameras(camera_from_world: Tensor, intrinsics: Tensor, size: tuple[int, int]) -> Tensor:
    """Pose encodings [..., 9] of cameras.

    Args:
        camera_from_world: rigid transforms [..., 4, 4], OpenCV axes.
        intrinsics: pinhole matrices [..., 3, 3] in pixels, principal point in the image centre; broadcast.
        size: (height, width) of the image in pixels.
    """
    height, width = size
    quaternion = quaternion_from_rotation(camera_from_world[..., :3, :3])
    fov_h = 2 * torch.atan(height / 2 / intrinsics[..., 1, 1])
    fov_w = 2 * torch.atan(width / 2 / intrinsics[..., 0, 0])
    fov = torch.stack([fov_h, fov_w], dim=-1).expand(*quaternion.shape[:-1], 2)  # [..., 2]
    return torch.cat([camera_from_world[..., :3, 3], quaternion, fov], dim=-1)


def decode_cameras(encoding: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Cameras of pose encodings [..., 9]: camera_from_world [..., 4, 4] and intrinsics [..., 3, 3] in pixels.

    Args:
        encoding: as in the module's description.
        size: (height, width) of the image in pixels; the principal point is its centre.
    """
    height, width = size
    pose = torch.eye(4, dtype=encoding.dtype, device=encoding.device).repeat(*encoding.shape[:-1], 1, 1)
    pose[..., :3, :3] = rotation_from_quaternion(encoding[..., 3:7])
    pose[..., :3, 3] = encoding[..., :3]
    intrinsics = torch.zeros_like(pose[..., :3, :3])  # [..., 3, 3]
    intrinsics[..., 0, 0] = width / 2 / torch.tan(encoding[..., 8] / 2)
    intrinsics[..., 1, 1] = height / 2 / torch.tan(encoding[..., 7] / 2)
    intrinsics[..., 0, 2], intrinsics[..., 1, 2], intrinsics[..., 2, 2] = width / 2, height / 2, 1
    return pose, intrinsics


class CameraHead(nn.Module):
    """Pose encodings from camera tokens, refined in a few rounds."""

    def __init__(self, params: VGGTParams) -> None:
        super().__init__()
        dim = 2 * params.dim
        self.rounds = params.camera_rounds
        self.trunk = nn.Sequential(
            *(
                Block(dim, params.attention_heads, scale=params.layer_scale)
                for _ in range(params.camera_depth)
            )
        )
        self.token_norm = nn.LayerNorm(dim)
        self.trunk_norm = nn.LayerNorm(dim)
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, ENCODING))
        self.embed_pose = nn.Linear(ENCODING, dim)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 3 * dim))
        self.pose_branch = Mlp(dim, dim // 2, ENCODING)
        self._start_at_the_identity()

    def _start_at_the_identity(self) -> None:
        """Let a random head say about "not moved, one radian wide": a negative angle would never be corrected."""
        with torch.no_grad():
            self.pose_branch.fc2.bias.zero_()
            self.pose_branch.fc2.bias[6:] = 1 / self.rounds  # the rounds add up

    def _refine(self, tokens: Tensor, pose: Tensor) -> Tensor:
        """Change of the encodings [B, T, 9], given the tokens [B, T, 2C] and the encodings so far."""
        shift, scale, gate = self.poseLN_modulation(self.embed_pose(pose)).chunk(3, dim=-1)  # each [B, T, 2C]
        normed = F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
        tokens = tokens + gate * (normed * (1 + scale) + shift)
        return self.pose_branch(self.trunk_norm(self.trunk(tokens)))

    def forward(self, camera_tokens: Tensor) -> list[Tensor]:
        """Encodings [B, T, 9] after each round, from camera tokens [B, T, 2C]; no gradient between rounds."""
        tokens = self.token_norm(camera_tokens)
        pose = self._refine(tokens, self.empty_pose_tokens.expand(*tokens.shape[:2], -1))
        rounds = [pose]
        for _ in range(self.rounds - 1):
            pose = pose.detach()
            pose = pose + self._refine(tokens, pose)
            rounds.append(pose)
        return [torch.cat([pose[..., :7], pose[..., 7:].relu()], dim=-1) for pose in rounds]
