"""Writes sequences as a LeRobotDataset v3 that the official ``lerobot`` package opens.

Colour videos are the store's own H.264 packets, so that their frames are exactly ours; depth becomes 12-bit codes
in lossless HEVC. Numbers are exact. Instance ids have no place in the format.

Invariant: files stay below their limits, rows and videos of an episode are in one file each, and ``info.json`` is
written last: without it there is no data set.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence_files import RGB
from vln_heatmap.datasets.video import encode_grey12
from vln_heatmap.interchange.lerobot_format import (
    CHUNK,
    DATA_PATH,
    DEPTH_KEY,
    EPISODES_PATH,
    INFO,
    MEGABYTE,
    RGB_KEY,
    SIDECAR,
    STATS,
    TASKS,
    VERSION,
    VIDEO_PATH,
    DepthCodes,
    Histogram,
    arrow_type,
    features,
    next_file,
    number_summary,
    numbers,
    task_of,
    whole_fps,
)
from vln_heatmap.interchange.lerobot_videos import VideoFiles


def write_dataset(
    root: Path,
    sequences: Iterable[Any],
    statistics: Mapping[str, Any],
    *,
    depth: DepthCodes | None = None,
    data_megabytes: int = 100,
    video_megabytes: int = 200,
    stats_frames: int = 8,
) -> dict[str, Any]:
    """Write a data set into an empty folder.

    Args:
        root: the folder.
        sequences: ``StoredSequence``s, one an episode.
        statistics: summaries of the numeric features over all sequences, for ``stats.json``.
        depth: how depth is coded; None leaves it out.
        data_megabytes, video_megabytes: limits of a file.
        stats_frames: images an episode that the statistics of images are taken of.

    Returns:
        What ``info.json`` says.

    Raises:
        ValueError: no sequence, or one that differs from the first in image size, frame rate or what it has.
    """
    limits = (data_megabytes, video_megabytes)
    with ExitStack() as stack:
        writer: _Writer | None = None
        for sequence in sequences:
            if writer is None:
                writer = _Writer(root, sequence, depth, limits, stats_frames, stack)
            writer.append(sequence)
    if writer is None:
        raise ValueError("there is no sequence to write")
    return writer.finish(statistics)


class _Writer:
    """State of a data set that is being written."""

    def __init__(
        self,
        root: Path,
        first: Any,
        depth: DepthCodes | None,
        limits: tuple[int, int],
        stats_frames: int,
        stack: ExitStack,
    ) -> None:
        self.root, self.depth, self.limits, self.stats_frames = root, depth, limits, stats_frames
        self.features, self.fps = features(first, depth=depth), whole_fps(first)
        self.tasks: dict[str, int] = {}
        self.episodes = self.frames = self.images = 0
        self.histograms: dict[str, Histogram] = {}
        videos = [name for name, feature in self.features.items() if feature["dtype"] == "video"]
        limit = limits[1] * MEGABYTE
        self.videos = {
            name: stack.enter_context(VideoFiles(root, name, limit=limit, fps=self.fps)) for name in videos
        }
        self.data = stack.enter_context(TableFiles(root, DATA_PATH, limit=limits[0] * MEGABYTE))
        self.index = stack.enter_context(TableFiles(root, EPISODES_PATH, limit=limits[0] * MEGABYTE))
        self.sidecar = stack.enter_context(TableFiles(root, SIDECAR, limit=2**62))

    def append(self, sequence: Any) -> None:
        """Write one episode."""
        if (found := features(sequence, depth=self.depth)) != self.features:
            differs = next(k for k in {**self.features, **found} if self.features.get(k) != found.get(k))
            raise ValueError(
                f"{sequence.id}: {differs} is {found.get(differs)}, in the first sequence "
                f"{self.features.get(differs)}: all sequences of a LeRobot data set must be alike"
            )
        length, task = len(sequence), task_of(sequence)
        rows = numbers(sequence)
        place = self.data.append(self._rows(rows, length, task))
        columns: dict[str, Any] = {
            "episode_index": self.episodes,
            "tasks": [task],
            "length": length,
            "data/chunk_index": place[0],
            "data/file_index": place[1],
            "dataset_from_index": self.frames,
            "dataset_to_index": self.frames + length,
        }
        for key, video in self.videos.items():
            columns |= video.append(self._video(sequence, key)).columns(key)
        for name, summary in self._summaries(sequence, rows).items():
            columns |= {f"stats/{name}/{key}": value for key, value in summary.items()}
        self._write_episode(columns)
        metadata = json.dumps(sequence.metadata)
        self.sidecar.append(
            pa.table({"episode_index": [self.episodes], "id": [sequence.id], "metadata": [metadata]})
        )
        self.episodes, self.frames = self.episodes + 1, self.frames + length

    def finish(self, statistics: Mapping[str, Any]) -> dict[str, Any]:
        """Write the tables and JSON files of ``meta``."""
        tasks = pd.DataFrame(
            {"task_index": list(self.tasks.values())}, index=pd.Index(self.tasks, name="task")
        )
        tasks.to_parquet(self.root / TASKS)
        images = {name: item.summary(self.images) for name, item in self.histograms.items()}
        write_json(self.root / STATS, {**images, **statistics})
        info = {
            "codebase_version": VERSION,
            "robot_type": "vln_heatmap",
            "total_episodes": self.episodes,
            "total_frames": self.frames,
            "total_tasks": len(self.tasks),
            "chunks_size": CHUNK,
            "data_files_size_in_mb": self.limits[0],
            "video_files_size_in_mb": self.limits[1],
            "fps": self.fps,
            "splits": {"train": f"0:{self.episodes}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH,
            "features": self.features,
        }
        write_json(self.root / INFO, info)
        return info

    def _rows(self, rows: Mapping[str, NDArray], length: int, task: str) -> pa.Table:
        """The table of one episode."""
        index = np.arange(length)
        task_index = self.tasks.setdefault(task, len(self.tasks))
        columns: dict[str, Any] = {
            name: list(row) if row.shape[1] > 1 else row[:, 0] for name, row in rows.items()
        }
        columns |= {
            "timestamp": (index / self.fps).astype(np.float32),
            "frame_index": index,
            "episode_index": np.full(length, self.episodes),
            "index": self.frames + index,
            "task_index": np.full(length, task_index),
        }
        names = [name for name, feature in self.features.items() if feature["dtype"] != "video"]
        return pa.table({name: pa.array(columns[name], arrow_type(self.features[name])) for name in names})

    def _video(self, sequence: Any, key: str) -> bytes:
        if key == RGB_KEY:
            return (sequence.folder / RGB).read_bytes()
        assert self.depth is not None
        return encode_grey12(self.depth.encode(sequence.depth()), fps=self.fps)

    def _summaries(self, sequence: Any, rows: Mapping[str, NDArray]) -> dict[str, dict[str, Any]]:
        """Statistics of the episode by feature; those of images are of a few of them."""
        some = np.unique(np.linspace(0, len(sequence) - 1, self.stats_frames).round().astype(int))
        histograms = {RGB_KEY: Histogram.of(sequence.rgb(some), np.arange(256) / 255)}
        if self.depth is not None:
            codes = self.depth.encode(sequence.depth(some))[..., None]
            values = self.depth.decode(np.arange(4096, dtype=np.uint16)).astype(np.float64) * 1000
            histograms[DEPTH_KEY] = Histogram.of(codes, values)
        for name, item in histograms.items():
            self.histograms[name] = reduce(add, [self.histograms[name], item]) if self.images else item
        self.images += len(some)
        own = {name: number_summary(row) for name, row in rows.items()}
        return own | {name: item.summary(len(some)) for name, item in histograms.items()}

    def _write_episode(self, columns: dict[str, Any]) -> None:
        places = {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        table = pa.table({name: [value] for name, value in (columns | places).items()})
        chunk, file = self.index.place_for(table)
        for name, value in zip(places, (chunk, file), strict=True):
            table = table.set_column(table.schema.get_field_index(name), name, pa.array([value]))
        self.index.append(table)


class TableFiles:
    """Parquet files of at most ``limit`` bytes, one row group a call, at ``root / pattern``."""

    def __init__(self, root: Path, pattern: str, *, limit: int) -> None:
        self.root, self.pattern, self.limit = root, pattern, limit
        self._place = (0, -1)
        self._writer: pq.ParquetWriter | None = None
        self._sink: Any = None

    def __enter__(self) -> TableFiles:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
            self._sink.close()
            self._writer = None

    def place_for(self, table: pa.Table) -> tuple[int, int]:
        """Chunk and file that these rows will be written to; their size in memory is an upper bound."""
        full = self._writer is None or self._sink.tell() + table.nbytes > self.limit
        return next_file(*self._place) if full else self._place

    def append(self, table: pa.Table) -> tuple[int, int]:
        """Write rows; returns chunk and file."""
        if (place := self.place_for(table)) != self._place:
            self.__exit__()
            self._place = place
            path = self.root / self.pattern.format(chunk_index=place[0], file_index=place[1])
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sink = path.open("wb")
            self._writer = pq.ParquetWriter(self._sink, table.schema, compression="snappy")
        assert self._writer is not None
        self._writer.write_table(table)
        return place


def write_json(path: Path, content: Any) -> None:
    """Write readable JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, allow_nan=False, default=np.ndarray.tolist))
