"""One picture of a prediction: the current view, and under every keyframe the heatmap that belongs to it.

Invariant: a heatmap is drawn over the current view, and stands below the keyframe it answers for.
"""

from __future__ import annotations

import io
import math
import textwrap
from dataclasses import dataclass
from typing import Any

from vln_heatmap.reporting.overlays import HEAT_COLOURS, overlay_heatmap

_CELL, _TALLEST, _LEAST = 2.2, 2.8, 1.2  # inches: width of a picture, narrower if else taller than this
_LARGE = 1.5  # the current view, in cells
_MARGIN, _GAP, _TITLE, _LINE = 0.15, 0.12, 0.24, 0.27  # inches; a title is one line above a picture


@dataclass(frozen=True)
class Layout:
    """Where everything stands, in inches from the upper left corner, as (left, top, width, height).

    Args:
        count: keyframes, at least 1.
        aspect: height of a frame over its width.
        lines: of the headline.
    """

    count: int
    aspect: float
    lines: int

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of a picture."""
        width = max(_LEAST, min(_CELL, _TALLEST / self.aspect))
        return width, width * self.aspect

    @property
    def columns(self) -> int:
        """At most four, or as many as rows; no more than an even spread over the rows needs."""
        most = max(4, math.isqrt(self.count - 1) + 1)
        return -(-self.count // -(-self.count // most))

    @property
    def top(self) -> float:
        return _MARGIN + _LINE * self.lines

    @property
    def size(self) -> tuple[float, float]:
        _, top, width, height = self.heatmap(self.count - 1)
        right = self.pair(self.columns - 1)[0] + width
        below_colours = self.colours[1] + self.colours[3] + 0.55  # numbers and label
        return right + _MARGIN, max(top + height, below_colours) + _MARGIN

    @property
    def current(self) -> tuple[float, float, float, float]:
        return _MARGIN, self.top + _TITLE, _LARGE * self.cell[0], _LARGE * self.cell[1]

    @property
    def colours(self) -> tuple[float, float, float, float]:
        """The colour bar, below the current view."""
        left, top, width, height = self.current
        return left + 0.1 * width, top + height + 2 * _GAP, 0.8 * width, 0.1

    def pair(self, index: int) -> tuple[float, float, float, float]:
        """Keyframe number ``index``."""
        row, column = divmod(index, self.columns)
        width, height = self.cell
        left = _MARGIN + _LARGE * width + 3 * _GAP + column * (width + _GAP)
        return left, self.top + _TITLE + row * (2 * height + 2 * _TITLE + 2 * _GAP), width, height

    def heatmap(self, index: int) -> tuple[float, float, float, float]:
        """The heatmap of keyframe number ``index``, below it."""
        left, top, width, height = self.pair(index)
        return left, top + height + _TITLE, width, height


def prediction_sheet(clip: Any, prediction: Any, instruction: str) -> Any:
    """Summary of a prediction as a PIL image.

    Args:
        clip: ``Clip`` that was looked at.
        prediction: ``Prediction`` for it.
        instruction: text, empty for everything.
    """
    from matplotlib.figure import Figure
    from PIL import Image

    current = clip.frames[prediction.current_index]
    count, aspect = len(prediction.keyframe_indices), current.shape[0] / current.shape[1]
    text = f"“{instruction.strip()}”" if instruction.strip() else "everything (no instruction)"
    letters = int(9 * Layout(count, aspect, 1).size[0])  # that fit in a line of 12 points
    lines = textwrap.wrap(text, letters, max_lines=4, placeholder=" …")
    layout = Layout(count, aspect, len(lines))
    figure = Figure(figsize=layout.size, dpi=110)
    left, top = _MARGIN / layout.size[0], 1 - 0.7 * _MARGIN / layout.size[1]
    headline = figure.text(left, top, "\n".join(lines), fontsize=12, va="top")
    headline.set_parse_math(False)  # a user's "$" is no formula
    _show(figure, layout.current, current, f"current view: frame {clip.numbers[prediction.current_index]}")
    for i, index in enumerate(prediction.keyframe_indices):
        _show(figure, layout.pair(i), clip.frames[index], f"keyframe {clip.numbers[index]}")
        overlay = overlay_heatmap(current, prediction.heatmaps[i])
        _show(figure, layout.heatmap(i), overlay, f"seen again: {prediction.validity[i]:.0%}")
    _show_colours(figure, layout.colours, said=bool(instruction.strip()))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(io.BytesIO(buffer.getvalue()))


def _axes(figure: Any, box: tuple[float, float, float, float]) -> Any:
    """Axes at a place of the layout."""
    left, top, width, height = box
    wide, high = figure.get_size_inches()
    return figure.add_axes((left / wide, 1 - (top + height) / high, width / wide, height / high))


def _show(figure: Any, box: tuple[float, float, float, float], image: Any, title: str) -> None:
    axes = _axes(figure, box)
    axes.imshow(image, aspect="auto")
    axes.axis("off")
    axes.set_title(title, fontsize=9, pad=3)


def _show_colours(figure: Any, box: tuple[float, float, float, float], *, said: bool) -> None:
    """The scale of the heatmaps."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    scale = ScalarMappable(Normalize(0, 1), ListedColormap(HEAT_COLOURS))
    bar = figure.colorbar(scale, cax=_axes(figure, box), orientation="horizontal")
    meant = "\nand that the instruction means it" if said else ""
    bar.set_label(f"probability that the keyframe saw it{meant}", fontsize=7)
    bar.ax.tick_params(labelsize=7)
