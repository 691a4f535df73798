"""The success metrics: what they are made of, as statistics over scenes.

Invariant: each is measured against what the targets themselves do, and weighs hot and cold cells (or right and
wrong orders) alike. So an answer that does not depend on what is asked (noise, a constant, all ones, one hot
cell) stays at chance, 0.5, or below in all of them, and above 0.15 in the geometric loss, whatever share of the
cells is hot. Formulas: docs/success_metrics.md.

Shapes: M maps of h x w cells; ``scene`` [M] is the index of each map's scene, below ``scenes``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.nodes.metrics import ranking
from vln_heatmap.nodes.metrics.bootstrap import MeanOf, PooledAuc, Ratio, Statistic

Floats = NDArray[Any]
Bools = NDArray[np.bool_]
Ints = NDArray[np.integer]
#: Share of hot cells of the maps in which a choice between hot and cold says something.
WITHIN = (0.03, 0.97)


def balanced_mean(values: Floats, hot: Bools, known: Bools, scene: Ints, scenes: int) -> Statistic:
    """Mean of ``values`` [M, h, w] over hot cells and over cold cells, and the mean of the two; undefined if one
    kind of cell does not exist."""
    parts = []
    for cells in (hot & known, ~hot & known):
        total = np.where(cells, values, 0.0).sum((1, 2), dtype=np.float64)  # [M]
        parts.append(Ratio(_by_scene(total, scene, scenes), _by_scene(cells.sum((1, 2)), scene, scenes)))
    return MeanOf(tuple(parts), complete=True)


def balanced_accuracy(predicted: Bools, truth: Bools, known: Bools, scene: Ints, scenes: int) -> Statistic:
    """Mean of the share of true cells that are predicted and of the share of false ones that are not."""
    return balanced_mean(predicted == truth, truth, known, scene, scenes)


def forced_choice(scores: Floats, hot: Bools, known: Bools, scene: Ints, scenes: int) -> Statistic:
    """How often the hotter of one hot and one cold cell of a map is the right one: mean over the maps in which
    ``WITHIN`` of the known cells are hot. This is the area under the ROC curve within a map."""
    counts = known.sum((1, 2))  # [M]
    share = (hot & known).sum((1, 2)) / np.maximum(counts, 1)
    rows = (counts > 0) & (share >= WITHIN[0]) & (share <= WITHIN[1])
    cells = scores.shape[1] * scores.shape[2]
    area = ranking.map_auc(*(a[rows].reshape(-1, cells) for a in (scores, hot, known)))
    return Ratio(_by_scene(area, scene[rows], scenes), _by_scene(np.ones(len(area)), scene[rows], scenes))


def order_of_pairs(
    scores: tuple[Floats, Floats],
    hot: tuple[Bools, Bools],
    known: Bools,
    scene: Ints,
    scenes: int,
) -> PooledAuc:
    """Whether differences between two maps are where those of their targets are.

    Args:
        scores: of the first and the second map of M pairs, each [M, h, w].
        hot: of their targets.
        known: cells that count.

    Returns:
        The pooled area under the ROC curve of the difference of the scores, against "hot in the one target and
        not in the other"; each pair counts in both orders.
    """
    first, second = scores
    difference = np.concatenate([first - second, second - first]).astype(np.float32)  # [2 M, h, w]
    only = np.concatenate([hot[0] & ~hot[1], hot[1] & ~hot[0]])
    edges = ranking.level_edges(difference) if difference.size else np.zeros(1)
    return ranking.pooled_auc(
        ranking.to_levels(difference, edges), only, np.tile(known, (2, 1, 1)), np.tile(scene, 2), scenes
    )


def pairs_within(group: Ints) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """All pairs (i, j), i < j, of maps [M] of the same group; the maps of a group follow each other."""
    largest = int(np.bincount(group).max(initial=0))
    firsts = [np.flatnonzero(group[step:] == group[:-step]) for step in range(1, largest)]
    steps = [np.full(len(first), step) for step, first in enumerate(firsts, start=1)]
    i = np.concatenate([np.zeros(0, np.intp), *firsts])
    return i, i + np.concatenate([np.zeros(0, np.intp), *steps])


def distinctness(
    scores: Floats, hot: Bools, known: Bools, window: Ints, scene: Ints, scenes: int
) -> PooledAuc:
    """``order_of_pairs`` of all pairs of keyframes of a window; ``window`` [M] tells them apart."""
    i, j = pairs_within(window)
    return order_of_pairs((scores[i], scores[j]), (hot[i], hot[j]), known[i] & known[j], scene[i], scenes)


def geometric_error(carried: Floats, own: Floats, target: Floats) -> Floats:
    """Of each cell, [M, h, w]: mean squared distance from the target of the probability that was predicted in
    this view and of the one that was predicted in another and carried here.

    The two cannot be farther apart than twice its root: (a - b)^2 <= 2 (a - t)^2 + 2 (b - t)^2.
    """
    return ((carried - target) ** 2 + (own - target) ** 2) / 2


def better_than_either(
    scores: Floats,
    rivals: tuple[Floats, ...],
    hot: Bools,
    known: Bools,
    window: Ints,
    scene: Ints,
    scenes: int,
) -> Ratio:
    """Share of the windows in which ``scores`` have a larger area under the ROC curve, over all cells of the
    window, than each of the rivals; as large as the best of them counts half.

    Windows whose cells are all hot or all cold say nothing. ``window`` [M]: maps of a window follow each other.
    """
    starts = np.flatnonzero(np.diff(window, prepend=window[0] - 1))  # [W]
    stops = np.append(starts[1:], len(window))
    won, where = [], []
    for rows in map(slice, starts, stops):
        truth, counted = (a[rows].reshape(1, -1) for a in (hot, known))
        if not (truth & counted).any() or not (~truth & counted).any():
            continue
        own, *others = (ranking.map_auc(a[rows].reshape(1, -1), truth, counted)[0] for a in (scores, *rivals))
        won.append((own > max(others)) + 0.5 * (own == max(others)))
        where.append(scene[rows.start])
    place = np.asarray(where, np.int64)
    return Ratio(
        _by_scene(np.asarray(won, float), place, scenes), _by_scene(np.ones(len(won)), place, scenes)
    )


def best_balanced_cut(scores: Floats, hot: Bools, known: Bools) -> float:
    """Threshold t for which ``score >= t`` has the best balanced accuracy over all cells (Youden's index).

    Raises:
        ValueError: no scores.
    """
    edges = ranking.level_edges(scores[known] if known.any() else scores)
    levels = ranking.to_levels(scores, edges)
    positives = np.bincount(levels[known & hot], minlength=edges.size)  # [L]
    negatives = np.bincount(levels[known & ~hot], minlength=edges.size)
    hits, false = (counts[::-1].cumsum()[::-1] for counts in (positives, negatives))  # score >= edge
    gain = hits / max(hits[0], 1) - false / max(false[0], 1)
    return float(edges[int(np.argmax(gain))])


def _by_scene(values: Floats, scene: Ints, scenes: int) -> NDArray[np.float64]:
    return np.bincount(scene, values, minlength=scenes).astype(np.float64)
