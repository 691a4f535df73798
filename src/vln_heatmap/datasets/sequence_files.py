"""A sequence as five small files, and the lazy reader of a folder of them.

Invariant: whatever is read equals what was written (depth to the millimetre, ids and tables exactly, colours
up to the video codec), or ``CorruptSequenceError`` names the file and the reason: length and checksum of each
file stand in ``metadata.json``.
"""

from __future__ import annotations

import io
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vln_heatmap.datasets.columns import parquet_rows
from vln_heatmap.datasets.sequence import FRAME_COLUMNS, Sequence, check_sequence, read_motions
from vln_heatmap.datasets.video import VideoError, decode_grey16, decode_rgb, encode_grey16, encode_rgb
from vln_heatmap.geometry.cameras import PinholeCamera

RGB, DEPTH, INSTANCE = "rgb.mp4", "depth.mkv", "instance.mkv"
FRAMES, METADATA = "frames.parquet", "metadata.json"
SKIPPED = "skipped.json"
#: Depth is stored as whole millimetres in 16 bits; what is farther becomes 0, "nothing there".
MAX_DEPTH_MM = 65535

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SCHEMA = pa.schema(
    [
        ("frame_index", pa.int64()),
        ("timestamp", pa.float64()),
        ("camera_to_world", pa.list_(pa.float64())),
        ("state", pa.list_(pa.float32())),
        ("velocity", pa.list_(pa.float32())),
        ("action", pa.int8()),
        ("collided", pa.bool_()),
        ("is_first", pa.bool_()),
        ("is_last", pa.bool_()),
        ("is_terminal", pa.bool_()),
        ("visible_ids", pa.list_(pa.int32())),
        ("visible_pixels", pa.list_(pa.int32())),
        ("visible_u", pa.list_(pa.float32())),
        ("visible_v", pa.list_(pa.float32())),
        ("visible_depth", pa.list_(pa.float32())),
        ("moved_ids", pa.list_(pa.int32())),
        ("moved_poses", pa.list_(pa.float64())),
    ]
)


class CorruptSequenceError(ValueError):
    """A stored sequence cannot be read: the message names the file and the reason."""


def check_id(sequence_id: str) -> str:
    """Return the id if it is a plain file name, safe to join to a folder.

    Raises:
        ValueError: anything else ("../x", "", "a/b").
    """
    if not isinstance(sequence_id, str) or not _ID.fullmatch(sequence_id):
        raise ValueError(
            f"sequence id must be letters, digits, '.', '_' or '-' and start with a letter or digit, "
            f"got {sequence_id!r}"
        )
    return sequence_id


@dataclass(frozen=True)
class EncodedSequence:
    """The files of one sequence, ready to be written: file name to content."""

    id: str
    files: Mapping[str, bytes]


def encode_sequence(
    sequence: Sequence,
    *,
    crf: int = 18,
    preset: str = "veryfast",
    pixel_format: str = "yuv420p",
    depth_context: int = 0,
) -> EncodedSequence:
    """Encode a sequence to the files of the store; the same sequence always gives the same bytes.

    ``crf``, ``preset`` and ``pixel_format`` are those of ``encode_rgb``; ``depth_context`` is the ``context`` of
    ``encode_grey16``, for depth and ids.

    Depth is rounded to millimetres; beyond 65.535 m it becomes 0 ("nothing there").

    Raises:
        ValueError: an unsafe id, arrays that do not fit together, a missing column, a column that is null
            although nothing says so, negative or non-finite depth, an id outside [0, 65535], an odd image size.
    """
    check_id(sequence.id)
    check_sequence(sequence)
    fps = float(sequence.metadata.get("fps", 10.0))
    files = {RGB: encode_rgb(sequence.rgb, fps=fps, crf=crf, preset=preset, pixel_format=pixel_format)}
    if "depth" not in sequence.absent:
        files[DEPTH] = encode_grey16(depth_to_millimetres(sequence.depth), fps=fps, context=depth_context)
    if "instance" not in sequence.absent:
        files[INSTANCE] = encode_grey16(_ids_to_uint16(sequence.instance), fps=fps, context=depth_context)
    files[FRAMES] = _encode_frames(sequence.frames)
    manifest = {name: {"bytes": len(data), "crc32": zlib.crc32(data)} for name, data in files.items()}
    document = {**sequence.metadata, "length": len(sequence), "files": manifest}
    metadata = json.dumps(document, separators=(",", ":"), default=_plain, allow_nan=False).encode()
    return EncodedSequence(sequence.id, {**files, METADATA: metadata})


