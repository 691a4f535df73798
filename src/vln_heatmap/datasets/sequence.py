"""A recorded walk in memory: frames, the table of what happened in each, and where it comes from.

Invariant: ``frames`` has exactly one row per image, in order, with the columns of ``FRAME_COLUMNS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera

SCHEMA_VERSION = 2

#: What a walk that was imported from another format may lack, and the frame columns that are null without it.
MODALITIES: dict[str, tuple[str, ...]] = {
    "depth": (),
    "instance": (),
    "pose": ("camera_to_world",),
    "state": ("state",),
    "velocity": ("velocity",),
}

#: Columns of ``frames.parquet``, one row a frame.
FRAME_COLUMNS: dict[str, str] = {
    "frame_index": "int64: 0 .. T-1",
    "timestamp": "float64: seconds from the first frame",
    "camera_to_world": "list<double>[16]: row-major 4x4 pose, OpenCV camera, world +Y up, metres",
    "state": "list<float>[6]: agent x, y, z (floor point, m), yaw, camera pitch (rad), camera height over it (m)",
    "velocity": "list<float>[5]: the camera's motion to the next frame: forward, left, up (m), yaw, pitch (rad)",
    "action": "int8: action taken at this frame (0 stop, 1 forward, 2 left, 3 right; -1 free motion), last row 0",
    "collided": "bool: the action taken at this frame bumped into something",
    "is_first": "bool",
    "is_last": "bool",
    "is_terminal": "bool: the episode ended here by STOP (false where it was merely cut)",
    "visible_ids": "list<int32>: instance ids seen in the frame, ascending, without 0",
    "visible_pixels": "list<int32>: pixel count of each visible id",
    "visible_u": "list<float>: mean column of its pixels / W, in [0, 1]",
    "visible_v": "list<float>: mean row of its pixels / H, in [0, 1]",
    "visible_depth": "list<float>: median z-depth of its pixels, metres",
    "moved_ids": "list<int32>: instances that are not where they rest, ascending",
    "moved_poses": "list<double>[16 each]: row-major 4x4 world transform of each moved instance from rest",
}


@dataclass(frozen=True)
class Sequence:
    """One recorded walk of T frames.

    Attributes:
        id: unique name, ``<scene>_<walk>``.
        rgb: [T, H, W, 3] uint8.
        depth: [T, H, W] float32 z-depth in metres, 0 = nothing; the store keeps whole millimetres. [0, H, W] if
            it is absent.
        instance: [T, H, W] int32 instance ids, 0 = nothing; [0, H, W] if they are absent.
        frames: one row a frame, see ``FRAME_COLUMNS``.
        metadata: scene, seed, camera {width, height, hfov}, camera_height, simulator {name, version},
            trajectory, instructions, objects (category, colour, room, box), rooms, schema_version, fps; and
            ``absent`` (some of ``MODALITIES``) where the format it was imported from lacks something.
    """

    id: str
    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    instance: NDArray[np.int32]
    frames: pd.DataFrame
    metadata: dict[str, Any]

    def __len__(self) -> int:
        return len(self.frames)

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
        if "pose" in self.absent:
            raise ValueError(f"{self.id} was imported without pose")
        return np.stack(self.frames["camera_to_world"].to_list()).astype(np.float64).reshape(-1, 4, 4)

    @property
    def motions(self) -> dict[int, NDArray[np.float64]]:
        """Rest-to-world transforms of everything that ever moves, see ``read_motions``."""
        return read_motions(self.frames)


def check_sequence(sequence: Sequence) -> None:
    """See that arrays, table and ``absent`` fit together.

    Raises:
        ValueError: an array of the wrong shape, a missing column, a null where nothing is absent, or the other
            way round; the message names the sequence.
    """
    camera, length, absent = sequence.camera, len(sequence.frames), sequence.absent
    if unknown := absent - MODALITIES.keys():
        raise ValueError(f"{sequence.id}: absent can name {', '.join(MODALITIES)}, got {min(unknown)!r}")
    size = (camera.height, camera.width)
    for name, array, shape in (
        ("rgb", sequence.rgb, (length, *size, 3)),
        ("depth", sequence.depth, (0 if "depth" in absent else length, *size)),
        ("instance", sequence.instance, (0 if "instance" in absent else length, *size)),
    ):
        if array.shape != shape:
            raise ValueError(f"{sequence.id}: {name} must be {shape}, got {array.shape}")
    if missing := [name for name in FRAME_COLUMNS if name not in sequence.frames]:
        raise ValueError(f"{sequence.id}: the frame table has no column {missing[0]}")
    for name, column in ((name, column) for name, columns in MODALITIES.items() for column in columns):
        nulls = sequence.frames[column].isna()
        if not nulls.all() if name in absent else nulls.any():
            must = "be null, because it is absent" if name in absent else "not be null"
            raise ValueError(f"{sequence.id}: column {column} must {must} in every row")


def read_motions(frames: pd.DataFrame) -> dict[int, NDArray[np.float64]]:
    """The instances that are somewhere in the walk not where they rest, by ascending id.

    Args:
        frames: T rows with ``moved_ids`` and ``moved_poses``.

    Returns:
        Rigid world transforms [T, 4, 4] from rest, the identity where the instance rests.

    Raises:
        ValueError: a row whose poses are not 16 numbers for each of its ids.
    """
    motions: dict[int, NDArray[np.float64]] = {}
    for row, (ids, poses) in enumerate(zip(frames["moved_ids"], frames["moved_poses"], strict=True)):
        matrices = np.asarray(poses, np.float64).ravel()  # [16 per id]
        if len(matrices) != 16 * len(ids):
            raise ValueError(f"frame {row} moves {len(ids)} instances but has {len(matrices)} pose numbers")
        for key, matrix in zip(ids, matrices.reshape(-1, 4, 4), strict=True):
            motion = motions.setdefault(int(key), np.tile(np.eye(4), (len(frames), 1, 1)))  # [T, 4, 4]
            motion[row] = matrix
    return dict(sorted(motions.items()))
