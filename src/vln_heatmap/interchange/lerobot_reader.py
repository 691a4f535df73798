"""Reads LeRobotDataset v3 folders: ours whole, others as far as a sequence has a place for what they hold.

Invariant: lengths, order and numbers are checked against each other, and video frames are found by their time, as
the format wants it; nothing outside the folder is opened, whatever ``info.json`` says.
"""

from __future__ import annotations

import json
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.interchange.checks import (
    RefusedError,
    check_actions,
    check_poses,
    decode_images,
    inside,
    number_rows,
    safe_id,
)
from vln_heatmap.interchange.incoming import Incoming, Stated, to_sequence
from vln_heatmap.interchange.lerobot_format import INFO, NUMBERS, RGB_KEY, SIDECAR, TASKS, DepthCodes

NAME = "lerobot v3"
#: Frame columns by the features they come from; ``action`` of a walk is what we call velocity.
_COLUMNS = {"observation.state": "state", "action": "velocity", "camera_to_world": "camera_to_world"}


class LeRobotFolder:
    """The episodes of a data set.

    Attributes:
        ids: those that we wrote, else ``episode_000000`` …

    Raises:
        RefusedError: no or unreadable descriptions, another version, no camera.
    """

    def __init__(self, folder: Path, stated: Stated) -> None:
        self.folder, self.stated = Path(folder), stated
        self.info = self._read_info()
        self.features: dict[str, dict[str, Any]] = self.info["features"]
        self.rgb_key, self.depth_key = self._cameras()
        self._rows = {int(row["episode_index"]): row for row in self._episodes()}
        self._own = {row["episode_index"]: row for row in self._table(SIDECAR)}
        names = {
            number: self._own.get(number, {}).get("id", f"episode_{number:06d}") for number in self._rows
        }
        self._numbers = {safe_id(name, file=self.folder / SIDECAR): number for number, name in names.items()}
        self.ids = tuple(self._numbers)

    def read(self, sequence_id: str) -> Sequence:
        """Read one episode, see ``Source``."""
        episode = self._rows[self._numbers[sequence_id]]
        file, first_row, cells = self._cells(episode)
        where: dict[str, Any] = {"file": file, "first_row": first_row}
        metadata = json.loads(self._own.get(episode["episode_index"], {}).get("metadata", "{}"))
        stated = (
            self.stated if "fps" in metadata else Stated(self.stated.hfov, self.info["fps"], self.stated.drop)
        )
        rgb = self._images(self.rgb_key, episode, cells, where)
        depth = None
        if self.depth_key is not None and "depth" not in stated.drop:
            codes = DepthCodes.of(self.features[self.depth_key].get("info", {}))
            depth = codes.decode(self._images(self.depth_key, episode, cells, where, grey12=True))
        columns = self._columns(cells, stated, where)
        texts = [self._tasks[index] for index in dict.fromkeys(cells["task_index"])]
        found = Incoming(sequence_id, rgb, columns, depth, None, texts, metadata)
        return to_sequence(found, stated, file=file, format_name=NAME)

    def _read_info(self) -> dict[str, Any]:
        file = self.folder / INFO
        try:
            info = json.loads(file.read_bytes())
            version, fps = str(info["codebase_version"]), float(info["fps"])
            known = isinstance(info["features"], dict) and all(
                "dtype" in f for f in info["features"].values()
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RefusedError(file, f"not the description of a LeRobot data set ({error!r})") from error
        if not version.startswith("v3.") or not known or not 0 < fps <= 1000:
            raise RefusedError(file, f"must be version v3.x with features, got {version!r} at {fps:g} fps")
        return info

    def _cameras(self) -> tuple[str, str | None]:
        """Keys of the colour camera (ours, else the first) and of the depth video."""
        images = {n: f for n, f in self.features.items() if f["dtype"] in ("video", "image")}
        depth = [n for n, f in images.items() if (f.get("info") or {}).get("is_depth_map")]
        colour = [name for name in images if name not in depth]
        if not colour:
            raise RefusedError(self.folder / INFO, "there is no colour camera among the features")
        videos = [name for name in depth if images[name]["dtype"] == "video"]
        return (RGB_KEY if RGB_KEY in colour else colour[0]), next(iter(videos), None)

    def _episodes(self) -> list[dict[str, Any]]:
        files = sorted((self.folder / "meta/episodes").glob("*/*.parquet"))
        rows = [row for file in files for row in self._table(str(file.relative_to(self.folder)), "stats/")]
        if not rows:
            raise RefusedError(self.folder / "meta/episodes", "there is no episode")
        return rows

    @cached_property
    def _tasks(self) -> dict[int, str]:
        rows = self._table(TASKS)
        key = "task" if rows and "task" in rows[0] else "__index_level_0__"
        return {int(row["task_index"]): str(row[key]) for row in rows}

    def _table(self, name: str, without: str = "\0") -> list[dict[str, Any]]:
        """Rows of a table of ``meta``, but for columns that begin with ``without``; none if there is no file."""
        file = inside(self.folder, name, named_by=self.folder)
        if not file.exists():
            return []
        try:
            names = [name for name in pq.read_schema(file).names if not name.startswith(without)]
            return pq.read_table(file, columns=names).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise RefusedError(file, f"not a readable Parquet file ({error})") from error

    def _path(self, pattern: str, chunk: str, file: str, episode: dict[str, Any], **names: str) -> Path:
        """The file that a pattern of ``info.json`` and an episode's numbers name."""
        described = self.folder / INFO
        try:
            name = self.info[pattern].format(chunk_index=episode[chunk], file_index=episode[file], **names)
        except (KeyError, ValueError, AttributeError, IndexError) as error:
            raise RefusedError(described, f"{pattern} cannot be filled in ({error!r})") from error
        return inside(self.folder, name, named_by=described)

    def _cells(self, episode: dict[str, Any]) -> tuple[Path, int, dict[str, list[Any]]]:
        """The data file, the index of the episode's first row, and its columns."""
        file = self._path("data_path", "data/chunk_index", "data/file_index", episode)
        number, first_row = episode["episode_index"], int(episode.get("dataset_from_index") or 0)
        try:
            names = pq.read_schema(file).names
            if missing := [n for n in ("episode_index", "frame_index", "task_index") if n not in names]:
                raise RefusedError(file, f"column {missing[0]} is missing")
            table = pq.read_table(file, filters=[("episode_index", "==", number)])
        except (pa.ArrowException, OSError) as error:
            raise RefusedError(file, f"not a readable Parquet file ({error})") from error
        if table.num_rows != episode["length"] or not table.num_rows:
            should = f"should have {episode['length']}"
            raise RefusedError(file, f"episode {number} has {table.num_rows} rows, {should}")
        order = table.column("frame_index").to_numpy()
        if wrong := np.flatnonzero(order != np.arange(len(order))).tolist():
            raise RefusedError(file, f"frame_index is {order[wrong[0]]} here", row=first_row + wrong[0])
        return file, first_row, {name: table.column(name).to_pylist() for name in table.column_names}

    def _images(
        self,
        key: str,
        episode: dict[str, Any],
        cells: dict[str, list[Any]],
        where: dict,
        *,
        grey12: bool = False,
    ) -> NDArray:
        """The images of an episode, from a video or from the table."""
        if self.features[key]["dtype"] == "image":
            data = (cell.get("bytes") if isinstance(cell, dict) else cell for cell in cells[key])
            return decode_images(data, **where)
        prefix = f"videos/{key}"
        names = (f"{prefix}/chunk_index", f"{prefix}/file_index")
        file = self._path("video_path", *names, episode, video_key=key)
        try:
            start = float(episode[f"{prefix}/from_timestamp"])
        except (KeyError, TypeError) as error:
            raise RefusedError(
                self.folder / "meta/episodes", f"{prefix}/from_timestamp is missing"
            ) from error
        frames = frames_at(file, start, episode["length"], float(self.info["fps"]), grey12=grey12)
        return np.stack(frames)

    def _columns(self, cells: dict[str, list[Any]], stated: Stated, where: dict[str, Any]) -> dict[str, Any]:
        """Frame columns, each checked, from the features that are there."""
        columns: dict[str, Any] = {}
        for feature, column in _COLUMNS.items():
            dtype, names, modality = NUMBERS[feature]
            if feature in cells and modality not in stated.drop:
                columns[column] = number_rows(cells[feature], feature, len(names), **where).astype(dtype)
        if "camera_to_world" in columns:
            check_poses(columns["camera_to_world"].reshape(-1, 4, 4), **where)
        if "discrete_action" in cells:
            columns["action"] = number_rows(cells["discrete_action"], "discrete_action", 1, **where)[
                :, 0
            ].astype(np.int64)
            check_actions(columns["action"], **where)
        for name in ("collided", "is_terminal"):
            if name in cells:
                columns[name] = np.array(cells[name], bool)
        return columns


def frames_at(file: Path, start: float, count: int, fps: float, *, grey12: bool = False) -> list[NDArray]:
    """The frames of a video that are shown at start, start + 1 / fps, … (within half a frame).

    Raises:
        RefusedError: a video that cannot be decoded, or that lacks one of them.
    """
    kind = "gray12le" if grey12 else "rgb24"
    found: dict[int, NDArray] = {}
    try:
        with av.open(str(file)) as container:
            stream: Any = container.streams.video[0]
            stream.thread_count = 1
            container.seek(max(0, int(start / stream.time_base) - 1), stream=stream)
            for frame in container.decode(stream):
                number = round((frame.pts * stream.time_base - Fraction(start)) * Fraction(fps))
                if 0 <= number < count:
                    found[number] = frame.to_ndarray(format=kind)
                if number >= count - 1:
                    break
    except (av.error.FFmpegError, OSError, IndexError, TypeError) as error:
        raise RefusedError(file, f"not a readable video ({error})") from error
    if missing := [number for number in range(count) if number not in found]:
        raise RefusedError(file, f"there is no frame at {start + missing[0] / fps:.3f} s", row=missing[0])
    return [found[number] for number in range(count)]
