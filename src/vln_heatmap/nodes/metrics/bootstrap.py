"""Confidence intervals over scenes, from statistics that know each scene's share.

Pixels of one walk, and walks of one house, are not independent, so a resample draws whole scenes. Invariant:
a statistic is a closed formula of how often each scene was drawn; its value is the one where every scene
counts once, and no pixel is touched again for a resample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Statistic(Protocol):
    """A number that depends on how often each scene was drawn."""

    def values(self, weights: Floats) -> Floats:
        """One value per row of scene counts [R, S]; NaN where the drawn scenes hold no data: [R]."""


@dataclass(frozen=True)
class Ratio:
    """A sum over a sum, such as a mean over maps or intersection over union.

    Attributes:
        numerator, denominator: each scene's share [S].
        empty: value of data that has nothing to divide by (IoU of two empty masks: 1).
        samples: each scene's amount of data [S], the denominator by default; tells "empty" from "no data".
    """

    numerator: Floats
    denominator: Floats
    empty: float = float("nan")
    samples: Floats | None = None

    def values(self, weights: Floats) -> Floats:
        bottom = weights @ self.denominator  # [R]
        present = bottom if self.samples is None else weights @ self.samples  # [R]
        ratio = weights @ self.numerator / np.where(bottom > 0, bottom, 1.0)  # [R]
        return np.where(bottom > 0, ratio, np.where(present > 0, self.empty, np.nan))


@dataclass(frozen=True)
class PooledAuc:
    """Area under the ROC curve over the pooled pixels of all drawn scenes (Mann-Whitney U / (P N)).

    Attributes:
        wins: [S, S], how many (positive of scene s, negative of scene t) pairs are ranked rightly, ties half.
        positives, negatives: pixel counts of each scene [S].

    The value is 0.5 where pixels of one class only were drawn: nothing can be ranked.
    """

    wins: Floats
    positives: Floats
    negatives: Floats

    def values(self, weights: Floats) -> Floats:
        positives, negatives = weights @ self.positives, weights @ self.negatives  # [R]
        won = np.einsum("rs,st,rt->r", weights, self.wins, weights, optimize=True)  # [R]
        pairs = positives * negatives
        area = np.where(pairs > 0, won / np.where(pairs > 0, pairs, 1.0), 0.5)
        return np.where(positives + negatives > 0, area, np.nan)


@dataclass(frozen=True)
class MeanOf:
    """Plain mean of other statistics; undefined parts do not count, or with ``complete`` make it undefined."""

    parts: tuple[Statistic, ...]
    complete: bool = False

    def values(self, weights: Floats) -> Floats:
        stacked = np.stack([part.values(weights) for part in self.parts])  # [P, R]
        known = np.isfinite(stacked)
        total = np.where(known, stacked, 0.0).sum(0)  # [R]
        enough = known.all(0) if self.complete else known.any(0)
        return np.where(enough, total / np.maximum(known.sum(0), 1), np.nan)


@dataclass(frozen=True)
class Difference:
    """First statistic less the second, over the same drawn scenes (a paired comparison)."""

    first: Statistic
    second: Statistic

    def values(self, weights: Floats) -> Floats:
        return self.first.values(weights) - self.second.values(weights)


def scene_weights(scenes: int, resamples: int, seed: int) -> Floats:
    """Counts of a bootstrap: each row draws ``scenes`` scenes with replacement [resamples, scenes]."""
    if scenes < 1 or resamples < 1:
        raise ValueError(f"scenes and resamples must be at least 1, got {scenes} and {resamples}")
    rng = np.random.default_rng(seed)
    return rng.multinomial(scenes, np.full(scenes, 1 / scenes), size=resamples).astype(np.float64)


def value(statistic: Statistic, scenes: int) -> float | None:
    """The statistic with every scene counted once; None where there is no data."""
    return _plain(statistic.values(np.ones((1, scenes)))[0])


def interval(statistic: Statistic, weights: Floats, level: float = 0.95) -> list[float] | None:
    """Percentile bootstrap interval [low, high].

    None where it means nothing: fewer than two scenes, or no resample with data.
    """
    if weights.shape[1] < 2:
        return None
    drawn = statistic.values(weights)
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size:
        return None
    return [float(q) for q in np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])]


def summary(
    statistics: Mapping[str, Statistic], weights: Floats, level: float = 0.95
) -> dict[str, float | list[float] | None]:
    """``{name: value, name_ci: [low, high]}`` of every statistic, ready for JSON (None instead of NaN)."""
    out: dict[str, float | list[float] | None] = {}
    for name, statistic in statistics.items():
        out[name] = value(statistic, weights.shape[1])
        out[f"{name}_ci"] = interval(statistic, weights, level)
    return out


def _plain(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
