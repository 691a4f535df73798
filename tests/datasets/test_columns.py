"""A column of lists as an array: in order, of one length, and nothing else is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from box_walks import store, walk

from vln_heatmap.datasets.columns import parquet_rows
from vln_heatmap.datasets.sequence_files import CorruptSequenceError


@pytest.mark.parametrize("fixed", [True, False])
def test_rows_come_in_order(tmp_path: Path, fixed: bool) -> None:
    rows = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    kind = pa.list_(pa.float32(), 4) if fixed else pa.list_(pa.float32())
    table = pa.table({"state": pa.array(list(rows), kind), "n": range(300)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=70)
    read = list(parquet_rows(tmp_path / "a.parquet", "state"))
    np.testing.assert_array_equal(np.concatenate(read), rows)
    np.testing.assert_array_equal(
        np.concatenate(list(parquet_rows(tmp_path / "a.parquet", "n"))), np.arange(300)[:, None]
    )


@pytest.mark.parametrize(
    "cells",
    [[[1.0, 2.0], [3.0, 4.0, 5.0], [6.0]], [[1.0, 2.0], None], [[1.0, None], [2.0, 3.0]], [1.0, None]],
)
def test_lists_of_other_lengths_and_nulls_are_refused(tmp_path: Path, cells: list) -> None:
    pq.write_table(pa.table({"state": cells}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="column state must hold lists of one length, without null"):
        list(parquet_rows(tmp_path / "a.parquet", "state"))


def test_a_stored_sequence_gives_its_columns(tmp_path: Path) -> None:
    sequence = walk()
    stored = store(tmp_path, sequence)[0][sequence.id]
    for name in ("state", "velocity", "camera_to_world"):
        expected = np.stack(stored.frames[name].to_list())
        np.testing.assert_array_equal(stored.column(name), expected)
    assert stored.column("action").tolist() == [[action] for action in sequence.frames["action"]]
    with pytest.raises(CorruptSequenceError, match=r"frames\.parquet: column size is missing"):
        stored.column("size")
