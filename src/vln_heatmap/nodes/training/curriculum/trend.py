"""What a short series of numbers does: rise, stand still, swing.

Invariant: pure functions of the values, the newest last; none depends on the unit of an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def slope(values: Sequence[float]) -> float:
    """Least-squares slope per epoch; 0 for fewer than two values."""
    count = len(values)
    if count < 2:
        return 0.0
    middle, mean = (count - 1) / 2, sum(values) / count
    spread = sum((i - middle) ** 2 for i in range(count))
    return sum((i - middle) * (v - mean) for i, v in enumerate(values)) / spread


def relative_slope(values: Sequence[float]) -> float:
    """Slope per epoch over the mean of the absolute values; 0 where all values are 0."""
    size = sum(abs(v) for v in values) / max(1, len(values))
    return slope(values) / size if size else 0.0


def is_plateau(values: Sequence[float], *, patience: int, tolerance: float) -> bool:
    """Whether the least of the last ``patience`` values is not below that of those before by more than
    ``tolerance`` of its size. False while there is nothing before."""
    before, recent = values[:-patience], values[-patience:]
    if not before:
        return False
    best = min(before)
    return min(recent) > best - tolerance * abs(best)


def turning_share(values: Sequence[float]) -> float:
    """Share of the inner values at which the series changes its direction."""
    changes = [b - a for a, b in pairwise(values)]
    turns = sum(a * b < 0 for a, b in pairwise(changes))
    return turns / (len(values) - 2) if len(values) > 2 else 0.0


def mean_change(values: Sequence[float]) -> float:
    """Mean absolute change from one value to the next."""
    changes = [abs(b - a) for a, b in pairwise(values)]
    return sum(changes) / len(changes) if changes else 0.0
