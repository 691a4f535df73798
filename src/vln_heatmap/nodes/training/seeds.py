"""Every random number of a training, as a function of the seed and of where in the run it is drawn.

Invariant: no generator is advanced from one step to the next. What step s draws does not depend on what was
drawn before it, on the number of workers, or on whether the run was interrupted, so no random state is saved.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """Independent streams of one seed; the numbers are part of the result and must not change."""

    ORDER = 0  # epoch
    SAMPLE = 1  # position of the sample in the run
    STEP = 2  # step, micro-batch; rank, if it is not 0
    EPOCH = 3  # epoch that has weights of its own


def generator(seed: int, stream: Stream, *place: int) -> np.random.Generator:
    """NumPy generator of one place in a stream."""
    return np.random.default_rng([seed, int(stream), *place])


def torch_seed(seed: int, stream: Stream, *place: int) -> int:
    """Seed in [0, 2^64) for torch's generators of one place in a stream."""
    return int(np.random.SeedSequence([seed, int(stream), *place]).generate_state(1, np.uint64)[0])
