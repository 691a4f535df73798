"""Cells of tables from elsewhere as arrays, checked, with the file and row of whatever is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.interchange.checks import RefusedError, decode_image, number_rows


def image_bytes(cell: Any) -> Any:
    """The bytes of an image cell: as they are, or in a struct with ``bytes``, as Hugging Face writes them."""
    return cell.get("bytes") if isinstance(cell, dict) else cell


def decoded(cells: Iterable[Any], file: Path, first_row: int) -> list[NDArray[np.uint8]]:
    """Image cells as [H, W, 3] each."""
    rows = enumerate(cells, first_row)
    return [decode_image(image_bytes(cell), file=file, row=row) for row, cell in rows]


def rows_of(cells: Sequence[Any], name: str, dims: int, file: Path, first_row: int) -> NDArray[np.float64]:
    """Cells of numbers or lists of numbers as [n, dims]; no cells are no rows."""
    if not len(cells):
        return np.zeros((0, dims))
    return number_rows(cells, name, dims, file=file, first_row=first_row)


def dimensions(cell: Any, name: str, file: Path) -> int:
    """How many numbers a cell holds.

    Raises:
        RefusedError: none.
    """
    try:
        size = np.asarray(cell, np.float64).size
    except (TypeError, ValueError) as error:
        raise RefusedError(file, f"{name} is not a list of numbers ({error})", row=0) from error
    if cell is None or not size:
        raise RefusedError(file, f"{name} must be numbers, got {cell!r}", row=0)
    return size


def numbered(name: str, count: int) -> tuple[str, ...]:
    """Names of dimensions that have none."""
    return tuple(f"{name}_{number}" for number in range(count))
