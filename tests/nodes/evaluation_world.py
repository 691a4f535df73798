"""A world in closed form: cameras that move sideways along a painted wall, eight pixels a frame.

What frame k saw is in frame c a strip of whole columns: x < 56 - 8 (c - k) for k < c, nothing is ever hidden.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from vln_heatmap.geometry.cameras import look_pose

SIDE, SHIFT, CELL, DEPTH = 56, 8, 4, 2.0
FRAMES = 8
GROUPS = (6, 5)
STEP = SHIFT * DEPTH / (SIDE / 2)  # metres a frame; the focal length of 90 degrees is half the side


def wall(seed: int) -> np.ndarray:
    """A wall of cells of random colour, smoothed a little by noise of every pixel: [H, W', 3] uint8."""
    rng = np.random.default_rng(seed)
    columns = SIDE + SHIFT * FRAMES
    cells = rng.integers(0, 256, (SIDE // CELL, columns // CELL, 3)).repeat(CELL, 0).repeat(CELL, 1)
    return np.clip(cells + rng.normal(0, 6, cells.shape), 0, 255).astype(np.uint8)


def strip(current: int, key: int) -> np.ndarray:
    """Pixels [H, W] of frame ``current`` that frame ``key`` saw."""
    columns = np.arange(SIDE) + SHIFT * (current - key)
    return np.tile((columns >= 0) & (columns < SIDE), (SIDE, 1))


class PaintedWalk:
    """One walk, as a stored sequence and as cached features. Ids: 1 left of column 40 of the wall, else 2."""

    def __init__(self, seed: int) -> None:
        image = wall(seed)
        rng = np.random.default_rng(seed + 1000)
        cells = (sum(GROUPS) + 2, SIDE // CELL, image.shape[1] // CELL)
        features = rng.normal(size=cells)
        ids = np.tile(1 + (np.arange(image.shape[1]) >= 40), (SIDE, 1))
        self.images = self._views(image.transpose(2, 0, 1), SHIFT, SIDE).transpose(0, 2, 3, 1)
        self.arrays: dict[str, np.ndarray] = {
            "features": self._views(features, SHIFT // CELL, SIDE // CELL).astype(np.float16),
            "frames": self._views(image.transpose(2, 0, 1), SHIFT, SIDE),
            "depth": np.full((FRAMES, SIDE, SIDE), DEPTH * 1000, np.uint16),
            "instance": self._views(ids[None], SHIFT, SIDE)[:, 0].astype(np.uint16),
            "poses": np.stack([look_pose((STEP * t, 1.0, 0.0), yaw=0.0) for t in range(FRAMES)]),
            "hfov": np.array([90.0]),
            "moved_ids": np.zeros(0, np.int32),
            "moved_poses": np.zeros((FRAMES, 0, 4, 4)),
        }

    @staticmethod
    def _views(panorama: np.ndarray, shift: int, width: int) -> np.ndarray:
        return np.stack([panorama[..., t * shift : t * shift + width] for t in range(FRAMES)])

    @property
    def poses(self) -> np.ndarray:
        return self.arrays["poses"]

    def rgb(self, frames: Any) -> np.ndarray:
        return self.images[list(frames)]

    def read(self, name: str, frames: Any = None) -> np.ndarray:
        return self.arrays[name] if frames is None else self.arrays[name][list(frames)]


class PaintedWorld(dict):
    """Walks by sequence id: stands for the sequence store and for the cached features."""

    version = "painted"


def painted_world(scenes: int = 10) -> tuple[PaintedWorld, pd.DataFrame]:
    """Walks in ``scenes`` scenes and the sample index: test 0-3, validation 4-6, training the rest."""
    world, rows = PaintedWorld(), []
    for number in range(scenes):
        scene = f"house_{number:05d}"
        world[f"{scene}_00"] = PaintedWalk(number)
        split = "test" if number < 4 else "val" if number < 7 else "train"
        common = {"sequence_id": f"{scene}_00", "scene": scene, "split": split, "task": "finetune"}
        for current in (4, 6, 7):
            candidates = list(range(current))
            rows.append(
                {**common, "current": current, "candidates": candidates, "instruction": "", "referred": []}
            )
            left = {"instruction": "the left part", "referred": [1]}
            rows.append({**common, "current": current, "candidates": candidates, **left})
        rows.append({**rows[-1], "task": "pretrain", "candidates": []})
    samples = pd.DataFrame(rows)
    samples.insert(0, "sample_id", np.arange(len(samples)))
    samples["kind"] = np.where(samples["referred"].map(len) > 0, "attribute", "everything")
    return world, samples
