"""What is needed to normalise numbers, from one pass over tables, in parts that can be put together.

A million rows of 14 numbers take two seconds (``benchmarks/test_statistics_speed.py``). Rows are gathered into
blocks first, because a digest of a few rows costs nearly as much as one of thousands.

Invariant: merging the statistics of parts gives those of the whole, in any order: count, extremes, mean and
deviation up to rounding (Chan et al. 1979), quantiles within ``RANK_ERROR`` (t-digest, Dunning 2019, which is
deterministic, unlike sampling sketches, and most exact in the tails).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from datasketches import tdigest_double
from numpy.typing import NDArray

#: Compression of the digests, and the rank error that it keeps everywhere (at q01 and q99 it is 0.0001).
COMPRESSION = 2000
RANK_ERROR = 0.005
#: Rows that are measured at once.
BLOCK = 65_536


@dataclass(frozen=True)
class Moments:
    """Statistics of N rows of D numbers.

    Attributes:
        count: N.
        low, high, mean: [D].
        squares: [D] sum of squared deviations from the mean.
        digests: D serialised t-digests.
    """

    count: int
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    digests: tuple[bytes, ...]

    @staticmethod
    def of(rows: NDArray[np.floating]) -> Moments:
        """Statistics of rows [N, D].

        Raises:
            ValueError: no row, or a number that is not finite.
        """
        columns = np.ascontiguousarray(check_rows(rows).T)  # [D, N]
        mean = columns.mean(1)
        digests = []
        for column in columns:
            digest = tdigest_double(COMPRESSION)
            digest.update(column)
            digests.append(digest.serialize())
        squares = ((columns - mean[:, None]) ** 2).sum(1)
        return Moments(columns.shape[1], columns.min(1), columns.max(1), mean, squares, tuple(digests))

    @staticmethod
    def of_parts(parts: Iterable[NDArray[np.floating]]) -> Moments:
        """Statistics of all rows [N, D] of many parts, of which only a block is in memory at a time.

        Raises:
            ValueError: no row at all, or a number that is not finite.
        """
        measured = map(Moments.of, blocks(parts))
        if (first := next(measured, None)) is None:
            raise ValueError("statistics need at least one row")
        return reduce(add, measured, first)

    def __add__(self, other: Moments) -> Moments:
        """Statistics of both parts together."""
        count = self.count + other.count
        shift = other.mean - self.mean  # [D]
        digests = []
        for mine, others in zip(self.digests, other.digests, strict=True):
            digest = tdigest_double.deserialize(mine)
            digest.merge(tdigest_double.deserialize(others))
            digests.append(digest.serialize())
        return Moments(
            count,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.mean + shift * other.count / count,
            self.squares + other.squares + shift**2 * self.count * other.count / count,
            tuple(digests),
        )

    def quantile(self, share: float) -> NDArray[np.float64]:
        """The value [D] that ``share`` of the rows do not exceed."""
        return np.array([tdigest_double.deserialize(digest).get_quantile(share) for digest in self.digests])

    def summary(self, names: Sequence[str]) -> dict[str, Any]:
        """As plain numbers: names, count, and min, max, mean, std (population), q01, q99 by dimension."""
        if len(names) != len(self.mean):
            raise ValueError(f"{len(self.mean)} dimensions cannot be called {list(names)}")
        columns = {
            "min": self.low,
            "max": self.high,
            "mean": self.mean,
            "std": np.sqrt(self.squares / self.count),
            "q01": self.quantile(0.01),
            "q99": self.quantile(0.99),
        }
        return {
            "names": list(names),
            "count": self.count,
            **{name: values.tolist() for name, values in columns.items()},
        }


def check_rows(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows [N, D] as float64.

    Raises:
        ValueError: no row, or a number that is not finite.
    """
    numbers: NDArray[np.float64] = np.asarray(rows, np.float64)
    if numbers.ndim != 2 or not len(numbers):
        raise ValueError(f"statistics need rows [N, D] with N >= 1, got shape {numbers.shape}")
    if not np.isfinite(numbers).all():
        row, column = np.argwhere(~np.isfinite(numbers))[0]
        raise ValueError(f"row {row} has {numbers[row, column]} in dimension {column}: it must be finite")
    return numbers


def blocks(parts: Iterable[NDArray], *, size: int = BLOCK) -> Iterator[NDArray]:
    """The rows of many parts [n, D], in order, as arrays of about ``size`` rows."""
    waiting: list[NDArray] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += len(part)
        if count >= size:
            yield np.concatenate(waiting)
            waiting, count = [], 0
    if count:
        yield np.concatenate(waiting)
