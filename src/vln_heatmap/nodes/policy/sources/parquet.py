"""Parquet files of one row a step, as vision-language-action trainers read them.

Columns: ``image_1`` (or ``image_1_bytes``), ``image_2``, ``state``, ``action``, ``prompt`` and the flags
``is_first``, ``is_last``, ``is_terminal``. Invariant: files are read row group by row group; an episode lies in
one file, and begins where ``is_first`` is true.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vln_heatmap.datasets.episode_windows import Episode, Numbers
from vln_heatmap.datasets.row_groups import RowGroups
from vln_heatmap.interchange.checks import RefusedError
from vln_heatmap.nodes.policy.sources.cells import decoded, dimensions, numbered, rows_of
from vln_heatmap.params.policy import PolicyDataParams

#: Columns of images, the main camera first; of each the first that is there is taken.
CAMERAS = (("image_1", "image_1_bytes"), ("image_2", "image_2_bytes"))
STATE, ACTION, PROMPT, FIRST = "state", "action", "prompt", "is_first"


class ParquetRows:
    """See ``EpisodeSource``.

    Args:
        folder: with ``*.parquet`` files, or one file.
        params: columns and cache.

    Raises:
        RefusedError: no file, one that cannot be read, a missing column, a first row that is not ``is_first``.
    """

    def __init__(self, folder: Path, params: PolicyDataParams) -> None:
        self.files = parquet_files(folder)
        self._groups = RowGroups(params.cache_megabytes * 2**20)
        self._state, self._action = params.state or STATE, params.action or ACTION
        names = column_names(self.files[0])
        self.cameras = params.cameras or cameras_of(names)
        needed = [*self.cameras, self._state, self._action, PROMPT, FIRST]
        for file in self.files:
            if missing := sorted(set(needed) - set(column_names(file)), key=needed.index):
                raise RefusedError(file, f"column {missing[0]} is missing")
        self.episodes = tuple(episode for file in self.files for episode in episodes_of(file))
        first = self._rows(self.files[0], 0, 1, (self._state, self._action))
        self.state_names, self.action_names = (
            numbered(kind, dimensions(first.column(name)[0].as_py(), name, self.files[0]))
            for kind, name in (("state", self._state), ("action", self._action))
        )

    def numbers(self, episode: Episode, start: int, stop: int) -> Numbers:
        """See ``EpisodeSource``."""
        file, offset = episode.place
        table = self._rows(file, offset + start, offset + stop, (self._state, self._action, PROMPT))
        cells: dict[str, list[Any]] = table.to_pydict()
        where = file, offset + start
        return Numbers(
            rows_of(cells[self._state], self._state, len(self.state_names), *where),
            rows_of(cells[self._action], self._action, len(self.action_names), *where),
            [str(text or "") for text in cells[PROMPT]],
        )

    def images(self, episode: Episode, camera: str, start: int, stop: int) -> list[NDArray[np.uint8]]:
        """See ``EpisodeSource``."""
        file, offset = episode.place
        return decoded(self.cells(episode, camera, start, stop), file, offset + start)

    def cells(self, episode: Episode, camera: str, start: int, stop: int) -> list[Any]:
        """Images as they are stored."""
        file, offset = episode.place
        return self._rows(file, offset + start, offset + stop, (camera,)).column(camera).to_pylist()

    def _rows(self, file: Path, start: int, stop: int, columns: tuple[str, ...]) -> pa.Table:
        try:
            return self._groups.rows(file, start, stop, columns)
        except (pa.ArrowException, OSError) as error:
            raise RefusedError(file, f"not a readable Parquet file ({error})") from error


def parquet_files(folder: Path) -> list[Path]:
    """The file itself, or the ``*.parquet`` files of a folder, by name.

    Raises:
        RefusedError: there is none.
    """
    files = [folder] if folder.is_file() else sorted(folder.glob("*.parquet"))
    if not files:
        raise RefusedError(folder, "there is no .parquet file in it")
    return files


def column_names(file: Path) -> list[str]:
    """Names of a file's columns.

    Raises:
        RefusedError: it cannot be read.
    """
    try:
        return pq.read_schema(file).names
    except (pa.ArrowException, OSError) as error:
        raise RefusedError(file, f"not a readable Parquet file ({error})") from error


def cameras_of(names: list[str]) -> tuple[str, ...]:
    """Columns of images among the names; the main one is named even if it is not there."""
    found = [next((name for name in options if name in names), None) for options in CAMERAS]
    return (found[0] or CAMERAS[0][0], *(name for name in found[1:] if name is not None))


def episodes_of(file: Path) -> list[Episode]:
    """Episodes of a file, divided by ``is_first``, which is read block by block.

    Raises:
        RefusedError: the first row does not begin one.
    """
    opened = pq.ParquetFile(file)
    blocks = [
        batch.column(0).to_numpy(zero_copy_only=False) for batch in opened.iter_batches(columns=[FIRST])
    ]
    flags = np.concatenate([*blocks, np.zeros(0, bool)]) == True  # noqa: E712 (nulls begin nothing)
    starts = np.flatnonzero(flags).tolist()
    if starts[:1] != [0]:
        raise RefusedError(file, "is_first must be true on the first row", row=0)
    stops = [*starts[1:], len(flags)]
    name = (lambda n: file.stem) if len(starts) == 1 else (lambda n: f"{file.stem}_{n:06d}")
    return [
        Episode(name(n), stop - start, (file, start), str(file), start)
        for n, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]
