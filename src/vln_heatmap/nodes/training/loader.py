"""From samples to batches, prepared ahead by worker processes that live as long as the run.

Invariant: a batch is the same whichever process made it, because a sample's random numbers come from its
position in the run and not from the worker, and what an epoch changes of the data travels with the position.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vln_heatmap.nodes.training.director import EpochPlan
from vln_heatmap.nodes.training.order import Batches, EpochOrder, Order, Place, SampleOrder
from vln_heatmap.nodes.training.seeds import Stream, generator
from vln_heatmap.params import TrainParams

#: Numbers of the samples of a batch, and the batch.
Loaded = tuple[list[int], Any]


class TrainingDataset(Protocol):
    """What the loop needs of its data. With ``params``, an epoch may change fields of them."""

    def __len__(self) -> int: ...

    def get(self, index: int, rng: np.random.Generator) -> Any:
        """Sample ``index``; whatever is random in it comes from ``rng`` and from nowhere else."""

    def collate(self, samples: list[Any]) -> Any:
        """A batch: nested dicts, lists and tuples of tensors; anything else in it is passed on."""


def varied(dataset: Any, changes: Mapping[str, Any]) -> Any:
    """The dataset with some fields of its ``params`` changed; the same one without changes.

    Raises:
        ValueError: there is no such field, or no such value.
    """
    if not changes:
        return dataset
    other = copy.copy(dataset)
    other.params = type(dataset.params).model_validate(dataset.params.model_dump() | dict(changes))
    return other


class _Prepared(Dataset):
    """Samples by place, each with the generator of its position, in the variant of its epoch."""

    def __init__(self, dataset: TrainingDataset, seed: int) -> None:
        self.dataset, self.seed = dataset, seed
        self._variant: tuple[str, Any] = ("{}", dataset)

    def __getitem__(self, key: tuple[Place, str]) -> tuple[int, Any]:
        (index, position), changes = key
        if self._variant[0] != changes:
            self._variant = changes, varied(self.dataset, json.loads(changes))
        rng = generator(self.seed, Stream.SAMPLE, position)
        return index, self._variant[1].get(index, rng)

    def collate(self, samples: list[tuple[int, Any]]) -> Loaded:
        return [index for index, _ in samples], self.dataset.collate([sample for _, sample in samples])


class _Places:
    """The batch sampler of the epoch that is read next."""

    batches: Batches
    changes = "{}"

    def __iter__(self) -> Iterator[list[tuple[Place, str]]]:
        changes = self.changes
        for places in self.batches:
            yield [(place, changes) for place in places]


class Feed:
    """Micro-batches of a run, epoch by epoch.

    Args:
        dataset: the samples.
        params: of the run.
        weights: [len(dataset)] relative frequencies of the samples; None = equal.
        order: of the samples, the same in every process; None = one by the weights.
        rank, ranks: of several processes that share each batch evenly, which one this is.
    """

    def __init__(
        self,
        dataset: TrainingDataset,
        params: TrainParams,
        *,
        weights: Any,
        order: Order | None = None,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.params, self.rank, self.ranks, self.dataset = params, rank, ranks, dataset
        self._given = order is not None
        self.order: Order = (
            SampleOrder(len(dataset), seed=params.seed, weights=weights) if order is None else order
        )
        self._places = _Places()
        prepared, workers = _Prepared(dataset, params.seed), params.num_workers
        self._loader = DataLoader(
            prepared,
            batch_sampler=self._places,  # type: ignore[arg-type]
            collate_fn=prepared.collate,
            num_workers=workers,
            prefetch_factor=params.prefetch if workers else None,
            persistent_workers=workers > 0,
            pin_memory=params.device != "cpu" and torch.cuda.is_available(),
            generator=torch.Generator(),  # or it would advance the global one
        )

    def epoch(self, plan: EpochPlan, first: int, start: int) -> Iterator[Loaded]:
        """Micro-batches of an epoch that begins at step ``first`` of the run, from step ``start`` on.

        An epoch without weights of its own goes on in the order of the run.

        Raises:
            ValueError: weights that are no frequencies, or are of an epoch although an order was given; or
                ``window`` names what the data do not have.
        """
        params, stop = self.params, first + plan.steps
        varied(self.dataset, plan.window)  # refuse here what a worker would refuse
        order = self.order
        if plan.sample_weights is not None:
            if self._given:
                raise ValueError("an epoch cannot have weights of its own in a run whose order is given")
            where = plan.steps * params.batch_size, first * params.batch_size
            order = EpochOrder(*where, epoch=plan.epoch, seed=params.seed, weights=plan.sample_weights)
        self._places.batches = Batches(
            order,
            batch_size=params.batch_size // params.accumulation,
            start=start * params.accumulation,
            stop=stop * params.accumulation,
            rank=self.rank,
            ranks=self.ranks,
        )
        self._places.changes = json.dumps(dict(plan.window), sort_keys=True)
        return iter(self._loader)
