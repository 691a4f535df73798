"""Conditional flow matching (Lipman et al., arXiv:2210.02747) as functions, in the convention of pi0.

Time t runs from 1 (noise) to 0 (actions), as in pi0's code (its paper, arXiv:2410.24164, counts the other way):

    x_t = t * noise + (1 - t) * actions        the straight path between a pair
    dx_t / dt = noise - actions                its velocity, which the network learns from x_t and t

Nothing here holds a state. Invariant: along the true velocity of one pair, any number of Euler steps from t = 1
to t = 0 takes the noise to the actions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

#: Times are drawn as SCALE * Beta(ALPHA, BETA) + SHIFT: more often near the noise, never exactly at the actions.
ALPHA, BETA = 1.5, 1.0
SCALE, SHIFT = 0.999, 0.001
#: Shortest and longest period of the embedding of a time in [0, 1].
PERIODS = (4e-3, 4.0)
#: (x_t [N, ...], t [N]) -> velocity [N, ...].
Velocity = Callable[[Tensor, Tensor], Tensor]


class Draw(NamedTuple):
    """What training draws for N chunks: noise [N, H, A], and times [N]."""

    noise: Tensor
    time: Tensor


def sample_time(
    count: int, *, generator: torch.Generator | None = None, device: torch.device | str = "cpu"
) -> Tensor:
    """Times [count] in [0.001, 1] for training, denser near 1, float32.

    Beta(a, 1) has the distribution function t^a, so it is the a-th root of a uniform number.
    """
    uniform = torch.rand(count, generator=generator, device=device)
    return SCALE * uniform ** (1 / ALPHA) + SHIFT


def path(actions: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """Points x_t [N, ...] on the straight paths between actions and noise [N, ...] at times [N]."""
    time = _aligned(time, actions)
    return time * noise + (1 - time) * actions


def velocity(actions: Tensor, noise: Tensor) -> Tensor:
    """Velocity dx_t / dt [N, ...] of the paths between actions and noise [N, ...]: the same at all times."""
    return noise - actions


def integrate(field: Velocity, noise: Tensor, *, steps: int) -> Tensor:
    """Follow a velocity field from noise [N, ...] at t = 1 to actions [N, ...] at t = 0 by Euler's method.

    Args:
        field: velocity at points and times.
        noise: where to start.
        steps: of equal length, at least 1.

    Raises:
        ValueError: no step.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    point = noise
    for step in range(steps):
        time = noise.new_full((len(noise),), 1 - step / steps)  # [N]
        point = point - field(point, time) / steps
    return point


def embed_time(time: Tensor, width: int) -> Tensor:
    """Sines and cosines [N, width] of times [N] in [0, 1], of periods from 0.004 to 4, evenly in the logarithm.

    Raises:
        ValueError: an odd width.
    """
    if width % 2:
        raise ValueError(f"width of a time embedding must be even, got {width}")
    shares = torch.linspace(0, 1, width // 2, device=time.device, dtype=torch.float64)
    shortest, longest = PERIODS
    angles = (
        2 * math.pi * time.double()[:, None] / (shortest * (longest / shortest) ** shares)
    )  # [N, width / 2]
    return torch.cat([angles.sin(), angles.cos()], -1).float()


def _aligned(time: Tensor, like: Tensor) -> Tensor:
    """Times [N] as [N, 1, ...]."""
    return time.view(-1, *[1] * (like.dim() - 1))
