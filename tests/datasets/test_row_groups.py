"""Rows of Parquet files by number, with a bounded cache."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vln_heatmap.datasets.row_groups import RowGroups

ROWS = 25


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    table = pa.table({"number": np.arange(ROWS), "text": [str(n) for n in range(ROWS)]})
    pq.write_table(table, path, row_group_size=4)
    return path


@given(start=st.integers(0, ROWS), count=st.integers(0, ROWS), limit=st.sampled_from([0, 100, 10**6]))
def test_any_span_of_rows_is_what_a_slice_gives(file: Path, start: int, count: int, limit: int) -> None:
    table = RowGroups(limit).rows(file, start, start + count, ("text", "number"))
    assert table.column_names == ["text", "number"]
    assert table.column("number").to_pylist() == list(range(ROWS))[start : start + count]


def test_only_the_groups_that_are_touched_are_read_and_the_last_used_are_kept(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    original = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile,
        "read_row_group",
        lambda self, number, **options: read.append(number) or original(self, number, **options),
    )
    groups = RowGroups(2 * RowGroups(0).rows(file, 0, 4, ["number"]).nbytes)
    read.clear()
    groups.rows(file, 2, 6, ["number"])
    groups.rows(file, 3, 5, ["number"])
    assert read == [0, 1]
    groups.rows(file, 20, 21, ["number"])  # pushes group 0 out
    groups.rows(file, 4, 5, ["number"])
    groups.rows(file, 0, 1, ["number"])
    assert read == [0, 1, 5, 0]


def test_a_copy_is_empty_and_reads_the_same(file: Path) -> None:
    groups = RowGroups(10**6)
    table = groups.rows(file, 0, 5, ["number"])
    assert pickle.loads(pickle.dumps(groups)).rows(file, 0, 5, ["number"]) == table
    with pytest.raises(KeyError, match="colour"):
        groups.rows(file, 0, 1, ["colour"])
