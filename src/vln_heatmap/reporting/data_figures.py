"""Figures of recorded data: frames as stored, a walk seen from above, and targets beside what they come from.

Invariant: a figure is drawn from stored values alone (no pyplot state, no display) and changes none of them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from vln_heatmap.geometry.covisibility import CLASS_NAMES
from vln_heatmap.reporting.figures import ACCENT, CLASS_COLOURS, FAINT, GRID, INK, class_overlay, muted
from vln_heatmap.reporting.overlays import overlay_heatmap
from vln_heatmap.simulation.scene import STRUCTURE

_CELL = 1.45  # inches, width of an image


def frame_sheet(
    rgb: NDArray[np.uint8], depth: NDArray[np.floating], instance: NDArray[np.integer], names: Sequence[str]
) -> Figure:
    """Frames one beside the other: colour, depth and instance ids.

    Args:
        rgb: [N, H, W, 3] uint8.
        depth: [N, H, W] z-depth in metres, drawn from 0 to the farthest of all frames.
        instance: [N, H, W] ids; each id has one random colour in all frames, 0 is black.
        names: N captions.
    """
    palette = np.random.default_rng(0).integers(60, 255, (int(instance.max()) + 1, 3), dtype=np.uint8)
    palette[0] = 0
    shaded = colormaps["viridis_r"](depth / max(float(depth.max()), 1e-9))[..., :3]  # [N, H, W, 3]
    rows = {"colour": rgb, f"depth, 0 to {depth.max():.1f} m": shaded, "instance ids": palette[instance]}
    figure, grid = _grid(len(rows), len(rgb), aspect=rgb.shape[1] / rgb.shape[2])
    for axes, (label, images) in zip(grid, rows.items(), strict=True):
        for column, image in enumerate(images):
            _image(axes[column], image)
        axes[0].set_ylabel(label, fontsize=8, color=INK)
    for axis, name in zip(grid[0], names, strict=True):
        axis.set_title(name, fontsize=8, color=FAINT)
    return figure


def floor_plan(metadata: Mapping[str, Any], frames: pd.DataFrame, *, marked: Sequence[int] = ()) -> Figure:
    """A walk seen from above: rooms, the boxes of things, the path with the agent's headings.

    Args:
        metadata: of the sequence; its rooms and objects.
        frames: frame table of the sequence.
        marked: instance ids to fill and name.

    Axes are world x (right) and z (down), metres, so that +Y points at the viewer.
    """
    states = np.stack(frames["state"].to_list())  # [T, 5] x, y, z, yaw, pitch
    figure = Figure(figsize=(6.2, 5.6), dpi=110, facecolor="white", layout="constrained")
    axes = figure.subplots()
    for room in metadata["rooms"]:
        x0, z0, x1, z1 = room["rectangle"]
        axes.add_patch(Rectangle((x0, z0), x1 - x0, z1 - z0, fc="#f7f8f9", ec=INK, lw=1.2))
        axes.text(x0 + 0.1, z0 + 0.1, room["name"], va="top", fontsize=7.5, color=FAINT)
    for item in metadata["objects"]:
        if item["category"] not in STRUCTURE:
            _footprint(axes, item, marked=item["id"] in set(marked))
    x, z, yaw = states[:, 0], states[:, 2], states[:, 3]
    axes.plot(x, z, color=ACCENT, lw=1.2)
    axes.quiver(x, z, -np.sin(yaw), -np.cos(yaw), np.arange(len(x)), cmap="viridis", width=0.006, **_ARROWS)
    axes.plot(x[0], z[0], "o", color=ACCENT, ms=6)
    axes.set_aspect("equal")
    axes.autoscale_view()
    axes.invert_yaxis()
    axes.set_xlabel("x, metres", fontsize=8)
    axes.set_ylabel("z, metres", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[:].set_visible(False)
    return figure


_ARROWS: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 2.5, "zorder": 3}


def _footprint(axes: Axes, item: Mapping[str, Any], *, marked: bool) -> None:
    (x0, _, z0), (x1, _, z1) = item["box_min"], item["box_max"]
    face = "#f3c9ba" if marked else "none"
    axes.add_patch(Rectangle((x0, z0), x1 - x0, z1 - z0, fc=face, ec=ACCENT if marked else FAINT, lw=0.6))
    if marked:
        axes.text((x0 + x1) / 2, (z0 + z1) / 2, item["category"], ha="center", va="center", fontsize=6.5)


def target_sheet(
    current: NDArray[np.uint8],
    keyframes: NDArray[np.uint8],
    names: Sequence[str],
    classes: NDArray[np.uint8],
    targets: Mapping[str, NDArray[np.floating]],
) -> Figure:
    """Current view, keyframes, and per keyframe the classes and target heatmaps drawn in the current view.

    Args:
        current: [H, W, 3] uint8.
        keyframes: [K, H, W, 3] uint8.
        names: K captions of the keyframes.
        classes: [K, h, w] as ``covisibility`` or ``reduce_to_grid`` gives them; pixels without depth are grey.
        targets: masks [K, h, w] in [0, 1] by instruction ("" = everything), one row each.
    """
    dark = muted(current)
    rows: list[tuple[str, list[NDArray[np.uint8]]]] = [
        ("", list(keyframes)),
        ("classes", [class_overlay(dark, np.minimum(part, 2)) for part in classes]),
    ]
    for text, masks in targets.items():
        heat = [overlay_heatmap(dark, mask, opacity=0.65) for mask in masks]
        rows.append((f"“{text}”" if text else "everything", heat))
    figure, grid = _grid(len(rows), 1 + len(keyframes), aspect=current.shape[0] / current.shape[1])
    for axes, (label, images) in zip(grid, rows, strict=True):
        for axis, image in zip(axes[1:], images, strict=True):
            _image(axis, image)
        if label:
            axes[0].axis("off")
            axes[0].text(1, 0.5, textwrap.fill(label, 16), ha="right", va="center", fontsize=8.5, color=INK)
    _image(grid[0][0], current).set_title("current view", fontsize=8, color=INK)
    for axis, name in zip(grid[0][1:], names, strict=True):
        axis.set_title(name, fontsize=8, color=FAINT)
    handles = [Patch(color=c / 255, label=name) for c, name in zip(CLASS_COLOURS, CLASS_NAMES, strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def statistics_bars(statistics: Mapping[str, Any]) -> Figure:
    """Range (thin), 1 % to 99 % (thick) and mean (dot) of every dimension of the statistics file."""
    groups = {name: part for name, part in statistics.items() if isinstance(part, Mapping)}
    figure = Figure(figsize=(7.5, 0.8 + 0.28 * sum(len(g["names"]) for g in groups.values())), dpi=110)
    figure.set_layout_engine("constrained")
    ratios = [len(part["names"]) for part in groups.values()]
    panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=ratios)[:, 0]
    for axes, (name, part) in zip(panels, groups.items(), strict=True):
        rows = np.arange(len(part["names"]))[::-1]
        axes.hlines(rows, part["min"], part["max"], color=FAINT, lw=1)
        axes.hlines(rows, part["q01"], part["q99"], color=INK, lw=3.5)
        axes.plot(part["mean"], rows, "o", color=ACCENT, ms=5)
        axes.set_yticks(rows, part["names"], fontsize=8)
        axes.set_title(f"{name}, {part['count']} rows (metres, radians)", fontsize=8, loc="left")
        axes.grid(axis="x", color=GRID)
        axes.tick_params(labelsize=7.5, length=0)
        axes.spines[:].set_visible(False)
    return figure


def _grid(rows: int, columns: int, *, aspect: float) -> tuple[Figure, NDArray[Any]]:
    """A figure with rows x columns axes for images of an aspect ratio (height / width)."""
    size = (0.3 + columns * _CELL, 0.5 + rows * (_CELL * aspect + 0.05))
    figure = Figure(figsize=size, dpi=110, facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _image(axes: Axes, image: NDArray[Any]) -> Axes:
    axes.imshow(image, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return axes
