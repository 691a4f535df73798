"""The adapter for VGGT-Omega, on a small stand-in that answers in upstream's layout."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vln_heatmap.nodes.model.vggt import (
    GEOMETRY,
    VGGT,
    VGGTOmega,
    VGGTOmegaMissingError,
    depth_points,
    make_geometry,
    reconstruct,
)
from vln_heatmap.params import VGGTParams

PARAMS = VGGTParams(
    name="vggt_omega", patch=16, resolution=32, pretrain_size=32, dim=16, heads=("camera", "depth", "points")
)
SPECIALS = 17


class Aggregator(nn.Module):
    """Upstream's trunk in its layout: a list of [B, S, 17 + h*w, 2C] and the place of the first patch."""

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.camera_token = nn.Parameter(torch.randn(1, 2, 1, dim))
        self.project = nn.Conv2d(3, 2 * dim, patch, patch)

    def forward(self, images: Tensor) -> tuple[list[Tensor], int]:
        patches = self.project(images.flatten(0, 1)).flatten(2).mT.unflatten(0, images.shape[:2])
        camera = self.camera_token.repeat(1, 1, SPECIALS, 2)[:, :1].expand(*images.shape[:2], -1, -1)
        return [torch.cat([camera, patches], dim=2) * (layer + 1) for layer in range(3)], SPECIALS


class CameraHead(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(width, 9)

    def forward(self, layers: list[Tensor], patch_token_start: int) -> Tensor:
        assert patch_token_start == SPECIALS
        return self.read(layers[-1][:, :, 0]).abs() + 0.1


class DenseHead(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(width, 2)

    def forward(
        self, layers: list[Tensor], *, images: Tensor, patch_token_start: int
    ) -> tuple[Tensor, Tensor]:
        values = self.read(layers[-1][:, :, patch_token_start:].mean(2))[:, :, None, None].exp()
        values = values.expand(*images.shape[:2], *images.shape[-2:], 2)
        return values[..., :1], 1 + values[..., 1]


class Upstream(nn.Module):
    def __init__(
        self, patch_size: int, embed_dim: int, enable_camera: bool = True, enable_depth: bool = True
    ) -> None:
        super().__init__()
        self.aggregator = Aggregator(embed_dim, patch_size)
        self.camera_head = CameraHead(2 * embed_dim) if enable_camera else None
        self.dense_head = DenseHead(2 * embed_dim) if enable_depth else None
        self.alignment_head = None


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """As if the package were installed, with the stand-in as its model."""
    torch.manual_seed(0)
    package = SimpleNamespace(VGGTOmega=Upstream)
    for name in ("vggt_omega", "vggt_omega.models"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace())
    monkeypatch.setitem(sys.modules, "vggt_omega.models.vggt_omega", package)
    return package


def frames() -> Tensor:
    return torch.rand(2, 3, 3, 32, 48, generator=torch.Generator().manual_seed(1))


def test_both_models_speak_one_interface(installed: Any) -> None:
    assert (GEOMETRY["vggt"], GEOMETRY["vggt_omega"]) == (VGGT, VGGTOmega)
    ours = make_geometry(PARAMS.model_copy(update={"name": "vggt"}))
    theirs = make_geometry(PARAMS)
    one, two = (model(frames(), heads=("camera", "depth", "points")) for model in (ours, theirs))
    assert one.grid == two.grid == (2, 3)
    assert ours.channels == theirs.channels == 32
    for name in (
        "patch_tokens",
        "camera_tokens",
        "depth",
        "depth_confidence",
        "points",
        "points_confidence",
    ):
        assert getattr(one, name).shape == getattr(two, name).shape, name
    assert one.pose_encodings[-1].shape == two.pose_encodings[-1].shape == (2, 3, 9)


def test_tokens_are_upstream_s_last_layer_taken_apart(installed: Any) -> None:
    model = make_geometry(PARAMS)
    layers, start = model.upstream.aggregator(frames())
    output = model(frames())
    assert torch.equal(output.patch_tokens, layers[-1][:, :, start:])
    assert torch.equal(output.camera_tokens, layers[-1][:, :, 0])
    assert output.pose_encodings is output.depth is output.points is None


def test_points_are_those_of_depth_and_camera(installed: Any) -> None:
    output = make_geometry(PARAMS)(frames(), heads=("points",))
    torch.testing.assert_close(output.points, depth_points(output.depth, output.pose_encodings[-1]))
    assert torch.equal(output.points_confidence, output.depth_confidence)


def test_a_head_runs_only_if_it_is_asked_for(installed: Any) -> None:
    model = make_geometry(PARAMS)
    model.upstream.dense_head.register_forward_hook(lambda *_: pytest.fail("nobody asked for depth"))
    assert model(frames(), heads=("camera",)).depth is None
    with pytest.raises(ValueError, match="got 'depth'"):
        make_geometry(PARAMS.model_copy(update={"heads": ("camera",)}))(frames(), heads=("depth",))
    with pytest.raises(ValueError, match=r"multiples of the patch \(16\)"):
        model(torch.zeros(1, 1, 3, 28, 28))


def test_its_weights_are_loaded_strictly_by_upstream_s_own_names(installed: Any, tmp_path: Path) -> None:
    source = Upstream(16, 16)
    renamed = {name.replace("dense_head.", "depth_head."): v for name, v in source.state_dict().items()}
    torch.save(renamed, tmp_path / "model.pt")
    params = PARAMS.model_copy(
        update={"source": str(tmp_path / "model.pt"), "heads": ("depth",), "frozen": True}
    )
    with pytest.raises(ValueError, match="no VGGT-Omega of this size and version"):
        make_geometry(params)
    installed.checkpoint_key_renames = [("depth_head.", "dense_head.")]
    installed.rename_state_dict_keys = lambda state, rules: {
        name.replace(*rules[0]): value for name, value in state.items()
    }
    model = make_geometry(params)
    state = source.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.upstream.state_dict().items())
    assert model.upstream.camera_head is None
    assert not any(p.requires_grad for p in model.parameters())
    assert model.origin is not None


def test_a_long_video_is_worked_on_with_it_as_well(installed: Any) -> None:
    found = reconstruct(make_geometry(PARAMS), frames()[0], window=3, overlap=1)
    assert found.points.shape == (3, 32, 48, 3)


def test_without_the_package_it_is_said_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vggt_omega", None)  # as python marks what cannot be imported
    with pytest.raises(VGGTOmegaMissingError, match=r"Install it from .*vggt-omega.*model\.vggt\.source"):
        make_geometry(PARAMS)
