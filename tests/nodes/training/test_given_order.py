"""An order that is given is kept, sample by sample, however the run is interrupted, fed or accumulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_training as toy
from torch import nn

from vln_heatmap.datasets.checkpoint import TrainingState
from vln_heatmap.nodes.navigation.mixing import TaskOrder
from vln_heatmap.nodes.training.director import EpochPlan
from vln_heatmap.nodes.training.loader import Feed
from vln_heatmap.nodes.training.order import SampleOrder
from vln_heatmap.params import TrainParams

PARAMS = TrainParams.model_validate(toy.PARAMS)  # batches of 4 in two parts


class Interruption(BaseException):
    pass


def order() -> TaskOrder:
    """The toy's seven samples as two data sets, of which the second has a third of the batches."""
    return TaskOrder([4, 3], [2 / 3, 1 / 3], batch_size=4, block=6, seed=5)


def recorded(seen: list[Any], most: int | None = None) -> Any:
    """The toy's loss, which notes the samples of each part of a batch, and breaks off after ``most`` of them."""

    def loss(model: nn.Module, batch: Any) -> Any:
        if len(seen) == most:
            raise Interruption
        seen.append([int(name.split()[1]) for name in batch["names"]])
        return toy.toy_loss(model, batch)

    return loss


def test_a_run_reads_what_stands_in_its_order() -> None:
    seen: list[Any] = []
    toy.run(loss_fn=recorded(seen), order=order(), steps=12)
    read, expected = np.array(seen).reshape(12, 4), order()
    assert read.tolist() == [[expected[4 * step + i] for i in range(4)] for step in range(12)]
    second = (read >= 4).reshape(2, 6, 4)  # two blocks of six batches
    assert (second.all(-1) | ~second.any(-1)).all()
    assert second.all(-1).sum(1).tolist() == [2, 2]


@pytest.mark.parametrize("parts", [3, 11, 23])
def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path: Path, parts: int) -> None:
    """Interrupted before a step, in the middle of one, and after a validation."""
    whole = toy.run(order=order(), steps=14)
    state = TrainingState(tmp_path / "state.safetensors")
    with pytest.raises(Interruption):
        toy.run(state, loss_fn=recorded([], parts), order=order(), steps=14)
    resumed = toy.run(state, order=order(), steps=14)
    assert resumed.history["loss"].tolist() == whole.history["loss"].tolist()
    assert all(torch.equal(resumed.last[name], tensor) for name, tensor in whole.last.items())


def test_neither_workers_nor_processes_change_what_is_read() -> None:
    def places(rank: int, ranks: int, **changes: Any) -> list[list[int]]:
        params = PARAMS.model_copy(update={"accumulation": 1, **changes})
        feed = Feed(toy.ToyData(), params, weights=None, order=order(), rank=rank, ranks=ranks)
        return [indices for indices, _ in feed.epoch(plan(8), 0, 2)]

    whole = places(0, 1)
    assert places(0, 1, num_workers=2) == whole
    halves = [places(rank, 2) for rank in range(2)]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole


def plan(steps: int, weights: Any = None) -> EpochPlan:
    return EpochPlan(0, "train", steps, (1.0,) * steps, {}, sample_weights=weights)


def test_an_order_of_ones_own_that_is_the_loops_changes_nothing() -> None:
    given = toy.run(order=SampleOrder(7, seed=TrainParams.model_validate(toy.PARAMS).seed), steps=6)
    assert given.history["loss"].tolist() == toy.run(steps=6).history["loss"].tolist()


def test_weights_of_an_epoch_and_a_given_order_do_not_go_together() -> None:
    feed = Feed(toy.ToyData(), PARAMS, weights=None, order=order())
    with pytest.raises(ValueError, match="order is given"):
        feed.epoch(plan(2, np.arange(7.0)), 0, 0)
