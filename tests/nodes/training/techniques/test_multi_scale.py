"""Other resolutions of the same window: same image area, same matches, same heatmap grid."""

from __future__ import annotations

from typing import Any

import pytest
import synthetic
import torch
import torch.nn.functional as F
from technique_batches import GRID, context, random_batch
from torch import Tensor, nn

from vln_heatmap.nodes.model.heatmap_model import HeatmapModel
from vln_heatmap.nodes.model.matching import cell_centres, match_statistics
from vln_heatmap.nodes.training.stage import predict
from vln_heatmap.nodes.training.techniques.multi_scale import MultiScale, scaled
from vln_heatmap.params import ModelParams
from vln_heatmap.params.techniques import MultiScaleParams


def fine_model() -> HeatmapModel:
    """A model whose heatmaps are refined by one doubling beyond the tokens' grid."""
    content = synthetic.PARAMS.model_dump()
    head = content["head"] | {"heatmap_size": 4 * GRID}
    model = synthetic.toy_model(ModelParams.model_validate(content | {"head": head}))
    assert len(model.head.finer.steps) == 1
    return model


def places(side: int, *, right: float = 0.0) -> Tensor:
    """Features of unit length that say where in a scene a cell looks, seen ``right`` sides farther right."""
    line = (torch.arange(side) + 0.5) / side * 2
    y, x = torch.meshgrid(line, line + 2 * right, indexing="ij")
    return torch.stack([x.sin(), x.cos(), y.sin(), y.cos()]) / 2**0.5  # [4, side, side]


@pytest.mark.parametrize(("scale", "side", "grid"), [(0.5, 14, 2), (1.5, 42, 6), (1.2, 28, 5), (0.25, 14, 1)])
def test_sides_are_multiples_of_the_patch(scale: float, side: int, grid: int) -> None:
    batch = random_batch()
    changed = scaled(batch, scale, patch=14)
    assert changed["frames"].shape[-2:] == (side, side)
    assert changed["features"].shape[-2:] == (grid, grid)
    assert all(changed[name] is batch[name] for name in batch if name not in ("frames", "features"))


@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_positions_in_the_image_stay(scale: float) -> None:
    """A ramp over the image is the same ramp at any resolution, away from the border."""

    def ramp(side: int) -> Tensor:
        return ((torch.arange(side) + 0.5) / side).expand(side, side)

    batch = {"frames": ramp(56)[None, None, None] * 200, "features": ramp(8)[None, None, None]}
    changed = scaled(batch, scale, patch=14)
    frames, features = changed["frames"][0, 0, 0], changed["features"][0, 0, 0]
    torch.testing.assert_close(frames[:, 2:-2], (ramp(len(frames)) * 200)[:, 2:-2], atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(features[:, 1:-1], ramp(len(features))[:, 1:-1])


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_what_is_found_where_does_not_depend_on_the_resolution(scale: float) -> None:
    """A keyframe that looks a quarter of a side farther right has everything a quarter of a side farther left."""
    batch = {
        "frames": torch.zeros(1, 2, 3, 28, 28),
        "features": torch.stack([places(16), places(16, right=0.25)])[None],
    }
    features = F.normalize(scaled(batch, scale, patch=14)["features"][0], dim=1)  # [2, 4, s, s]
    cells = features.flatten(-2).transpose(-1, -2)  # [2, P, 4]
    centres = cell_centres(features.shape[-1])
    statistics, _ = match_statistics(300 * cells[0] @ cells[1].T, centres)
    inside = (centres[:, 0] > -0.4) & (centres.abs().amax(1) < 0.9)  # seen in the keyframe, off its border
    found = statistics[inside, 5:7]  # displacement x, y in [-1, 1]
    torch.testing.assert_close(found, torch.tensor([-0.5, 0.0]).expand_as(found), atol=0.02, rtol=0)


@pytest.mark.parametrize("scale", [0.5, 1.5])
@pytest.mark.parametrize("make", [synthetic.toy_model, fine_model])
def test_the_model_answers_on_the_same_heatmap_grid(make: Any, scale: float) -> None:
    model, batch = make(), random_batch()
    own, changed = (predict(model, b) for b in (batch, scaled(batch, scale, patch=14)))
    for name in ("mask_logits", "distribution_logits", "class_logits", "referred_logits", "validity_logits"):
        assert getattr(changed, name).shape == getattr(own, name).shape
        assert getattr(changed, name).isfinite().all()
    changed.mask_logits.square().mean().backward()
    assert model.matcher.query.weight.grad is not None


def test_scales_take_turns_and_a_resumed_run_knows_whose_turn_it_is() -> None:
    model, batch = nn.Linear(1, 1), random_batch()
    technique = MultiScale(MultiScaleParams(scales=(0.5, 1.0, 1.5)), context(model))
    sides = []
    for _ in range(4):
        sides += [technique.prepare(batch)["frames"].shape[-1] for _ in range(2)]  # two micro-batches a step
        technique.after_step(model)
    assert sides == [14, 14, 28, 28, 42, 42, 14, 14]
    resumed = MultiScale(technique.params, context(model))
    resumed.load_state_dict(technique.state_dict())
    assert resumed.prepare(batch) is batch  # scale 1: nothing happens
