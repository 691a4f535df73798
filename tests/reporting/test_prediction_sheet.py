"""The prediction sheet: every picture has a place of its own, and any instruction can stand above."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.datasets.clip import Clip
from vln_heatmap.reporting.prediction_sheet import Layout, prediction_sheet

Box = tuple[float, float, float, float]


def apart(one: Box, other: Box) -> bool:
    return (
        one[0] + one[2] <= other[0]
        or other[0] + other[2] <= one[0]
        or one[1] + one[3] <= other[1]
        or other[1] + other[3] <= one[1]
    )


@settings(max_examples=80, deadline=None)
@given(count=st.integers(1, 60), aspect=st.floats(0.1, 8), lines=st.integers(1, 4))
def test_pictures_keep_apart_within_the_sheet_and_their_aspect(count: int, aspect: float, lines: int) -> None:
    layout = Layout(count, aspect, lines)
    pairs, heatmaps = ([place(i) for i in range(count)] for place in (layout.pair, layout.heatmap))
    pictures = [layout.current, *pairs, *heatmaps]
    assert all(apart(a, b) for a, b in itertools.combinations([*pictures, layout.colours], 2))
    for left, top, width, height in [*pictures, layout.colours]:
        assert min(left, top) > 0
        assert left + width < layout.size[0]
        assert top + height < layout.size[1]
    assert all(height / width == pytest.approx(aspect) for *_, width, height in pictures)
    for above, below in zip(pairs, heatmaps, strict=True):
        assert above[0] == below[0]
        assert 0 < below[1] - above[1] - above[3] < 0.5  # a heatmap stands right below its keyframe
    rows = -(-count // layout.columns)
    assert count - (rows - 1) * layout.columns > layout.columns - rows  # no row is much shorter


class Prediction:
    """Heatmaps 0 and 1 of a clip of three frames."""

    heatmaps = np.stack([np.zeros((12, 16)), np.ones((12, 16))]).astype(np.float32)
    validity = np.array([0.1, 0.9])
    keyframe_indices = np.array([0, 1])
    current_index = 2


def sheet(instruction: str) -> np.ndarray:
    frames = np.zeros((3, 12, 16, 3), np.uint8)
    frames[0, ..., 0], frames[1, ..., 1], frames[2, ..., 2] = 200, 200, 200  # red, green, blue
    clip = Clip(frames, np.array([0, 5, 9]), 10)
    return np.asarray(prediction_sheet(clip, Prediction(), instruction).convert("RGB"))


def at(pixels: np.ndarray, layout: Layout, box: Box) -> list[int]:
    """Colour in the middle of a place of the layout."""
    row = int((box[1] + box[3] / 2) / layout.size[1] * len(pixels))
    column = int((box[0] + box[2] / 2) / layout.size[0] * pixels.shape[1])
    return pixels[row, column].tolist()


def test_each_picture_stands_in_its_place() -> None:
    pixels, layout = sheet(""), Layout(2, 12 / 16, 1)
    assert at(pixels, layout, layout.current) == [0, 0, 200]
    assert at(pixels, layout, layout.pair(0)) == [200, 0, 0]
    assert at(pixels, layout, layout.pair(1)) == [0, 200, 0]
    assert at(pixels, layout, layout.heatmap(0)) == [0, 0, 200]  # nothing there: the current view itself
    red, green, blue = at(pixels, layout, layout.heatmap(1))
    assert min(red, green) > 100 > blue - 100


@pytest.mark.parametrize(
    "instruction",
    ["$x^{", "a $5 lamp for $6", "pass the sofa and " * 100, "x" * 2000, "two\nlines\tand a tab", "  "],
)
def test_any_instruction_can_stand_above(instruction: str) -> None:
    pixels = sheet(instruction)
    assert (pixels[:40] < 128).any()  # there is text
    assert (pixels[:, -5:] == 255).all()  # which does not run off the sheet
