"""Flow matching against what can be computed by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vln_heatmap.nodes.model.policy.flow_matching import (
    embed_time,
    integrate,
    path,
    sample_time,
    velocity,
)


def test_paths_begin_at_the_actions_end_at_the_noise_and_are_straight() -> None:
    actions, noise = torch.randn(5, 8, 7), torch.randn(5, 8, 7)
    assert torch.equal(path(actions, noise, torch.zeros(5)), actions)
    assert torch.equal(path(actions, noise, torch.ones(5)), noise)
    half = path(actions, noise, torch.full((5,), 0.5))
    torch.testing.assert_close(half, (actions + noise) / 2)


def test_the_velocity_is_the_derivative_of_the_path() -> None:
    actions, noise = torch.randn(3, 2, 4, dtype=torch.float64), torch.randn(3, 2, 4, dtype=torch.float64)
    time = torch.tensor([0.1, 0.5, 0.8], dtype=torch.float64)
    ahead, behind = (path(actions, noise, time + shift) for shift in (1e-4, -1e-4))
    torch.testing.assert_close((ahead - behind) / 2e-4, velocity(actions, noise))


@given(steps=st.integers(1, 50))
def test_a_constant_velocity_is_followed_exactly(steps: int) -> None:
    noise, constant = torch.randn(4, 3).double(), torch.tensor([0.5, -2.0, 0.0]).double()
    end = integrate(lambda point, time: constant.expand_as(point), noise, steps=steps)
    torch.testing.assert_close(end, noise - constant)


def test_one_euler_step_along_the_true_velocity_arrives() -> None:
    actions, noise = torch.randn(6, 8, 5).double(), torch.randn(6, 8, 5).double()
    end = integrate(lambda point, time: velocity(actions, noise), noise, steps=1)
    torch.testing.assert_close(end, actions)


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_the_field_of_a_single_answer_leads_to_it(steps: int) -> None:
    """If all actions are a, E[noise - a | x_t] = (x_t - a) / t, and every Euler step stays on the path."""
    answer = torch.tensor([1.0, -3.0]).double()
    end = integrate(
        lambda point, time: (point - answer) / time[:, None], torch.randn(9, 2).double(), steps=steps
    )
    torch.testing.assert_close(end, answer.expand(9, 2))


def two_answers(point: Tensor, time: Tensor) -> Tensor:
    """Velocity of the flow whose actions are +1 or -1, half each: (x - E[a | x]) / t, and
    E[a | x] = tanh(x (1 - t) / t^2), by Bayes' rule with x = t noise + (1 - t) a."""
    t = time[:, None]
    return (point - torch.tanh(point * (1 - t) / t**2)) / t


def test_two_answers_stay_two_and_the_mean_is_never_said() -> None:
    end = integrate(two_answers, torch.randn(4000, 1, generator=torch.Generator().manual_seed(0)), steps=20)
    torch.testing.assert_close(end.abs(), torch.ones_like(end), atol=0.02, rtol=0)
    assert abs((end > 0).float().mean().item() - 0.5) < 0.03


def test_times_have_the_beta_distribution_and_never_reach_zero() -> None:
    time = sample_time(200_000, generator=torch.Generator().manual_seed(1))
    assert time.min() >= 0.001
    assert time.max() <= 1
    assert time.mean().item() == pytest.approx(0.999 * 0.6 + 0.001, abs=2e-3)  # Beta(1.5, 1): mean 0.6
    assert time.var().item() == pytest.approx(0.999**2 * 0.6 * 0.4 / 3.5, abs=2e-3)


def test_a_time_is_embedded_by_sines_of_known_periods() -> None:
    embedded = embed_time(torch.tensor([0.0, 0.004, 1.0]), 8)
    assert embedded.shape == (3, 8)
    torch.testing.assert_close(embedded[0], torch.tensor([0.0] * 4 + [1.0] * 4))
    torch.testing.assert_close(embedded[1, [0, 4]], torch.tensor([0.0, 1.0]), atol=1e-5, rtol=0)  # one period
    torch.testing.assert_close(embedded[2, [3, 7]], torch.tensor([1.0, 0.0]), atol=1e-5, rtol=0)  # a quarter
    with pytest.raises(ValueError, match="even"):
        embed_time(torch.zeros(1), 5)


def test_no_step_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        integrate(lambda point, time: point, torch.zeros(1, 1), steps=0)
