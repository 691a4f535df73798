"""What every import checks in the same way: names, paths, images, numbers and flags of files from elsewhere.

Invariant: nothing outside the folder that the user named is ever read, and whatever is wrong is told with its
file and row, so that it can be found and mended.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence_files import check_id

#: Longest side of an image that is decoded at all.
MAX_SIDE = 4096
ACTIONS = frozenset({-1, 0, 1, 2, 3})


class RefusedError(ValueError):
    """A file from elsewhere that cannot be imported: ``file``, ``row`` (None: all of it) and ``reason``."""

    def __init__(self, file: Path | str, reason: str, *, row: int | None = None) -> None:
        self.file, self.row, self.reason = str(file), row, reason
        super().__init__(f"{file}{'' if row is None else f', row {row}'}: {reason}")


def inside(folder: Path, name: str, *, named_by: Path) -> Path:
    """A path below ``folder`` that a file from elsewhere names.

    Raises:
        RefusedError: an absolute path, or one that leads out of the folder, by ".." or by a link.
    """
    path = folder / name
    if not name or Path(name).is_absolute() or not path.resolve().is_relative_to(folder.resolve()):
        raise RefusedError(named_by, f"the path {name!r} leads out of {folder}")
    return path


def safe_id(name: Any, *, file: Path, row: int | None = None) -> str:
    """The name as an id of the sequence store.

    Raises:
        RefusedError: it cannot be the name of a folder ("../x", "", "a/b").
    """
    try:
        return check_id(name)
    except ValueError as error:
        raise RefusedError(file, str(error), row=row) from error


def decode_image(data: Any, *, file: Path, row: int | None, grey16: bool = False) -> NDArray:
    """PNG or JPEG bytes to [H, W, 3] uint8; with ``grey16`` a 16-bit PNG to [H, W] uint16.

    Raises:
        RefusedError: no bytes, an image that cannot be decoded, one larger than ``MAX_SIDE``, or a colour image
            where a grey one of 16 bits must be.
    """
    from PIL import Image, UnidentifiedImageError

    if not isinstance(data, bytes) or not data:
        raise RefusedError(file, f"an image must be PNG or JPEG bytes, got {type(data).__name__}", row=row)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            if max(image.size) > MAX_SIDE:
                raise RefusedError(file, f"the image is {image.size}, at most {MAX_SIDE} a side", row=row)
            if grey16 and not image.mode.startswith("I"):
                raise RefusedError(file, f"expected a 16-bit grey PNG, got mode {image.mode}", row=row)
            return np.asarray(image).astype(np.uint16) if grey16 else np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise RefusedError(file, f"the image cannot be decoded ({error})", row=row) from error


def decode_images(images: Iterable[Any], *, file: Path, first_row: int = 0, grey16: bool = False) -> NDArray:
    """``decode_image`` of many that must all be of one size: [N, H, W, 3] uint8 or [N, H, W] uint16."""
    decoded: list[NDArray] = []
    for row, data in enumerate(images, start=first_row):
        image = decode_image(data, file=file, row=row, grey16=grey16)
        if decoded and image.shape != decoded[0].shape:
            sizes = f"{image.shape[1]}x{image.shape[0]} after {decoded[0].shape[1]}x{decoded[0].shape[0]}"
            raise RefusedError(file, f"the image size changes: {sizes}", row=row)
        decoded.append(image)
    return np.stack(decoded)


def number_rows(
    values: Iterable[Any], name: str, dims: int, *, file: Path, first_row: int = 0
) -> NDArray[np.float64]:
    """Lists of numbers, one a row, as [N, dims] float64.

    Raises:
        RefusedError: a row that is missing, has another length, is no list of numbers, or is not finite.
    """
    rows = []
    for number, value in enumerate(values, start=first_row):
        try:
            row = np.asarray(value, np.float64).ravel()
        except (TypeError, ValueError) as error:
            raise RefusedError(file, f"{name} is not a list of numbers ({error})", row=number) from error
        if value is None or len(row) != dims:
            length = "nothing" if value is None else f"{len(row)} numbers"
            raise RefusedError(file, f"{name} must be {dims} numbers, got {length}", row=number)
        if not np.isfinite(row).all():
            bad = int(np.flatnonzero(~np.isfinite(row))[0])
            raise RefusedError(file, f"{name}[{bad}] is {row[bad]}: it must be finite", row=number)
        rows.append(row)
    return np.stack(rows)


def check_poses(poses: NDArray[np.float64], *, file: Path, first_row: int = 0) -> None:
    """See that poses [N, 4, 4] are rigid motions (1e-4).

    Raises:
        RefusedError: a pose that is none, with its row.
    """
    turned = poses[:, :3, :3] @ poses[:, :3, :3].swapaxes(1, 2)  # [N, 3, 3]
    rigid = np.abs(turned - np.eye(3)).max((1, 2)) < 1e-4
    rigid &= np.abs(poses[:, 3] - [0, 0, 0, 1]).max(1) < 1e-6
    if not rigid.all():
        row = int(np.flatnonzero(~rigid)[0])
        raise RefusedError(file, "the pose is not a rigid 4x4 camera_to_world matrix", row=first_row + row)


def check_actions(actions: NDArray[np.int64], *, file: Path, first_row: int = 0) -> None:
    """See that discrete actions [N] are some of -1 (free motion), 0 stop, 1 forward, 2 left, 3 right."""
    if len(bad := np.flatnonzero(~np.isin(actions, sorted(ACTIONS)))):
        row = int(bad[0])
        raise RefusedError(file, f"action must be -1, 0, 1, 2 or 3, got {actions[row]}", row=first_row + row)


def flags(values: Iterable[Any], name: str, *, file: Path, first_row: int = 0) -> NDArray[np.bool_]:
    """Truth values as [N] bool; anything else, null included, is refused."""
    found = list(values)
    for row, value in enumerate(found, start=first_row):
        if not isinstance(value, bool):
            raise RefusedError(file, f"{name} must be true or false, got {value!r}", row=row)
    return np.array(found, bool)


def check_flags(
    first: NDArray[np.bool_],
    last: NDArray[np.bool_],
    terminal: NDArray[np.bool_],
    *,
    file: Path,
    first_row: int = 0,
) -> None:
    """See that of the rows of one episode [N] only the first is first, only the last is last or terminal."""
    rows = np.arange(len(first))
    for name, marked, right in (
        ("is_first", first, rows == 0),
        ("is_last", last, rows == len(rows) - 1),
        ("is_terminal", terminal, terminal & (rows == len(rows) - 1)),
    ):
        if len(bad := np.flatnonzero(marked != right)):
            row = int(bad[0])
            raise RefusedError(file, f"{name} is {bool(marked[row])} on the wrong row", row=first_row + row)
