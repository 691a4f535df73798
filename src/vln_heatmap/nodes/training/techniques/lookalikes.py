"""Hard negatives within a batch: a keyframe that looks like the current view and was never there.

Invariant: such a keyframe comes from another scene, so what it shows of the current view is known for certain:
nothing. No current view is replaced.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vln_heatmap.nodes.model.matching import take
from vln_heatmap.nodes.training.techniques.base import Batch, BatchTechnique, Context
from vln_heatmap.params.techniques import HardNegativeParams

_OUTSIDE = 2  # of the classes co-visible, occluded, outside


def lookalikes(features: Tensor, current: Tensor, scene: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Frames of other scenes that look most like each window's (first) current view.

    Cosine of mean features, which are standardised over the batch first.

    Args:
        features: [B, T, C, g, g]; current: [B, N]; scene: [B] a number for each scene.

    Returns:
        window [B] and frame [B] of the look-alike, and whether there is another scene [B] bool.
    """
    mean = features.float().mean((-2, -1))  # [B, T, C]
    spread = mean.flatten(0, 1).std(0).clamp_min(1e-6)
    looks = F.normalize((mean - mean.mean((0, 1))) / spread, dim=-1)
    own = take(looks, current[:, :1])[:, 0]  # [B, C]
    cosine = torch.einsum("bc,xtc->bxt", own, looks)
    other = scene[:, None] != scene  # [B, B]
    best = cosine.masked_fill(~other[..., None], -torch.inf).flatten(1).argmax(1)  # [B]
    return best // looks.shape[1], best % looks.shape[1], other.any(1)


def replaceable(batch: Batch) -> Tensor:
    """Frames that are a real keyframe of some view and no current view: [B, T] bool."""
    b, t = batch["frames"].shape[:2]
    count = torch.zeros(b, t, device=batch["current"].device)
    used = count.scatter_add(1, batch["keyframes"].flatten(1), batch["keyframe_mask"].flatten(1).float())
    views = count.scatter(1, batch["current"], 1.0)
    return (used > 0) & (views == 0)


def with_lookalikes(batch: Batch, share: float) -> Batch:
    """The batch with one keyframe replaced in about ``share`` of its windows, and targets that say so.

    Raises:
        KeyError: the batch does not say which scene a window is of.
    """
    if "scene" not in batch:
        raise KeyError(f"look-alikes need the scene of each window; the batch has {sorted(batch)}")
    free = replaceable(batch)
    window, frame, possible = lookalikes(batch["features"], batch["current"], batch["scene"])
    chosen = (torch.rand(len(free), device=free.device) < share) & possible & free.any(1)  # [B]
    place = torch.rand(free.shape, device=free.device).masked_fill(~free, -1.0).argmax(1)  # [B]
    put = chosen[:, None] & F.one_hot(place, free.shape[1]).bool()  # [B, T]
    changed = dict(batch)
    for name in ("frames", "features"):
        images = batch[name]
        changed[name] = torch.where(put[..., None, None, None], images[window, frame][:, None], images)
    hit = chosen[:, None, None] & (batch["keyframes"] == place[:, None, None])  # [B, N, K]
    return changed | unseen(batch, hit)


def unseen(batch: Batch, hit: Tensor) -> Batch:
    """Targets of a batch in which nothing of the keyframes ``hit`` [B, N, K] is seen: they are outside."""
    maps = hit[..., None, None]
    targets = {name: batch[name].masked_fill(maps, 0) for name in ("mask", "distribution")}
    targets["valid"] = batch["valid"] & ~hit
    if "classes" in batch:
        outside = torch.zeros_like(batch["classes"])
        outside[:, :, :, _OUTSIDE] = 1
        targets["classes"] = torch.where(maps[..., None], outside, batch["classes"])
    return targets


class Lookalikes(BatchTechnique):
    """``with_lookalikes``, but for windows with poses, which would give a frame of another world away."""

    def __init__(self, params: HardNegativeParams, context: Context) -> None:
        self.share = params.lookalikes

    def prepare(self, batch: Batch) -> Batch:
        return with_lookalikes(batch, self.share) if self.share and "poses" not in batch else batch
