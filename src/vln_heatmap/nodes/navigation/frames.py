"""What the model needs of the frames of dialogues, made once: of walks, with or without depth, and of images.

Invariant: rows are frames in the numbers that dialogues use, and a file is used only while everything that it
depends on is the same (see ``FrameFeatureDataset``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.datasets.clip import read_clip
from vln_heatmap.datasets.frame_features import Arrays, FeatureStream
from vln_heatmap.interchange.checks import decode_image
from vln_heatmap.nodes.features import encoded_frames, frame_arrays
from vln_heatmap.params import ModelParams


@dataclass(frozen=True)
class Media:
    """An image file, or ``frames`` evenly spread frames of a video file or a folder of images.

    A video that has fewer frames shows its last one again, so that the count is known without decoding.
    """

    path: Path
    frames: int = 1

    def read(self) -> list[NDArray[np.uint8]]:
        """Its images [H, W, 3], one for each of ``frames``.

        Raises:
            RefusedError: an image that cannot be decoded.
            UnreadableClipError: a video or folder that cannot be read.
        """
        if self.path.is_file() and self.path.suffix.lower() in (".jpg", ".jpeg", ".png"):
            return [decode_image(self.path.read_bytes(), file=self.path, row=None).copy()] * self.frames
        images = list(read_clip(self.path, max(2, self.frames)).frames[: self.frames])
        return images + images[-1:] * (self.frames - len(images))


@dataclass(frozen=True)
class ArrayFrames:
    """Arrays of one sequence in memory, read like those of a file."""

    arrays: Arrays

    @property
    def names(self) -> frozenset[str]:
        """Its arrays."""
        return frozenset(self.arrays)

    def read(self, name: str, frames: Iterable[int] | None = None) -> NDArray[Any]:
        """Array ``name`` of the chosen frames (all by default)."""
        rows = self.arrays[name]
        return rows if frames is None else rows[list(frames)]


def walk_frames(
    load: Callable[[str], Any], ids: Sequence[str], params: ModelParams, *, version: str
) -> FeatureStream:
    """Work for ``FrameFeatureDataset``: the arrays of walks; see ``walk_arrays``.

    Args:
        load: a ``Sequence`` by its id.
        ids: of all walks.
        version: names their content.
    """

    def compute(encoder: Any, key: str) -> Arrays:
        return walk_arrays(load(key), encoder, params.vggt.resolution)

    return _stream(compute, tuple(ids), params, f"walks {version}")


def media_frames(media: Mapping[str, Sequence[Media]], params: ModelParams) -> FeatureStream:
    """Work for ``FrameFeatureDataset``: ``features`` and ``frames`` of imported images and videos, by id."""
    stamps = {
        key: [[str(item.path), item.frames, item.path.stat().st_mtime_ns] for item in items]
        for key, items in media.items()
    }

    def compute(encoder: Any, key: str) -> Arrays:
        images = [image for item in media[key] for image in item.read()]
        parts = [encoded_frames(image[None], encoder, params.vggt.resolution) for image in images]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    version = hashlib.sha256(json.dumps(stamps, sort_keys=True).encode()).hexdigest()
    return _stream(compute, tuple(key for key in media if media[key]), params, f"media {version}")


def walk_arrays(sequence: Any, encoder: Any, resolution: int) -> Arrays:
    """``features`` [T, C, g, g] and ``frames`` [T, 3, S, S] of a walk, and what else ``frame_arrays`` has where
    nothing is absent."""
    if sequence.absent & {"depth", "pose"}:
        return encoded_frames(sequence.rgb, encoder, resolution)
    return frame_arrays(sequence, encoder, resolution)


def _stream(
    compute: Callable[[Any, str], Arrays], ids: tuple[str, ...], params: ModelParams, version: str
) -> FeatureStream:
    depends = {
        "format": 1,
        "data": version,
        "encoder": params.encoder.model_dump(mode="json", exclude={"batch"}),
        "resolution": params.vggt.resolution,
    }
    digest = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]

    def made(wanted: Iterable[str]) -> Iterator[tuple[str, Arrays]]:
        from vln_heatmap.nodes.model.encoder2d import make_encoder

        encoder = None
        for key in wanted:
            encoder = make_encoder(params.encoder) if encoder is None else encoder
            yield key, compute(encoder, key)

    return FeatureStream(digest, ids, made)
