"""Windows of frames with depth and poses, for learning geometry.

Invariant: what ``get(index, rng)`` returns depends on its arguments only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.datasets.frame_features import FrameFeatures
from vln_heatmap.params import GeometryParams

Window = dict[str, NDArray[Any]]


class GeometryWindows:
    """Windows of ``params.frames`` frames, each from one of some sequences.

    Args:
        ids: sequences.
        features: their cached frames.
        params: length of a window, gaps, colours.
        training: random colours and direction of time.
    """

    def __init__(
        self, ids: Sequence[str], features: FrameFeatures, params: GeometryParams, *, training: bool
    ) -> None:
        self.ids, self.features, self.params, self.training = list(ids), features, params, training

    def __len__(self) -> int:
        return len(self.ids)

    def get(self, index: int, rng: np.random.Generator) -> Window:
        """A random window of sequence ``index``.

        Returns:
            ``frames`` [T, 3, S, S] uint8; ``depth`` [T, S, S] float32 z-depth in metres, 0 = unknown, of the same
            pixels; ``poses`` camera_to_world [T, 4, 4] float64; ``fov`` [2] of the height and width, radians.
        """
        sequence = self.features[self.ids[index]]
        chosen = self._chosen(len(sequence.read("poses")), rng)
        frames = sequence.read("frames", chosen)
        depth = sequence.read("depth", chosen).astype(np.float32) / 1000  # [T, H, W]
        fov = field_of_view(float(sequence.read("hfov")[0]), depth.shape[1], depth.shape[2])
        if self.training and self.params.colour:
            gain = np.exp(rng.normal(0, self.params.colour, (1, 3, 1, 1)))
            frames = np.clip(frames * gain, 0, 255).astype(np.uint8)
        side = frames.shape[-1]
        poses = sequence.read("poses", chosen)
        return {"frames": frames, "depth": nearest(depth, side), "poses": poses, "fov": fov}

    def collate(self, samples: list[Window]) -> dict[str, Any]:
        """Stack windows into a batch of tensors."""
        import torch

        return {name: torch.from_numpy(np.stack([w[name] for w in samples])) for name in samples[0]}

    def _chosen(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Frames at even gaps, in training sometimes backwards; some twice if the sequence is short."""
        low, high = self.params.gap
        span = min(count - 1, int(rng.integers(low, high + 1)) * (self.params.frames - 1))
        start = int(rng.integers(0, count - span))
        frames = np.rint(np.linspace(start, start + span, self.params.frames)).astype(np.int64)
        return frames[::-1] if self.training and rng.random() < self.params.reverse else frames


def field_of_view(hfov: float, height: int, width: int) -> NDArray[np.float32]:
    """Angles (height, width) [2] in radians of a pinhole camera with square pixels; ``hfov`` in degrees."""
    half = math.tan(math.radians(hfov) / 2)
    return np.array([2 * math.atan(half * height / width), math.radians(hfov)], np.float32)


def nearest(maps: NDArray[Any], side: int) -> NDArray[Any]:
    """Maps [T, H, W] at side x side pixels, each the value at its centre: depth must not be averaged."""
    rows, columns = (((np.arange(side) + 0.5) * length / side).astype(np.int64) for length in maps.shape[1:])
    return maps[:, rows[:, None], columns]