def skipped_sequence(sequence_id: str, reason: str) -> EncodedSequence:
    """The record of a planned sequence that cannot exist (its scene has no navigable floor)."""
    return EncodedSequence(check_id(sequence_id), {SKIPPED: json.dumps({"reason": reason}).encode()})


def depth_to_millimetres(depth: NDArray[np.floating]) -> NDArray[np.uint16]:
    """z-depth in metres [...] to millimetres [...] uint16; 0 stays "nothing", beyond 65.535 m becomes 0.

    Raises:
        ValueError: negative or non-finite depth.
    """
    if not np.isfinite(depth).all() or depth.min(initial=0) < 0:
        raise ValueError("depth must be finite and >= 0 metres, with 0 for 'nothing there'")
    millimetres = np.rint(depth.astype(np.float64) * 1000)  # [...]
    return np.where(millimetres <= MAX_DEPTH_MM, millimetres, 0).astype(np.uint16)


def millimetres_to_depth(millimetres: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Whole millimetres [...] to metres [...] float32."""
    return (millimetres / np.float64(1000)).astype(np.float32)


class StoredSequence:
    """One sequence on disk. Nothing is read before it is asked for, and only what is asked for.

    Raises (all readers):
        CorruptSequenceError: a missing, truncated or altered file, or files that do not fit together.
        IndexError: a frame that the sequence does not have.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.id = self.folder.name

    def __repr__(self) -> str:
        return f"StoredSequence({str(self.folder)!r})"

    def __len__(self) -> int:
        return self._document["length"]

    @cached_property
    def _document(self) -> dict[str, Any]:
        try:
            document = json.loads(self._read(METADATA))
            sizes = [entry["bytes"] + entry["crc32"] for entry in document["files"].values()]
            if not isinstance(document["length"], int) or not all(isinstance(size, int) for size in sizes):
                raise TypeError("length and checksums must be whole numbers")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, CorruptSequenceError):
                raise
            raise self._corrupt(METADATA, f"not the metadata of a sequence ({error})") from error
        return document

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What ``Sequence.metadata`` holds."""
        return {key: value for key, value in self._document.items() if key not in ("files", "length")}

    @cached_property
    def frames(self) -> pd.DataFrame:
        """The frame table: one row a frame with the columns of ``FRAME_COLUMNS``."""
        data = self._read_checked(FRAMES)
        try:
            table = pq.read_table(io.BytesIO(data)).to_pandas()
        except (pa.ArrowException, OSError) as error:
            raise self._corrupt(FRAMES, f"not a readable Parquet file ({error})") from error
        if missing := [name for name in FRAME_COLUMNS if name not in table]:
            raise self._corrupt(FRAMES, f"column {missing[0]} is missing")
        if len(table) != len(self):
            raise self._corrupt(FRAMES, f"{len(table)} rows for {len(self)} frames")
        return table

    def column(self, name: str) -> NDArray:
        """One column of the frame table as [T, D], without parsing the others: state, velocity, action …"""
        data = self._read_checked(FRAMES)
        try:
            return np.concatenate(list(parquet_rows(io.BytesIO(data), name)))
        except KeyError as error:
            raise self._corrupt(FRAMES, f"column {name} is missing") from error
        except (ValueError, OSError) as error:
            raise self._corrupt(FRAMES, str(error)) from error

    @property
    def camera(self) -> PinholeCamera:
        return PinholeCamera(**self.metadata["camera"])

    @property
    def absent(self) -> frozenset[str]:
        """Names of ``MODALITIES`` that this walk was imported without."""
        return frozenset(self.metadata.get("absent", ()))

    @property
    def poses(self) -> NDArray[np.float64]:
        """camera_to_world of every frame [T, 4, 4]."""
        self._require("pose", FRAMES)
        return np.stack(self.frames["camera_to_world"].to_list()).reshape(-1, 4, 4)

    @property
    def motions(self) -> dict[int, NDArray[np.float64]]:
        """Rest-to-world transforms [T, 4, 4] of everything that ever moves, see ``read_motions``."""
        try:
            return read_motions(self.frames)
        except ValueError as error:
            raise self._corrupt(FRAMES, str(error)) from error

    def rgb(self, frames: Iterable[int] | None = None) -> NDArray[np.uint8]:
        """Colour images of ``frames`` (indices, negative from the end; None = all): [N, H, W, 3]."""
        return self._decode(RGB, frames, decode_rgb, np.uint8, (3,))

    def depth(self, frames: Iterable[int] | None = None) -> NDArray[np.float32]:
        """z-depth of ``frames`` in metres, 0 = nothing there: [N, H, W]."""
        self._require("depth", DEPTH)
        return millimetres_to_depth(self._decode(DEPTH, frames, decode_grey16, np.uint16, ()))

    def instance(self, frames: Iterable[int] | None = None) -> NDArray[np.int32]:
        """Instance ids of ``frames``, 0 = nothing there: [N, H, W]."""
        self._require("instance", INSTANCE)
        return self._decode(INSTANCE, frames, decode_grey16, np.uint16, ()).astype(np.int32)

    def load(self) -> Sequence:
        """Read everything; what is absent becomes an array of no frames."""
        none = np.zeros((0, self.camera.height, self.camera.width))
        depth = none.astype(np.float32) if "depth" in self.absent else self.depth()
        instance = none.astype(np.int32) if "instance" in self.absent else self.instance()
        return Sequence(self.id, self.rgb(), depth, instance, self.frames, self.metadata)

    def _require(self, modality: str, name: str) -> None:
        if modality in self.absent:
            raise self._corrupt(name, f"the sequence was imported without {modality}")

    def _decode(
        self, name: str, frames: Iterable[int] | None, decode: Any, dtype: Any, channels: tuple[int, ...]
    ) -> NDArray:
        indices = self._indices(frames)
        camera = self.camera
        size = (camera.height, camera.width, *channels)
        if not len(indices):
            return np.zeros((0, *size), dtype)
        try:
            images = decode(self._read_checked(name), indices)  # [N, H, W, ...]
        except VideoError as error:
            raise self._corrupt(name, str(error)) from error
        if images.shape[1:] != size:
            raise self._corrupt(name, f"images are {images.shape[1:]}, the camera says {size}")
        return images

    def _indices(self, frames: Iterable[int] | None) -> NDArray[np.int64]:
        length = len(self)
        indices = np.arange(length) if frames is None else np.array(list(frames), np.int64)
        if len(bad := indices[(indices < -length) | (indices >= length)]):
            raise IndexError(f"{self.id} has frames 0 .. {length - 1}, got {bad[0]}")
        return indices % length

    def _read_checked(self, name: str) -> bytes:
        entry = self._document["files"].get(name)
        data = self._read(name)
        if entry is None:
            raise self._corrupt(METADATA, f"no checksum of {name}")
        if len(data) != entry["bytes"]:
            raise self._corrupt(name, f"truncated: {len(data)} of {entry['bytes']} bytes")
        if zlib.crc32(data) != entry["crc32"]:
            raise self._corrupt(name, "its content was altered (wrong checksum)")
        return data

    def _read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError as error:
            raise self._corrupt(name, "the file is missing") from error
        except OSError as error:
            raise self._corrupt(name, str(error)) from error

    def _corrupt(self, name: str, reason: str) -> CorruptSequenceError:
        return CorruptSequenceError(f"sequence {self.id}: {name}: {reason}")


def _ids_to_uint16(instance: NDArray[np.integer]) -> NDArray[np.uint16]:
    low, high = int(instance.min(initial=0)), int(instance.max(initial=0))
    if low < 0 or high > 65535:
        raise ValueError(f"instance ids must be in [0, 65535], got {low if low < 0 else high}")
    return instance.astype(np.uint16)


def _encode_frames(frames: pd.DataFrame) -> bytes:
    columns = {name: frames[name].to_list() for name in FRAME_COLUMNS}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=_SCHEMA), buffer, compression="zstd")
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"metadata must be JSON, got {type(value).__name__}")
