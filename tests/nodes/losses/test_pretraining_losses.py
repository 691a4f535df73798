"""Edges where the target has edges, and features that tell places apart: known values and minima."""

import math

import loss_worlds
import pytest
import torch
from loss_worlds import SIZE

from vln_heatmap.nodes.losses.end_to_end import continuity_loss
from vln_heatmap.nodes.losses.pretraining import alignment_loss, gradient_loss
from vln_heatmap.nodes.losses.warping import view_warps

ONES = torch.ones(1, 1, 1, 3, 3, dtype=torch.float64)
RAMP = torch.arange(3, dtype=torch.float64).expand(3, 3)[None, None, None] * 0.3  # ∂x = 0.3, ∂y = 0


def test_the_gradient_of_a_ramp_is_its_slope() -> None:
    assert gradient_loss(RAMP, RAMP, ONES, form="published").item() == pytest.approx(0.3)
    both = RAMP + RAMP.mT * 4 / 3  # slopes 0.3 and 0.4
    assert gradient_loss(both, RAMP, ONES, form="published").item() == pytest.approx(0.5)
    assert gradient_loss(both, RAMP, ONES).item() == pytest.approx(0.4)  # what is left of it


def test_edges_of_the_target_cost_nothing_and_a_constant_does_not_matter() -> None:
    assert gradient_loss(RAMP + 0.2, RAMP, ONES).item() == pytest.approx(0, abs=1e-12)
    assert gradient_loss(torch.zeros_like(RAMP), RAMP, ONES).item() == pytest.approx(0.3)
    assert gradient_loss(torch.zeros_like(RAMP), RAMP, ONES, form="published").item() == 0


def test_a_gradient_across_an_unknown_cell_does_not_count() -> None:
    weight = ONES.clone()
    weight[..., 0, 2] = 0
    jump = torch.zeros_like(RAMP)
    jump[..., 0, 2] = 50.0
    assert gradient_loss(jump, RAMP, weight, form="published").item() == 0


def test_change_from_keyframe_to_keyframe_is_squared_against_the_targets_change() -> None:
    p, t = (torch.zeros(1, 1, 3, 2, 2, dtype=torch.float64) for _ in range(2))
    weight = torch.ones_like(p)
    p[:, :, 1] = 0.5  # 0 -> 0.5 -> 0
    t[:, :, 1:] = 0.2  # 0 -> 0.2 -> 0.2
    assert continuity_loss(p, t, weight, form="published").item() == pytest.approx(0.25)
    assert continuity_loss(p, t, weight).item() == pytest.approx((0.3**2 + 0.5**2) / 2)
    assert continuity_loss(t, t, weight).item() == 0
    weight[:, :, 2] = 0
    assert continuity_loss(p, t, weight).item() == pytest.approx(0.3**2)


def features(views: int) -> torch.Tensor:
    """A code of its own for each column of the wall: [1, views, C, h, w]."""
    codes = torch.eye(SIZE * (SIZE + views), dtype=torch.float64).view(SIZE, SIZE + views, -1)
    return torch.stack([codes[:, i : i + SIZE].movedim(-1, 0) for i in range(views)])[None]


def world(views: int = 3):
    return view_warps(*loss_worlds.wall(views).values(), occlusion=0.05)


def test_features_that_name_the_place_are_aligned() -> None:
    seen, pairs = world(), torch.ones(1, 6, dtype=torch.bool)
    assert alignment_loss(features(3), seen, pairs, form="published").item() == pytest.approx(0, abs=1e-9)
    # one of 36 cells has similarity 1 / 0.1, the others 0
    expected = math.log(1 + 35 * math.exp(-10))
    assert alignment_loss(features(3), seen, pairs).item() == pytest.approx(expected)


def test_constant_features_please_the_published_form_only() -> None:
    seen, pairs = world(), torch.ones(1, 6, dtype=torch.bool)
    constant = torch.ones(1, 3, 4, SIZE, SIZE, dtype=torch.float64)
    assert alignment_loss(constant, seen, pairs, form="published").item() == pytest.approx(0, abs=1e-9)
    assert alignment_loss(constant, seen, pairs).item() == pytest.approx(math.log(SIZE**2))


def test_a_pair_of_one_frame_teaches_nothing() -> None:
    given = features(2).flip(-1)  # nothing is where it should be
    assert alignment_loss(given, world(2), torch.zeros(1, 2, dtype=torch.bool)).item() == 0
    assert alignment_loss(given, world(2), torch.ones(1, 2, dtype=torch.bool)).item() > 5
