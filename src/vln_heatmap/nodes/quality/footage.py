"""The part of a sequence that is looked at, decoded once for everything that measures it.

Invariant: the images are those of evenly spread pairs of neighbouring frames (of all frames, if the sequence is
short), so that a long walk costs no more memory than a short one; tables and poses are those of all frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence import read_motions
from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.geometry.projection import check_size
from vln_heatmap.params import QualityParams


class Sampled(NamedTuple):
    """The n sampled pixels of N frames.

    Attributes:
        ids: [N, n] instance ids.
        points: [N, n, 3] float32 in the frame of the camera, metres; z is the depth.
        known: [N, n] whether they have a depth.
    """

    ids: NDArray[np.int32]
    points: NDArray[np.float32]
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class Footage:
    """N of the T frames of a sequence, as images, and all of its tables.

    Attributes:
        table: the frame table, T rows.
        metadata: of the sequence.
        poses: [T, 4, 4] camera_to_world.
        motions: rest-to-world transforms [T, 4, 4] of everything that moves, by id.
        frames: [N] rising indices of the frames whose images follow.
        rgb: [N, H, W, 3] uint8.
        depth: [N, H, W] float32 z-depth in metres, 0 = nothing.
        instance: [N, H, W] int32 instance ids, 0 = nothing.
        samples: pixels along the shorter side of an image on which geometry is measured, about.
    """

    table: pd.DataFrame
    metadata: dict[str, Any]
    poses: NDArray[np.float64]
    motions: dict[int, NDArray[np.float64]]
    frames: NDArray[np.int64]
    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    instance: NDArray[np.int32]
    samples: int

    @cached_property
    def camera(self) -> PinholeCamera:
        return PinholeCamera(**self.metadata["camera"])

    @cached_property
    def grey(self) -> NDArray[np.float32]:
        """Mean of the colours [N, H, W], 0 to 255."""
        red, green, blue = (self.rgb[..., channel].astype(np.float32) for channel in range(3))
        return (red + green + blue) / np.float32(3)

    @cached_property
    def pairs(self) -> NDArray[np.int64]:
        """[P] positions among the N frames that the very next frame of the sequence follows."""
        return np.flatnonzero(np.diff(self.frames) == 1)

    @cached_property
    def objects(self) -> dict[int, dict[str, Any]]:
        """Description of every instance in the metadata, by id."""
        return {int(item["id"]): item for item in self.metadata["objects"]}

    @cached_property
    def stride(self) -> int:
        """Every n-th pixel of every n-th row is a sample."""
        return max(1, min(self.camera.height, self.camera.width) // self.samples)

    @cached_property
    def sampled(self) -> Sampled:
        """Ids and points of the samples."""
        every = np.s_[self.stride // 2 :: self.stride]
        rays = self.camera.directions().astype(np.float32)[every, every].reshape(-1, 3)  # [n, 3]
        depth = self.depth[:, every, every].reshape(len(self.frames), -1)  # [N, n]
        ids = self.instance[:, every, every].reshape(len(self.frames), -1)  # [N, n]
        return Sampled(ids, rays * depth[..., None], depth > 0)


def look_at(sequence: Any, params: QualityParams) -> Footage:
    """Read what is needed of a ``Sequence`` or a ``StoredSequence``; ``pairs`` and ``samples`` say how much.

    Raises:
        ValueError: images that are not of the camera's size.
    """
    firsts = pair_starts(len(sequence), params.pairs)
    frames = np.union1d(firsts, firsts + 1)  # [N]
    frames = frames[frames < len(sequence)]
    rgb, depth, instance = (_images(getattr(sequence, name), frames) for name in ("rgb", "depth", "instance"))
    footage = Footage(
        table=sequence.frames,
        metadata=sequence.metadata,
        poses=sequence.poses,
        motions=read_motions(sequence.frames),
        frames=frames,
        rgb=rgb,
        depth=depth,
        instance=instance,
        samples=params.samples,
    )
    check_size(footage.depth, footage.camera)
    return footage


def pair_starts(length: int, pairs: int) -> NDArray[np.int64]:
    """First frames of at most ``pairs`` evenly spread pairs of neighbours; [0] for a single frame."""
    if length < 2:
        return np.arange(length)
    return np.unique(np.linspace(0, length - 2, min(pairs, length - 1)).round().astype(np.int64))


def _images(source: NDArray[Any] | Callable[..., NDArray[Any]], frames: NDArray[np.int64]) -> NDArray[Any]:
    """Images of the frames: of an array in memory, or read by a method."""
    if callable(source):
        return source(frames)
    return source if len(frames) == len(source) else source[frames]
