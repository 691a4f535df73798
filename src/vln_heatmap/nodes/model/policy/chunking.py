"""Real-time chunking (Black et al., arXiv:2506.07339): a new chunk that goes on where the old one is being done.

While a policy thinks, its robot does the first ``delay`` actions of the old chunk; what else is left of it should
not be thrown about either. So the old actions are treated as a part of the new chunk that is known already, and
the rest is painted in: at every step of the integration the velocity is corrected by the gradient that brings the
chunk it would end at to the old actions (ΠGDM, arXiv:2302.07944). Invariant: weight 0 is plain sampling.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vln_heatmap.nodes.model.policy.flow_matching import Velocity


class Guide(NamedTuple):
    """What N new chunks are to hold on to.

    Attributes:
        actions: of the old chunks from now on [N, H, A]; where ``weights`` are 0, anything.
        weights: of each action, in [0, 1] [N, H], see ``soft_mask``.
        strength: largest factor of a correction (beta in the paper).
    """

    actions: Tensor
    weights: Tensor
    strength: float = 5.0


def soft_mask(horizon: int, known: int, delay: int) -> Tensor:
    """Weights [horizon]: 1 for the actions that are done meanwhile, then falling to 0 where none is known.

    Args:
        horizon: actions of a chunk.
        known: actions that are left of the old chunk.
        delay: of those, how many are done before the new chunk is there.

    Raises:
        ValueError: not 0 <= delay <= known <= horizon.
    """
    if not 0 <= delay <= known <= horizon:
        raise ValueError(
            f"delay must be in [0, {known}], the actions left of the old chunk, and those at most {horizon}; "
            f"got delay {delay}"
        )
    place = torch.arange(horizon, dtype=torch.float64)
    share = ((known - place) / (known - delay + 1)).clamp(0, 1)  # c of equation 5
    share[:delay] = 1.0
    return (share * share.expm1() / math.expm1(1)).float()


def guided(field: Velocity, guide: Guide) -> Velocity:
    """The velocity field, corrected towards the guide (equations 2 to 4, with time running from 1 to 0)."""
    weights = guide.weights[..., None]  # [N, H, 1]

    def corrected(point: Tensor, time: Tensor) -> Tensor:
        moment = time.view(-1, 1, 1)  # [N, 1, 1]
        with torch.enable_grad():
            point = point.detach().requires_grad_()
            speed = field(point, time)
            end = point - moment * speed  # the chunk that a straight way from here ends at
            missing = ((guide.actions - end) * weights).detach()
            (pull,) = torch.autograd.grad(end, point, missing)
        factor = ((1 - moment) ** 2 + moment**2) / ((1 - moment) * moment)  # infinite at 1
        return speed.detach() - factor.clamp(max=guide.strength) * pull

    return corrected
