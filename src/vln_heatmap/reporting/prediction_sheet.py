"""One picture of a prediction: the current view, and under every keyframe the heatmap that belongs to it.

Invariant: a heatmap is drawn over the current view, and stands below the keyframe it answers for.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from vln_heatmap.reporting.overlays import HEAT_COLOURS, overlay_heatmap

_COLUMNS = 4


def prediction_sheet(clip: Any, prediction: Any, instruction: str) -> Any:
    """Summary of a prediction as a PIL image.

    Args:
        clip: ``Clip`` that was looked at.
        prediction: ``Prediction`` for it.
        instruction: text, empty for everything.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from PIL import Image

    count = len(prediction.keyframe_indices)
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    current = clip.frames[prediction.current_index]
    height = 2.3 * current.shape[0] / current.shape[1]
    figure = Figure(
        figsize=(2.3 * (columns + 1.5), 0.9 + rows * (2 * height + 0.55)), layout="constrained", dpi=110
    )
    left, right = figure.subfigures(1, 2, width_ratios=(1.45, columns))
    axis = left.subplots()
    axis.imshow(current)
    axis.set_title(f"current view: frame {clip.numbers[prediction.current_index]}", fontsize=9)
    axis.axis("off")
    axes = np.atleast_2d(right.subplots(2 * rows, columns, squeeze=False))
    for axis in axes.flat:
        axis.axis("off")
    for i, index in enumerate(prediction.keyframe_indices):
        row, column = 2 * (i // columns), i % columns
        axes[row, column].imshow(clip.frames[index])
        axes[row, column].set_title(f"keyframe {clip.numbers[index]}", fontsize=8)
        axes[row + 1, column].imshow(overlay_heatmap(current, prediction.heatmaps[i]))
        axes[row + 1, column].set_title(f"seen again: {prediction.validity[i]:.0%}", fontsize=8)
    colours = figure.colorbar(
        _scale(ListedColormap(HEAT_COLOURS)), ax=left.axes, orientation="horizontal", shrink=0.8, pad=0.02
    )
    colours.set_label("probability that the keyframe saw it", fontsize=7)
    colours.ax.tick_params(labelsize=7)
    figure.suptitle(f"“{instruction}”" if instruction.strip() else "everything (no instruction)", fontsize=11)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(io.BytesIO(buffer.getvalue()))


def _scale(colours: Any) -> Any:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    return ScalarMappable(Normalize(0, 1), colours)
