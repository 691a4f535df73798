"""Learned loss weights in cases whose answer is known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.nodes.training.curriculum.balancing import (
    BALANCERS,
    GradNormBalancer,
    UncertaintyBalancer,
    gradient_norms,
    make_balancer,
)
from vln_heatmap.params.curriculum import WeightingParams

WIDE = {"least": 1e-3, "most": 100.0}
NAMES = ("mask", "dice", "classes")


def uncertainty(**settings: object) -> UncertaintyBalancer:
    return UncertaintyBalancer(WeightingParams(name="uncertainty", **{**WIDE, "lr": 0.1, **settings}), NAMES)


def gradnorm(**settings: object) -> GradNormBalancer:
    return GradNormBalancer(WeightingParams(name="gradnorm", **{**WIDE, "lr": 0.01, **settings}), NAMES)


@given(st.floats(0.02, 50), st.floats(0.02, 50), st.floats(0.1, 2))
@settings(max_examples=20, deadline=None)
def test_uncertainty_settles_where_every_part_counts_by_its_own_weight(
    one: float, other: float, weight: float
):
    balancer = uncertainty()
    balancer.begin({"mask": 1.0, "dice": weight})
    for _ in range(300):
        balancer.update({"mask": one, "dice": other})
    learned = balancer.weights()
    assert learned["mask"] * one == pytest.approx(1.0, rel=1e-6)
    assert learned["dice"] * other == pytest.approx(weight, rel=1e-6)


def test_a_step_of_uncertainty_is_a_step_down_the_published_objective():
    balancer = uncertainty(lr=0.1)
    balancer.begin({"mask": 1.0})
    s = torch.zeros((), dtype=torch.float64, requires_grad=True)
    for loss in (3.0, 0.5, 2.0):
        objective = torch.exp(-s) * loss + s
        (slope,) = torch.autograd.grad(objective, s)
        s = (s - 0.1 * slope).detach().requires_grad_(True)
        balancer.update({"mask": torch.tensor(loss)})
    assert balancer.weights()["mask"] == pytest.approx(math.exp(-s.item()), rel=1e-12)


@pytest.mark.parametrize("make", [uncertainty, gradnorm])
def test_weights_stay_within_their_limits_and_off_is_off(make):
    balancer = make(least=0.1, most=2.0, lr=1.0)
    balancer.begin({"mask": 1.0, "dice": 1.0, "classes": 0.0})
    for step in range(50):
        losses = {"mask": 1e-6, "dice": 1e3 + step, "classes": 1.0}
        balancer.update(losses, {"mask": 1e-6, "dice": 1e3, "classes": 1.0})
        weights = balancer.weights()
        assert 0.1 <= weights["mask"] <= 2.0
        assert 0.1 <= weights["dice"] <= 2.0
        assert weights["classes"] == 0.0


def test_gradnorm_makes_parts_of_equal_progress_pull_alike():
    balancer = gradnorm()
    balancer.begin({"mask": 1.0, "dice": 1.0})
    for _ in range(1000):
        balancer.update({"mask": 5.0, "dice": 0.1}, {"mask": 3.0, "dice": 1.0})
    weights = balancer.weights()
    assert weights["mask"] + weights["dice"] == pytest.approx(2.0)
    assert weights["mask"] == pytest.approx(0.5, abs=0.03)  # 0.5 * 3 = 1.5 * 1
    assert weights["dice"] == pytest.approx(1.5, abs=0.03)


def test_gradnorm_prefers_the_part_that_learns_slowly():
    balancer = gradnorm(alpha=1.0)
    balancer.begin({"mask": 1.0, "dice": 1.0})
    balancer.update({"mask": 1.0, "dice": 1.0})  # the first losses
    for _ in range(1000):
        balancer.update({"mask": 0.9, "dice": 0.3}, {"mask": 1.0, "dice": 1.0})
    weights = balancer.weights()  # r = 1.5 and 0.5
    assert weights["mask"] / weights["dice"] == pytest.approx(3.0, rel=0.1)


def test_a_step_of_gradnorm_is_a_step_down_the_published_objective():
    norm, rate = torch.tensor([2.0, 1.0, 4.0]).double(), torch.tensor([0.5, 1.0, 0.6]).double()
    balancer = gradnorm(alpha=1.5)
    balancer.begin({"mask": 1.0, "dice": 0.5, "classes": 0.7})
    balancer.update(dict(zip(NAMES, [1.0, 1.0, 1.0], strict=True)))
    balancer.update(
        dict(zip(NAMES, rate.tolist(), strict=True)), dict(zip(NAMES, norm.tolist(), strict=True))
    )
    w = torch.tensor([1.0, 0.5, 0.7], dtype=torch.float64, requires_grad=True)
    mean = (w * norm).mean().detach()
    objective = (w * norm / mean - (rate / rate.mean()) ** 1.5).abs().sum()
    (slope,) = torch.autograd.grad(objective, w)
    after = w.detach() - 0.01 * slope
    after *= 2.2 / after.sum()
    assert list(balancer.weights().values()) == pytest.approx(after.tolist(), rel=1e-12)


def test_gradnorm_looks_at_gradients_now_and_then_and_needs_two_parts():
    balancer = gradnorm(every=3)
    assert [balancer.looks(step) for step in range(4)] == [True, False, False, True]
    assert not uncertainty().looks(0)
    balancer.begin({"mask": 1.0})
    balancer.update({"mask": 1.0}, {"mask": 5.0})
    assert balancer.weights()["mask"] == 1.0


@pytest.mark.parametrize("make", [uncertainty, gradnorm])
def test_what_was_learned_outlives_epochs_and_restarts(make):
    losses, norms = {"mask": 4.0, "dice": 0.2}, {"mask": 4.0, "dice": 0.2}
    one, other = make(), make()
    for balancer in (one, other):
        balancer.begin({"mask": 1.0, "dice": 0.5})
        balancer.update(losses, norms)
    restored = make()
    restored.load_state_dict(other.state_dict())
    for balancer in (one, restored):
        balancer.begin({"mask": 0.5, "dice": 0.5})
        balancer.update(losses, norms)
    assert one.weights() == restored.weights()
    assert one.weights()["mask"] < 0.5


def test_values_that_are_not_finite_teach_nothing():
    balancer = uncertainty()
    balancer.begin({"mask": 1.0})
    balancer.update({"mask": float("nan")})
    assert balancer.weights()["mask"] == 1.0


def test_only_chosen_parts_learn():
    balancer = uncertainty(parts=("dice",))
    balancer.begin({"mask": 1.0, "dice": 1.0})
    balancer.update({"mask": 9.0, "dice": 9.0})
    assert balancer.weights()["mask"] == 1.0
    assert balancer.weights()["dice"] < 1.0


def test_balancers_are_made_of_the_settings_of_a_plan():
    assert make_balancer({}, NAMES) is None
    for name, kind in BALANCERS.items():
        settings = WeightingParams(name=name, alpha=0.5).model_dump()
        balancer = make_balancer(settings, NAMES)
        assert type(balancer) is kind
        assert balancer.params.alpha == 0.5


def test_gradient_norms_are_those_of_the_parts_and_leave_gradients_alone():
    weight = torch.tensor([[1.0, 2.0]], requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    out = weight @ torch.tensor([3.0, 4.0]) + bias
    parts = {"line": out.sum(), "double": 2 * out.sum(), "constant": torch.tensor(1.0)}
    norms = gradient_norms(parts, [weight, bias])
    assert norms == pytest.approx({"line": math.sqrt(26), "double": 2 * math.sqrt(26)})
    assert weight.grad is None
    sum(parts.values()).backward()  # the graph is still there
