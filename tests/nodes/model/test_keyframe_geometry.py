"""Keyframe samplers fed from the model's own VGGT: the right heads run, in one world, and what lacks is named."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import synthetic
import torch
from torch import nn

from vln_heatmap.nodes.model.assemble import make_model
from vln_heatmap.nodes.model.encoder2d import make_encoder
from vln_heatmap.nodes.model.keyframes import make_sampler
from vln_heatmap.nodes.model.keyframes.geometry import MissingGeometryError, sampler_geometry
from vln_heatmap.nodes.model.predictor import HeatmapPredictor
from vln_heatmap.nodes.model.vggt import VGGTOutput, encode_cameras
from vln_heatmap.params import KeyframeParams, ModelParams

SIZE = 28
#: The camera's place along x, metres: it stands still for long, and then goes on.
PLACES = (0.0, 0.0, 0.0, 0.0, 0.0, 4.0, 8.0)


def looking_right() -> torch.Tensor:
    """Cameras at ``PLACES`` that look along +x, camera_to_world [T, 4, 4]."""
    poses = torch.eye(4).repeat(len(PLACES), 1, 1)
    poses[:, :3, :3] = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    poses[:, 0, 3] = torch.tensor(PLACES)
    return poses


class KnownGeometry(nn.Module):
    """Stands for VGGT: all is 2 m away; remembers which heads were asked for."""

    def __init__(self, *heads: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.params = SimpleNamespace(heads=heads)
        self.asked: list[tuple[str, ...]] = []

    def forward(self, frames: torch.Tensor, heads: tuple[str, ...] = ()) -> VGGTOutput:
        self.asked.append(tuple(heads))
        count = frames.shape[1]
        intrinsics = torch.tensor([[SIZE / 2, 0.0, SIZE / 2], [0.0, SIZE / 2, SIZE / 2], [0.0, 0.0, 1.0]])
        encodings = encode_cameras(looking_right().inverse(), intrinsics, (SIZE, SIZE))[None, :count]
        maps = (1, count, SIZE, SIZE)
        points = looking_right()[None, :count, None, None, :3, 3] + torch.zeros(*maps, 3)
        return VGGTOutput(
            layers=[],
            patch_tokens=torch.zeros(1),
            camera_tokens=torch.zeros(1),
            grid=(2, 2),
            pose_encodings=[encodings] if "camera" in heads else None,
            depth=torch.full(maps, 2.0) if "depth" in heads else None,
            depth_confidence=torch.full(maps, 1.5) if "depth" in heads else None,
            points=points if "points" in heads else None,
            points_confidence=torch.full(maps, 2.5) if "points" in heads else None,
        )


def known(name: str, *heads: str) -> tuple[Any, Any]:
    keyframes = KeyframeParams.model_validate({"name": name})
    vggt = KnownGeometry(*heads)
    return make_sampler(keyframes), SimpleNamespace(vggt=vggt, params=SimpleNamespace(keyframes=keyframes))


def frames() -> np.ndarray:
    return np.zeros((len(PLACES), 3, SIZE, SIZE), np.uint8)


@pytest.mark.parametrize(
    ("name", "heads", "asked"),
    [
        ("uniform", ("camera", "depth", "points"), []),
        ("fast", ("camera", "depth", "points"), [("camera",)]),
        ("space_aware", ("camera", "depth", "points"), [("camera", "depth")]),
        ("space_aware", ("points",), [("points",)]),
        ("quality", ("points", "camera"), [("points",)]),
        ("enhanced", ("points", "camera"), [("points", "camera")]),
        ("enhanced", ("camera", "depth"), [("camera", "depth")]),
    ],
)
def test_no_head_runs_that_is_of_no_use(name: str, heads: tuple[str, ...], asked: list[Any]) -> None:
    sampler, model = known(name, *heads)
    given = sampler_geometry(sampler, model, frames())
    assert model.vggt.asked == asked
    assert set(sampler.needs) <= set(given)


def test_points_of_depth_lie_in_front_of_the_cameras_that_are_given_with_them() -> None:
    given = sampler_geometry(*known("enhanced", "camera", "depth"), frames())
    np.testing.assert_allclose(given["poses"], looking_right(), atol=1e-6)
    assert given["points"].shape == (len(PLACES), SIZE, SIZE, 3)
    ahead = np.array(PLACES)[:, None, None] + 2
    np.testing.assert_allclose(given["points"][..., 0], np.broadcast_to(ahead, (7, SIZE, SIZE)), atol=1e-5)
    middle = given["points"].mean((1, 2))  # [T, 3] on the optical axis
    np.testing.assert_allclose(middle[:, 1:], 0, atol=1e-5)
    assert (given["confidence"] == 1.5).all()


def test_points_of_the_point_head_are_given_as_they_are() -> None:
    given = sampler_geometry(*known("space_aware", "points"), frames())
    assert set(given) == {"points", "confidence"}
    np.testing.assert_allclose(given["points"][..., 0].mean((1, 2)), PLACES)
    assert (given["confidence"] == 2.5).all()


@pytest.mark.parametrize("name", ["fast", "space_aware", "quality", "enhanced"])
def test_frames_of_one_place_are_remembered_once(name: str) -> None:
    sampler, model = known(name, "camera", "depth")
    chosen = sampler.sample(np.arange(7), 3, **sampler_geometry(sampler, model, frames()))
    assert sorted(PLACES[i] for i in chosen) == [0.0, 4.0, 8.0]


@pytest.mark.parametrize(
    ("name", "heads", "missing"),
    [
        ("fast", (), "needs poses .* are \\[\\]: missing camera\\."),
        ("fast", ("depth", "points"), "missing camera\\."),
        ("space_aware", (), "needs points .* missing points, or camera and depth\\."),
        ("quality", ("camera",), "the quality sampler needs points .* missing depth or points\\."),
        ("enhanced", (), "needs points and poses .* missing camera, depth or points\\."),
        ("enhanced", ("points",), "missing camera\\."),
    ],
)
def test_heads_that_are_missing_are_named(name: str, heads: tuple[str, ...], missing: str) -> None:
    sampler, model = known(name, *heads)
    with pytest.raises(MissingGeometryError, match=missing):
        sampler_geometry(sampler, model, frames())
    assert model.vggt.asked == []


def predictor(name: str, heads: tuple[str, ...]) -> HeatmapPredictor:
    sizes = synthetic.PARAMS.model_dump()
    sizes["keyframes"] |= {"name": name}
    sizes["vggt"] |= {"heads": heads, "dense_features": 8, "dense_channels": (8, 8, 8, 8)}
    params = ModelParams.model_validate(sizes)
    encoder = make_encoder(params.encoder)
    layout: dict[str, Any] = {"groups": encoder.groups, "extra": encoder.extra}
    return HeatmapPredictor(make_model(params, synthetic.TOKENIZER, **layout))


def video(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 24, 32, 3), np.uint8)


@pytest.mark.parametrize("name", ["fast", "space_aware", "quality", "enhanced"])
def test_the_predictor_chooses_by_the_geometry_of_its_own_vggt(name: str) -> None:
    result = predictor(name, ("camera", "depth")).predict(video(7))
    chosen = result.keyframe_indices.tolist()
    assert len(set(chosen)) == 3
    assert chosen == sorted(chosen)
    assert max(chosen) < 6
    assert result.seconds["choose"] > 0


def test_without_heads_named_keyframes_still_work() -> None:
    blind = predictor("space_aware", ())
    with pytest.raises(MissingGeometryError, match=r"model\.vggt\.heads .* or name the keyframes"):
        blind.predict(video(4))
    assert blind.predict(video(4), keyframes=[1]).keyframe_indices.tolist() == [1]
