"""Which sample comes when: the order of the data as a function of the seed.

Invariant: position p of a run (the p-th sample since its start) always holds the same sample, drawn with the
same random numbers. So a run may start at any position, and batches may be prepared by any number of workers.
Exactness assumes the same data, and samples that depend on nothing but their index and their generator.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vln_heatmap.nodes.training.seeds import Stream, generator

Place = tuple[int, int]  # index of a sample, its position in the run


class Order(Protocol):
    """Which sample stands where: a function of the position, whatever was asked before."""

    def __getitem__(self, position: int) -> int:
        """Index of the sample at a position of the run."""


class SampleOrder:
    """Endless order of ``size`` samples, epoch after epoch, each shuffled anew.

    Args:
        size: number of samples.
        seed: of the order.
        weights: [size] relative frequencies. In each epoch sample i occurs floor or ceil of
            size * weights_i / sum(weights) times (systematic sampling); without weights, or with equal
            ones, exactly once.

    Raises:
        ValueError: no samples, or weights that are no frequencies.
    """

    def __init__(self, size: int, *, seed: int, weights: ArrayLike | None = None) -> None:
        if size < 1:
            raise ValueError(f"a training needs at least one sample, got {size}")
        self.size, self.seed = size, seed
        self._edges = None if weights is None else _edges(np.asarray(weights, dtype=np.float64), size)
        self._cached: tuple[int, NDArray[np.int64]] | None = None

    def epoch(self, number: int) -> NDArray[np.int64]:
        """Indices [size] of epoch ``number`` in order."""
        if self._cached is None or self._cached[0] != number:
            self._cached = number, self._shuffled(number)
        return self._cached[1]

    def _shuffled(self, number: int) -> NDArray[np.int64]:
        rng = generator(self.seed, Stream.ORDER, number)
        return rng.permutation(self.size) if self._edges is None else _drawn(self._edges, self.size, rng)

    def __getitem__(self, position: int) -> int:
        number, place = divmod(position, self.size)
        return int(self.epoch(number)[place])


class EpochOrder:
    """Order of one epoch that has weights of its own: the places from ``first`` on.

    Args:
        count: places of the epoch.
        first: position of its first one in the run.
        epoch: its number in the run.
        seed: of the order.
        weights: [samples] relative frequencies. Sample i occurs floor or ceil of
            count * weights_i / sum(weights) times.

    Raises:
        ValueError: weights that are no frequencies.
    """

    def __init__(self, count: int, first: int, *, epoch: int, seed: int, weights: ArrayLike) -> None:
        given = np.asarray(weights, dtype=np.float64)
        edges = _edges(given, len(given))
        if edges is None:
            edges = np.arange(1, len(given) + 1) / len(given)
        self.first, self.indices = first, _drawn(edges, count, generator(seed, Stream.EPOCH, epoch))

    def __getitem__(self, position: int) -> int:
        return int(self.indices[position - self.first])


def _drawn(edges: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Systematic sample [count] of the shares of [0, 1] that end at ``edges``, in random order."""
    points = (rng.random() + np.arange(count)) / count  # [count] one in each 1/count of [0, 1)
    points = np.minimum(points, np.nextafter(1.0, 0.0))
    return rng.permutation(np.searchsorted(edges, points, side="right"))


def _edges(weights: NDArray[np.float64], size: int) -> NDArray[np.float64] | None:
    """Right edges [size] of the samples' shares of [0, 1]; None if they are all equal."""
    if weights.shape != (size,):
        raise ValueError(f"there must be one weight for each of {size} samples, got shape {weights.shape}")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError("sample weights must be finite, not negative and not all 0")
    if (weights == weights[0]).all():
        return None
    total = np.cumsum(weights)
    return total / total[-1]


class Batches:
    """Batch sampler: the places of batches ``start`` .. ``stop - 1`` of a run.

    Args:
        order: of the samples.
        batch_size: samples a batch; a batch may reach into the next epoch.
        start, stop: numbers of batches since the start of the run.
        rank, ranks: of several processes that share each batch evenly, which one this is.
    """

    def __init__(
        self,
        order: Order,
        *,
        batch_size: int,
        start: int,
        stop: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.order, self.batch_size, self.start, self.stop = order, batch_size, start, stop
        self.own = range(rank * batch_size // ranks, (rank + 1) * batch_size // ranks)

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[Place]]:
        for batch in range(self.start, self.stop):
            first = batch * self.batch_size
            yield [(self.order[first + i], first + i) for i in self.own]
