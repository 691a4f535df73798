"""The layout of a LeRobotDataset v3, and how our frames map to its features.

Written after the format's documentation and the behaviour of its reader (huggingface/lerobot 0.6, data set
version 3.0): rows in ``data``, one video file for many episodes of a camera in ``videos``, all else in ``meta``.

Depth follows its convention: 12-bit codes of the logarithm of depth, in a grey HEVC video. The code of z metres
is rint(4095 (ln(z + shift) - ln(min + shift)) / (ln(max + shift) - ln(min + shift))); ours have min = 0, so that
code 0 is "nothing there".

Invariant: the features of a data set are decided by its first sequence; a key that begins with "observation." or
"action" is what a policy may see or must do, so the pose and the action that is being taken have other names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.interchange.parquet_episodes import prompt

VERSION = "v3.0"
CHUNK = 1000  # files a folder
MEGABYTE = 1024**2
RGB_KEY, DEPTH_KEY = "observation.images.front", "observation.images.front_depth"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
#: Our own addition, which other readers do not look at: id and metadata of each episode.
SIDECAR = "meta/vln_heatmap.parquet"
FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH = f"data/{FILE}.parquet"
EPISODES_PATH = f"meta/episodes/{FILE}.parquet"
VIDEO_PATH = f"videos/{{video_key}}/{FILE}.mp4"
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
CODES = 4096


@dataclass(frozen=True)
class DepthCodes:
    """How z-depth in metres becomes 12-bit codes; depth beyond ``farthest`` is cut to it."""

    farthest: float = 20.0
    nearest: float = 0.0
    shift: float = 3.5
    logarithmic: bool = True

    def encode(self, depth: NDArray[np.floating]) -> NDArray[np.uint16]:
        """Metres [...] to codes [...]; 0 stays 0."""
        share = (self._curve(depth.astype(np.float64)) - self._low) / (self._high - self._low)
        return np.rint(share * (CODES - 1)).clip(0, CODES - 1).astype(np.uint16)

    def decode(self, codes: NDArray[np.uint16]) -> NDArray[np.float32]:
        """Codes [...] to metres [...]; code 0 is 0, nothing there."""
        curve = codes * ((self._high - self._low) / (CODES - 1)) + self._low
        depth = np.exp(curve) - self.shift if self.logarithmic else curve
        return np.where(codes == 0, 0, depth).astype(np.float32)

    def _curve(self, depth: Any) -> Any:
        return np.log(depth + self.shift) if self.logarithmic else depth

    @property
    def _low(self) -> float:
        return float(self._curve(self.nearest))

    @property
    def _high(self) -> float:
        return float(self._curve(self.farthest))

    @property
    def info(self) -> dict[str, Any]:
        """What ``info.json`` says of it."""
        return {
            "is_depth_map": True,
            "depth_unit": "mm",
            "video.depth_min": self.nearest,
            "video.depth_max": self.farthest,
            "video.shift": self.shift,
            "video.use_log": self.logarithmic,
        }

    @staticmethod
    def of(info: dict[str, Any]) -> DepthCodes:
        """As a feature's ``info`` states them; defaults are those of the format."""
        get = info.get
        return DepthCodes(
            get("video.depth_max", 10.0),
            get("video.depth_min", 0.01),
            get("video.shift", 3.5),
            get("video.use_log", True),
        )


#: Feature to type, names of its numbers, and the modality without which there is no such feature.
NUMBERS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "observation.state": ("float32", ("x", "y", "z", "yaw", "pitch", "camera_height"), "state"),
    "observation.velocity": ("float32", ("forward", "left", "up", "yaw", "pitch"), "velocity"),
    "action": ("float32", ("forward", "left", "up", "yaw", "pitch"), "velocity"),
    "camera_to_world": (
        "float64",
        tuple(f"m{row}{column}" for row in range(4) for column in range(4)),
        "pose",
    ),
    "discrete_action": ("int64", ("discrete_action",), ""),
    "collided": ("bool", ("collided",), ""),
    "next.done": ("bool", ("done",), ""),
    "is_terminal": ("bool", ("is_terminal",), ""),
}
INDEX: dict[str, str] = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


def numbers(sequence: Sequence | Any) -> dict[str, NDArray]:
    """The rows [T, D] of every numeric feature that a sequence has; no image is read.

    ``action`` is the camera's motion to the next frame, ``observation.velocity`` the one that led here (zero at
    first), since an observation must not tell the action.
    """
    frames = sequence.frames
    found: dict[str, NDArray] = {}
    if "state" not in sequence.absent:
        found["observation.state"] = np.stack(frames["state"].to_list()).astype(np.float32)
    if "velocity" not in sequence.absent:
        action = np.stack(frames["velocity"].to_list()).astype(np.float32)  # [T, 5]
        found["observation.velocity"] = np.concatenate([np.zeros_like(action[:1]), action[:-1]])
        found["action"] = action
    if "pose" not in sequence.absent:
        found["camera_to_world"] = sequence.poses.reshape(-1, 16)
    for name, column in (
        ("discrete_action", "action"),
        ("collided", "collided"),
        ("next.done", "is_last"),
        ("is_terminal", "is_terminal"),
    ):
        found[name] = frames[column].to_numpy(NUMBERS[name][0])[:, None]
    return found


