"""The figure of the keyframe samplers: what each choice covers, repeats, costs, and is worth to the model.

Invariant: it is drawn from the values of the results alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vln_heatmap.reporting.figures import FAINT, GRID, INK

#: Key, title, whether more is better.
PANELS = (
    ("coverage", "voxels covered", True),
    ("redundancy", "redundancy", False),
    ("view_seen", "current view seen before", True),
    ("auc", "pixel AUC", True),
    ("iou", "IoU", True),
    ("milliseconds", "ms a choice", False),
)


def sampler_plot(samplers: Mapping[str, Mapping[str, Any]], *, title: str = "") -> Figure:
    """One row a sampler, in the order given, one panel a measure, with 95 % intervals over scenes.

    Args:
        samplers: section "samplers" of the results; a value of None leaves a gap.
    """
    names = list(samplers)
    rows = np.arange(len(names))[::-1]
    figure = Figure(figsize=(12.5, 1.4 + 0.42 * len(names)), dpi=110, facecolor="white", layout="constrained")
    for axes, (key, name, more) in zip(figure.subplots(1, len(PANELS), sharey=True), PANELS, strict=True):
        for row, sampler in zip(rows, names, strict=True):
            numbers = samplers[sampler]
            if numbers.get(key) is None:
                continue
            if (spread := numbers.get(f"{key}_ci")) is not None:
                axes.plot(spread, [row, row], color=INK, lw=2.2, solid_capstyle="round", alpha=0.5)
            axes.plot(numbers[key], row, "o", ms=6, color=INK)
        axes.set_title(f"{name} {'→' if more else '←'}", fontsize=9, color=INK)
        axes.set_ylim(-0.7, len(names) - 0.3)
        axes.grid(axis="x", color=GRID, lw=0.8)
        axes.tick_params(labelsize=7.5, length=0, labelcolor=FAINT)
        axes.spines[:].set_visible(False)
    figure.axes[0].set_yticks(rows, names, fontsize=9, color=INK)
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold", color=INK, x=0.01, ha="left")
    return figure
