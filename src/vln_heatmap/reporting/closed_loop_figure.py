"""The figure of the policy's closed loop: who gets there, and some ways there.

Invariant: the marks are drawn from the values of the results alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vln_heatmap.reporting.figures import ACCENT, FAINT, GRID, INK

Walk = tuple[NDArray[np.uint8], str]


def closed_loop_plot(tasks: Mapping[str, Mapping[str, Any]], walks: Mapping[str, Sequence[Walk]]) -> Figure:
    """One row a task: SR and SPL of every controller with 95 % intervals over houses, and walks from above.

    Args:
        tasks: of the section "policy_navigation" of the results.
        walks: by task, plans [S, S, 3] with their titles.
    """
    columns = 1 + max(map(len, walks.values()), default=0)
    figure = Figure(
        figsize=(3.8 * columns, 4.0 * len(tasks)), dpi=110, facecolor="white", layout="constrained"
    )
    grid = figure.subplots(len(tasks), columns, squeeze=False)
    for row, (name, task) in zip(grid, tasks.items(), strict=True):
        _marks(row[0], name, task)
        for axes in row[1:]:
            axes.set_axis_off()
        for axes, (plan, title) in zip(row[1:], walks.get(name, ()), strict=False):
            axes.imshow(plan)
            axes.set_title(title, fontsize=8, color=INK, wrap=True)
    return figure


def _marks(axes: Axes, name: str, task: Mapping[str, Any]) -> None:
    shown = {**task["policies"], **{f"{key} (discrete)": each for key, each in task["discrete"].items()}}
    rows = np.arange(len(shown))[::-1]
    for row, numbers in zip(rows, shown.values(), strict=True):
        for key, shift, colour in (("sr", 0.12, INK), ("spl", -0.12, ACCENT)):
            if numbers.get(key) is None:
                continue
            if (spread := numbers.get(f"{key}_ci")) is not None:
                axes.plot(spread, [row + shift] * 2, color=colour, lw=2, alpha=0.45, solid_capstyle="round")
            axes.plot(numbers[key], row + shift, "o", ms=5, color=colour)
    axes.set_yticks(rows, list(shown), fontsize=8, color=INK)
    axes.set_xlim(-0.05, 1.05)
    axes.set_ylim(-0.6, max(len(shown), 1) - 0.4)
    axes.set_title(f"{name.replace('_', '-')}: SR (dark) and SPL, {task['episodes']} episodes", fontsize=9)
    axes.grid(axis="x", color=GRID, lw=0.8)
    axes.tick_params(labelsize=8, length=0, labelcolor=FAINT)
    axes.spines[:].set_visible(False)
