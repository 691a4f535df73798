"""Several data sets as one, and the order in which their samples come.

Invariant: which sample stands at a position of a run is a function of seed and position, as in
``nodes.training.order``; so a run goes on at any position, and no sample of a task is ever left out for good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vln_heatmap.nodes.training.order import SampleOrder
from vln_heatmap.params.navigation_data import MixingParams

_TASK_STREAM, _SAMPLE_STREAM = 0, 1  # of this module's seeds


class CombineDataset:
    """Data sets one after the other, under their names.

    Args:
        datasets: by name, each with ``__len__``, ``get(index, rng)`` and ``collate``.

    Attributes:
        names: of the data sets, in order.
        edges: cumulative lengths: data set d holds the indices ``edges[d - 1]`` .. ``edges[d] - 1``.

    Raises:
        ValueError: no data set, or not a single sample.
    """

    def __init__(self, datasets: Mapping[str, Any]) -> None:
        self.names, self.datasets = tuple(datasets), tuple(datasets.values())
        self.edges: NDArray[np.int64] = np.cumsum([len(d) for d in self.datasets], dtype=np.int64)
        if not len(self):
            raise ValueError(f"there must be at least one sample, got none in {list(self.names)}")

    def __len__(self) -> int:
        return int(self.edges[-1]) if len(self.edges) else 0

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Samples of each data set."""
        return np.diff(self.edges, prepend=0)

    def locate(self, index: int) -> tuple[int, int]:
        """Number of the data set that holds a sample, and the sample's number in it.

        Raises:
            IndexError: there is no such sample.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"samples are 0 .. {len(self) - 1}, got {index}")
        number = int(np.searchsorted(self.edges, index, side="right"))
        return number, int(index - (self.edges[number - 1] if number else 0))

    def __getitem__(self, index: int) -> Any:
        number, local = self.locate(index)
        return self.datasets[number][local]

    def get(self, index: int, rng: np.random.Generator) -> Any:
        number, local = self.locate(index)
        return self.datasets[number].get(local, rng)

    def collate(self, samples: list[Any]) -> Any:
        """As the first data set does: all must give the same kind of samples."""
        return self.datasets[0].collate(samples)

    def shares(self, weights: Mapping[str, float]) -> NDArray[np.float64]:
        """Share of the samples that each data set should get [data sets], 0 where it is empty.

        Raises:
            ValueError: no data set with samples has a weight.
        """
        wanted = np.array([weights.get(name, 0.0) for name in self.names]) * (self.lengths > 0)
        if not wanted.sum() > 0:
            raise ValueError(f"none of {list(self.names)} has both samples and a weight in {dict(weights)}")
        return wanted / wanted.sum()

    def sample_weights(self, weights: Mapping[str, float]) -> NDArray[np.float64]:
        """Relative frequency of every sample [len(self)], by which data sets are drawn by their weights."""
        lengths = self.lengths
        return np.repeat(self.shares(weights) / np.maximum(lengths, 1), lengths)


class TaskOrder:
    """Endless order in which every batch holds samples of one data set.

    In each block of batches a data set occurs as often as its share demands, to the nearest whole number and at
    least once, in an order of its own. The samples of a data set come epoch after epoch, each shuffled anew.

    Args:
        lengths: samples of the data sets.
        shares: of the batches, one a data set.
        batch_size: positions of a batch.
        block: batches in which the shares are met, raised to the number of data sets that have any.
        seed: of the order.

    Raises:
        ValueError: shares that are none, or a share of a data set without samples.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        shares: ArrayLike,
        *,
        batch_size: int,
        block: int = 64,
        seed: int = 0,
    ) -> None:
        given = np.asarray(shares, np.float64)
        if given.shape != (len(lengths),) or not (given >= 0).all() or not np.isclose(given.sum(), 1):
            raise ValueError(f"there must be {len(lengths)} shares >= 0 that add up to 1, got {given}")
        if empty := [i for i, size in enumerate(lengths) if given[i] > 0 and size < 1]:
            raise ValueError(f"data set {empty[0]} has no samples but a share of {given[empty[0]]:g}")
        self.batch_size, self.seed = batch_size, seed
        self.counts = apportioned(given, max(block, int((given > 0).sum())))  # batches of a block [data sets]
        self.block = int(self.counts.sum())
        self._offsets = np.cumsum([0, *lengths])[:-1]
        self._orders = [
            SampleOrder(size, seed=_seed(seed, _SAMPLE_STREAM, i)) if given[i] > 0 else None
            for i, size in enumerate(lengths)
        ]
        self._cached: tuple[int, NDArray[np.int64]] | None = None

    def tasks(self, block: int) -> NDArray[np.int64]:
        """Number of the data set of each batch of a block."""
        if self._cached is None or self._cached[0] != block:
            rng = np.random.default_rng([self.seed, _TASK_STREAM, block])
            self._cached = block, rng.permutation(np.repeat(np.arange(len(self.counts)), self.counts))
        return self._cached[1]

    def __getitem__(self, position: int) -> int:
        """Index, among all samples, of the sample at a position of the run."""
        batch, place = divmod(position, self.batch_size)
        block, within = divmod(batch, self.block)
        tasks = self.tasks(block)
        task = int(tasks[within])
        before = block * int(self.counts[task]) + int((tasks[:within] == task).sum())
        order = self._orders[task]
        assert order is not None  # a data set without a share has no batches
        return int(self._offsets[task]) + order[before * self.batch_size + place]


def apportioned(shares: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Whole numbers that add up to ``total`` in proportion to ``shares`` (largest remainders), each share that
    is not 0 getting at least one.

    Args:
        shares: [N], they add up to 1.
        total: at least as many as there are shares above 0.
    """
    least = (shares > 0).astype(np.int64)
    exact = shares * total
    counts = np.maximum(np.floor(exact).astype(np.int64), least)
    while counts.sum() < total:
        counts[np.argmax(np.where(shares > 0, exact - counts, -np.inf))] += 1
    while counts.sum() > total:
        counts[np.argmax(np.where(counts > least, counts - exact, -np.inf))] -= 1
    return counts


def make_order(
    data: CombineDataset, params: MixingParams, *, batch_size: int, seed: int | None = None
) -> SampleOrder | TaskOrder:
    """The order of a training's samples: mixed batches, or batches of one task.

    Args:
        data: data sets under the names of their tasks.
        params: weights of the tasks, and whether batches are mixed.
        batch_size: samples of a batch.
        seed: None = that of the params.
    """
    seed = params.seed if seed is None else seed
    weights: dict[str, float] = {str(task): weight for task, weight in params.weights.items()}
    if params.batches == "mixed":
        return SampleOrder(len(data), seed=seed, weights=data.sample_weights(weights))
    return TaskOrder(
        data.lengths.tolist(), data.shares(weights), batch_size=batch_size, block=params.block, seed=seed
    )


def _seed(*place: int) -> int:
    """A seed of its own for one place of a stream."""
    return int(np.random.SeedSequence(list(place)).generate_state(1)[0])
