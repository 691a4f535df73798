"""The figure of generality: what a model and the baselines are worth in each look.

Invariant: it is drawn from the values of the results alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vln_heatmap.reporting.figures import ACCENT, FAINT, GRID, INK
from vln_heatmap.reporting.tables import METHOD_NAMES, MODEL

PANELS = (
    ("auc", "pixel AUC"),
    ("auc_within", "AUC within a map"),
    ("auc_oldest", "AUC, oldest half"),
    ("iou", "IoU"),
)
#: Baselines that are drawn, and their marks.
RIVALS = {"encoder_cosine": "s", "sift_ransac": "^", "patch_colour": "D", "mean_map": "x"}


def generality_plot(results: Mapping[str, Any]) -> Figure:
    """One row a look, the mean over the counted ones below, one panel a measure.

    Args:
        results: of ``measure_looks``; a value of None leaves a gap.
    """
    looks: dict[str, Any] = {**results["looks"], "mean of the counted": results["mean"]}
    counted, places = set(results["meta"]["counted"]), np.arange(len(looks))[::-1]
    figure = Figure(figsize=(12.5, 1.9 + 0.42 * len(looks)), dpi=110, facecolor="white", layout="constrained")
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (key, title) in zip(panels, PANELS, strict=True):
        for place, methods in zip(places, looks.values(), strict=True):
            _row(axes, methods, key, float(place))
        axes.set_title(f"{title} →", fontsize=9, color=INK)
        axes.axhline(0.5, color=FAINT, lw=0.8)
        axes.set_ylim(-0.6, len(looks) - 0.4)
        axes.grid(axis="x", color=GRID, lw=0.8)
        axes.set_axisbelow(True)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=8, labelcolor=FAINT)
    names = [
        name if name in counted or place == 0 else f"({name})"
        for name, place in zip(looks, places, strict=True)
    ]
    panels[0].set_yticks(places, names, fontsize=9, color=INK)
    handles, labels = panels[0].get_legend_handles_labels()
    shown = dict(zip(labels, handles, strict=True))
    figure.legend(
        shown.values(), shown.keys(), loc="outside lower center", ncols=len(shown), frameon=False, fontsize=8
    )
    figure.suptitle(
        "Looks that training never saw: where is anything that a keyframe saw?",
        fontsize=11,
        color=INK,
        fontweight="bold",
    )
    return figure


def _row(axes: Axes, methods: Mapping[str, Mapping[str, Any]], key: str, place: float) -> None:
    for name, mark in RIVALS.items():
        if methods.get(name, {}).get(key) is not None:
            axes.plot(
                methods[name][key], place, mark, ms=4.5, color=FAINT, label=METHOD_NAMES.get(name, name)
            )
    numbers = methods[MODEL]
    if numbers.get(key) is None:
        return
    if (spread := numbers.get(f"{key}_ci")) is not None:
        axes.plot(spread, [place, place], color=ACCENT, lw=2.2, solid_capstyle="round", alpha=0.5)
    axes.plot(numbers[key], place, "o", ms=6.5, color=ACCENT, label=METHOD_NAMES.get(MODEL, MODEL))
