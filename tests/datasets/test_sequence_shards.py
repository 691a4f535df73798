"""Folders of a thousand, and an index that survives whatever kills its writer."""

import errno
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from kedro.io import DatasetError
from stored_sequences import IDS, LENGTH, SHARD, dataset, stream

from vln_heatmap.datasets import sequence_shards, sequence_store
from vln_heatmap.datasets.sequence_files import StoredSequence
from vln_heatmap.datasets.sequence_shards import CollectionStream, StorePlan


def described(ids: list[str], *, stop_after: int | None = None) -> CollectionStream:
    made = stream(ids, stop_after=stop_after)
    return replace(made, describe=lambda stored: {"id": stored.id, "length": len(stored)})


def lines(shard: Path) -> list[str]:
    return [json.loads(line)["id"] for line in (shard / "index.jsonl").read_text().splitlines()]


def fail(stored: StoredSequence) -> dict:
    raise AssertionError(f"{stored.id} has a line already")


def test_shards_are_filled_by_position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence_shards, "SHARD_SIZE", 2)
    dataset(tmp_path, "1").save(described(IDS[::-1]))
    store = dataset(tmp_path, "2").load()
    shards = sequence_shards.shard_folders(store.folder)
    assert [lines(shard) for shard in shards] == [[IDS[2], IDS[1]], [IDS[0]]]
    assert [{p.name for p in shard.iterdir() if p.is_dir()} for shard in shards] == [set(IDS[1:]), {IDS[0]}]
    assert list(store) == IDS[::-1]
    assert list(store.rows(fail)) == [{"id": i, "length": LENGTH} for i in IDS[::-1]]


def test_a_full_shard_holds_no_more_than_a_few_entries_over_a_thousand() -> None:
    plan = StorePlan("f", tuple(f"x_{number:05d}" for number in range(25_000)))
    sizes = Counter(plan.shard(i) for i in plan.ids)
    assert set(sizes.values()) == {1000}


@pytest.mark.parametrize("kept", range(0, 75, 7))
def test_a_torn_line_is_cut_off_and_described_anew(tmp_path: Path, kept: int) -> None:
    """Whatever part of the last lines reached the disk before the run was killed."""
    with pytest.raises(DatasetError):
        dataset(tmp_path, "1").save(described(IDS, stop_after=2))
    index = tmp_path / "sequences" / "1" / "sequences" / SHARD / "index.jsonl"
    whole = index.read_bytes()
    index.write_bytes(whole[:kept])
    dataset(tmp_path, "2").save(described(IDS))
    store = dataset(tmp_path, "3").load()
    left = lines(store.folder / SHARD)
    assert left == IDS[: whole[:kept].count(b"\n")] + IDS[2:]
    assert [row["id"] for row in store.rows(lambda stored: {"id": stored.id})] == IDS


def test_a_damaged_line_counts_as_none(tmp_path: Path) -> None:
    dataset(tmp_path, "1").save(described(IDS))
    store = dataset(tmp_path, "2").load()
    index = store.folder / SHARD / "index.jsonl"
    first, second, third = index.read_bytes().splitlines()
    index.write_bytes(b"\n".join([first, b"[1, 2]", second[:9], b"", b"\xff\xfe", third, b""]))
    made = []
    rows = list(store.rows(lambda stored: made.append(stored.id) or {"id": stored.id, "length": len(stored)}))
    assert made == [IDS[1]]
    assert rows == [{"id": i, "length": LENGTH} for i in IDS]


def test_a_disk_that_is_full_for_the_index_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(shard: Path, row: dict) -> None:
        with (shard / "index.jsonl").open("ab") as file:
            file.write(b'{"id": "hou')
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sequence_store, "append_index", full_disk)
        with pytest.raises(DatasetError, match=r"disk is full.*The 1 of 3 sequences"):
            dataset(tmp_path, "1").save(described(IDS))
    dataset(tmp_path, "2").save(described(IDS))
    store = dataset(tmp_path, "3").load()
    assert lines(store.folder / SHARD) == IDS[1:]
    assert [row["id"] for row in store.rows(lambda stored: {"id": stored.id})] == IDS
