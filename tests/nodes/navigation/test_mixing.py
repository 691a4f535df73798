"""Mixed data sets: every index has one place, shares are met, and any position can be gone on from."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.nodes.navigation.mixing import CombineDataset, TaskOrder, apportioned, make_order
from vln_heatmap.nodes.training.order import Batches
from vln_heatmap.params.navigation_data import MixingParams

relaxed = settings(max_examples=50, deadline=None)


class Counted:
    """A data set whose samples say which they are."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[str, int]:
        return self.name, index

    def get(self, index: int, rng: np.random.Generator) -> tuple[str, int, int]:
        return self.name, index, int(rng.integers(1000))

    def collate(self, samples: list) -> list:
        return samples


NAMES = ("navigation", "vqa", "scanqa", "description", "conversation")
lengths = st.lists(st.integers(0, 12), min_size=1, max_size=5).filter(any)
weights = st.lists(st.floats(0, 5), min_size=5, max_size=5)


def combined(sizes: list[int]) -> CombineDataset:
    return CombineDataset({name: Counted(name, size) for name, size in zip(NAMES, sizes, strict=False)})


@given(lengths)
@relaxed
def test_the_index_map_is_one_data_set_after_the_other(sizes: list[int]) -> None:
    data = combined(sizes)
    everything = [(name, i) for name, size in zip(NAMES, sizes, strict=False) for i in range(size)]
    assert [data[index] for index in range(len(data))] == everything
    assert [data.get(i, np.random.default_rng(0))[:2] for i in range(len(data))] == everything
    for outside in (-1, len(data)):
        with pytest.raises(IndexError, match=f"got {outside}"):
            data[outside]


@given(lengths, weights)
@relaxed
def test_sample_weights_add_up_to_the_shares(sizes: list[int], given_weights: list[float]) -> None:
    data, wanted = combined(sizes), dict(zip(NAMES, given_weights, strict=True))
    alive = sum(wanted[name] for name, size in zip(NAMES, sizes, strict=False) if size)
    if not alive > 0:
        with pytest.raises(ValueError, match="none of"):
            data.sample_weights(wanted)
        return
    found = data.sample_weights(wanted)
    for name, part in zip(NAMES, np.split(found, data.edges[:-1]), strict=False):
        assert np.isclose(part.sum(), wanted[name] / alive if len(part) else 0)
        assert np.allclose(part, part[:1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(6, 80))
@relaxed
def test_apportioned_is_as_near_as_whole_numbers_can_be(shares: list[float], total: int) -> None:
    given_shares = np.array(shares)
    if given_shares.sum() < 1e-6:
        return
    given_shares /= given_shares.sum()
    counts = apportioned(given_shares, total)
    assert counts.sum() == total
    assert ((counts > 0) == (given_shares > 0)).all()
    large = given_shares * total >= 1
    assert large.sum() < len(large) or (np.abs(counts - given_shares * total) < 1).all()


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4)), min_size=1, max_size=4),
    st.integers(1, 5),
    st.integers(1, 12),
    st.integers(0, 99),
)
@relaxed
def test_batches_hold_one_task_in_its_share_and_leave_nothing_out(
    tasks: list[tuple[int, int]], batch: int, block: int, seed: int
) -> None:
    sizes, raw = zip(*tasks, strict=True)
    shares = np.array(raw) / sum(raw)
    order = TaskOrder(sizes, shares, batch_size=batch, block=block, seed=seed)
    data = combined(list(sizes))
    count = order.block * 3
    drawn = [[data.locate(order[b * batch + i]) for i in range(batch)] for b in range(count)]
    assert all(len({task for task, _ in places}) == 1 for places in drawn)
    assert Counter(places[0][0] for places in drawn) == {t: 3 * n for t, n in enumerate(order.counts)}
    for task, size in enumerate(sizes):  # every epoch of a task is all of it
        own = [local for places in drawn for t, local in places if t == task]
        for first in range(0, len(own) - size + 1, size):
            assert sorted(own[first : first + size]) == list(range(size))


@given(st.integers(0, 400), st.integers(0, 5), st.sampled_from(["mixed", "per_task"]))
@relaxed
def test_a_run_goes_on_from_any_position(position: int, seed: int, batches: str) -> None:
    data, params = combined([7, 3, 5]), MixingParams(batches=batches, block=8, seed=seed)
    whole = make_order(data, params, batch_size=4)
    before = [whole[p] for p in range(position)]
    ahead = [whole[p] for p in range(position, position + 24)]
    afresh = make_order(data, params, batch_size=4)
    assert [afresh[p] for p in range(position, position + 24)] == ahead
    assert [afresh[p] for p in range(position)] == before


def test_mixed_batches_are_drawn_by_the_weights_and_differ_by_seed() -> None:
    data = combined([300, 10, 20])
    params = MixingParams(weights={"navigation": 2, "vqa": 1, "scanqa": 1})
    order = make_order(data, params, batch_size=4)
    drawn = Counter(data.locate(order[p])[0] for p in range(len(data) * 10))
    shares = [drawn[task] / drawn.total() for task in range(3)]
    assert np.allclose(shares, [0.5, 0.25, 0.25], atol=0.01)
    other = make_order(data, params, batch_size=4, seed=1)
    assert [order[p] for p in range(50)] != [other[p] for p in range(50)]


def test_ranks_share_the_batches_of_a_task() -> None:
    data = combined([7, 3, 5])
    order = make_order(data, MixingParams(batches="per_task", block=6), batch_size=4)
    whole, halves = (
        [list(Batches(order, batch_size=4, start=2, stop=9, rank=r, ranks=n)) for r in range(n)]
        for n in (1, 2)
    )
    assert [a + b for a, b in zip(*halves, strict=True)] == whole[0]


def test_shares_that_cannot_be_met_are_refused() -> None:
    with pytest.raises(ValueError, match="data set 1 has no samples but a share"):
        TaskOrder([3, 0], [0.5, 0.5], batch_size=2)
    with pytest.raises(ValueError, match="add up to 1"):
        TaskOrder([3, 2], [0.5, 0.6], batch_size=2)
    with pytest.raises(ValueError, match="at least one sample"):
        CombineDataset({"navigation": Counted("navigation", 0)})
    with pytest.raises(ValueError, match="must not all be 0"):
        MixingParams(weights={"navigation": 0})
