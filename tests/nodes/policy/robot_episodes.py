"""Parquet episodes of a robot that was never built: what is in them follows from their number and row."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

STATE, ACTION = 4, 3


def jpeg(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def picture(number: int, row: int, camera: int = 1, *, size: tuple[int, int] = (8, 6)) -> NDArray[np.uint8]:
    """A grey image whose level tells episode, row and camera."""
    return np.full((size[1], size[0], 3), (40 * number + 5 * row + 100 * (camera - 1)) % 256, np.uint8)


def action(number: int, row: int) -> list[float]:
    return [float(row), float(number), 0.5]


def episode(number: int, length: int, **changes: Any) -> dict[str, list[Any]]:
    """Columns of one episode; ``changes`` replace columns, None removes one."""
    rows = range(length)
    columns = {
        "image_1": [jpeg(picture(number, row)) for row in rows],
        "image_2": [jpeg(picture(number, row, 2)) for row in rows],
        "state": [[10.0 * number + row, 1.0, -row, 0.0] for row in rows],
        "action": [action(number, row) for row in rows],
        "prompt": [f"task {number}"] * length,
        "is_first": [row == 0 for row in rows],
        "is_last": [row == length - 1 for row in rows],
        "is_terminal": [row == length - 1 for row in rows],
    }
    return {name: cells for name, cells in (columns | changes).items() if cells is not None}


def write(file: Path, *episodes: dict[str, list[Any]], row_group_size: int = 3) -> Path:
    """Episodes one after the other in one file."""
    table = pa.concat_tables([pa.table(columns) for columns in episodes])
    pq.write_table(table, file, row_group_size=row_group_size)
    return file


def folder_of_episodes(folder: Path, *, count: int = 6, length: int = 7) -> Path:
    """Two files: the first with all episodes but one, the second with the last."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "many.parquet", *(episode(number, length) for number in range(count - 1)))
    write(folder / "one.parquet", episode(count - 1, length + 1))
    return folder
