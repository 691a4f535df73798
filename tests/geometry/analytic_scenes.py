"""Scenes whose images and sight lines are known in closed form: a room and boxes, hit by exact ray tests."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera


@dataclass(frozen=True)
class Box:
    """Axis-aligned box in the world; a room is seen from inside, a thing from outside."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]


@dataclass(frozen=True)
class BoxScene:
    """Boxes (ids 1, 2, …) in an optional room (id 100)."""

    boxes: list[Box] = field(default_factory=list)
    room: Box | None = None

    def cast(self, origins: NDArray, directions: NDArray) -> tuple[NDArray, NDArray]:
        """First hit of rays origin + t * direction ([..., 3] each): t > 0 (inf = none) and id (0 = none)."""
        origins, directions = np.broadcast_arrays(origins, directions)
        nearest = np.full(directions.shape[:-1], np.inf)
        ids = np.zeros(directions.shape[:-1], np.int32)
        for number, box in enumerate(self.boxes, start=1):
            enter, leave = _slabs(box, origins, directions)
            hit = (enter <= leave) & (enter > 1e-9) & (enter < nearest)
            nearest, ids = np.where(hit, enter, nearest), np.where(hit, number, ids)
        if self.room is not None:
            _, leave = _slabs(self.room, origins, directions)
            hit = leave < nearest
            nearest, ids = np.where(hit, leave, nearest), np.where(hit, 100, ids)
        return nearest, ids.astype(np.int32)

    def render(self, camera: PinholeCamera, pose: NDArray) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Depth [H, W] in metres as the store keeps it (whole millimetres, 0 = nothing) and ids [H, W]."""
        depth, ids = self.cast(pose[:3, 3], camera.directions() @ pose[:3, :3].T)
        depth = np.where(np.isfinite(depth), depth, 0)  # t is z-depth: directions have z = 1
        return (np.rint(depth * 1000) / 1000).astype(np.float32), ids

    def unblocked(self, points: NDArray, centre: NDArray, margin: float = 1e-3) -> NDArray[np.bool_]:
        """Whether the straight lines from a camera centre to points [..., 3] meet nothing on their way."""
        reach, _ = self.cast(centre, points - centre)
        length = np.linalg.norm(points - centre, axis=-1)
        return (reach - 1) * length > -margin


def _slabs(box: Box, origins: NDArray, directions: NDArray) -> tuple[NDArray, NDArray]:
    """Entry and exit of rays by the slab method, each [...]."""
    safe = np.where(np.abs(directions) < 1e-12, 1e-12, directions)
    a, b = (np.array(box.low) - origins) / safe, (np.array(box.high) - origins) / safe
    return np.minimum(a, b).max(-1), np.maximum(a, b).min(-1)


def furnished_room(rng: np.random.Generator, boxes: int = 8) -> BoxScene:
    """A 6 x 2.6 x 5 m room with a few boxes on its floor and some thin legs, as furniture has."""
    things = []
    for _ in range(boxes):
        width, height, depth = rng.uniform(0.3, 1.2), rng.uniform(0.3, 1.8), rng.uniform(0.3, 1.2)
        x, z = rng.uniform(0, 6 - width), rng.uniform(0, 5 - depth)
        things.append(Box((x, 0, z), (x + width, height, z + depth)))
    for _ in range(boxes // 2):
        x, z = rng.uniform(0, 5.9), rng.uniform(0, 4.9)
        things.append(Box((x, 0, z), (x + 0.05, 0.7, z + 0.05)))
    return BoxScene(things, room=Box((0, 0, 0), (6, 2.6, 5)))


def free_pose(rng: np.random.Generator, scene: BoxScene, pitch: float = 0.3) -> NDArray:
    """A pose at eye level that stands in no box."""
    from vln_heatmap.geometry.cameras import look_pose

    while True:
        x, z = rng.uniform(0.3, 5.7), rng.uniform(0.3, 4.7)
        position = np.array([x, 1.25, z])
        inside = [
            np.all((position > np.array(b.low) - 0.1) & (position < np.array(b.high) + 0.1))
            for b in scene.boxes
        ]
        if not any(inside):
            return look_pose((x, 1.25, z), rng.uniform(-np.pi, np.pi), rng.uniform(-pitch, pitch))
