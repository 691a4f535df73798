"""A column of lists of a Parquet file as one array, without pandas and without the other columns.

Invariant: every row has as many numbers as the first, and none is null.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

#: Rows of a block.
BLOCK = 65_536


def parquet_rows(source: Path | IO[bytes], column: str) -> Iterator[NDArray]:
    """The rows [n, D] of a column of lists, or [n, 1] of numbers, block by block.

    Raises:
        ValueError: lists of different lengths, or a null.
        KeyError: there is no such column.
        pyarrow.ArrowException: not a Parquet file.
    """
    file = pq.ParquetFile(source)
    if column not in file.schema_arrow.names:
        raise KeyError(column)
    for batch in file.iter_batches(BLOCK, columns=[column]):
        cells = batch.column(0)
        values = cells.flatten() if pa.types.is_nested(cells.type) else cells
        rows = np.asarray(values.to_numpy(zero_copy_only=False))
        lengths = np.diff(np.asarray(cells.offsets)) if hasattr(cells, "offsets") else ()
        if cells.null_count or values.null_count or len(set(lengths)) > 1:
            raise ValueError(f"column {column} must hold lists of one length, without null")
        yield rows.reshape(len(cells), -1)
