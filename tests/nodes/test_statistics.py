"""Statistics of shards, put together in any order, are those of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.nodes.statistics import RANK_ERROR, Moments, blocks

SHARES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)


def rows_of(seed: int, count: int) -> np.ndarray:
    """Normal, long-tailed, uniform, and two-humped columns."""
    rng = np.random.default_rng(seed)
    humps = rng.normal(0, 1, count) + 20 * (rng.random(count) < 0.3)
    return np.stack([rng.normal(size=count), rng.lognormal(0, 2, count), rng.random(count), humps], axis=1)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    cuts=st.lists(st.integers(1, 19_999), unique=True, max_size=40),
    tree=st.randoms(use_true_random=False),
    sort=st.booleans(),
)
def test_shards_in_any_order_and_grouping_give_the_whole(
    seed: int, cuts: list[int], tree, sort: bool
) -> None:
    """Also where each shard holds another part of the range (rows sorted before they are cut)."""
    rows = rows_of(seed, 20_000)
    rows = np.sort(rows, axis=0) if sort else rows
    shards = [Moments.of(part) for part in np.split(rows, sorted(cuts))]
    while len(shards) > 1:  # merge two at random until one is left
        first = shards.pop(tree.randrange(len(shards)))
        second = shards.pop(tree.randrange(len(shards)))
        shards.insert(tree.randrange(len(shards) + 1), first + second)
    (merged,) = shards
    for share in SHARES:
        ranks = (rows <= merged.quantile(share)).mean(0)
        np.testing.assert_allclose(ranks, share, atol=RANK_ERROR)
    np.testing.assert_allclose(merged.mean, rows.mean(0), rtol=1e-9)
    np.testing.assert_allclose(np.sqrt(merged.squares / merged.count), rows.std(0), rtol=1e-9)
    np.testing.assert_array_equal([merged.low, merged.high], [rows.min(0), rows.max(0)])
    assert merged.count == 20_000


def test_many_small_parts_are_measured_in_blocks() -> None:
    rows = rows_of(0, 1000)
    parts = np.split(rows, range(7, 1000, 7))
    assert [len(block) for block in blocks(parts, size=300)] == [301, 301, 301, 97]
    np.testing.assert_array_equal(np.concatenate(list(blocks(parts, size=300))), rows)
    assert Moments.of_parts(parts).summary("abcd") == Moments.of(rows).summary("abcd")
    with pytest.raises(ValueError, match="at least one row"):
        Moments.of_parts([])
