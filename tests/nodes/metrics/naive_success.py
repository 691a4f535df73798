"""The success metrics cell by cell, in plain loops: what the fast ones must agree with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np


def auc(pairs: Iterable[tuple[float, bool]]) -> float:
    """Of (score, hot): share of hot-cold pairs in the right order, ties half."""
    items = list(pairs)
    hot, cold = [s for s, h in items if h], [s for s, h in items if not h]
    won = sum((a > b) + 0.5 * (a == b) for a in hot for b in cold)
    return won / (len(hot) * len(cold))


def cells(*arrays: Any) -> Iterator[tuple[Any, ...]]:
    """Values of arrays of the same shape, cell by cell."""
    return zip(*(np.asarray(a).ravel().tolist() for a in arrays), strict=True)


def balanced(values: Any, hot: Any, known: Any) -> float:
    """Mean over hot cells and over cold cells, and the mean of the two."""
    sides: dict[bool, list[float]] = {True: [], False: []}
    for v, h, k in cells(values, hot, known):
        if k:
            sides[h].append(v)
    return (sum(sides[True]) / len(sides[True]) + sum(sides[False]) / len(sides[False])) / 2


def choice(scores: Any, hot: Any, known: Any) -> float:
    """Mean over maps of the area within the map."""
    areas = []
    for s, h, k in zip(scores, hot, known, strict=True):
        counted = [(a, b) for a, b, c in cells(s, h, k) if c]
        share = sum(b for _, b in counted) / max(len(counted), 1)
        if 0.03 <= share <= 0.97:
            areas.append(auc(counted))
    return sum(areas) / len(areas)


def orders(scores: Any, hot: Any, known: Any, pairs: Iterable[tuple[int, int]]) -> float:
    """Area of the differences of pairs of maps, both ways."""
    found = []
    for i, j in pairs:
        for a, b, x, y, k, m in cells(scores[i], scores[j], hot[i], hot[j], known[i], known[j]):
            if k and m:
                found += [(np.float32(a - b), x and not y)]
                found += [(np.float32(b - a), y and not x)]
    return auc(found)
