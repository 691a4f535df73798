"""Frames of navigation videos, and the figure of the closed loop."""

from __future__ import annotations

import numpy as np
from PIL import ImageFont

from vln_heatmap.reporting.navigation_figure import navigation_plot
from vln_heatmap.reporting.navigation_frames import navigation_frame, status_line, wrapped


def test_pictures_stand_side_by_side_over_the_caption():
    red, blue = np.full((10, 20, 3), (200, 0, 0), np.uint8), np.full((40, 40, 3), (0, 0, 200), np.uint8)
    frame = navigation_frame([red, blue], height=40, instruction="go", status="step 1")
    assert frame.shape == (40 + 64, 80 + 40, 3)
    assert frame[20, 40].tolist() == [200, 0, 0]
    assert frame[20, 100].tolist() == [0, 0, 200]
    assert frame[40:].max() > 200  # letters


def test_sides_are_even_and_do_not_depend_on_the_text():
    odd = np.zeros((33, 47, 3), np.uint8)
    shapes = {
        navigation_frame([odd], height=33, instruction="turn left " * n, status="x" * n).shape
        for n in (0, 1, 50)
    }
    assert len(shapes) == 1
    assert all(side % 2 == 0 for side in shapes.pop()[:2])


def test_lines_fit_and_lose_no_word():
    font = ImageFont.load_default(13)
    text = "leave the bedroom, turn left, pass the bookshelf on your left and stop at the sofa"
    lines = wrapped(text, 120, font)
    assert " ".join(lines) == text
    assert all(font.getlength(line) <= 120 for line in lines)
    assert wrapped("", 120, font) == []
    assert wrapped("incomprehensibilities", 5, font) == ["incomprehensibilities"]


def test_the_status_says_what_happens():
    assert status_line(3, 1, 2.25) == "step 3    FORWARD    2.2 m to go"
    assert status_line(9, 0, 0.3, "arrived").endswith("arrived")
    assert status_line(9, None, float("inf"), "out of steps") == "step 9    inf m to go    out of steps"


def test_the_figure_draws_every_value_with_its_interval():
    numbers = {"sr": 0.5, "sr_ci": [0.4, 0.7], "ne": None, "ne_ci": None}
    policies = {
        "random": {**numbers, "kinds": {"route": {"sr": 0.25, "sr_ci": None}}},
        "expert": {"sr": 1.0, "kinds": {}},
    }
    figure = navigation_plot(policies, title="t")
    success = figure.axes[0]
    drawn = [tuple(map(float, line.get_xdata())) for line in success.lines if len(line.get_xdata())]
    assert sorted(drawn) == sorted([(0.4, 0.7), (0.5,), (0.25,), (1.0,)])
    assert [label.get_text() for label in success.get_yticklabels()] == ["random", "expert"]
    assert not [line for line in figure.axes[4].lines if len(line.get_xdata())]  # no error is known
