"""The learning rate as a function of the step.

Invariant: nothing is remembered, so a resumed run needs no scheduler state.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from vln_heatmap.params import ScheduleParams

#: Fall from 1 to 0 over the progress [0, 1] after the warm-up, by the name of the schedule.
SHAPES: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),  # Loshchilov & Hutter, ICLR 2017
    "constant": lambda _: 1.0,
}


def learning_rate_factor(step: int, steps: int, params: ScheduleParams) -> float:
    """Learning rate of update ``step`` (0 .. steps - 1) over the peak learning rate, in (0, 1].

    Grows linearly over the first ``warmup * steps`` updates and reaches 1 at the last of them; then falls
    along the shape and reaches ``final`` at the last update.
    """
    warmup = round(params.warmup * steps)
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    return params.final + (1 - params.final) * SHAPES[params.name](progress)
