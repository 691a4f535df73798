"""VGGT's objective: its truth is geometry, its minimum is the truth, and its unit is the scene's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from box_walks import CAMERA, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.nodes.losses.geometry import GeometryLoss, camera_loss, confident_loss, geometry_targets
from vln_heatmap.nodes.model.vggt import VGGTOutput, depth_points
from vln_heatmap.params import GeometryLossParams

WALK = walk()
FOV = torch.tensor([[2 * math.atan(CAMERA.height / CAMERA.width), math.radians(CAMERA.hfov)]])


def targets(scale: float = 1.0, shift: float = 0.0, holes: bool = False) -> dict[str, torch.Tensor]:
    """The truth of a walk, in a world of another size and origin."""
    depth = torch.from_numpy(WALK.depth)[None] * scale
    poses = torch.from_numpy(WALK.poses)[None].clone()
    poses[..., :3, 3] = poses[..., :3, 3] * scale + shift
    if holes:
        depth[:, :, ::2] = 0
    return geometry_targets(depth, poses, FOV)


def test_the_first_camera_is_the_world_and_the_mean_distance_its_unit() -> None:
    truth = targets()
    torch.testing.assert_close(
        truth["encoding"][0, 0, :7], torch.tensor([0.0, 0, 0, 0, 0, 0, 1]), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(truth["encoding"][0, :, 7:], FOV.expand(len(WALK), 2))
    assert truth["points"].norm(dim=-1).mean().item() == pytest.approx(1, abs=1e-5)
    first = np.linalg.inv(WALK.poses[0]) @ WALK.poses[3]  # from camera 3 to camera 0
    centre = first[:3, 3] / truth["scale"].item()
    pose, point = truth["encoding"][0, 3], truth["points"][0, 3]
    ray = (point - torch.from_numpy(centre).float()).norm(dim=-1)  # distances from the camera's centre
    assert (ray >= truth["depth"][0, 3] - 1e-5).all()
    torch.testing.assert_close(depth_points(truth["depth"][0, 3], pose), point, atol=1e-4, rtol=1e-4)


@given(st.floats(0.1, 10), st.floats(-20, 20))
@settings(max_examples=15, deadline=None)
def test_a_larger_scene_elsewhere_is_the_same_scene(scale: float, shift: float) -> None:
    plain, other = targets(), targets(scale, shift)
    assert other["scale"].item() == pytest.approx(scale * plain["scale"].item(), rel=1e-4)
    for name in ("encoding", "depth", "points"):
        torch.testing.assert_close(other[name], plain[name], atol=1e-4, rtol=1e-4)


def test_unknown_depth_is_not_valid_and_does_not_count_for_the_unit() -> None:
    truth = targets(holes=True)
    assert not truth["valid"][:, :, ::2].any()
    assert truth["valid"][:, :, 1::2].all()
    assert truth["points"][truth["valid"]].norm(dim=-1).mean().item() == pytest.approx(1, abs=1e-5)
    nothing = geometry_targets(torch.zeros(1, 2, 4, 4), torch.eye(4).expand(1, 2, 4, 4), FOV)
    assert nothing["scale"].item() == 1
    assert nothing["points"].isfinite().all()


def test_the_camera_loss_is_huber_s_by_closed_form() -> None:
    """Errors of 0.02 (quadratic at h = 0.1: e^2/2h) and 0.5 (linear: e - h/2) in one of three components."""
    target = torch.tensor([[[0.0, 0, 0, 0, 0, 0, 1, 1, 1]]])
    for error, want in ((0.02, 0.02**2 / 0.2), (0.5, 0.45)):
        moved = target.clone()
        moved[..., 0] += error
        loss = camera_loss([moved], target, gamma=0.6, huber=0.1)
        assert loss.item() == pytest.approx(want / 3, rel=1e-5)
        wide = target.clone()
        wide[..., 7] += error
        loss = camera_loss([wide], target, gamma=0.6, huber=0.1)
        assert loss.item() == pytest.approx(0.5 * want / 2, rel=1e-4)


def test_later_rounds_count_more() -> None:
    target = torch.zeros(1, 1, 9)
    target[..., 6] = 1
    wrong = target + 1
    early = camera_loss([wrong, target, target], target, gamma=0.5, huber=0.1)
    late = camera_loss([target, target, wrong], target, gamma=0.5, huber=0.1)
    assert late.item() == pytest.approx(4 * early.item())


def test_a_quaternion_and_its_negative_are_the_same_turn() -> None:
    truth = targets()["encoding"]
    flipped = truth.clone()
    flipped[..., 3:7] *= -1
    assert camera_loss([flipped], truth, gamma=0.6, huber=0.1).item() == pytest.approx(0, abs=1e-9)


@given(st.floats(0.02, 3), st.floats(0.05, 1))
@settings(max_examples=30, deadline=None)
def test_the_best_confidence_is_alpha_over_the_error(error: float, alpha: float) -> None:
    best = max(1.0, alpha / error)

    def loss(confidence: float) -> float:
        value = torch.full((1, 1, 1, 1, 1), error, dtype=torch.float64)
        known = torch.ones(1, 1, 1, 1, dtype=torch.bool)
        sure = torch.full((1, 1, 1, 1), confidence, dtype=torch.float64)
        return confident_loss(value, torch.zeros_like(value), sure, known, alpha=alpha).item()

    assert loss(best) == pytest.approx(best * error - alpha * math.log(best), abs=1e-9)
    assert all(loss(best) <= loss(other) + 1e-12 for other in (1.0, 1.5, best * 1.1, max(1.0, best / 1.1)))


def test_slopes_are_compared_too() -> None:
    """An error that grows by 0.1 a column: its mean, and 0.1 for every pair of neighbours in a row."""
    ramp = (torch.arange(5) * 0.1).expand(1, 1, 4, 5)[..., None]
    sure, known = torch.ones(1, 1, 4, 5), torch.ones(1, 1, 4, 5, dtype=torch.bool)
    loss = confident_loss(ramp, torch.zeros_like(ramp), sure, known, alpha=0.2)
    assert loss.item() == pytest.approx(0.2 + 0.1)


def output(truth: dict[str, torch.Tensor], confidence: float = 1.0) -> VGGTOutput:
    sure, none = torch.full_like(truth["depth"], confidence), torch.zeros(0)
    return VGGTOutput(
        [], none, none, (1, 1), [truth["encoding"]], truth["depth"], sure, truth["points"], sure
    )


def test_the_truth_costs_nothing_and_anything_else_more() -> None:
    truth = targets()
    loss = GeometryLoss(GeometryLossParams(points=1.0))
    assert loss.heads == ("camera", "depth", "points")
    total, parts = loss(output(truth), truth)
    assert total.item() == pytest.approx(0, abs=1e-6)
    assert set(parts) == {"camera", "depth", "points"}
    for name in ("encoding", "depth", "points"):
        worse = output(truth | {name: truth[name] * 1.1})
        assert loss(worse, truth)[0] > 0.01


def test_unknown_pixels_give_neither_loss_nor_gradient() -> None:
    truth = targets(holes=True)
    depth = (truth["depth"] + 0.1).requires_grad_()
    wild = torch.where(truth["valid"], depth, depth * 1e6)
    sure = torch.ones_like(depth)
    options: dict[str, Any] = {"confidence": sure[..., None][..., 0], "valid": truth["valid"], "alpha": 0.2}
    one = confident_loss(wild[..., None], truth["depth"][..., None], **options)
    two = confident_loss(depth[..., None], truth["depth"][..., None], **options)
    assert one.item() == pytest.approx(two.item())
    one.backward()
    assert depth.grad[~truth["valid"]].abs().max() == 0
    assert depth.grad.isfinite().all()


def test_a_part_of_weight_zero_needs_no_head() -> None:
    loss = GeometryLoss(GeometryLossParams(camera=0.0))
    assert loss.heads == ("depth",)
    truth = targets()
    none = torch.zeros(0)
    only_depth = VGGTOutput([], none, none, (1, 1), None, truth["depth"], torch.ones_like(truth["depth"]))
    assert set(loss(only_depth, truth)[1]) == {"depth"}
