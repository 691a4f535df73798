"""Small sequences, and collections of them that end when they are told to."""

from pathlib import Path

import numpy as np
import pandas as pd
from kedro.io import Version

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.datasets.sequence_files import encode_sequence
from vln_heatmap.datasets.sequence_shards import CollectionStream, StorePlan
from vln_heatmap.datasets.sequence_store import SequenceStoreDataset
from vln_heatmap.geometry.cameras import look_pose

LENGTH, HEIGHT, WIDTH = 5, 16, 24
SHARD = "shard_00000"
IDS = ["house_00000_00", "house_00000_01", "house_00001_00"]


def make_sequence(sequence_id: str = "house_00000_00") -> Sequence:
    """A walk along -Z whose depth, ids and colours are known in closed form."""
    index = np.arange(LENGTH)
    ramp = np.linspace(0, 60, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    rgb = np.broadcast_to((40 * index)[:, None, None, None], (LENGTH, HEIGHT, WIDTH, 3)).astype(np.uint8)
    depth = np.round(ramp + index[:, None, None] * 0.123, 3).astype(np.float32)
    instance = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * 170 + index[:, None, None]).astype(
        np.int32
    )
    poses = [look_pose((0.1, 1.25, -0.25 * i), 0.1) for i in index]
    frames = pd.DataFrame(
        {
            "frame_index": index,
            "timestamp": index / 10,
            "camera_to_world": [pose.ravel() for pose in poses],
            "state": [[0.1, 0.0, -0.25 * i, 0.1, 0.0, 1.25] for i in index],
            "velocity": [[0.25, 0.0, 0.0, 0.0, 0.0]] * LENGTH,
            "action": np.ones(LENGTH, np.int8),
            "collided": np.zeros(LENGTH, bool),
            "is_first": index == 0,
            "is_last": index == LENGTH - 1,
            "is_terminal": np.zeros(LENGTH, bool),
            "visible_ids": [[1, 7]] * LENGTH,
            "visible_pixels": [[3, 4]] * LENGTH,
            "visible_u": [[0.25, 0.5]] * LENGTH,
            "visible_v": [[0.5, 0.75]] * LENGTH,
            "visible_depth": [[1.5, 2.5]] * LENGTH,
            "moved_ids": [[7]] * LENGTH,
            "moved_poses": [look_pose((0.1, 0.2, 0.3), 0.4).ravel()] * LENGTH,
        }
    )
    metadata = {
        "scene": "house_00000",
        "camera": {"width": WIDTH, "height": HEIGHT, "hfov": 90.0},
        "fps": 10.0,
        "box": np.float64(1.5),
    }
    return Sequence(sequence_id, rgb, depth, instance, frames, metadata)


def dataset(folder: Path, version: str, **options) -> SequenceStoreDataset:
    return SequenceStoreDataset(filepath=str(folder / "sequences"), version=Version(None, version), **options)


def stream(ids: list[str], *, fingerprint: str = "f", stop_after: int | None = None) -> CollectionStream:
    """Sequences of the given ids; with ``stop_after`` the collection dies there."""

    def generate():
        for number, sequence_id in enumerate(ids):
            if number == stop_after:
                raise RuntimeError("a worker died")
            yield encode_sequence(make_sequence(sequence_id))

    return CollectionStream(StorePlan(fingerprint, tuple(ids)), generate())
