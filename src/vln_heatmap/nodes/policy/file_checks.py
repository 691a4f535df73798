"""Everything that can be wrong with a Parquet file of one row a step, found in one pass over its row groups.

Invariant: a problem does not hide another one; what a check needs and is not there is that check's problem.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vln_heatmap.interchange.checks import RefusedError, decode_image
from vln_heatmap.nodes.policy.sources.cells import image_bytes
from vln_heatmap.nodes.policy.sources.parquet import ACTION, FIRST, PROMPT, STATE, cameras_of
from vln_heatmap.params.policy import InspectDataParams

FLAGS = (FIRST, "is_last", "is_terminal")
#: Row groups above this size make reading single windows slow.
LARGE = 128 * 2**20


@dataclass(frozen=True)
class Finding:
    """A problem: ``row`` is -1 if it is the whole file's, ``column`` "" if it is no column's."""

    file: str
    row: int
    column: str
    kind: str
    problem: str


@dataclass
class Findings:
    """What was seen so far; of a kind of problem in one file, ``shown`` are listed."""

    shown: int
    listed: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    files: set[str] = field(default_factory=set)
    lengths: list[int] = field(default_factory=list)
    numbers: dict[str, list[NDArray]] = field(default_factory=lambda: defaultdict(list))
    names: dict[str, tuple[str, ...]] = field(default_factory=lambda: defaultdict(tuple))
    images: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    prompts: Counter[str] = field(default_factory=Counter)
    row_group_bytes: int = 0
    _of_file: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, file: Path | str, row: int, column: str, kind: str, problem: str) -> None:
        """Count a problem, and list it if there is room."""
        self.counts[kind] += 1
        self._of_file[str(file), kind] += 1
        if self._of_file[str(file), kind] <= self.shown:
            self.listed.append(Finding(str(file), row, column, kind, problem))


def check_file(file: Path, params: InspectDataParams, found: Findings) -> None:
    """Add what is in a file, and what is wrong with it, to the findings."""
    found.files.add(str(file))
    try:
        opened = pq.ParquetFile(file)
        _check_columns(file, opened, params, found)
        flags: dict[str, list[Any]] = {name: [] for name in FLAGS if name in opened.schema_arrow.names}
        first_row = 0
        for number in range(opened.num_row_groups):
            table = opened.read_row_group(number, columns=_wanted(opened, params))
            _check_rows(file, table, first_row, params, found)
            for name in flags:
                flags[name] += table.column(name).to_pylist()
            first_row += table.num_rows
    except (pa.ArrowException, OSError) as error:
        found.add(file, -1, "", "unreadable", f"not a readable Parquet file ({error})")
        return
    if not first_row:
        found.add(file, -1, "", "empty", "the file has no row")
    elif FIRST in flags:
        _check_flags(file, flags, found)


def _wanted(opened: pq.ParquetFile, params: InspectDataParams) -> list[str]:
    names = opened.schema_arrow.names
    cameras = params.data.cameras or cameras_of(names)
    wanted = {*cameras, params.data.state or STATE, params.data.action or ACTION, PROMPT, *FLAGS}
    return [name for name in names if name in wanted]


def _check_columns(file: Path, opened: pq.ParquetFile, params: InspectDataParams, found: Findings) -> None:
    names = opened.schema_arrow.names
    cameras = params.data.cameras or cameras_of(names)
    for name in (*cameras, params.data.state or STATE, params.data.action or ACTION, PROMPT, *FLAGS):
        if name not in names:
            found.add(file, -1, name, "missing_column", f"column {name} is missing")
    sizes = [opened.metadata.row_group(n).total_byte_size for n in range(opened.num_row_groups)]
    found.row_group_bytes = max([found.row_group_bytes, *sizes])
    if max(sizes, default=0) > LARGE:
        found.add(
            file,
            -1,
            "",
            "large_row_group",
            f"a row group has {max(sizes) / 2**20:.0f} MB: windows are read slowly, write row groups of at most "
            f"{LARGE / 2**20:.0f} MB",
        )


def _check_rows(
    file: Path, table: pa.Table, first_row: int, params: InspectDataParams, found: Findings
) -> None:
    for kind, name in (("state", params.data.state or STATE), ("action", params.data.action or ACTION)):
        if name in table.column_names:
            _check_numbers(file, table.column(name).to_pylist(), kind, name, first_row, found)
    if PROMPT in table.column_names:
        prompts = table.column(PROMPT).to_pylist()
        found.prompts.update(str(text) for text in prompts if text)
        for row, text in enumerate(prompts, first_row):
            if not isinstance(text, str) or not text.strip():
                found.add(file, row, PROMPT, "no_prompt", f"the prompt is {text!r}")
    for name in params.data.cameras or cameras_of(table.column_names):
        if name in table.column_names:
            _check_images(file, table.column(name), name, first_row, params.image_stride, found)


def _check_numbers(
    file: Path, cells: list[Any], kind: str, name: str, first_row: int, found: Findings
) -> None:
    """Lists of one length, finite; the first row of all files says how long."""
    good: list[NDArray] = []
    for row, cell in enumerate(cells, first_row):
        try:
            numbers = np.asarray(cell, np.float64).ravel()
        except (TypeError, ValueError):
            numbers = np.zeros(0)
        if cell is None or not len(numbers):
            found.add(file, row, name, "no_numbers", f"{name} must be a list of numbers, got {cell!r}"[:200])
            continue
        if found.numbers[kind] and len(numbers) != (wanted := found.numbers[kind][0].shape[1]):
            text = f"{name} has {len(numbers)} numbers, elsewhere {wanted}"
            found.add(file, row, name, "wrong_dimension", text)
        elif not np.isfinite(numbers).all():
            bad = int(np.flatnonzero(~np.isfinite(numbers))[0])
            found.add(file, row, name, "not_finite", f"{name}[{bad}] is {numbers[bad]}")
        elif not found.numbers[kind]:
            found.numbers[kind].append(numbers[None])
        else:
            good.append(numbers)
    if good:
        found.numbers[kind].append(np.stack(good))


def _check_images(
    file: Path, column: pa.ChunkedArray, name: str, first_row: int, stride: int, found: Findings
) -> None:
    start = -first_row % stride  # rows 0, stride, … of the file
    for place in range(start, len(column), stride):
        try:
            image = decode_image(image_bytes(column[place].as_py()), file=file, row=first_row + place)
            found.images[name][f"{image.shape[1]}x{image.shape[0]}"] += 1
        except RefusedError as error:
            found.add(file, first_row + place, name, "undecodable_image", f"{name}: {error.reason}")


def _check_flags(file: Path, flags: dict[str, list[Any]], found: Findings) -> None:
    """Each episode begins with ``is_first`` and ends with ``is_last``; only its last row may be terminal."""
    for name, cells in flags.items():
        for row, cell in enumerate(cells):
            if not isinstance(cell, bool):
                found.add(file, row, name, "broken_flag", f"{name} must be true or false, got {cell!r}")
    first = [cell is True for cell in flags[FIRST]]
    if not first[0]:
        found.add(file, 0, FIRST, "broken_flag", "is_first must be true on the first row")
    starts = sorted({0, *(row for row, begins in enumerate(first) if begins)})
    ends = [*(start - 1 for start in starts[1:]), len(first) - 1]
    for start, end in zip(starts, ends, strict=True):
        found.lengths.append(end - start + 1)
        if start == end:
            found.add(file, start, "", "one_step", "the episode has one step")
    last_rows = set(ends)
    for row, cell in enumerate(flags.get("is_last", [])):
        if isinstance(cell, bool) and cell != (row in last_rows):
            what = "true before the episode ends" if cell else "false on an episode's last row"
            found.add(file, row, "is_last", "broken_flag", f"is_last is {what}")
    for row, cell in enumerate(flags.get("is_terminal", [])):
        if cell is True and row not in last_rows:
            found.add(file, row, "is_terminal", "broken_flag", "is_terminal is true before the episode ends")
