"""Long videos: every frame once, in one world, whatever worlds the windows live in, and with bounded memory."""

from __future__ import annotations

import weakref
from collections.abc import Collection
from itertools import pairwise
from typing import Any

import pytest
import torch
from box_walks import CAMERA, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.geometry.cameras import invert_pose
from vln_heatmap.nodes.model.vggt import VGGT, VGGTOutput, encode_cameras, reconstruct, reconstruct_windows
from vln_heatmap.nodes.model.vggt.long_video import window_starts
from vln_heatmap.nodes.model.vggt.points import unproject
from vln_heatmap.params import VGGTParams

WALK = walk(actions="fflfrfflffrrfflfrfflf")
FRAMES = (torch.arange(len(WALK)) / 1000).view(-1, 1, 1, 1)  # a frame tells its number
FRAMES = FRAMES.expand(-1, 3, CAMERA.height, CAMERA.width)
CAMERAS = torch.from_numpy(invert_pose(WALK.poses)).float()
DEPTH = torch.from_numpy(WALK.depth)


class Truth:
    """A geometry model that knows the walk, and tells it in the world of the first frame at a scale of its own.

    Args:
        noise: of the depth where the confidence is lowest.
    """

    params, channels, origin = VGGTParams(), 0, None

    def __init__(self, noise: float = 0.0) -> None:
        self.noise, self.calls, self.scales = noise, [], []

    def __call__(self, frames: torch.Tensor, heads: Collection[str] = ()) -> VGGTOutput:
        numbers = (frames[0, :, 0, 0, 0] * 1000).round().long()
        self.calls.append(numbers.tolist())
        self.scales.append(0.3 + len(self.calls) % 4)
        scale = self.scales[-1]
        cameras = CAMERAS[numbers] @ torch.from_numpy(WALK.poses[numbers[0]]).float()
        cameras[:, :3, 3] *= scale
        encoding = encode_cameras(
            cameras, torch.from_numpy(CAMERA.matrix).float(), (CAMERA.height, CAMERA.width)
        )
        depth = DEPTH[numbers] * scale
        confidence = 1 + (torch.arange(CAMERA.width) % 4).expand(depth.shape).float()
        depth = torch.where(confidence == 1, depth * (1 + self.noise * torch.rand(depth.shape)), depth)
        none = torch.zeros(0)
        return VGGTOutput([], none, none, (1, 1), [encoding[None]], depth[None], confidence[None], None, None)


@pytest.mark.parametrize("noise", [0.0, 2.0])
@pytest.mark.parametrize(("window", "overlap"), [(6, 2), (8, 1), (5, 4), (40, 3)])
def test_windows_in_worlds_of_their_own_become_one_world(noise: float, window: int, overlap: int) -> None:
    """Truth up to the first window's gauge: its first camera, its scale. Wrong but unsure depth does no harm."""
    model = Truth(noise)
    found = reconstruct(model, FRAMES, window=window, overlap=overlap)
    assert len(found) == len(WALK)
    scale = model.scales[0]
    truth = CAMERAS @ torch.from_numpy(WALK.poses[0]).float()
    truth[:, :3, 3] *= scale
    torch.testing.assert_close(found.camera_from_world, truth, atol=1e-3, rtol=1e-3)
    sure = found.confidence > 1
    torch.testing.assert_close(found.depth[sure], DEPTH[sure] * scale, atol=1e-3, rtol=1e-3)
    points = unproject(DEPTH * scale, truth, torch.from_numpy(CAMERA.matrix).float())
    torch.testing.assert_close(found.points[sure], points[sure], atol=3e-3, rtol=1e-3)
    torch.testing.assert_close(
        found.intrinsics, torch.from_numpy(CAMERA.matrix).float().expand(len(WALK), 3, 3)
    )


class Video:
    """Frames that are decoded when they are asked for."""

    def __init__(self) -> None:
        self.read: list[slice] = []

    def __len__(self) -> int:
        return len(FRAMES)

    def __getitem__(self, frames: Any) -> torch.Tensor:
        self.read.append(frames)
        return FRAMES[frames]


def test_memory_depends_on_the_window_and_not_on_the_video() -> None:
    """No more frames are read or modelled at a time than a window has, and what was given is let go of."""
    model, video = Truth(), Video()
    given: list[weakref.ref[Any]] = []
    for part in reconstruct_windows(model, video, window=6, overlap=2):
        assert len(video.read) == len(given) + 1  # nothing is read ahead
        given.append(weakref.ref(part.points))
        del part
        assert sum(ref() is not None for ref in given) <= 1
    assert max(map(len, model.calls)) == 6
    assert len(given) == len(window_starts(len(FRAMES), 6, 2))


@given(st.integers(1, 200), st.integers(2, 40), st.data())
@settings(max_examples=100, deadline=None)
def test_windows_cover_every_frame_and_overlap(count: int, window: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(1, window - 1))
    starts = window_starts(count, window, overlap)
    ends = [min(start + window, count) for start in starts]
    assert starts[0] == 0
    assert ends[-1] == count
    assert all(end - start >= overlap for start, end in zip(starts[1:], ends, strict=False))
    assert all(b > a for a, b in pairwise(ends))  # each adds something
    assert len(starts) <= 1 + max(0, -(-(count - window) // (window - overlap)))


@pytest.mark.parametrize(("count", "window", "overlap"), [(0, 4, 1), (9, 4, 4), (9, 4, 0)])
def test_windows_that_cannot_be_are_refused(count: int, window: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        window_starts(count, window, overlap)


def test_a_real_model_in_one_window_is_the_model_itself() -> None:
    torch.manual_seed(0)
    sizes = {"dim": 16, "vit_depth": 1, "dense_features": 16, "dense_channels": (8,) * 4, "camera_depth": 1}
    model = VGGT(VGGTParams(heads=("camera", "depth"), **sizes)).eval()
    model.camera_head.pose_branch.fc2.bias.data[6:] = 1.0  # an untrained field of view may be 0
    frames = torch.rand(3, 3, 28, 42)
    found = reconstruct(model, frames, window=4, overlap=1)
    output = model(frames[None], heads=("camera", "depth"))
    torch.testing.assert_close(found.depth, output.depth[0])
    torch.testing.assert_close(found.confidence, output.depth_confidence[0])
    assert found.points.shape == (3, 28, 42, 3)
    assert found.points.isfinite().all()
