"""A cache gives what the files give, reads nothing twice while it has room, and never holds too much."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.datasets.frame_cache import CachedFeatures

KEYS = ("a", "b")


class Sequence:
    """Nine frames of eight bytes; counts the frames that are read."""

    def __init__(self, store: Store, key: str) -> None:
        self.store, self.value = store, float(KEYS.index(key))

    def read(self, name: str, frames: Any = None) -> np.ndarray:
        rows = 100 * self.value + np.arange(9.0)
        chosen = rows if frames is None else rows[list(frames)]
        self.store.reads += len(chosen)
        return chosen


class Store(dict):
    folder, fingerprint, reads = Path("features"), "toy", 0

    def __getitem__(self, key: str) -> Sequence:
        return Sequence(self, key)


@settings(max_examples=50)
@given(
    st.integers(0, 200),
    st.lists(st.tuples(st.sampled_from(KEYS), st.lists(st.integers(0, 8), min_size=1)), max_size=20),
)
def test_any_reading_gives_what_the_files_give_within_the_budget(budget: int, readings: list[Any]) -> None:
    cache, plain = CachedFeatures(Store(), budget), Store()
    for key, frames in readings:
        np.testing.assert_array_equal(cache[key].read("x", frames), plain[key].read("x", frames))
        np.testing.assert_array_equal(cache[key].read("x"), plain[key].read("x"))
        assert cache.held == sum(array.nbytes for array in cache._kept.values()) <= budget


def test_what_is_kept_is_not_read_again_and_the_oldest_goes_first() -> None:
    store = Store()
    cache = CachedFeatures(store, 4 * 8)
    cache["a"].read("x", [0, 1, 2, 3])
    cache["a"].read("x", [3, 0, 0])
    assert store.reads == 4
    cache["b"].read("x", [0])  # frame 1 of a was asked for longest ago
    cache["a"].read("x", [0, 2, 3])
    assert store.reads == 5
    cache["a"].read("x", [1])
    assert store.reads == 6


def test_a_caller_may_change_what_it_got() -> None:
    cache = CachedFeatures(Store(), 1000)
    cache["a"].read("x", [0])[:] = -1
    cache["a"].read("x")[:] = -1
    assert cache["a"].read("x", [0]).tolist() == [0]
    assert cache["a"].read("x").tolist() == list(range(9))


def test_windows_are_the_same_through_a_cache(tmp_path: Path) -> None:
    walks = synthetic.walks()
    features = synthetic.store_features(tmp_path, walks)
    cache = CachedFeatures(features, 10**6)
    assert list(cache) == list(features)
    assert len(cache) == 4
    assert cache.fingerprint == features.fingerprint
    for name in ("frames", "features", "poses", "moved_poses"):
        a, b = (source["house_00000_00"].read(name, [2, 0, 2]) for source in (features, cache))
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    with pytest.raises(KeyError, match="house_00009_00"):
        cache["house_00009_00"]