def features(sequence: Sequence, *, depth: DepthCodes | None) -> dict[str, dict[str, Any]]:
    """The ``features`` of ``info.json`` for data sets of sequences like this one."""
    camera, fps = sequence.camera, whole_fps(sequence)
    size, axes = [camera.height, camera.width], ["height", "width", "channels"]
    described = {
        "video.height": camera.height,
        "video.width": camera.width,
        "video.fps": fps,
        "has_audio": False,
    }
    rgb = {"video.codec": "h264", "video.pix_fmt": "yuv420p", "video.channels": 3, "is_depth_map": False}
    found: dict[str, dict[str, Any]] = {
        RGB_KEY: {"dtype": "video", "shape": [*size, 3], "names": axes, "info": described | rgb}
    }
    if depth is not None:
        grey = {"video.codec": "hevc", "video.pix_fmt": "gray12le", "video.channels": 1} | depth.info
        found[DEPTH_KEY] = {
            "dtype": "video",
            "names": axes,
            "shape": [*size, 1],
            "info": described | grey,
        }
    for name, (dtype, names, modality) in NUMBERS.items():
        if modality not in sequence.absent:
            found[name] = {"dtype": dtype, "shape": [len(names)], "names": list(names)}
    index = {name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in INDEX.items()}
    return found | index


def whole_fps(sequence: Sequence) -> int:
    """Frames a second, which the format wants as a whole number.

    Raises:
        ValueError: they are not.
    """
    fps = float(sequence.metadata["fps"])
    if fps != int(fps):
        raise ValueError(f"{sequence.id}: LeRobot counts whole frames a second, got {fps:g}")
    return int(fps)


def arrow_type(feature: dict[str, Any]) -> pa.DataType:
    """Column type of a numeric feature: a scalar, or a list of fixed length."""
    scalar = pa.bool_() if feature["dtype"] == "bool" else pa.type_for_alias(feature["dtype"])
    return scalar if feature["shape"] == [1] else pa.list_(scalar, feature["shape"][0])


def task_of(sequence: Sequence) -> str:
    """The one instruction that all frames of an episode carry; the others stand in the sidecar."""
    return prompt(sequence.metadata)


@dataclass(frozen=True)
class Histogram:
    """How often each value [V] was seen in each channel: counts [C, V]. Sums are exact, so are quantiles."""

    values: NDArray[np.float64]
    counts: NDArray[np.int64]

    @staticmethod
    def of(codes: NDArray[np.integer], values: NDArray[np.float64]) -> Histogram:
        """Of codes [..., C] that stand for ``values[code]``."""
        channels = codes.reshape(-1, codes.shape[-1]).T
        counts = np.stack([np.bincount(channel, minlength=len(values)) for channel in channels])
        return Histogram(values, counts)

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(self.values, self.counts + other.counts)

    def summary(self, count: int) -> dict[str, Any]:
        """The format's statistics of an image feature: [C, 1, 1] each, ``count`` images."""
        total = self.counts.sum(1)  # [C]
        mean = self.counts @ self.values / total
        square = self.counts @ self.values**2 / total
        seen = self.counts > 0
        low = self.values[seen.argmax(1)]
        high = self.values[::-1][seen[:, ::-1].argmax(1)]
        ranks = self.counts.cumsum(1) / total[:, None]  # [C, V]
        found = {"min": low, "max": high, "mean": mean, "std": np.sqrt(np.maximum(square - mean**2, 0))}
        found |= {name: self.values[(ranks < q).sum(1)] for name, q in QUANTILES.items()}
        return {name: value[:, None, None].tolist() for name, value in found.items()} | {"count": [count]}


def number_summary(rows: NDArray) -> dict[str, Any]:
    """The format's statistics of a numeric feature of one episode, rows [T, D]; exact."""
    rows = rows.astype(np.float64)
    found = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    found |= dict(zip(QUANTILES, np.quantile(rows, list(QUANTILES.values()), axis=0), strict=True))
    return {name: value.tolist() for name, value in found.items()} | {"count": [len(rows)]}


def next_file(chunk: int, file: int) -> tuple[int, int]:
    """Place of the file after (chunk, file): at most ``CHUNK`` files a folder."""
    return (chunk + 1, 0) if file + 1 == CHUNK else (chunk, file + 1)
