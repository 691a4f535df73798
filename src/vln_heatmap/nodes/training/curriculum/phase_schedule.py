"""The learning rate within a phase.

Invariant: a function of the place in the phase alone, measured in epochs of the full plan, so that the curve of a
short run is that of the long one, sampled more coarsely.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from vln_heatmap.params.curriculum import PhaseParams, PhaseScheduleParams


def _cosine_restarts(epoch: float, progress: float, params: PhaseScheduleParams) -> float:
    """SGDR (Loshchilov & Hutter, ICLR 2017): half cosines, each ``growth`` times as long as the last."""
    lengths = [params.growth**cycle for cycle in range(params.cycles)]
    place = progress * sum(lengths)
    for length in lengths[:-1]:
        if place < length:
            break
        place -= length
    else:
        length = lengths[-1]
    return params.final + (1 - params.final) * 0.5 * (1 + math.cos(math.pi * place / length))


def _steps(epoch: float, progress: float, params: PhaseScheduleParams) -> float:
    return params.gamma ** sum(epoch >= milestone for milestone in params.milestones)


def _polynomial(epoch: float, progress: float, params: PhaseScheduleParams) -> float:
    return params.final + (1 - params.final) * (1 - progress) ** params.power


#: (epoch of the plan, progress [0, 1] since the warm-up, parameters) -> factor in [0, 1], by name.
CURVES: dict[str, Callable[[float, float, PhaseScheduleParams], float]] = {
    "constant": lambda epoch, progress, params: 1.0,
    "cosine_restarts": _cosine_restarts,
    "steps": _steps,
    "polynomial": _polynomial,
}


def phase_factor(epoch: float, phase: PhaseParams) -> float:
    """Learning rate at ``epoch`` in [0, phase.epochs] (of the plan) over the peak of the optimiser."""
    params = phase.schedule
    if epoch < params.warmup:
        return phase.lr * epoch / params.warmup
    progress = (epoch - params.warmup) / (phase.epochs - params.warmup)
    return phase.lr * CURVES[params.name](epoch, progress, params)


def phase_factors(phase: PhaseParams, *, first: int, steps: int, total: int) -> tuple[float, ...]:
    """Factors of the updates ``first`` .. ``first + steps - 1`` of a phase of ``total`` planned updates.

    Update s lies in the middle of its interval, at (s + 1/2) / total of the phase, so that none has a rate of 0.
    Updates beyond the planned ones have the rate of the last planned one.
    """
    places = (min(step, total - 1) + 0.5 for step in range(first, first + steps))
    return tuple(phase_factor(place / total * phase.epochs, phase) for place in places)
