"""Figures of the evaluation: a sheet of examples, and all methods with their intervals.

Invariant: a figure is drawn from values alone (no pyplot state, no display), so the same values always give
the same picture, in a pipeline, a notebook or a test.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vln_heatmap.reporting.overlays import HEAT_COLOURS, overlay_heatmap
from vln_heatmap.reporting.tables import CEILING, METHOD_NAMES, MODEL, ordered_methods

INK, FAINT, ACCENT, GRID = "#22262b", "#8a929c", "#c8451b", "#e4e7ea"
CLASS_COLOURS = np.array(
    [[38, 166, 154], [239, 154, 64], [120, 130, 142]], np.uint8
)  # co-visible, occluded, outside


@dataclass(frozen=True)
class Example:
    """One window of the figure sheet.

    Attributes:
        instruction: text, "" = everything.
        current: [H, W, 3] uint8, the current view.
        keyframes: [K, H, W, 3] uint8, oldest first.
        ages: [K] how many frames before the current view each keyframe was taken (negative: after it).
        target, predicted: [K, h, w] masks in [0, 1].
        validity: [K] predicted probability that anything is there.
        valid: [K] bool, whether anything is.
        origin: where the frames come from, for the caption.
    """

    instruction: str
    current: NDArray[np.uint8]
    keyframes: NDArray[np.uint8]
    ages: NDArray[np.int64]
    target: NDArray[np.floating]
    predicted: NDArray[np.floating]
    validity: NDArray[np.floating]
    valid: NDArray[np.bool_]
    origin: str = ""


def example_sheet(examples: Sequence[Example], *, columns: int = 6, title: str = "") -> Figure:
    """Sheet of examples: the current view of each, then per keyframe the frame, the target, the prediction.

    Args:
        examples: at least one.
        columns: most keyframes shown of an example (at even steps, always with the oldest and the newest).
        title: over the sheet.

    Raises:
        ValueError: there is no example.
    """
    if not examples:
        raise ValueError("there is no example to draw")
    shown = [_fewer(example, columns) for example in examples]
    width = max(len(example.keyframes) for example in shown)
    aspect = examples[0].current.shape[0] / examples[0].current.shape[1]
    cell, gap = 1.25, 0.72  # inches: width of a map, height of a caption
    wide = 3.1 * cell  # the current view is as high as its three rows of maps
    block = 3.1 * cell * aspect + gap
    head = 0.85 if title else 0.5
    figure = Figure(
        figsize=(wide + 0.5 + width * (cell + 0.05), head + block * len(shown)), dpi=110, facecolor="white"
    )
    total = figure.get_figheight()
    if title:
        figure.text(0.012, 1 - 0.17 / total, title, va="top", fontsize=12, fontweight="bold", color=INK)
    for index, example in enumerate(shown):
        top = 1 - (head + index * block) / total
        bottom = top - 3.1 * cell * aspect / total
        _draw_example(figure, example, width, top, bottom, wide / figure.get_figwidth())
    _heat_legend(figure, head, total)
    return figure


def _fewer(example: Example, columns: int) -> Example:
    count = len(example.keyframes)
    if count <= columns:
        return example
    keep = np.linspace(0, count - 1, columns).round().astype(int)
    names = ("keyframes", "ages", "target", "predicted", "validity", "valid")
    return Example(**{**vars(example), **{name: getattr(example, name)[keep] for name in names}})


def _draw_example(
    figure: Figure, example: Example, width: int, top: float, bottom: float, wide: float
) -> None:
    left = 0.012
    grid = figure.add_gridspec(
        3, width, left=wide + 0.035, right=0.995, top=top, bottom=bottom, wspace=0.05, hspace=0.05
    )
    axes = _image(figure.add_axes((left, bottom, wide - left, top - bottom)), example.current)
    axes.set_anchor("NW")
    words = textwrap.fill(f"“{example.instruction}”", 58) if example.instruction else "everything"
    axes.set_title("current view", fontsize=8, color=FAINT, loc="left", pad=3)
    axes.text(0, -0.02, words, transform=axes.transAxes, va="top", fontsize=8.5, color=INK, fontweight="bold")
    axes.text(
        1, 1.02, example.origin, transform=axes.transAxes, va="bottom", ha="right", fontsize=6, color=FAINT
    )
    for column in range(len(example.keyframes)):
        target, predicted = (
            overlay_heatmap(muted(example.current), maps[column], opacity=0.65)
            for maps in (example.target, example.predicted)
        )
        for row, image in enumerate((example.keyframes[column], target, predicted)):
            _image(figure.add_subplot(grid[row, column]), image)
        frame, *_, last = figure.axes[-3:]
        frame.set_title(_age(int(example.ages[column])), fontsize=8, color=FAINT, pad=3)
        _validity(last, float(example.validity[column]), bool(example.valid[column]))
    for row, name in enumerate(("keyframe", "target", "prediction")):
        box = grid[row, 0].get_position(figure)
        x, y = box.x0 - 0.006, (box.y0 + box.y1) / 2
        figure.text(x, y, name, rotation=90, ha="right", va="center", fontsize=8, color=INK)


def muted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A dark, nearly grey copy of an image [H, W, 3], on which heat stands out in bright rooms too."""
    pixels = image.astype(np.float32)
    grey = pixels.mean(-1, keepdims=True)
    return (0.55 * (0.75 * grey + 0.25 * pixels)).round().astype(np.uint8)


