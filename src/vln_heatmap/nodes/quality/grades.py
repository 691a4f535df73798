"""From measured values to grades in [0, 1].

Invariant: what could not be measured (NaN) is nobody's fault: it takes no part, and if nothing could be
measured the grade is 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray


def grade(values: ArrayLike, limits: tuple[float, float]) -> NDArray[np.float64]:
    """Grades of values [...]: 0 at ``limits[0]`` (bad) and beyond, 1 at ``limits[1]`` (good), linear between.

    Bad may be above good (less is better) or below it. NaN stays NaN.
    """
    bad, good = limits
    return np.clip((np.asarray(values, np.float64) - bad) / (good - bad), 0, 1)


def weakest(grades: ArrayLike) -> float:
    """The lowest grade, 1 if none was given: a sequence is as good as its worst frame."""
    known = np.asarray(grades, np.float64).ravel()
    known = known[~np.isnan(known)]
    return float(known.min()) if known.size else 1.0


def worst_value(values: ArrayLike, limits: tuple[float, float]) -> float:
    """The value with the lowest grade, NaN if none was measured."""
    known = np.asarray(values, np.float64).ravel()
    known = known[~np.isnan(known)]
    if not known.size:
        return float("nan")
    return float(known.max() if limits[0] > limits[1] else known.min())


def weighted(parts: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Mean of grades by name, with weights by name."""
    total = sum(weights[name] for name in parts)
    return float(sum(parts[name] * weights[name] for name in parts) / total)
