"""What a training took, for the checkpoint that it made.

Invariant: time is that of the updates and of waiting for their data; validations and saving are left out.
"""

from __future__ import annotations

import pandas as pd

from vln_heatmap.nodes.memory import peak_memory


def training_costs(history: pd.DataFrame, windows: int) -> dict[str, float]:
    """Costs by name; what cannot be told is left out.

    Args:
        history: of the run, with a column ``samples_per_s``, one row a step.
        windows: training windows there are.

    Returns:
        ``epoch_seconds``: time in which as many windows as there are would be gone through, at the mean speed of
        the run; ``memory_gib``, ``gpu_memory_gib``: see ``peak_memory``.
    """
    costs = {name: number for name, number in peak_memory().items() if number is not None}
    if "samples_per_s" in history and len(history):
        costs["epoch_seconds"] = windows * float((1 / history["samples_per_s"]).mean())
    return costs
