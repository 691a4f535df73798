"""The figure of the ablation: every variant, and how far it is from what it is compared with.

Invariant: it is drawn from the values of the results alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vln_heatmap.reporting.figures import ACCENT, FAINT, GRID, INK

#: Key, title, whether the panel shows differences.
PANELS = (
    ("auc", "pixel AUC →", False),
    ("auc", "AUC, difference →", True),
    ("iou", "IoU →", False),
    ("iou", "IoU, difference →", True),
)


def ablation_plot(variants: Mapping[str, Mapping[str, Any]], *, reference: str, title: str = "") -> Figure:
    """One row a variant, in the order given, with 95 % intervals over scenes; small marks are single seeds.

    Args:
        variants: section "variants" of the results; a value of None leaves a gap.
        reference: the variant that is drawn in colour.
    """
    names = list(variants)
    rows = np.arange(len(names))[::-1]
    figure = Figure(figsize=(12.5, 1.5 + 0.4 * len(names)), dpi=110, facecolor="white", layout="constrained")
    for axes, (key, head, apart) in zip(figure.subplots(1, len(PANELS), sharey=True), PANELS, strict=True):
        shown = [variants[name].get("difference", {}) if apart else variants[name] for name in names]
        _panel(axes, shown, names, rows, key, reference)
        axes.set_title(head, fontsize=9, color=INK)
        if apart:
            axes.axvline(0.0, color=FAINT, lw=0.8)
    figure.axes[0].set_yticks(rows, [name.replace("_", " ") for name in names], fontsize=9, color=INK)
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold", color=INK, x=0.01, ha="left")
    return figure


def _panel(
    axes: Axes,
    entries: list[Mapping[str, Any]],
    names: list[str],
    rows: NDArray[Any],
    key: str,
    reference: str,
) -> None:
    for entry, name, row in zip(entries, names, rows, strict=True):
        colour = ACCENT if name == reference else INK
        if entry.get(key) is None:
            continue
        each = [number for number in (entry.get("seeds") or {}).get(key, []) if number is not None]
        axes.plot(each, [row - 0.25] * len(each), "|", ms=5, color=colour, alpha=0.7)
        if (spread := entry.get(f"{key}_ci")) is not None:
            axes.plot(spread, [row, row], color=colour, lw=2.2, solid_capstyle="round", alpha=0.5)
        axes.plot(entry[key], row, "o", ms=6, color=colour)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.grid(axis="x", color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=7.5, length=0, labelcolor=FAINT)
    axes.spines[:].set_visible(False)
