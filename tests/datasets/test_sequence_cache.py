"""Sequences that are made once: the content is the version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from box_walks import walk
from kedro.io import DatasetError, Version

from vln_heatmap.datasets.sequence_cache import SequenceCacheDataset
from vln_heatmap.datasets.sequence_files import EncodedSequence, encode_sequence
from vln_heatmap.datasets.sequence_shards import CollectionStream, StorePlan
from vln_heatmap.datasets.sequence_store import SequenceStoreDataset

IDS = ("plain.a", "plain.b")


class Work:
    """Makes sequences, and remembers which; dies before number ``dies``."""

    def __init__(self, ids: tuple[str, ...] = IDS, dies: int = 99) -> None:
        self.ids, self.dies = ids, dies
        self.made: list[str] = []

    def __iter__(self) -> Iterator[EncodedSequence]:
        for number, key in enumerate(self.ids):
            if number == self.dies:
                raise RuntimeError("killed")
            self.made.append(key)
            yield encode_sequence(walk(key, "ff"))


@pytest.fixture
def cache(tmp_path: Path) -> SequenceCacheDataset:
    return SequenceCacheDataset(filepath=str(tmp_path / "sequences"))


def save(
    cache: SequenceCacheDataset, work: Work, fingerprint: str = "one", ids: tuple[str, ...] = IDS
) -> None:
    cache.save(CollectionStream(StorePlan(fingerprint, ids), work))


def test_what_was_saved_is_loaded_and_named_by_its_content(cache: SequenceCacheDataset) -> None:
    save(cache, Work())
    store = cache.load()
    assert tuple(store) == IDS
    assert store.version == "one"
    assert len(store["plain.a"]) == len(walk("plain.a", "ff"))


def test_what_is_there_is_not_made_again(cache: SequenceCacheDataset) -> None:
    save(cache, Work())
    again = Work()
    save(cache, again)
    assert again.made == []


def test_the_one_saved_last_is_loaded(cache: SequenceCacheDataset) -> None:
    save(cache, Work())
    save(cache, Work(("other.c",)), "two", ("other.c",))
    assert tuple(cache.load()) == ("other.c",)
    save(cache, Work(), "one")
    assert tuple(cache.load()) == IDS


def test_an_interrupted_plan_goes_on_where_it_was(cache: SequenceCacheDataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="killed"):
        save(cache, Work(dies=1))
    with pytest.raises(DatasetError, match="no sequences"):
        cache.load()
    left = SequenceStoreDataset(
        filepath=str(tmp_path / "sequences"), version=Version(None, None), unfinished=True
    ).load()
    assert left == {"one": frozenset({"plain.a"})}
    rest = Work(("plain.b",))
    save(cache, rest)
    assert rest.made == ["plain.b"]
    assert tuple(cache.load()) == IDS


def test_nothing_saved_is_an_error_that_says_so(cache: SequenceCacheDataset) -> None:
    with pytest.raises(DatasetError, match="no sequences are stored"):
        cache.load()
