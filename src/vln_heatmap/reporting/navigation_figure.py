"""The figure of the closed loop: how often, how directly and how faithfully each policy gets there.

Invariant: it is drawn from the values of the results alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vln_heatmap.reporting.figures import FAINT, GRID, INK

#: Key, title, whether more is better.
PANELS = (
    ("sr", "success rate", True),
    ("osr", "oracle success rate", True),
    ("spl", "SPL", True),
    ("ndtw", "nDTW", True),
    ("ne", "error at the end, m", False),
    ("collisions", "collisions", False),
)
#: Offset and colour of the marks: all episodes, and by type of instruction.
_MARKS = {"all": (0.0, INK), "route": (0.2, "#3b7ddd"), "object": (-0.2, "#d9822b")}


def navigation_plot(policies: Mapping[str, Mapping[str, Any]], *, title: str = "") -> Figure:
    """One row a policy, in the order given, one panel a measure, with 95 % intervals over houses.

    Args:
        policies: of the section "navigation" of the results; a value of None leaves a gap.
    """
    names = list(policies)
    figure = Figure(figsize=(13, 1.6 + 0.55 * len(names)), dpi=110, facecolor="white", layout="constrained")
    for axes, (key, name, more) in zip(figure.subplots(1, len(PANELS), sharey=True), PANELS, strict=True):
        for row, policy in zip(np.arange(len(names))[::-1], names, strict=True):
            groups = {"all": policies[policy], **policies[policy]["kinds"]}
            for group, (offset, colour) in _MARKS.items():
                if groups.get(group, {}).get(key) is not None:
                    _mark(axes, groups[group], key, row + offset, colour)
        if key not in ("ne", "collisions"):
            axes.set_xlim(-0.06, 1.06)
            axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        axes.set_title(f"{name} {'→' if more else '←'}", fontsize=9, color=INK)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.grid(axis="x", color=GRID, lw=0.8)
        axes.tick_params(labelsize=7.5, length=0, labelcolor=FAINT)
        axes.spines[:].set_visible(False)
    figure.axes[0].set_yticks(np.arange(len(names))[::-1], names, fontsize=9, color=INK)
    handles = [
        figure.axes[0].plot([], [], "o", color=colour, ms=5, label=f"{n}")[0]
        for n, (_, colour) in _MARKS.items()
    ]
    figure.legend(
        handles=handles, loc="outside lower right", ncols=3, fontsize=8, frameon=False, labelcolor=INK
    )
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold", color=INK, x=0.01, ha="left")
    return figure


def _mark(axes: Axes, numbers: Mapping[str, Any], key: str, row: float, colour: str) -> None:
    """A value with its interval, if it has one."""
    if (spread := numbers.get(f"{key}_ci")) is not None:
        axes.plot(spread, [row, row], color=colour, lw=2, solid_capstyle="round", alpha=0.45)
    axes.plot(numbers[key], row, "o", ms=5 if colour == INK else 3.5, color=colour)
