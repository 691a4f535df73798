"""Numbers of robots to about [-1, 1] and back, each dimension by a shift and a factor of its own.

Invariant: for every number that the statistics have seen, ``denormalised(normalised(x)) == x`` up to rounding.
A dimension that never changed becomes 0 and comes back as its constant, whatever a model says of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.datasets.checkpoint import CheckpointMismatchError
from vln_heatmap.params.policy import NormalisationParams, Scaling

Vector = NDArray[np.float64]
#: A spread that is smaller than this share of the numbers' size is rounding.
_ROUNDING = 1e-6


class StatisticsMismatchError(CheckpointMismatchError):
    """A checkpoint and the data were normalised by different numbers."""


@dataclass(frozen=True)
class Normaliser:
    """Shift and factor of D dimensions: normalised = (x - offset) / scale, or 0 where scale is 0.

    Attributes:
        offset, scale: [D].
        low, high: range of most normalised numbers (q01, q99) [D], low < high.
    """

    offset: Vector
    scale: Vector
    low: Vector
    high: Vector

    @property
    def inverse(self) -> Vector:
        """1 / scale [D], 0 where scale is 0."""
        return np.divide(1.0, self.scale, out=np.zeros_like(self.scale), where=self.scale > 0)

    def normalised(self, values: Any) -> Any:
        """Values [..., D] of arrays."""
        return (values - self.offset) * self.inverse

    def denormalised(self, values: Any) -> Any:
        """Inverse of ``normalised`` [..., D]."""
        return values * self.scale + self.offset

    @staticmethod
    def of(summary: Mapping[str, Any], scaling: Scaling, untouched: Sequence[int] = ()) -> Normaliser:
        """From statistics.

        Args:
            summary: ``min``, ``max``, ``mean``, ``std``, ``q01``, ``q99`` by dimension, as ``Moments.summary``.
            scaling: name in ``SCALINGS``.
            untouched: dimensions that stay as they are.

        Raises:
            ValueError: an untouched dimension that there is not.
        """
        low, high, q01, q99 = (np.asarray(summary[name], np.float64) for name in ("min", "max", "q01", "q99"))
        if wrong := [d for d in untouched if d >= len(low)]:
            raise ValueError(f"untouched dimension must be below {len(low)}, got {wrong[0]}")
        least = _ROUNDING * np.maximum(1, np.abs([low, high]).max(0))  # [D]
        offset, scale = SCALINGS[scaling](summary)
        whole = _between(low, high)  # where 98 % of the numbers are the same, though not all
        offset, scale = (np.where(scale > least, a, b) for a, b in zip((offset, scale), whole, strict=True))
        constant = high - low <= least
        offset, scale = np.where(constant, low, offset), np.where(constant, 0.0, scale)
        offset[list(untouched)], scale[list(untouched)] = 0.0, 1.0
        made = Normaliser(offset, scale, low, high)
        ends = made.normalised(q01), made.normalised(q99)
        flat = ends[1] - ends[0] <= _ROUNDING
        ends = np.where(flat, made.normalised(low), ends[0]), np.where(flat, made.normalised(high), ends[1])
        flat = ends[1] - ends[0] <= _ROUNDING
        return Normaliser(
            offset, scale, np.where(flat, ends[0] - 1, ends[0]), np.where(flat, ends[1] + 1, ends[1])
        )


def _between(low: Any, high: Any) -> tuple[Vector, Vector]:
    """Middle and half width: [low, high] to [-1, 1]."""
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    return (low + high) / 2, (high - low) / 2


def _as_they_are(summary: Mapping[str, Any]) -> tuple[Vector, Vector]:
    return np.zeros(len(summary["min"])), np.ones(len(summary["min"]))


#: Offset and scale [D] by the name of a scaling.
SCALINGS: dict[Scaling, Callable[[Mapping[str, Any]], tuple[Vector, Vector]]] = {
    "quantile": lambda summary: _between(summary["q01"], summary["q99"]),
    "min_max": lambda summary: _between(summary["min"], summary["max"]),
    "mean_std": lambda summary: (np.asarray(summary["mean"], float), np.asarray(summary["std"], float)),
    "none": _as_they_are,
}


def normalisers(statistics: Mapping[str, Any]) -> tuple[Normaliser, Normaliser]:
    """Of state and action, from what ``policy_statistics`` gives and a checkpoint carries."""
    params = NormalisationParams.model_validate(statistics["normalisation"])
    return (
        Normaliser.of(statistics["state"], params.state, params.untouched_state),
        Normaliser.of(statistics["action"], params.action, params.untouched_action),
    )


def check_statistics(stored: Mapping[str, Any], given: Mapping[str, Any], *, checkpoint: Any) -> None:
    """See that a checkpoint's statistics are those of the data.

    Raises:
        StatisticsMismatchError: they differ; the message names the first difference.
    """
    ours, theirs = (json.loads(json.dumps(statistics)) for statistics in (stored, given))
    for part in ("normalisation", "state", "action"):
        for name in ours[part]:
            if ours[part][name] != theirs[part].get(name):
                had, have = _short(ours[part][name]), _short(theirs[part].get(name))
                raise StatisticsMismatchError(
                    f"checkpoint {checkpoint} was trained with {part}.{name} = {had}, but the data have {have}: "
                    "a policy's numbers mean something only with the statistics it was trained with. "
                    "Name the data that it was trained on, or train on these "
                    "(policy.warm_start begins with its weights)"
                )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
