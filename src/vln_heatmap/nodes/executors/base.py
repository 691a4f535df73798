"""What all executors share.

Invariant: a worker uses one thread, so that as many workers as there are cores do not get in each other's way.
"""

from __future__ import annotations

#: LP_NUM_THREADS is Mesa's software OpenGL.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "LP_NUM_THREADS"), "1"
)


class WorkerDiedError(RuntimeError):
    """More workers were killed or crashed than the run may lose."""

    def __init__(self, lost: int) -> None:
        super().__init__(
            f"{lost} worker processes died (killed, or out of memory): what was stored is kept, run again to "
            "continue, with fewer workers if memory was short"
        )
