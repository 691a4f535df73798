"""How far continuous actions are from the truth.

Dimensions have different units, so errors are told in deviations of the training actions: 1 is what always saying
their mean would get, if the test data were like the training data. Invariant: a perfect answer has error 0 and
accuracy 1; dimensions that never change are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def action_scores(
    said: Floats,
    truth: Floats,
    step: NDArray[np.integer],
    *,
    std: Floats,
    low: Floats,
    high: Floats,
    bins: int,
    names: Sequence[str],
) -> dict[str, Any]:
    """Errors of R actions with A numbers.

    Args:
        said, truth: in the units of the data [R, A].
        step: place of each in its chunk [R], from 0.
        std: deviation of the training actions [A]; 0 = never changes.
        low, high: range that the bins divide [A].
        bins: of the discretised accuracy.
        names: of the A dimensions.

    Returns:
        ``mse`` and ``mae`` in deviations, ``accuracy`` (numbers in the right bin), ``mse_by_step`` [H],
        ``mse_by_dimension`` and ``mae_by_dimension`` by name, the last one in the units of the data.

    Raises:
        ValueError: no action, shapes that differ, or no dimension that changes.
    """
    if said.shape != truth.shape or len(step) != len(said) or not len(said):
        raise ValueError(f"actions must be [R, A] with R >= 1, got {said.shape} and {truth.shape}")
    varies = std > 0  # [A]
    if not varies.any():
        raise ValueError("no dimension of the actions ever changes: there is nothing to measure")
    apart = (said - truth)[:, varies]  # [R, V]
    relative = apart / std[varies]
    right = bin_of(said, low, high, bins) == bin_of(truth, low, high, bins)  # [R, A]
    square = relative**2
    kept = [name for name, changes in zip(names, varies, strict=True) if changes]
    return {
        "mse": float(square.mean()),
        "mae": float(np.abs(relative).mean()),
        "accuracy": float(right[:, varies].mean()),
        "mse_by_step": [float(square[step == place].mean()) for place in np.unique(step)],
        "mse_by_dimension": dict(zip(kept, square.mean(0).tolist(), strict=True)),
        "mae_by_dimension": dict(zip(kept, np.abs(apart).mean(0).tolist(), strict=True)),
    }


def bin_of(values: Floats, low: Floats, high: Floats, bins: int) -> NDArray[np.int64]:
    """Which of ``bins`` equal parts of [low, high] numbers [..., A] lie in; the outermost take what is beyond."""
    width = np.where(high > low, high - low, 1.0)
    return np.clip(np.floor((values - low) / width * bins), 0, bins - 1).astype(np.int64)
