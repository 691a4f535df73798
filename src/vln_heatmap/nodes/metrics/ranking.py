"""Area under the ROC curve and the best IoU threshold over millions of pixels, without a sort per question.

Invariant: pixels are compared by *level*. There are as many levels as distinct scores, up to ``LEVELS``;
beyond that they are quantiles, equal scores always share one, and pairs within a level count half. So the
area is exact for few distinct scores and otherwise off by at most half the largest share of one level.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from vln_heatmap.nodes.metrics.bootstrap import PooledAuc

Floats = NDArray[Any]
LEVELS = 1 << 14


def level_edges(scores: Floats, count: int = LEVELS) -> Floats:
    """Lowest score of each level, ascending, at most ``count`` of them.

    Raises:
        ValueError: no scores, or one that is not a finite number.
    """
    if scores.size == 0:
        raise ValueError("there are no scores to rank")
    ordered = np.sort(scores, axis=None)
    if not (np.isfinite(ordered[0]) and np.isfinite(ordered[-1])):
        raise ValueError(f"scores must be finite, got values from {ordered[0]} to {ordered[-1]}")
    new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    if np.count_nonzero(new) <= count:
        return ordered[new]
    return np.unique(ordered[:: -(-ordered.size // count)])


def to_levels(scores: Floats, edges: Floats) -> NDArray[np.int64]:
    """Level of each score, from 0; scores below the first edge are of level 0. Same shape as ``scores``."""
    return np.maximum(np.searchsorted(edges, scores, side="right") - 1, 0)


def pooled_auc(
    levels: NDArray[np.integer],
    labels: NDArray[np.bool_],
    known: NDArray[np.bool_],
    scene: NDArray[np.integer],
    scenes: int,
) -> PooledAuc:
    """Pooled AUC as a statistic over scenes.

    Args:
        levels, labels, known: level, truth and "counts at all" of each pixel, all [M, ...].
        scene: scene of each map, 0 .. scenes - 1: [M].
    """
    count = int(levels.max(initial=0)) + 1
    histograms = np.zeros((2, scenes, count))  # [negatives / positives, S, L]
    for index in np.unique(scene):
        rows = scene == index
        keys = (levels[rows] + count * labels[rows])[known[rows]]
        histograms[:, index] = np.bincount(keys, minlength=2 * count).reshape(2, count)
    negatives, positives = histograms
    below = np.cumsum(negatives, axis=1) - negatives / 2  # [S, L] negatives under a level, its own half
    return PooledAuc(positives @ below.T, positives.sum(1), negatives.sum(1))


def map_auc(scores: Floats, labels: NDArray[np.bool_], known: NDArray[np.bool_]) -> Floats:
    """Exact AUC within each map.

    Args:
        scores, labels, known: [M, P]; pixels that are not ``known`` do not count.

    Returns:
        [M], 0.5 where a map has pixels of one class only.
    """
    ranks = rankdata(np.where(known, scores, -np.inf), axis=1)  # [M, P] unknown pixels come below all others
    positives = (labels & known).sum(1)  # [M]
    negatives = known.sum(1) - positives
    unknown = (~known).sum(1)
    won = np.where(labels & known, ranks, 0).sum(1) - positives * (unknown + (positives + 1) / 2)
    pairs = positives * negatives
    return np.where(pairs > 0, won / np.maximum(pairs, 1), 0.5)


def best_threshold(
    scores: Floats, labels: NDArray[np.bool_], known: NDArray[np.bool_]
) -> tuple[float, float]:
    """Threshold t that maximises the pooled IoU of ``score >= t`` with the labels, and that IoU.

    Without a positive pixel every IoU is 0 and the highest threshold is taken: predict as little as possible.
    """
    edges = level_edges(scores[known] if known.any() else scores)
    levels = to_levels(scores, edges)
    hits = np.bincount(levels[known & labels], minlength=edges.size)[::-1].cumsum()[::-1]  # [L] score >= edge
    false = np.bincount(levels[known & ~labels], minlength=edges.size)[::-1].cumsum()[::-1]  # [L]
    iou = hits / np.maximum(hits[0] + false, 1)
    best = edges.size - 1 - int(np.argmax(iou[::-1]))
    return float(edges[best]), float(iou[best])


def best_cut(scores: Floats, truth: NDArray[np.bool_]) -> float:
    """Threshold t for which ``score >= t`` agrees most often with ``truth`` [M]; inf if "never" is best."""
    if scores.size == 0:
        raise ValueError("there are no scores to choose a threshold from")
    cuts = np.append(np.unique(scores), np.inf)  # [C]
    right = [(np.where(scores >= cut, truth, ~truth)).sum() for cut in cuts]
    return float(cuts[int(np.argmax(right))])
