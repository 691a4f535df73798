"""A user's video or folder of images, as frames.

Invariant: of a long clip only ``max_frames`` frames, spread evenly with the first and the last among them, are
ever held in memory, and their numbers in the clip are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset, DatasetError
from numpy.typing import NDArray

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


@dataclass(frozen=True)
class Clip:
    """Frames [T, H, W, 3] uint8 RGB, and their numbers [T] in the whole clip of ``total`` frames."""

    frames: NDArray[np.uint8]
    numbers: NDArray[np.int64]
    total: int


class UnreadableClipError(DatasetError):
    """The path is no video and no folder of images, or has no frame that can be decoded."""


def read_clip(path: Path, max_frames: int) -> Clip:
    """Read a video file or a folder of images (in natural order of their names).

    Args:
        path: file or folder.
        max_frames: most frames to keep, at least 2.

    Raises:
        UnreadableClipError: nothing there, nothing to decode, or images of different sizes.
        ValueError: ``max_frames`` below 2.
    """
    if max_frames < 2:
        raise ValueError(f"max_frames must be at least 2, got {max_frames}")
    if not path.exists():
        raise UnreadableClipError(f"there is no video or folder of images at {path}")
    return _read_folder(path, max_frames) if path.is_dir() else _read_video(path, max_frames)


def _spread(total: int, most: int) -> NDArray[np.int64]:
    """Up to ``most`` of ``total`` frame numbers, evenly, first and last included."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(np.int64))


def _read_folder(path: Path, max_frames: int) -> Clip:
    files = sorted((f for f in path.iterdir() if f.suffix.lower() in IMAGES), key=_natural)
    if not files:
        raise UnreadableClipError(f"{path} holds no images ({', '.join(sorted(IMAGES))})")
    numbers = _spread(len(files), max_frames)
    frames: list[NDArray[np.uint8]] = []
    for file in (files[i] for i in numbers):
        frames.append(read_image(file))
        if frames[-1].shape != frames[0].shape:
            sizes = [f"{f.shape[1]}x{f.shape[0]}" for f in (frames[0], frames[-1])]
            raise UnreadableClipError(
                f"images must have one size: {file} is {sizes[1]}, the first is {sizes[0]}"
            )
    return Clip(np.stack(frames), numbers, len(files))


def read_image(file: Path) -> NDArray[np.uint8]:
    """An image as it is meant to be seen: [H, W, 3] RGB, upright, 16-bit grey in its 256 main shades.

    Raises:
        UnreadableClipError: it cannot be read.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # Pillow would cut off all above 255
                grey = (np.asarray(upright) / 257).round().clip(0, 255).astype(np.uint8)
                upright = Image.fromarray(grey)
            return np.asarray(upright.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:  # the last one is Pillow's for a broken PNG
        raise UnreadableClipError(f"{file} cannot be read as an image: {error}") from error


def _natural(file: Path) -> list[Any]:
    """Key that puts frame_2 before frame_10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file.name)]


def _read_video(path: Path, max_frames: int) -> Clip:
    import av

    try:
        total = sum(1 for _ in _decoded(path))
        if total == 0:
            raise UnreadableClipError(f"{path} holds no frame that can be decoded")
        numbers = _spread(total, max_frames)
        wanted = set(numbers.tolist())
        frames = [frame.to_ndarray(format="rgb24") for i, frame in enumerate(_decoded(path)) if i in wanted]
    except (av.FFmpegError, IndexError) as error:
        raise UnreadableClipError(
            f"{path} is not a video that can be read, or is truncated: {error}"
        ) from error
    return Clip(np.stack(frames), numbers, total)


def _decoded(path: Path) -> Iterator[Any]:
    import av

    with av.open(str(path)) as container:
        if not container.streams.video:
            raise UnreadableClipError(f"{path} has no video stream")
        if container.format.name == "tty":  # FFmpeg draws any text file as a terminal
            raise UnreadableClipError(f"{path} is a text, not a video")
        container.streams.video[0].thread_type = "AUTO"
        yield from container.decode(video=0)


class ClipDataset(AbstractDataset[None, Clip]):
    """Catalog entry of the user's clip.

    Args:
        video: video file or folder of images, relative to the working directory (a ``filepath`` would be
            taken as relative to the project); None if the user named none.
        max_frames: most frames to keep.
        metadata: for kedro plugins.
    """

    def __init__(
        self, *, video: str | None, max_frames: int = 64, metadata: dict[str, Any] | None = None
    ) -> None:
        self._video, self._max_frames, self.metadata = video, max_frames, metadata

    def load(self) -> Clip:
        if not self._video:
            raise DatasetError(
                "name a video or a folder of images: kedro run --pipelines=predict --params=predict.video=PATH"
            )
        return read_clip(Path(self._video).expanduser(), self._max_frames)

    def save(self, data: None) -> None:
        raise DatasetError("a user's clip is only read")

    def _exists(self) -> bool:
        return bool(self._video) and Path(str(self._video)).expanduser().exists()

    def _describe(self) -> dict[str, Any]:
        return {"video": self._video, "max_frames": self._max_frames}
