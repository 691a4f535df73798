"""Recordings of a slanted wall by a real camera, of which every pixel follows from the direction of its ray."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from vln_heatmap.interchange.rgbd_layouts import Intrinsics

WIDTH, HEIGHT = 64, 48
REAL = Intrinsics(60.0, 56.0, 30.0, 25.0)
#: A wall that is seen head-on: painted in steps across and down, z = 2 m + 0.5 m · x.
SLOPE = 0.5


def ray_grid(camera: Intrinsics, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Ray directions x / z and y / z [H, W] of the pixels of a real camera without distortion."""
    x = (np.arange(size[0]) - camera.cx) / camera.fx
    y = (np.arange(size[1]) - camera.cy) / camera.fy
    return np.meshgrid(x, y)


def wall_depth(x: np.ndarray) -> np.ndarray:
    """z of the wall along rays of direction x: z = 2 + 0.5 · (x z)."""
    return 2 / (1 - SLOPE * x)


def paint(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Colours that tell the direction of the ray [H, W, 3]."""
    return np.stack([127 + 100 * x, 127 + 100 * y, np.full_like(x, 90)], axis=-1)


def pictures(
    camera: Intrinsics = REAL, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> tuple[np.ndarray, np.ndarray]:
    """What a real camera sees of the wall: colours [H, W, 3] and millimetres [H, W]."""
    x, y = ray_grid(camera, size)
    return paint(x, y).round().astype(np.uint8), (1000 * wall_depth(x)).round().astype(np.uint16)


def pose_of(number: int) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 3] = 0.1 * number
    return pose


def write_png(file: Path, image: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), image[..., ::-1] if image.ndim == 3 else image)


def write_frames(folder: Path, count: int) -> None:
    """A recording in the layout of 7-Scenes: a camera that moves sideways along the wall, 0.1 m a frame."""
    colour, depth = pictures()
    for number in range(count):
        stem = folder / f"frame-{number:06d}"
        write_png(stem.with_suffix(".color.png"), colour)
        write_png(stem.with_suffix(".depth.png"), depth)
        np.savetxt(stem.with_suffix(".pose.txt"), pose_of(number))
    np.savetxt(folder / "camera-intrinsics.txt", REAL.matrix)
