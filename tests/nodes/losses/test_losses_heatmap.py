"""Losses have known values, their minimum at the target, and nothing to say where no truth is known."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vln_heatmap.nodes.losses.elementary import (
    covisibility_loss,
    dice_loss,
    distribution_loss,
    mask_loss,
    validity_loss,
)
from vln_heatmap.nodes.losses.heatmap import HeatmapLoss
from vln_heatmap.params import LossParams, LossWeights

B, N, K, H, W = 2, 2, 3, 4, 5
ALL = LossWeights(mask=1, dice=1, distribution=1, classes=1, validity=1, referred=1)


def random_output(seed: int = 0) -> SimpleNamespace:
    g = torch.Generator().manual_seed(seed)

    def logits(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64).requires_grad_()

    return SimpleNamespace(
        mask_logits=logits(B, N, K, H, W),
        distribution_logits=logits(B, N, K, H, W),
        validity_logits=logits(B, N, K),
        class_logits=logits(B, N, K, 3, H, W),
        referred_logits=logits(B, N, H, W),
    )


def random_targets(seed: int = 1) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    mask = torch.rand(B, N, K, H, W, generator=g, dtype=torch.float64)
    return {
        "mask": mask,
        "distribution": mask / mask.sum((-2, -1), keepdim=True),
        "valid": torch.rand(B, N, K, generator=g) > 0.3,
        "classes": torch.rand(B, N, K, 3, H, W, generator=g, dtype=torch.float64).softmax(3),
        "referred": torch.rand(B, N, H, W, generator=g, dtype=torch.float64),
        "pixel_weight": torch.rand(B, N, 1, H, W, generator=g, dtype=torch.float64),
        "keyframe_mask": torch.tensor([True, True, False]).expand(B, N, K).clone(),
    }


def perfect_output(targets: dict[str, Tensor]) -> SimpleNamespace:
    """The prediction that equals the targets (validity up to saturation)."""
    return SimpleNamespace(
        mask_logits=targets["mask"].logit(),
        distribution_logits=targets["distribution"].log(),
        validity_logits=40.0 * (2 * targets["valid"].double() - 1),
        class_logits=targets["classes"].log(),
        referred_logits=targets["referred"].logit(),
    )


def entropy(p: Tensor) -> Tensor:
    return -(p * p.log() + (1 - p) * (1 - p).log())


ONES = torch.ones(1, 2, 2, dtype=torch.float64)


def test_an_undecided_mask_costs_log_2_whatever_the_target():
    zeros = torch.zeros(1, 2, 2)
    assert mask_loss(zeros, zeros, ONES).item() == pytest.approx(math.log(2))
    assert mask_loss(zeros, zeros + 1, ONES).item() == pytest.approx(math.log(2))


def test_positive_weight_makes_a_miss_cost_that_much_more_than_a_false_alarm():
    target = torch.tensor([[[1.0, 0.0]]])
    weight = torch.ones(1, 1, 2)
    miss = mask_loss(torch.tensor([[[-10.0, -10.0]]]), target, weight, positive_weight=3.0)
    alarm = mask_loss(torch.tensor([[[10.0, 10.0]]]), target, weight, positive_weight=3.0)
    assert (miss / alarm).item() == pytest.approx(3.0, rel=1e-4)


def test_focal_loss_is_the_cross_entropy_times_the_power_of_the_error():
    target, logit = torch.tensor([[[0.25]]]), torch.zeros(1, 1, 1)  # p = 1/2, error 1/4
    expected = 0.25**2 * math.log(2)
    assert mask_loss(logit, target, torch.ones(1, 1, 1), focal=2.0).item() == pytest.approx(expected)


@pytest.mark.parametrize(("positive_weight", "focal"), [(1.0, 0.0), (5.0, 0.0), (1.0, 2.0), (5.0, 1.0)])
def test_mask_loss_has_its_minimum_at_a_soft_target(positive_weight: float, focal: float):
    target = torch.tensor([0.1, 0.5, 0.8], dtype=torch.float64).view(1, 1, 3)
    settings = {"positive_weight": positive_weight, "focal": focal}
    best = target.logit().requires_grad_()
    lowest = mask_loss(best, target, torch.ones(1, 1, 3), **settings)
    if focal != 1:  # the minimum of |p - t| is a kink
        assert torch.autograd.grad(lowest, best)[0].abs().max() < 1e-12
    for shift in (-0.5, 0.5):
        assert mask_loss(best.detach() + shift, target, torch.ones(1, 1, 3), **settings) > lowest
    if focal:
        assert lowest.item() == pytest.approx(0.0, abs=1e-12)
    elif positive_weight == 1:
        assert lowest.item() == pytest.approx(entropy(target).mean().item())


def test_dice_is_one_minus_the_overlap():
    target = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    half = torch.tensor([[[50.0, -50.0, 50.0, -50.0]]])  # one of two found, one of two wrong
    assert dice_loss(half, target, torch.ones(1, 1, 4)).item() == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))


def test_dice_is_zero_at_a_soft_target_and_at_an_empty_one():
    target = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64).view(1, 1, 3)
    logits = target.logit().requires_grad_()
    loss = dice_loss(logits, target, torch.ones(1, 1, 3))
    assert loss.item() == pytest.approx(0.0, abs=1e-12)
    assert torch.autograd.grad(loss, logits)[0].abs().max() < 1e-12
    empty = dice_loss(torch.full((1, 1, 3), -50.0), torch.zeros(1, 1, 3), torch.ones(1, 1, 3))
    assert empty.item() == pytest.approx(0.0, abs=1e-12)


def test_uniform_prediction_of_a_distribution_costs_the_log_of_its_size():
    target = torch.zeros(1, 4, 5)
    target[0, 1, 2] = 1.0
    loss = distribution_loss(torch.zeros(1, 4, 5), target, torch.ones(1, dtype=torch.bool))
    assert loss.item() == pytest.approx(math.log(20))


def test_distribution_loss_is_least_at_the_target_and_is_its_entropy_there():
    target = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64).view(1, 2, 2)
    logits = (target.log() + 7.0).requires_grad_()  # any constant: softmax does not see it
    loss = distribution_loss(logits, target, torch.ones(1, dtype=torch.bool))
    assert loss.item() == pytest.approx(-(target * target.log()).sum().item())
    assert torch.autograd.grad(loss, logits)[0].abs().max() < 1e-12


def test_undecided_classes_cost_log_3_and_the_target_costs_its_entropy():
    target = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64).view(1, 3, 1, 1)
    weight = torch.ones(1, 1, 1, dtype=torch.float64)
    assert covisibility_loss(torch.zeros(1, 3, 1, 1), target, weight).item() == pytest.approx(math.log(3))
    at_target = covisibility_loss(target.log(), target, weight, class_weights=(1.0, 2.0, 4.0))
    assert at_target.item() == pytest.approx(-(target * target.log()).sum().item())


def test_class_weights_count_pixels_of_rare_classes_more():
    target = torch.eye(3).view(3, 3)[None, :, :, None][:, :, :2]  # [1, 3, 2, 1]: co-visible, occluded
    logits = torch.zeros(1, 3, 2, 1)
    logits[0, 0, 0, 0] = 50.0  # the co-visible pixel is right, the occluded one undecided
    loss = covisibility_loss(logits, target, torch.ones(1, 2, 1), class_weights=(1.0, 3.0, 1.0))
    assert loss.item() == pytest.approx(0.75 * math.log(3))


def test_validity_is_a_plain_cross_entropy_over_real_keyframes():
    logits, valid = torch.tensor([[0.0, 0.0, 9.0]]), torch.tensor([[True, False, False]])
    real = torch.tensor([[True, True, False]])
    assert validity_loss(logits, valid, real).item() == pytest.approx(math.log(2))


def test_every_gradient_is_right():
    output, targets = random_output(), random_targets()
    params = LossParams(weights=ALL, positive_weight=2.0, focal=2.0, class_weights=(1.0, 2.0, 0.5))
    loss, names = HeatmapLoss(params), sorted(vars(output))

    def total(*values: Tensor) -> Tensor:
        return loss(SimpleNamespace(**dict(zip(names, values, strict=True))), targets)[0]

    assert torch.autograd.gradcheck(total, tuple(getattr(output, name) for name in names))


def test_the_whole_loss_is_least_where_the_prediction_is_the_target():
    targets, loss = random_targets(), HeatmapLoss(LossParams(weights=ALL, positive_weight=3.0))
    lowest, _ = loss(perfect_output(targets), targets)
    for seed in range(5):
        near = perfect_output(targets)
        for name, noise in vars(random_output(seed)).items():
            setattr(near, name, getattr(near, name) + 0.1 * noise.detach())
        assert loss(near, targets)[0] > lowest


def test_the_total_is_the_weighted_sum_of_its_parts_and_a_part_of_weight_0_needs_no_target():
    output, targets = random_output(), random_targets()
    weights = LossWeights(mask=2.0, dice=0, distribution=0.5, classes=0, validity=0, referred=0)
    del targets["classes"], targets["referred"]
    total, parts = HeatmapLoss(LossParams(weights=weights))(output, targets)
    assert set(parts) == {"mask", "distribution"}
    torch.testing.assert_close(total, 2.0 * parts["mask"] + 0.5 * parts["distribution"])


def test_a_missing_target_and_a_loss_without_parts_are_refused():
    targets = random_targets()
    del targets["classes"]
    with pytest.raises(KeyError, match="part 'classes' needs 'classes'"):
        HeatmapLoss(LossParams(weights=ALL))(random_output(), targets)
    nothing = LossWeights(mask=0, dice=0, distribution=0, classes=0, validity=0)
    with pytest.raises(ValueError, match=r"set at least one of loss\.weights"):
        HeatmapLoss(LossParams(weights=nothing))(random_output(), targets)
    with pytest.raises(ValueError, match="focal must be 0 or in"):
        LossParams(focal=0.5)


def test_what_a_model_writes_into_padding_changes_nothing():
    targets, loss = random_targets(), HeatmapLoss(LossParams(weights=ALL))
    clean, dirty = random_output(), random_output()
    with torch.no_grad():
        for name in ("mask_logits", "distribution_logits", "validity_logits", "class_logits"):
            getattr(dirty, name)[:, :, 2] = math.nan
    total, _ = loss(dirty, targets)
    torch.testing.assert_close(total, loss(clean, targets)[0])
    total.backward()
    assert all(torch.isfinite(x.grad).all() for x in vars(dirty).values())
    assert (dirty.mask_logits.grad[:, :, 2] == 0).all()


def test_pixels_without_depth_change_nothing():
    targets, loss = random_targets(), HeatmapLoss(LossParams(weights=ALL))
    targets["pixel_weight"][..., 0, 0] = 0
    before = loss(random_output(), targets)[0]
    targets["mask"][..., 0, 0] = 1.0
    targets["classes"][..., 0, 0] = 0.0
    targets["referred"][..., 0, 0] = 1.0
    torch.testing.assert_close(loss(random_output(), targets)[0], before)


@pytest.mark.parametrize("emptied", ["mask", "valid", "keyframe_mask", "pixel_weight"])
@pytest.mark.parametrize("constant", [0.0, 80.0, -80.0])
def test_nothing_is_nan_when_nothing_is_there(emptied: str, constant: float):
    targets, output = random_targets(), random_output()
    targets[emptied] = torch.zeros_like(targets[emptied])
    if emptied == "mask":
        targets["distribution"] = torch.zeros_like(targets["distribution"])
        targets["valid"] = torch.zeros_like(targets["valid"])
    with torch.no_grad():
        for value in vars(output).values():
            value.fill_(constant)
    total, parts = HeatmapLoss(LossParams(weights=ALL, focal=1.0))(output, targets)
    total.backward()
    assert all(math.isfinite(part.item()) for part in parts.values())
    assert all(torch.isfinite(value.grad).all() for value in vars(output).values())
    if emptied == "keyframe_mask":
        assert all(parts[name].item() == 0 for name in parts if name != "referred")


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(K)), st.integers(0, 100))
def test_the_order_of_keyframes_does_not_matter(order: list[int], seed: int):
    output, targets, loss = (
        random_output(seed),
        random_targets(seed + 1),
        HeatmapLoss(LossParams(weights=ALL)),
    )
    before = loss(output, targets)[0]
    single = {"referred_logits", "referred", "pixel_weight"}  # one for all keyframes
    shuffled = {k: v if k in single else v[:, :, order] for k, v in vars(output).items()}
    targets = {k: v if k in single else v[:, :, order] for k, v in targets.items()}
    torch.testing.assert_close(loss(SimpleNamespace(**shuffled), targets)[0], before)


def test_the_loss_of_a_batch_is_the_mean_of_the_losses_of_its_windows():
    output, targets, loss = random_output(), random_targets(), HeatmapLoss(LossParams(weights=ALL))
    targets["valid"][0] = False  # windows with unlike numbers of valid maps
    singles = [
        loss(
            SimpleNamespace(**{k: v[b : b + 1] for k, v in vars(output).items()}),
            {k: v[b : b + 1] for k, v in targets.items()},
        )[0]
        for b in range(B)
    ]
    torch.testing.assert_close(loss(output, targets)[0], torch.stack(singles).mean())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_judged_in_full_precision(dtype: torch.dtype):
    logits = torch.full((1, 30, 30), -4.0, dtype=dtype)
    target = torch.zeros(1, 30, 30)
    loss = mask_loss(logits, target, torch.ones(1, 30, 30))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log1p(math.exp(-4.0)), rel=1e-4)
