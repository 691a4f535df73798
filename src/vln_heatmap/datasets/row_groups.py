"""Rows of large Parquet files by their numbers, without loading a file whole.

Invariant: at most ``limit`` bytes of row groups are kept, those that were used last, and one group more while it
is read. No file stays open, so that the object may be copied into any number of processes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

#: File, number of the group, columns.
Key = tuple[Path, int, tuple[str, ...]]


class RowGroups:
    """Reads rows; keeps row groups.

    Args:
        limit: bytes of row groups to keep.

    Raises (all readers):
        pyarrow.ArrowException, OSError: not a readable Parquet file.
        KeyError: a column that the file does not have.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: OrderedDict[Key, pa.Table] = OrderedDict()
        self._bytes = 0
        self._descriptions: dict[Path, pq.FileMetaData] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"limit": self.limit, "_kept": OrderedDict(), "_bytes": 0, "_descriptions": {}}

    def description(self, file: Path) -> pq.FileMetaData:
        """What the file's footer says: ``num_rows``, ``row_group(i)``, ``schema`` …"""
        if file not in self._descriptions:
            self._descriptions[file] = pq.read_metadata(file)
        return self._descriptions[file]

    def rows(self, file: Path, start: int, stop: int, columns: Sequence[str]) -> pa.Table:
        """Rows ``start`` .. ``stop - 1`` of some columns, as far as the file has them."""
        description = self.description(file)
        counts = [description.row_group(number).num_rows for number in range(description.num_row_groups)]
        edges = np.concatenate([[0], np.cumsum(counts)])  # [groups + 1]
        touched = [n for n in range(len(counts)) if edges[n] < stop and edges[n + 1] > start]
        names = tuple(columns)
        if not touched:
            return self._open(file).schema_arrow.empty_table().select(list(names))
        table = pa.concat_tables([self._group((file, number, names)) for number in touched])
        return table.slice(start - int(edges[touched[0]]), stop - start)

    def _group(self, key: Key) -> pa.Table:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        file, number, columns = key
        opened = self._open(file)
        if missing := set(columns) - set(opened.schema_arrow.names):
            raise KeyError(min(missing))
        table = opened.read_row_group(number, columns=list(columns))
        self._kept[key] = table
        self._bytes += table.nbytes
        while self._bytes > self.limit and self._kept:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return table

    def _open(self, file: Path) -> pq.ParquetFile:
        return pq.ParquetFile(file, metadata=self.description(file))
