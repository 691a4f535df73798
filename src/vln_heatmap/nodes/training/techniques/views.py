"""Batches of windows cut, shifted and mirrored, targets included.

Invariant: a target moves as the image of its current view does; what comes in from beyond the border has no
truth and weighs nothing. The keyframes' own images stay, for what they saw does not depend on where the current
view ends.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

from vln_heatmap.datasets.windows import mirrored_text
from vln_heatmap.nodes.training.techniques.base import Batch

#: What has a place for each current view: [B, N, ...].
PER_VIEW = (
    "current",
    "keyframes",
    "keyframe_mask",
    "mask",
    "distribution",
    "valid",
    "classes",
    "referred",
    "pixel_weight",
    "view_depth",
    "view_pose",
)
#: Maps in the grid of a current view [B, N, ..., h, w].
MAPS = ("mask", "distribution", "classes", "referred", "pixel_weight", "view_depth")
TEXTS = ("instruction", "other_instruction")
_MIRROR = (-1.0, 1.0, 1.0, 1.0)  # x of world and camera


def window(nested: Any, number: int) -> Any:
    """One window of nested dicts, lists, tuples and dataclasses of tensors [B, ...], as a batch of one."""
    if isinstance(nested, Tensor):
        return nested[number : number + 1]
    if isinstance(nested, dict):
        return {name: window(value, number) for name, value in nested.items()}
    if isinstance(nested, (list, tuple)) and nested and not isinstance(nested[0], str):
        return type(nested)(window(value, number) for value in nested)
    if isinstance(nested, (list, tuple)):
        return nested[number : number + 1]
    if dataclasses.is_dataclass(nested) and not isinstance(nested, type):
        parts = {
            field.name: window(getattr(nested, field.name), number) for field in dataclasses.fields(nested)
        }
        return dataclasses.replace(nested, **parts)
    return nested


def first_view(batch: Batch) -> Batch:
    """The windows with nothing but the first of their current views."""
    return {name: value[:, :1] if name in PER_VIEW else value for name, value in batch.items()}


def cells_to_shift(batch: Batch) -> int:
    """Smallest shift, in cells of the features, that is a whole number of cells of the heatmaps too."""
    grid = batch["features"].shape[-1]
    return grid // math.gcd(grid, batch["mask"].shape[-1])


def shifted(batch: Batch, shift: Tensor) -> Batch:
    """The first view of every window, its image moved down and to the right.

    Args:
        batch: of windows.
        shift: [B, 2] rows and columns, in cells of the features, each a multiple of ``cells_to_shift``. What was
            at cell (i, j) is then at (i + rows, j + columns); the uncovered border repeats what lies next to it
            and has ``pixel_weight`` 0.
    """
    batch = first_view(batch)
    grid, own = batch["features"].shape[-1], batch["current"][:, 0]
    changed = dict(batch)
    for name in ("frames", "features"):
        changed[name] = _with_frame(batch[name], own, moved(batch[name], shift, grid))
    for name in MAPS:
        if name in batch:
            changed[name] = moved(batch[name], shift, grid)
    inside = covered(shift, grid, batch["mask"].shape[-1])  # [B, h, w]
    changed["pixel_weight"] = changed["pixel_weight"] * inside[:, None, None]
    changed |= _renormalised(changed["distribution"] * inside[:, None, None], batch["valid"])
    if "view_depth" in batch:
        changed["view_depth"] = changed["view_depth"] * inside[:, None]
    if "intrinsics" in batch:
        cells = shift.flip(-1) * (batch["mask"].shape[-1] / grid)  # [B, 2] x, y
        changed["intrinsics"] = batch["intrinsics"].clone()
        changed["intrinsics"][:, :2, 2] += cells.to(batch["intrinsics"].dtype)
    return changed


def moved(maps: Tensor, shift: Tensor, grid: int) -> Tensor:
    """Maps [B, ..., s, s] with their content shifted [B, 2] cells of a ``grid``, the border repeated."""
    side = maps.shape[-1]
    pixels = torch.round(shift * (side / grid)).long()  # [B, 2]
    line = torch.arange(side, device=maps.device)
    rows, columns = ((line - pixels[:, axis : axis + 1]).clamp(0, side - 1) for axis in (0, 1))  # [B, s]
    flat = maps.flatten(1, -3) if maps.dim() > 3 else maps[:, None]  # [B, M, s, s]
    picked = flat.gather(2, rows[:, None, :, None].expand_as(flat))
    return picked.gather(3, columns[:, None, None, :].expand_as(flat)).view(maps.shape)


def covered(shift: Tensor, grid: int, side: int) -> Tensor:
    """Where content has moved to, not in from beyond the border: [B, side, side] bool."""
    pixels = torch.round(shift * (side / grid))  # [B, 2]
    line = torch.arange(side, device=shift.device)
    from_where = line - pixels[..., None]  # [B, 2, side]
    within = (from_where >= 0) & (from_where < side)
    return within[:, 0, :, None] & within[:, 1, None, :]


def _with_frame(images: Tensor, index: Tensor, new: Tensor) -> Tensor:
    """Images [B, T, ...] with the frame ``index`` [B] of each window taken from ``new`` [B, T, ...]."""
    here = torch.arange(images.shape[1], device=images.device) == index[:, None]  # [B, T]
    return torch.where(here.view(*here.shape, *[1] * (images.dim() - 2)), new, images)


def _renormalised(distribution: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """What is left of distributions [B, N, K, h, w], again with sum 1; none left = not valid."""
    total = distribution.sum((-2, -1))  # [B, N, K]
    some = total > 1e-6
    scale = torch.where(some, total, 1).reciprocal()
    return {"distribution": distribution * scale[..., None, None], "valid": valid & some}


def mirrored(batch: Batch, which: Tensor) -> Batch:
    """The batch with windows ``which`` [B] bool as a mirror shows them: images, targets, words and poses."""
    changed = dict(batch)
    for name in ("frames", "features", *MAPS):
        if name in batch:
            changed[name] = torch.where(_expanded(which, batch[name]), batch[name].flip(-1), batch[name])
    for name in ("poses", "view_pose"):
        if name in batch:
            signs = batch[name].new_tensor(_MIRROR)
            changed[name] = torch.where(
                _expanded(which, batch[name]), batch[name] * torch.outer(signs, signs), batch[name]
            )
    if "intrinsics" in batch:
        changed["intrinsics"] = batch["intrinsics"].clone()
        centre = batch["intrinsics"][:, 0, 2]
        changed["intrinsics"][:, 0, 2] = torch.where(which, batch["mask"].shape[-1] - centre, centre)
    for name in batch.keys() & TEXTS:
        texts = zip(batch[name], which.tolist(), strict=True)
        changed[name] = [mirrored_text(text) if turned else text for text, turned in texts]
    return changed


def _expanded(which: Tensor, like: Tensor) -> Tensor:
    return which.view(-1, *[1] * (like.dim() - 1))
