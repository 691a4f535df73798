"""Episodes as Parquet tables with one row a step, as vision-language-action trainers read them.

Columns: ``image_1`` (PNG or JPEG bytes), ``state``, ``action`` (the motion to the next frame), ``prompt``,
``is_first``, ``is_last``, ``is_terminal``; ours add ``discrete_action``, ``depth_1`` and ``instance_1`` (16-bit
PNG: millimetres, ids), every other frame column, and the metadata under a key of the file.

Invariant: a sequence that we wrote comes back as it was, but for what the chosen image format loses.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence import FRAME_COLUMNS, Sequence
from vln_heatmap.datasets.sequence_files import depth_to_millimetres, millimetres_to_depth
from vln_heatmap.interchange.checks import (
    RefusedError,
    check_actions,
    check_flags,
    check_poses,
    decode_images,
    flags,
    number_rows,
    safe_id,
)
from vln_heatmap.interchange.incoming import Incoming, Stated, to_sequence

NAME = "parquet episodes"
METADATA_KEY = b"vln_heatmap.metadata"
REQUIRED = ("state", "action", "prompt", "is_first", "is_last", "is_terminal")
IMAGES = ("image_1", "image_1_bytes")
#: Frame columns that travel under their own names; the others are renamed or made by the reader.
_OWN = tuple(name for name in FRAME_COLUMNS if name not in {"frame_index", "velocity", "action", *REQUIRED})


def encode_episode(sequence: Sequence, *, image: str = "png", quality: int = 95) -> bytes:
    """One sequence of T frames as the bytes of a Parquet file of T rows.

    Args:
        sequence: with whatever it has; absent columns are null, absent images have no column.
        image: "png" (lossless) or "jpeg".
        quality: of JPEG, 1 to 100.
    """
    frames = sequence.frames
    columns: dict[str, Any] = {
        "image_1": [encode_image(image_, image, quality) for image_ in sequence.rgb],
        "state": frames["state"].to_list(),
        "action": frames["velocity"].to_list(),
        "discrete_action": frames["action"].to_numpy(np.int8),
        "prompt": [prompt(sequence.metadata)] * len(frames),
        **{name: frames[name].to_list() for name in ("is_first", "is_last", "is_terminal", *_OWN)},
    }
    if "depth" not in sequence.absent:
        columns["depth_1"] = [encode_image(grey, "png", 0) for grey in depth_to_millimetres(sequence.depth)]
    if "instance" not in sequence.absent:
        columns["instance_1"] = [encode_image(ids.astype(np.uint16), "png", 0) for ids in sequence.instance]
    metadata = json.dumps({**sequence.metadata, "id": sequence.id}, default=np.ndarray.tolist)
    table = pa.table(columns).replace_schema_metadata({METADATA_KEY: metadata.encode()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def prompt(metadata: dict[str, Any]) -> str:
    """The instruction that the whole walk follows: its route, else any that holds for all of it, else ""."""
    whole = [item for item in metadata["instructions"] if item["frame"] is None]
    routes = [item for item in whole if item["kind"] == "route"]
    return (routes or whole)[0]["text"] if whole else ""


def encode_image(image: NDArray, kind: str, quality: int) -> bytes:
    """[H, W, 3] uint8 or [H, W] uint16 as PNG or JPEG."""
    from PIL import Image

    buffer = io.BytesIO()
    options = {"quality": quality, "subsampling": 0} if kind == "jpeg" else {"compress_level": 6}
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


class ParquetEpisodes:
    """The ``*.parquet`` files of a folder; a file may hold several episodes, divided by ``is_first``.

    Attributes:
        ids: the id that the file states, else the file's name; with "_0000" … if it holds several episodes. A
            file that cannot be read counts as one episode, which reading refuses.

    Raises:
        RefusedError: no file, an unsafe name, or an id that exists twice.
    """

    def __init__(self, folder: Path, stated: Stated) -> None:
        self.folder, self.stated = Path(folder), stated
        files = sorted(self.folder.glob("*.parquet"))
        if not files:
            raise RefusedError(folder, "there is no .parquet file in it")
        self._places: dict[str, tuple[Path, int, int]] = {}
        self._broken: dict[str, RefusedError] = {}
        for file in files:
            for sequence_id, start, stop in self._episodes(file):
                if sequence_id in self._places:
                    raise RefusedError(file, f"the id {sequence_id} exists already", row=start)
                self._places[sequence_id] = (file, start, stop)
        self.ids = tuple(self._places)

    def read(self, sequence_id: str) -> Sequence:
        """Read one episode, see ``Source``."""
        if sequence_id in self._broken:
            raise self._broken[sequence_id]
        file, start, stop = self._places[sequence_id]
        table = _opened(file, lambda: pq.read_table(file)).slice(start, stop - start)
        names = set(table.column_names)
        image = next((name for name in IMAGES if name in names), IMAGES[0])
        if missing := [name for name in (image, *REQUIRED) if name not in names]:
            raise RefusedError(file, f"column {missing[0]} is missing")
        return _read_rows(sequence_id, table, image, self.stated, file, start)

    def _episodes(self, file: Path) -> list[tuple[str, int, int]]:
        name = safe_id(file.stem, file=file)
        try:
            return _episodes(file)
        except RefusedError as error:
            self._broken[name] = error
            return [(name, 0, 0)]


def _read_rows(
    sequence_id: str, table: pa.Table, image: str, stated: Stated, file: Path, start: int
) -> Sequence:
    """The rows of one episode, checked, as a sequence."""
    where: dict[str, Any] = {"file": file, "first_row": start}
    cells = {name: table.column(name).to_pylist() for name in table.column_names}
    metadata = {key: value for key, value in _metadata(table, file).items() if key != "id"}
    rgb = decode_images(cells[image], **where)
    columns = {name: cells[name] for name in _OWN if name in cells}
    columns |= {name: flags(cells[name], name, **where) for name in ("is_first", "is_last", "is_terminal")}
    check_flags(columns["is_first"], columns["is_last"], columns["is_terminal"], **where)
    columns |= _numbers(cells, stated, metadata, where)
    depth = instance = None
    if "depth_1" in cells:
        depth = millimetres_to_depth(decode_images(cells["depth_1"], grey16=True, **where))
    if "instance_1" in cells:
        instance = decode_images(cells["instance_1"], grey16=True, **where).astype(np.int32)
    for name, images in (("depth_1", depth), ("instance_1", instance)):
        if images is not None and images.shape != rgb.shape[:3]:
            raise RefusedError(file, f"{name} is {images.shape[1:]}, the colour image {rgb.shape[1:3]}")
    texts = [text for text in cells["prompt"] if isinstance(text, str)]
    found = Incoming(sequence_id, rgb, columns, depth, instance, texts, metadata)
    return to_sequence(found, stated, file=file, format_name=NAME)


def _numbers(
    cells: dict[str, list[Any]], stated: Stated, metadata: dict[str, Any], where: dict[str, Any]
) -> dict[str, Any]:
    """state, velocity, action and camera_to_world, each checked, or None where the file says it is absent.

    A list of five numbers is our continuous action, a list of one or a plain number the discrete one.
    """
    absent = frozenset(metadata.get("absent", ())) | stated.drop
    columns: dict[str, Any] = {"state": None, "velocity": None, "camera_to_world": None}
    if "state" not in absent:
        columns["state"] = number_rows(cells["state"], "state", 6, **where).astype(np.float32)
    discrete = cells.get("discrete_action")
    if discrete is None and np.size(cells["action"][0]) == 1:
        discrete = cells["action"]
    elif "velocity" not in absent:
        columns["velocity"] = number_rows(cells["action"], "action", 5, **where).astype(np.float32)
    if discrete is not None:
        columns["action"] = number_rows(discrete, "action", 1, **where)[:, 0].astype(np.int64)
        check_actions(columns["action"], **where)
    if "camera_to_world" in cells and "pose" not in absent:
        poses = number_rows(cells["camera_to_world"], "camera_to_world", 16, **where)
        check_poses(poses.reshape(-1, 4, 4), **where)
        columns["camera_to_world"] = poses
    return columns


def _episodes(file: Path) -> list[tuple[str, int, int]]:
    """Id, first row and row after the last of each episode of a file."""
    table = _opened(file, lambda: pq.read_table(file, columns=["is_first"]))
    if "is_first" not in table.column_names:
        return [(safe_id(file.stem, file=file), 0, table.num_rows)]  # reading it will say what is missing
    firsts = table.column("is_first").to_pylist()
    starts = [row for row, first in enumerate(firsts) if first]
    if starts[:1] != [0]:
        raise RefusedError(file, "is_first must be true on the first row", row=0)
    name = safe_id(_metadata(table, file).get("id", file.stem), file=file)
    names = [name] if len(starts) == 1 else [f"{name}_{number:04d}" for number in range(len(starts))]
    return list(zip(names, starts, [*starts[1:], len(firsts)], strict=True))


def _metadata(table: pa.Table, file: Path) -> dict[str, Any]:
    """What a file of ours says of its sequence; nothing in others."""
    try:
        metadata = json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}"))
    except ValueError as error:
        raise RefusedError(file, f"its metadata is not JSON ({error})") from error
    if not isinstance(metadata, dict):
        raise RefusedError(file, f"its metadata must be a JSON object, got {type(metadata).__name__}")
    return metadata


def _opened(file: Path, read: Callable[[], pa.Table]) -> pa.Table:
    try:
        return read()
    except (pa.ArrowException, OSError) as error:
        raise RefusedError(file, f"not a readable Parquet file ({error})") from error
