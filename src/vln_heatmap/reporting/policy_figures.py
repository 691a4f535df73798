"""Figures of the policy: what its data are like, and how far its actions are from the truth.

Invariant: they are drawn from the values of the reports alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vln_heatmap.reporting.figures import ACCENT, FAINT, INK


def data_plot(report: Mapping[str, Any]) -> Figure:
    """Lengths of the episodes, and the range of each number (line: min to max, bar: q01 to q99, dot: mean)."""
    figure = Figure(figsize=(12, 3.6), dpi=110, facecolor="white", layout="constrained")
    lengths, *panels = figure.subplots(1, 3)
    firsts, counts = np.array(report["lengths"]["histogram"]).T
    lengths.bar(range(len(firsts)), counts, color=ACCENT)
    lengths.set_xticks(range(len(firsts)), firsts, fontsize=7, rotation=60)
    lengths.set_title("episodes by length", fontsize=9, color=INK)
    for axes, (kind, summary) in zip(panels, report["numbers"].items(), strict=True):
        axes.set_title(kind, fontsize=9, color=INK)
        if not summary:
            continue
        rows = np.arange(len(summary["names"]))[::-1]
        axes.hlines(rows, summary["min"], summary["max"], color=FAINT, lw=1)
        axes.hlines(rows, summary["q01"], summary["q99"], color=ACCENT, lw=5)
        axes.plot(summary["mean"], rows, "o", color=INK, ms=3)
        axes.set_yticks(rows, summary["names"], fontsize=7)
    return figure


def error_plot(results: Mapping[str, Any]) -> Figure:
    """Squared error of every method along the horizon, and by dimension, in units of the actions' deviation."""
    figure = Figure(figsize=(11, 3.8), dpi=110, facecolor="white", layout="constrained")
    along, across = figure.subplots(1, 2)
    methods: Mapping[str, Any] = results["methods"]
    width = 0.8 / len(methods)
    for number, (name, scores) in enumerate(methods.items()):
        steps = np.arange(1, len(scores["mse_by_step"]) + 1)
        along.plot(steps, scores["mse_by_step"], "o-", ms=3, label=name.replace("_", " "))
        places = np.arange(len(scores["mse_by_dimension"])) + (number - (len(methods) - 1) / 2) * width
        across.bar(places, list(scores["mse_by_dimension"].values()), width)
    names = list(next(iter(methods.values()))["mse_by_dimension"])
    across.set_xticks(range(len(names)), names, fontsize=8)
    along.set_xlabel("step of the chunk", fontsize=8)
    for axes in (along, across):
        axes.set_ylabel("squared error / variance", fontsize=8)
        axes.axhline(1.0, color=FAINT, lw=0.8)
    along.legend(fontsize=7)
    return figure


def chunk_plot(
    images: Mapping[str, NDArray[np.uint8]], actions: pd.DataFrame, *, left: Sequence[Sequence[float]] | None
) -> Figure:
    """What was seen, and every number along the chunk; dashed: what was left of the old one.

    Args:
        images: [H, W, 3] by name.
        actions: ``step`` and a column for each number.
        left: actions of the old chunk, from the same moment on.
    """
    names = [name for name in actions.columns if name != "step"]
    columns = max(len(images), min(4, len(names)))
    rows = 1 + -(-len(names) // columns)
    figure = Figure(figsize=(2.4 * columns, 2.0 * rows), dpi=110, facecolor="white", layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, image in zip(panels[0], images.values(), strict=False):
        axes.imshow(image)
    for number, (axes, name) in enumerate(zip(panels[1:].flat, names, strict=False)):
        axes.set_axis_on()
        axes.plot(actions["step"], actions[name], "o-", ms=3, color=ACCENT)
        if left is not None:
            axes.plot(range(len(left)), [row[number] for row in left], "--", lw=1, color=FAINT)
        axes.set_title(name, fontsize=8, color=INK)
        axes.tick_params(labelsize=7)
    return figure
