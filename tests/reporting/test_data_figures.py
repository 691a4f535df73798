"""Figures of recorded data show what they were given, where it belongs."""

from __future__ import annotations

import numpy as np
import pytest
from box_walks import CAMERA, walk
from matplotlib.patches import Rectangle

from vln_heatmap.reporting.data_figures import floor_plan, frame_sheet, statistics_bars, target_sheet
from vln_heatmap.reporting.figures import CLASS_COLOURS, muted

METADATA = {
    "rooms": [{"name": "hall", "rectangle": [-3.0, -2.5, 3.0, 2.5]}],
    "objects": [
        {"id": 1, "category": "wall", "box_min": [-3.1, 0, -2.5], "box_max": [-3, 2.6, 2.5]},
        {"id": 2, "category": "chair", "box_min": [1.0, 0, -1.0], "box_max": [1.5, 0.9, -0.6]},
        {"id": 3, "category": "plant", "box_min": [-2.0, 0, 1.0], "box_max": [-1.7, 1.2, 1.3]},
    ],
}


def test_a_floor_plan_shows_path_rooms_and_things_in_world_metres() -> None:
    sequence = walk()
    (axes,) = floor_plan(METADATA, sequence.frames, marked=[2]).axes
    states = np.stack(sequence.frames["state"].to_list())
    np.testing.assert_allclose(axes.lines[0].get_xydata(), states[:, [0, 2]])
    boxes = [patch.get_bbox().extents for patch in axes.patches if isinstance(patch, Rectangle)]
    expected = [[-3, -2.5, 3, 2.5], [1, -1, 1.5, -0.6], [-2, 1, -1.7, 1.3]]  # the room, then things, no wall
    np.testing.assert_allclose(boxes, expected)
    assert {text.get_text() for text in axes.texts} == {"hall", "chair"}
    assert axes.yaxis_inverted()  # seen from above: z grows towards the reader


def test_one_id_has_one_colour_in_all_frames_and_nothing_is_black() -> None:
    instance = np.array([[[0, 1], [2, 2]], [[1, 0], [2, 1]]])
    rgb, depth = np.zeros((2, 2, 2, 3), np.uint8), np.array([[[0.0, 2.0], [4.0, 1.0]]] * 2)
    figure = frame_sheet(rgb, depth, instance, ["a", "b"])
    first, second = (axes.images[0].get_array() for axes in figure.axes[4:])  # the last of three rows
    for number in (0, 1, 2):
        colours = np.concatenate([first[instance[0] == number], second[instance[1] == number]])
        assert (colours == colours[0]).all()
    assert (first[instance[0] == 0] == 0).all()
    assert (first[instance[0] == 1] > 0).all()


def test_a_target_sheet_draws_classes_and_heat_over_the_current_view() -> None:
    sequence = walk()
    current, keyframes = sequence.rgb[-1], sequence.rgb[:2]
    classes = np.zeros((2, CAMERA.height, CAMERA.width), np.uint8)
    classes[1] = 255  # no depth: drawn as grey as what is outside
    maps = {"": np.zeros((2, 6, 8)), "the chair": np.ones((2, 6, 8))}
    figure = target_sheet(current, keyframes, ["keyframe 0", "keyframe 1"], classes, maps)
    assert len(figure.axes) == 4 * 3  # keyframes, classes and two instructions; a column for the current view
    images = [axes.images[0].get_array() if axes.images else None for axes in figure.axes]
    np.testing.assert_array_equal(images[0], current)
    np.testing.assert_array_equal(images[2], keyframes[1])
    dark = muted(current).astype(float)
    np.testing.assert_allclose(images[4], 0.5 * dark + 0.5 * CLASS_COLOURS[0], atol=0.5)
    np.testing.assert_allclose(images[5], 0.5 * dark + 0.5 * CLASS_COLOURS[2], atol=0.5)
    np.testing.assert_array_equal(images[7], muted(current))  # an empty map leaves the image as it is
    assert not np.array_equal(images[10], muted(current))


def test_statistics_bars_span_the_quantiles() -> None:
    part = {"names": ["x"], "count": 5, "min": [0], "max": [9], "q01": [1], "q99": [8], "mean": [4]}
    (axes,) = statistics_bars({"state": part, "scenes": 2}).axes
    spans = [tuple(lines.get_segments()[0][:, 0]) for lines in axes.collections]
    assert spans == [(0, 9), (1, 8)]
    assert axes.lines[0].get_xdata() == pytest.approx([4])
