"""Geometry of videos that are too long for one pass: windows that overlap, put into one world.

Attention over all frames costs memory in the square of their number, so the frames are worked on in windows of
fixed length. Each window has a world of its own (the frame of reference of its first camera, at a scale of its
own); the frames that it shares with the window before it tell how the two worlds lie to each other.
Invariant: each frame is given exactly once, in order, in the world of the first window; memory depends on the
window and not on the length of the video, as long as the caller does not keep what it is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from vln_heatmap.nodes.model.vggt.alignment import Similarity, umeyama
from vln_heatmap.nodes.model.vggt.base import GeometryModel
from vln_heatmap.nodes.model.vggt.camera import decode_cameras
from vln_heatmap.nodes.model.vggt.points import unproject


@dataclass(frozen=True)
class Reconstruction:
    """Geometry of N consecutive frames in one world.

    Attributes:
        camera_from_world: [N, 4, 4], OpenCV axes.
        intrinsics: [N, 3, 3] in pixels.
        depth: z-depth in the world's unit [N, H, W].
        confidence: of depth and points, at least 1 [N, H, W].
        points: [N, H, W, 3].
    """

    camera_from_world: Tensor
    intrinsics: Tensor
    depth: Tensor
    confidence: Tensor
    points: Tensor

    def __len__(self) -> int:
        return len(self.depth)

    def __getitem__(self, frames: slice) -> Reconstruction:
        return Reconstruction(*(getattr(self, field.name)[frames] for field in fields(self)))

    def moved(self, similarity: Similarity) -> Reconstruction:
        """The same in another world."""
        return Reconstruction(
            similarity.cameras(self.camera_from_world),
            self.intrinsics,
            similarity.scale * self.depth,
            self.confidence,
            similarity.points(self.points),
        )


def window_starts(count: int, window: int, overlap: int) -> list[int]:
    """First frames of windows of ``window`` frames (fewer, if there are fewer) that cover ``count`` frames.

    Neighbours share ``overlap`` frames, the last two may share more: every window is full.

    Raises:
        ValueError: no frame, or an overlap that is not in [1, window).
    """
    if count < 1:
        raise ValueError(f"there must be at least one frame, got {count}")
    if not 1 <= overlap < window:
        raise ValueError(f"overlap must be in [1, {window}) for windows of {window} frames, got {overlap}")
    if count <= window:
        return [0]
    return [*range(0, count - window, window - overlap), count - window]


def reconstruct_windows(
    model: GeometryModel, frames: Sequence[Any] | Tensor, *, window: int = 32, overlap: int = 8
) -> Iterator[Reconstruction]:
    """The frames that each window adds, in the world of the first window.

    Args:
        model: with the heads ``camera`` and ``depth``.
        frames: T frames [3, H, W] in [0, 1]; anything with a length that a slice of frames can be taken of, so
            that a video may be decoded window by window.
        window, overlap: frames of a window, and how many of them were in the window before.

    Yields:
        First ``window`` frames, then as many as are new in each following window, on the model's device.

    Raises:
        ValueError: see :func:`window_starts` and :func:`umeyama`.
    """
    before, end = None, 0  # the last window in the common world, and the frame after it
    for start in window_starts(len(frames), window, overlap):
        own = reconstruct_window(model, torch.as_tensor(frames[start : start + window]))
        shared = end - start
        if before is not None:
            own = own.moved(alignment(own[slice(shared)], before[slice(len(before) - shared, None)]))
        yield own[slice(shared, None)] if before is not None else own
        before, end = own, start + len(own)


def reconstruct(
    model: GeometryModel, frames: Sequence[Any] | Tensor, *, window: int = 32, overlap: int = 8
) -> Reconstruction:
    """Geometry of all frames at once, on the CPU; arguments and errors as :func:`reconstruct_windows`."""
    parts = list(map(_on_cpu, reconstruct_windows(model, frames, window=window, overlap=overlap)))
    return Reconstruction(*(torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Reconstruction)))


def _on_cpu(part: Reconstruction) -> Reconstruction:
    return Reconstruction(*(getattr(part, field.name).cpu() for field in fields(part)))


def reconstruct_window(model: GeometryModel, frames: Tensor) -> Reconstruction:
    """Geometry of frames [N, 3, H, W] in one pass, in the frame of reference of the first.

    Points are those of depth and camera: more accurate than the point head (arXiv:2503.11651, table 5).
    """
    with torch.inference_mode():
        output = model(frames[None], heads=("camera", "depth"))
    assert output.pose_encodings is not None
    assert output.depth is not None
    assert output.depth_confidence is not None
    encoding, depth = output.pose_encodings[-1][0].float(), output.depth[0].float()
    cameras, intrinsics = decode_cameras(encoding, (frames.shape[-2], frames.shape[-1]))
    points = unproject(depth, cameras, intrinsics)  # [N, H, W, 3]
    return Reconstruction(cameras, intrinsics, depth, output.depth_confidence[0].float(), points)


def alignment(source: Reconstruction, target: Reconstruction) -> Similarity:
    """The similarity that takes one reconstruction of some frames to another of the same frames.

    Every pixel is a pair of points, weighted by the geometric mean of its two confidences; the less confident
    half is left out.
    """
    weights = (source.confidence * target.confidence).sqrt()  # [N, H, W]
    known = (source.points.isfinite() & target.points.isfinite()).all(-1) & (weights >= weights.median())
    return umeyama(source.points[known], target.points[known], weights[known])
