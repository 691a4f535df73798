"""Walks through rooms built by hand, as the makers of questions are given them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.simulation.questions import QUESTIONS, Question, Tape
from vln_heatmap.simulation.relations import Thing
from vln_heatmap.simulation.scene import Instance, Room
from vln_heatmap.simulation.simulators.base import FORWARD, STOP

CAMERA = PinholeCamera(40, 40, 90.0)
PIXELS = 1600
ROOMS = (Room("bedroom", (-3, -3, 0, 3)), Room("kitchen", (0.2, -3, 3, 3)))


def box(identity: int, category: str, colour: str = "", *, at=(0.0, 0.0, 0.0), size=0.5, room=0) -> Instance:
    """A box of width, height and depth ``size`` (one number or three) whose foot is centred on ``at``."""
    (x, y, z), (w, h, d) = at, np.broadcast_to(size, 3)
    low, high = (x - w / 2, y, z - d / 2), (x + w / 2, y + h, z + d / 2)
    return Instance(identity, category, colour, room, tuple(map(float, low)), tuple(map(float, high)))


def thing(instance: Instance) -> Thing:
    return Thing(instance, 100, 0.5, 0.5, 2.0)


def tape(
    objects: Sequence[Instance],
    states: Sequence[tuple[float, float, float, float]],
    shown: Sequence[Sequence[int]],
    *,
    shifts: Mapping[int, Sequence[tuple[float, float, float]]] | None = None,
    actions: Sequence[int] | None = None,
    rooms: Sequence[Room] = ROOMS,
) -> Tape:
    """A walk over states (x, y, z, yaw) that shows some ids on 100 pixels; ``shifts`` move things from rest."""
    length, shifts = len(states), shifts or {}
    moved = [{i: s[t] for i, s in sorted(shifts.items()) if any(s[t])} for t in range(length)]
    motions = [[_shifted(offset).ravel() for offset in now.values()] for now in moved]
    poses = [look_pose((x, y + 1.2, z), yaw) for x, y, z, yaw in states]
    views = [[_view(objects[i - 1], pose) for i in ids] for ids, pose in zip(shown, poses, strict=True)]
    frames = pd.DataFrame(
        {
            "frame_index": range(length),
            "camera_to_world": [pose.ravel() for pose in poses],
            "state": [(*state, 0.0, 1.2) for state in states],
            "action": np.array(actions or [FORWARD] * (length - 1) + [STOP], np.int8),
            "collided": False,
            "visible_ids": [np.array(ids, np.int32) for ids in shown],
            "visible_pixels": [np.full(len(ids), 100) for ids in shown],
            "visible_u": [[u for u, _ in seen] for seen in views],
            "visible_v": [[0.5] * len(ids) for ids in shown],
            "visible_depth": [[depth for _, depth in seen] for seen in views],
            "moved_ids": [np.array(list(now), np.int32) for now in moved],
            "moved_poses": [np.concatenate(rows) if rows else np.zeros(0) for rows in motions],
        }
    )
    return Tape(objects, rooms, frames, CAMERA, PIXELS)


def _shifted(offset: tuple[float, float, float]) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = offset
    return pose


def _view(instance: Instance, pose: np.ndarray) -> tuple[float, float]:
    x, _, z = pose[:3, :3].T @ (instance.centre - pose[:3, 3])
    return float(np.clip(0.5 + x / max(z, 0.1) / 2, 0, 1)), float(max(z, 0.1))


def ask(name: str, given: Tape, seed: int = 0) -> list[Question]:
    return list(QUESTIONS[name](given, np.random.default_rng(seed)))


def said(name: str, given: Tape) -> dict[tuple[str, int | None], tuple[int, ...]]:
    return {(q.text, q.frame): q.instances for q in ask(name, given)}


STILL = (0.0, 0.0, 2.0, 0.0)  # looks along -z