def _validity(axes: Axes, probability: float, valid: bool) -> None:
    """Predicted probability that anything is there; red where the 0.5 decision is wrong."""
    wrong = (probability >= 0.5) != valid
    text = f"seen: {probability:.2f}" + ("" if valid else " (no)")
    axes.set_xlabel(text, fontsize=7, color=ACCENT if wrong else FAINT, labelpad=2)


def _image(axes: Axes, image: NDArray[np.uint8]) -> Axes:
    axes.imshow(image, interpolation="lanczos")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return axes


def _age(age: int) -> str:
    return f"{age} frames ago" if age > 0 else "now" if age == 0 else f"{-age} frames on"


def _heat_legend(figure: Figure, head: float, total: float) -> None:
    axes = figure.add_axes((0.83, 1 - 0.24 / total, 0.11, 0.07 / total))
    bar = figure.colorbar(
        ScalarMappable(cmap=ListedColormap(HEAT_COLOURS)), cax=axes, orientation="horizontal"
    )
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.set_ticks([0, 1], labels=["not seen then", "seen then"], fontsize=7, color=FAINT)
    axes.tick_params(length=0, pad=1)


#: Measures of the forest plot: key, title, whether more is better.
PANELS = (
    ("auc", "pixel AUC", True),
    ("auc_oldest", "AUC, oldest half", True),
    ("auc_within", "AUC within a map", True),
    ("iou", "IoU", True),
    ("cc", "CC", True),
    ("peak_error", "peak error (widths)", False),
)


def forest_plot(methods: Mapping[str, Mapping[str, Any]], *, title: str = "") -> Figure:
    """All methods with their 95 % intervals, one panel a measure, best method on top.

    Args:
        methods: the section "heatmap" of the results; a value of None leaves a gap.
    """
    names = ordered_methods(methods)
    rows = np.arange(len(names))[::-1]
    figure = Figure(figsize=(12.5, 1.5 + 0.42 * len(names)), dpi=110, facecolor="white", layout="constrained")
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (key, name, more) in zip(panels, PANELS, strict=True):
        _panel(axes, [methods[n] for n in names], names, rows, key)
        axes.set_title(f"{name} {'→' if more else '←'}", fontsize=9, color=INK)
    panels[0].set_yticks(rows, [METHOD_NAMES.get(n, n) for n in names], fontsize=9)
    for label, name in zip(panels[0].get_yticklabels(), names, strict=True):
        label.set_color(_colour(name))
        label.set_fontweight("bold" if name == MODEL else "normal")
    _kind_legend(figure)
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold", color=INK, x=0.01, ha="left")
    return figure


KIND_MARKS = {"everything": ("o", "none", 0.18), "referring": ("D", "none", -0.18)}


def _panel(
    axes: Axes, entries: list[Mapping[str, Any]], names: list[str], rows: NDArray[Any], key: str
) -> None:
    for entry, name, row in zip(entries, names, rows, strict=True):
        colour = _colour(name)
        for kind, (mark, face, shift) in KIND_MARKS.items():
            value = (entry.get(kind) or {}).get(key)
            if value is not None:
                axes.plot(value, row + shift, mark, ms=3.5, mec=colour, mfc=face, mew=0.8, alpha=0.7)
        value, spread = entry.get(key), entry.get(f"{key}_ci")
        if value is None:
            continue
        if spread is not None:
            axes.plot(spread, [row, row], color=colour, lw=2.2, solid_capstyle="round", alpha=0.55)
        axes.plot(value, row, "o", ms=6, color=colour)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.grid(axis="x", color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=7.5, length=0, labelcolor=FAINT)
    axes.spines[:].set_visible(False)


def _kind_legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    def mark(shape: str, face: str, size: float) -> Line2D:
        return Line2D([], [], marker=shape, ls="", ms=size, mec=INK, mfc=face, mew=0.8)

    handles = [mark("o", INK, 6), *(mark(shape, face, 4) for shape, face, _ in KIND_MARKS.values())]
    labels = ["all (bar: 95 % over scenes)", "instruction: everything", "instruction: names things"]
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)


def _colour(name: str) -> str:
    return ACCENT if name == MODEL else FAINT if name == CEILING else INK


def class_overlay(
    rgb: NDArray[np.uint8], classes: NDArray[np.uint8], *, opacity: float = 0.5
) -> NDArray[np.uint8]:
    """Draw a map of the three classes [h, w] over an image [H, W, 3]: green, orange, grey."""
    height, width = rgb.shape[:2]
    large = cv2.resize(classes, (width, height), interpolation=cv2.INTER_NEAREST)
    mixed = (1 - opacity) * rgb + opacity * CLASS_COLOURS[large]
    return mixed.round().astype(np.uint8)
