"""Real-time chunking against flows whose velocity is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from toy_policy import toy_batch, toy_policy

from vln_heatmap.nodes.model.policy.chunking import Guide, guided, soft_mask
from vln_heatmap.nodes.model.policy.flow_matching import integrate
from vln_heatmap.nodes.model.policy.heads import make_head
from vln_heatmap.nodes.policy.objective import observation_of, steps_of
from vln_heatmap.params.policy import ActionHeadParams


def normal(point: Tensor, time: Tensor) -> Tensor:
    """Velocity (x - E[a | x]) / t of the flow whose actions are standard normal and independent:
    E[a | x] = x (1 - t) / ((1 - t)^2 + t^2), by x = t noise + (1 - t) a."""
    t = time.view(-1, 1, 1)
    return (point - point * (1 - t) / ((1 - t) ** 2 + t**2)) / t


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_weights_are_one_while_the_robot_waits_then_fall_and_are_zero_where_nothing_is_known() -> None:
    weights = soft_mask(8, known=5, delay=2)
    expected = [c * math.expm1(c) / math.expm1(1) for c in (0.75, 0.5, 0.25)]
    torch.testing.assert_close(weights, torch.tensor([1.0, 1.0, *expected, 0.0, 0.0, 0.0]))
    assert soft_mask(3, 3, 3).tolist() == [1.0] * 3
    assert soft_mask(3, 0, 0).tolist() == [0.0] * 3
    with pytest.raises(ValueError, match=r"delay must be in \[0, 2\].*got delay 3"):
        soft_mask(4, 2, 3)
    with pytest.raises(ValueError, match="at most 4"):
        soft_mask(4, 5, 1)


@pytest.mark.parametrize("steps", [10, 50])
def test_a_prefix_that_is_possible_is_reproduced_and_what_it_does_not_bind_stays(steps: int) -> None:
    """Of independent normal actions the last step's correction is exact as soon as ``strength`` allows it:
    factor * J = 1 / t, so that x - t v + (Y - E) = Y."""
    noise, old = random(16, 5, 2, seed=0), 3 * random(16, 5, 2, seed=1)
    weights = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0]).expand(16, 5)
    plain = integrate(normal, noise, steps=steps)
    free = integrate(guided(normal, Guide(old, weights, 2.0 * steps)), noise, steps=steps)
    torch.testing.assert_close(free[:, :2], old[:, :2])
    torch.testing.assert_close(free[:, 2:], plain[:, 2:])
    limited = integrate(guided(normal, Guide(old, weights, 5.0)), noise, steps=steps)
    assert (limited - old)[:, :2].abs().mean() < 0.1 * (plain - old)[:, :2].abs().mean()


def test_one_step_is_the_formula() -> None:
    """At t = 1: x - v + strength * J (W (Y - (x - v))), with v = x / 4 and so J = 3 / 4."""
    noise, old = random(2, 3, 1, seed=0), random(2, 3, 1, seed=1)
    weights = torch.tensor([[1.0, 0.5, 0.0]], dtype=torch.float64).expand(2, 3)
    found = integrate(guided(lambda point, time: point / 4, Guide(old, weights, 2.0)), noise, steps=1)
    end = 0.75 * noise
    torch.testing.assert_close(found, end + 2.0 * 0.75 * weights[..., None] * (old - end))


def test_a_single_possible_answer_is_not_moved() -> None:
    answer = torch.tensor([1.0, -3.0]).double()

    def field(point: Tensor, time: Tensor) -> Tensor:
        return (point - answer) / time.view(-1, 1, 1)

    guide = Guide(random(4, 3, 2, seed=1), torch.ones(4, 3).double(), 100.0)
    end = integrate(guided(field, guide), random(4, 3, 2, seed=0), steps=7)
    torch.testing.assert_close(end, answer.expand(4, 3, 2))


@torch.no_grad()
def test_weight_zero_is_plain_sampling_and_more_weight_comes_nearer() -> None:
    torch.manual_seed(0)
    head = make_head(6, ActionHeadParams(horizon=4, dimension=2, width=16, depth=1, attention_heads=2)).eval()
    context, seen = torch.randn(3, 5, 6), torch.ones(3, 5, dtype=torch.bool)
    noise, old = torch.randn(3, 4, 2), torch.randn(3, 4, 2)
    plain = head.sample(context, seen, noise=noise)
    none = head.sample(context, seen, noise=noise, guide=Guide(old, torch.zeros(3, 4)))
    torch.testing.assert_close(none, plain)
    guide = Guide(old, soft_mask(4, 3, 1).expand(3, 4))
    near = head.sample(context, seen, noise=noise, guide=guide)
    assert (near - old)[:, 0].abs().mean() < 0.3 * (plain - old)[:, 0].abs().mean()
    assert not near.requires_grad
    for name in ("regression", "discretised"):
        other = make_head(6, head.params.model_copy(update={"name": name}))
        with pytest.raises(ValueError, match=f"needs the head flow_matching, this policy's is {name}"):
            other.sample(context, seen, guide=guide)


@torch.no_grad()
def test_a_policy_is_guided_in_the_units_of_the_data() -> None:
    policy, batch = toy_policy(head={"steps": 20}), toy_batch()
    seen, noise = observation_of(batch, steps_of(batch)), torch.randn(5, 3, 2)
    old = 3 + 2 * torch.randn(5, 3, 2)
    near = policy(seen, noise, Guide(old, torch.ones(5, 3), 40.0))
    plain = policy(seen, noise)
    assert (near - old).abs().mean() < 0.3 * (plain - old).abs().mean()
