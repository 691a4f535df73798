"""Walks through an empty box, exact by construction: sequences for tests that need no simulator."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.datasets.sequence_store import SequenceStore, encode_sequence, store_sequence
from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.simulation.visibility import visible_instances

ROOT = Path(__file__).parents[1]
CAMERA = PinholeCamera(64, 48, 90.0)
ROOM = np.array([[-3.0, 0.0, -2.5], [3.0, 2.6, 2.5]])  # lower and upper corner, metres
CAMERA_HEIGHT = 1.25
FORWARD, TURN = 0.25, np.radians(15)


def box_view(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour, z-depth and wall id of the box seen from inside, each exact per pixel."""
    rays = CAMERA.directions() @ pose[:3, :3].T  # [H, W, 3], z-depth 1
    with np.errstate(divide="ignore"):
        far = np.where(rays > 0, ROOM[1] - pose[:3, 3], ROOM[0] - pose[:3, 3]) / rays  # [H, W, 3]
    depth = far.min(axis=-1)
    wall = 2 * far.argmin(axis=-1) + (np.take_along_axis(rays, far.argmin(-1)[..., None], -1)[..., 0] > 0) + 1
    points = pose[:3, 3] + rays * depth[..., None]
    colour = 128 + 60 * np.sin(points * [4.0, 5.0, 6.0] + points[..., [1, 2, 0]] * 3.0)
    colour += 50 * (wall % 3 - 1)[..., None]  # walls that meet differ, so that images have edges
    return colour.astype(np.uint8), np.rint(depth * 1000) / 1000, wall.astype(np.int32)


def wall_object(number: int) -> dict[str, object]:
    """The metadata of wall 1 to 6 (low and high in x, y, z): a plate without thickness; 3 is the floor."""
    axis, side = divmod(number - 1, 2)
    box = ROOM.copy()
    box[:, axis] = ROOM[side, axis]
    category = "floor" if number == 3 else "wall"
    return {"id": number, "category": category, "box_min": box[0].tolist(), "box_max": box[1].tolist()}


def walk(name: str = "house_00000_00", actions: str = "fflfrffl") -> Sequence:
    """A walk by forward, left and right steps; its last frame stops."""
    x, z, yaw, states, velocity = 0.0, 1.0, 0.3, [], []
    for action in actions + ".":
        states.append((x, 0.0, z, yaw, 0.0, CAMERA_HEIGHT))
        step, turn = {"f": (FORWARD, 0), "l": (0, TURN), "r": (0, -TURN), ".": (0, 0)}[action]
        velocity.append((step, 0.0, 0.0, turn, 0.0))
        x, z, yaw = x - np.sin(yaw) * step, z - np.cos(yaw) * step, yaw + turn
    poses = [look_pose((sx, CAMERA_HEIGHT, sz), sy) for sx, _, sz, sy, *_ in states]
    colour, depth, wall = map(np.stack, zip(*map(box_view, poses), strict=True))
    count = len(states)
    rows = np.arange(count)
    seen = [
        visible_instances(w, np.rint(d * 1000).astype(np.uint16)) for w, d in zip(wall, depth, strict=True)
    ]
    frames = pd.DataFrame(
        {
            "frame_index": rows,
            "timestamp": rows / 10,
            "camera_to_world": [pose.ravel().tolist() for pose in poses],
            "state": states,
            "velocity": velocity,
            "action": [".flr".index(action) for action in actions + "."],
            "collided": False,
            "is_first": rows == 0,
            "is_last": rows == count - 1,
            "is_terminal": False,
            "moved_ids": [[]] * count,
            "moved_poses": [[]] * count,
            **{key: [item[key].tolist() for item in seen] for key in seen[0]},
        }
    )
    metadata = {
        "scene": name.rpartition("_")[0],
        "camera": dataclasses.asdict(CAMERA),
        "camera_height": CAMERA_HEIGHT,
        "instructions": [],
        "objects": [wall_object(number) for number in range(1, 7)],
        "fps": 10,
    }
    return Sequence(name, colour, depth.astype(np.float32), wall, frames, metadata)


def blind(sequence: Sequence) -> Sequence:
    return dataclasses.replace(sequence, depth=np.zeros_like(sequence.depth))


def store(folder: Path, *sequences: Sequence) -> tuple[SequenceStore, pd.DataFrame]:
    for sequence in sequences:
        store_sequence(folder, encode_sequence(sequence, crf=10))
    index = pd.DataFrame({"id": [s.id for s in sequences], "scene": [s.metadata["scene"] for s in sequences]})
    return SequenceStore(folder), index
