"""The order of the data is a function of the seed, and weights are kept to the last sample."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.nodes.training.order import Batches, EpochOrder, SampleOrder
from vln_heatmap.nodes.training.seeds import Stream, generator, torch_seed


@given(st.integers(1, 50), st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_every_epoch_holds_every_sample_once(size: int, seed: int, epoch: int):
    assert sorted(SampleOrder(size, seed=seed).epoch(epoch)) == list(range(size))


def test_epochs_and_seeds_give_different_orders_and_the_same_seed_the_same():
    order = SampleOrder(100, seed=3)
    assert (order.epoch(0) != order.epoch(1)).any()
    assert (order.epoch(0) != SampleOrder(100, seed=4).epoch(0)).any()
    assert (order.epoch(0) == SampleOrder(100, seed=3).epoch(0)).all()


def test_positions_run_through_the_epochs_one_after_the_other():
    order = SampleOrder(7, seed=0)
    expected = np.concatenate([order.epoch(0), order.epoch(1), order.epoch(2)])
    assert [order[p] for p in range(21)] == expected.tolist()


@settings(max_examples=200)
@given(
    st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=30).filter(
        lambda w: sum(w) > 1e-6
    ),
    st.integers(0, 100),
)
def test_each_epoch_holds_the_floor_or_the_ceiling_of_each_share(weights: list[float], seed: int):
    size = len(weights)
    counts = np.bincount(SampleOrder(size, seed=seed, weights=weights).epoch(0), minlength=size)
    share = size * np.array(weights) / sum(weights)
    assert counts.sum() == size
    assert (counts >= np.floor(share - 1e-9)).all()
    assert (counts <= np.ceil(share + 1e-9)).all()
    assert (counts[np.array(weights) == 0] == 0).all()


@given(st.integers(1, 50), st.floats(1e-3, 1e3), st.integers(0, 9))
def test_equal_weights_are_no_weights(size: int, weight: float, seed: int):
    equal, plain = SampleOrder(size, seed=seed, weights=[weight] * size), SampleOrder(size, seed=seed)
    assert (equal.epoch(seed) == plain.epoch(seed)).all()


def test_weighted_batches_from_the_middle_are_those_of_the_whole_run():
    weights = [0.2, 3.0, 1.0, 0.0, 0.8]
    whole = list(Batches(SampleOrder(5, seed=1, weights=weights), batch_size=3, start=0, stop=9))
    rest = Batches(SampleOrder(5, seed=1, weights=weights), batch_size=3, start=4, stop=9)
    assert list(rest) == whole[4:]
    drawn = np.bincount([index for batch in whole for index, _ in batch], minlength=5)
    assert drawn[3] == 0
    assert drawn[1] == pytest.approx(27 * 3 / 5, abs=2)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20), st.integers(1, 60), st.integers(0, 500))
def test_an_epoch_of_its_own_weights_holds_their_shares(weights: list[float], count: int, first: int):
    order = EpochOrder(count, first, epoch=3, seed=1, weights=weights)
    drawn = np.bincount([order[p] for p in range(first, first + count)], minlength=len(weights))
    share = count * np.array(weights) / sum(weights)
    assert (drawn >= np.floor(share - 1e-9)).all()
    assert (drawn <= np.ceil(share + 1e-9)).all()


def test_epochs_of_the_same_weights_draw_anew():
    first, second = (EpochOrder(50, 0, epoch=e, seed=1, weights=np.ones(50)).indices for e in (0, 1))
    assert sorted(first) == sorted(second) == list(range(50))
    assert (first != second).any()


@given(st.integers(1, 4), st.integers(1, 5))
def test_processes_share_every_batch_evenly_and_in_order(ranks: int, each: int):
    whole = list(Batches(SampleOrder(7, seed=0), batch_size=ranks * each, start=2, stop=6))
    shares = [
        list(Batches(SampleOrder(7, seed=0), batch_size=ranks * each, start=2, stop=6, rank=r, ranks=ranks))
        for r in range(ranks)
    ]
    assert [[*chain(*parts)] for parts in zip(*shares, strict=True)] == whole


@pytest.mark.parametrize(
    ("weights", "message"),
    [([1, 2], "one weight for each of 3"), ([0, 0, 0], "not all 0"), ([1, -1, 1], "not negative")],
)
def test_weights_that_are_no_frequencies_are_refused(weights: list[float], message: str):
    with pytest.raises(ValueError, match=message):
        SampleOrder(3, seed=0, weights=weights)


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="at least one sample, got 0"):
        SampleOrder(0, seed=0)


@given(st.integers(1, 9), st.integers(1, 6), st.integers(0, 8))
def test_batches_from_the_middle_are_those_of_the_whole_run(size: int, batch_size: int, start: int):
    order = SampleOrder(size, seed=1)
    whole = list(Batches(order, batch_size=batch_size, start=0, stop=8))
    rest = Batches(SampleOrder(size, seed=1), batch_size=batch_size, start=start, stop=8)
    assert list(rest) == whole[start:]
    assert len(rest) == 8 - start
    assert [position for batch in whole for _, position in batch] == list(range(8 * batch_size))


def test_streams_and_places_of_one_seed_are_independent():
    seeds = {
        torch_seed(seed, stream, place) for seed in range(3) for stream in Stream for place in range(100)
    }
    assert len(seeds) == 3 * len(Stream) * 100
    assert generator(0, Stream.SAMPLE, 5).random() == generator(0, Stream.SAMPLE, 5).random()
