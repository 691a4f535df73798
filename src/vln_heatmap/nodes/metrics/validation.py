"""The cheap metrics of a validation while training runs: from batches of outputs and targets to five numbers.

Invariant: a number depends on the windows, not on how they were batched. All but the geometric loss look at each
window's first current view only, so that they do not change with the number of views that are read.

Definitions, as in docs/success_metrics.md, on the heatmap grid; cells without depth and padding do not count:

- ``auc``: area under the ROC curve over the pooled cells, target binarised at 0.5; 0.5 if all are alike.
- ``iou``: pooled intersection over union at the threshold that is best on these windows.
- ``correspondence_accuracy``: of the class head, "co-visible or not": mean of the shares of both that are right.
- ``reasoning_accuracy``: within maps of windows whose instruction names things, over co-visible cells: how
  often the hotter of a referred and another cell is the referred one.
- ``geometric_loss``: over the cells that two views of a window both see: mean squared distance from the target
  of the probability predicted here and of the one predicted there and carried here; hot and cold cells weigh
  alike. It needs windows with two views or more.

A metric that the windows say nothing about (no second view, no class head, nothing named) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.projection import relative_pose
from vln_heatmap.nodes.metrics import ranking
from vln_heatmap.nodes.metrics.bootstrap import Statistic, value
from vln_heatmap.nodes.metrics.projection import cells_elsewhere, same_surface, sampled
from vln_heatmap.nodes.metrics.success import (
    balanced_accuracy,
    balanced_mean,
    forced_choice,
    geometric_error,
)

Array = NDArray[Any]
#: What a batch must hold beside the targets for the geometric loss.
GEOMETRY = ("view_depth", "view_pose", "intrinsics")


def array(values: Any) -> Array:
    """A torch tensor of any device and precision, or anything that numpy takes, as an array."""
    if hasattr(values, "detach"):
        values = values.detach()
        values = (values.float() if values.is_floating_point() else values).cpu().numpy()
    return np.asarray(values)


class HeatmapValidation:
    """Collects batches, then tells the metrics."""

    def __init__(self) -> None:
        self._maps: list[dict[str, Array]] = []
        self._pairs: list[dict[str, Array]] = []

    def add(self, output: Any, batch: Mapping[str, Any]) -> None:
        """Take in a batch of B windows with N views and K keyframes each.

        Args:
            output: has mask_logits [B, N, K, h, w] and class_logits [B, N, K, 3, h, w] or None.
            batch: mask [B, N, K, h, w], classes [B, N, K, 3, h, w], referred [B, N, h, w],
                pixel_weight [B, N, 1, h, w], keyframe_mask [B, N, K]; and for the geometric loss keyframes
                [B, N, K] and current [B, N] (indices of the window's frames), view_depth [B, N, h, w] metres,
                view_pose [B, N, 4, 4] camera_to_world, intrinsics [B, 3, 3] in cells.
        """
        self._maps.append(first_view(output, batch))
        if all(name in batch for name in GEOMETRY) and array(batch["view_pose"]).shape[1] > 1:
            self._pairs.append(view_pairs(array(output.mask_logits), batch))

    def metrics(self) -> dict[str, float]:
        """All that the windows say something about.

        Raises:
            ValueError: no batch was added.
        """
        if not self._maps:
            raise ValueError("there are no windows to validate on")
        maps = _joined(self._maps)
        hot, known = maps["mask"] > 0.5, maps["known"]
        scene = np.zeros(len(hot), np.int64)
        out = {"auc": _auc(maps["scores"][known], hot[known])}
        out["iou"] = ranking.best_threshold(maps["scores"], hot, known)[1]
        covisible = maps["covisible"] & known
        told: dict[str, Statistic] = {}
        if "told" in maps:
            told["correspondence_accuracy"] = balanced_accuracy(
                maps["told"], maps["covisible"], known, scene, 1
            )
        named = maps["named"][:, None, None] & covisible
        told["reasoning_accuracy"] = forced_choice(maps["scores"], hot, named, scene, 1)
        if self._pairs:
            pairs = _joined(self._pairs)
            rows = np.zeros(len(pairs["error"]), np.int64)
            told["geometric_loss"] = balanced_mean(pairs["error"], pairs["hot"], pairs["seen"], rows, 1)
        numbers = {name: value(statistic, 1) for name, statistic in told.items()}
        return out | {name: number for name, number in numbers.items() if number is not None}


def _joined(parts: list[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _auc(scores: Array, hot: Array) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(hot, scores)) if hot.any() and not hot.all() else 0.5


def first_view(output: Any, batch: Mapping[str, Any]) -> dict[str, Array]:
    """The M real maps of the first current view of each window: scores, mask, known, covisible [M, h, w], named
    [M], and told [M, h, w] if the model tells classes."""
    real = array(batch["keyframe_mask"])[:, 0].astype(bool)  # [B, K]
    window = np.nonzero(real)[0]  # [M]
    known = array(batch["pixel_weight"])[:, 0, 0] > 0  # [B, h, w]
    named_here = array(batch["referred"])[:, 0] >= 0.5  # [B, h, w]
    maps = {
        "scores": array(output.mask_logits)[:, 0][real],
        "mask": array(batch["mask"])[:, 0][real],
        "known": known[window],
        "covisible": array(batch["classes"])[:, 0][real].argmax(1) == 0,
        "named": np.any(known & ~named_here, axis=(1, 2))[window],
    }
    if output.class_logits is not None:
        maps["told"] = array(output.class_logits)[:, 0][real].argmax(1) == 0
    return maps


def view_pairs(logits: Array, batch: Mapping[str, Any]) -> dict[str, Array]:
    """What two views of a window say of the same keyframe, for all ordered pairs of views and all keyframes that
    both have: error, hot and seen, each [M, h, w] in cells of the second view."""
    targets, keyframes = array(batch["mask"]), array(batch["keyframes"])
    depth, pose = array(batch["view_depth"]), array(batch["view_pose"]).astype(np.float64)
    known = array(batch["pixel_weight"])[:, :, 0] > 0  # [B, N, h, w]
    real = array(batch["keyframe_mask"]).astype(bool)
    probability = 1 / (1 + np.exp(-np.clip(logits, -50, 50)))  # [B, N, K, h, w]
    rows = np.arange(len(targets))[:, None]
    parts = []
    for there, here in [(i, j) for i in range(depth.shape[1]) for j in range(depth.shape[1]) if i != j]:
        motion = relative_pose(pose[:, here], pose[:, there])  # [B, 4, 4]
        x, y, z = cells_elsewhere(depth[:, here], motion, array(batch["intrinsics"]))
        seen = same_surface(depth[:, there], x, y, z) & known[:, here]  # [B, h, w]
        alike = keyframes[:, there, :, None] == keyframes[:, here, None]  # [B, K there, K here]
        alike &= real[:, there, :, None] & real[:, here, None]
        carried = sampled(probability[rows, there, alike.argmax(1)], x, y)  # [B, K, h, w]
        both = alike.any(1)  # [B, K here]
        target = targets[:, here]
        error = geometric_error(carried, probability[:, here], target)
        part = {"error": error, "hot": target > 0.5, "seen": np.repeat(seen[:, None], error.shape[1], 1)}
        parts.append({name: values[both] for name, values in part.items()})
    return _joined(parts)
