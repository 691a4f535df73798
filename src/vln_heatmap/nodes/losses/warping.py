"""Where the places of one view are in another, by depth and pose.

Invariant: a cell is visible in the other view only if its 3-D point projects into it and lies on the surface
there; what cannot be told (no depth, a silhouette) counts as hidden. Depth is interpolated as 1 / depth, which
is linear in the image of a plane, so that planes seen at a grazing angle are not hidden from themselves.

Shapes: B windows, N views, P = N (N - 1) ordered pairs of views, grid h x w.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vln_heatmap.nodes.model.vggt.points import invert_rigid, unproject

_NEAREST = 1e-3  # metres; what is nearer to a camera's plane, or behind it, is not seen


@dataclass(frozen=True)
class Warps:
    """For each pair of views and each cell of its target view, the place in its source view.

    Attributes:
        source, target: indices of views [P].
        places: x, y in cells of the source view [B, P, h, w, 2], (0.5, 0.5) = centre of the first cell.
        visible: [B, P, h, w] bool.
    """

    source: Tensor
    target: Tensor
    places: Tensor
    visible: Tensor


def view_warps(depth: Tensor, pose: Tensor, intrinsics: Tensor, *, occlusion: float) -> Warps:
    """Warps between all ordered pairs of views.

    Args:
        depth: z-depth in metres at the centres of the cells [B, N, h, w], 0 = unknown.
        pose: camera_to_world [B, N, 4, 4], OpenCV axes.
        intrinsics: pinhole matrices in cells of the grid [B, 3, 3].
        occlusion: relative depth error from which on a cell is hidden.
    """
    views, height, width = depth.shape[1:]
    others = ~torch.eye(views, dtype=torch.bool, device=depth.device)
    source, target = others.nonzero(as_tuple=True)  # [P]
    to_camera = invert_rigid(pose)  # [B, N, 4, 4]
    points = unproject(depth, to_camera, intrinsics[:, None])[:, target].flatten(2, 3)  # [B, P, h*w, 3]
    matrix = to_camera[:, source]  # [B, P, 4, 4]
    points = points @ matrix[..., :3, :3].mT + matrix[..., None, :3, 3]  # in the source's camera
    z = points[..., 2]  # [B, P, h*w]
    ahead = z > _NEAREST
    pixel = points @ intrinsics[:, None].mT
    places = pixel[..., :2] / torch.where(ahead, z, torch.ones_like(z))[..., None]
    places = torch.where(ahead[..., None], places, torch.zeros_like(places)).unflatten(2, (height, width))
    inside = (places >= 0).all(-1) & (places[..., 0] < width) & (places[..., 1] < height)
    known = depth > 0
    inverse = torch.where(known, 1 / depth.clamp_min(_NEAREST), torch.zeros_like(depth))
    maps = torch.stack([inverse, known.to(depth.dtype)], dim=2)[:, source]  # [B, P, 2, h, w]
    inverse, share = sample(maps, places).unbind(2)  # [B, P, h, w]
    on_surface = (z.unflatten(2, (height, width)) * inverse - 1).abs() <= occlusion
    seen = known[:, target] & ahead.unflatten(2, (height, width)) & inside & (share > 0.999) & on_surface
    return Warps(source, target, places, seen)


def sample(maps: Tensor, places: Tensor) -> Tensor:
    """Bilinear values of maps [B, P, C, h, w] at places [B, P, h', w', 2] in cells: [B, P, C, h', w'].

    Beyond the centres of the border's cells the border's values go on.
    """
    size = places.new_tensor([maps.shape[-1], maps.shape[-2]])
    grid = (places / size * 2 - 1).clamp(-2, 2).to(maps.dtype).flatten(0, 1)  # [B*P, h', w', 2]
    if not len(grid):
        return maps.new_zeros(*maps.shape[:3], *places.shape[2:4]) + 0 * maps.sum()
    flat = F.grid_sample(maps.flatten(0, 1), grid, padding_mode="border", align_corners=False)
    return flat.unflatten(0, maps.shape[:2])


def bilinear_weights(places: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """What ``sample`` weighs the cells of a grid (h, w) with: [..., h' * w', h * w], rows sum to 1.

    Args:
        places: x, y in cells [..., h', w', 2].
    """
    hats = []
    for axis, cells in ((1, size[0]), (0, size[1])):  # y, then x
        centres = torch.arange(cells, device=places.device, dtype=places.dtype) + 0.5
        place = places[..., axis].clamp(0.5, cells - 0.5)[..., None]  # [..., h', w', 1]
        hats.append((1 - (place - centres).abs()).clamp_min(0))
    weights = hats[0][..., :, None] * hats[1][..., None, :]  # [..., h', w', h, w]
    return weights.flatten(-2).flatten(-3, -2)


def coarser(depth: Tensor, intrinsics: Tensor, grid: tuple[int, int] | torch.Size) -> tuple[Tensor, Tensor]:
    """Depth [B, N, h, w] and intrinsics [B, 3, 3] on a grid (h', w'): the cell at each centre, not a mean."""
    height, width = depth.shape[-2:]
    rows = (torch.arange(grid[0], device=depth.device) * 2 + 1) * height // (2 * grid[0])
    columns = (torch.arange(grid[1], device=depth.device) * 2 + 1) * width // (2 * grid[1])
    scale = intrinsics.new_tensor([grid[1] / width, grid[0] / height, 1.0])
    return depth[..., rows[:, None], columns], intrinsics * scale[:, None]
