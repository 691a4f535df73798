"""From samples to batches, prepared ahead by worker processes.

Invariant: a batch is the same whichever process made it, because a sample's random numbers come from its
position in the run and not from the worker.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vln_heatmap.nodes.training.order import Batches, Place, SampleOrder
from vln_heatmap.nodes.training.seeds import Stream, generator
from vln_heatmap.params import TrainParams


class TrainingDataset(Protocol):
    """What the loop needs of its data."""

    def __len__(self) -> int: ...

    def get(self, index: int, rng: np.random.Generator) -> Any:
        """Sample ``index``; whatever is random in it comes from ``rng`` and from nowhere else."""

    def collate(self, samples: list[Any]) -> Any:
        """A batch: nested dicts, lists and tuples of tensors; anything else in it is passed on."""


class _Prepared(Dataset):
    """Samples by place, each with the generator of its position."""

    def __init__(self, dataset: TrainingDataset, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, place: Place) -> Any:
        index, position = place
        return self.dataset.get(index, generator(self.seed, Stream.SAMPLE, position))


def make_loader(
    dataset: TrainingDataset, order: SampleOrder, params: TrainParams, *, start: int
) -> DataLoader:
    """Micro-batches from step ``start`` (0, 1, …) to the last, in order."""
    batches = Batches(
        order,
        batch_size=params.batch_size // params.accumulation,
        start=start * params.accumulation,
        stop=params.steps * params.accumulation,
    )
    return DataLoader(
        _Prepared(dataset, params.seed),
        batch_sampler=batches,  # type: ignore[arg-type]
        collate_fn=dataset.collate,
        num_workers=params.num_workers,
        prefetch_factor=params.prefetch if params.num_workers else None,
        pin_memory=params.device != "cpu" and torch.cuda.is_available(),
        generator=torch.Generator(),  # or it would advance the global one
    )
