"""Overlays: what stays untouched, and that more looks brighter."""

import numpy as np
import pytest

from vln_heatmap.reporting.overlays import overlay_heatmap

GREY = np.full((12, 16, 3), 128, np.uint8)


def test_zero_leaves_the_image_untouched():
    image = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(overlay_heatmap(image, np.zeros((3, 4))), image)


def test_only_the_hot_half_changes():
    heatmap = np.zeros((12, 16))
    heatmap[:, 8:] = 1
    drawn = overlay_heatmap(GREY, heatmap)
    np.testing.assert_array_equal(drawn[:, :8], GREY[:, :8])
    assert (drawn[:, 8:] != GREY[:, 8:]).any(-1).all()


def test_more_is_never_darker_on_black():
    ramp = np.linspace(0, 1, 64)[None].repeat(4, 0)
    drawn = overlay_heatmap(np.zeros((4, 64, 3), np.uint8), ramp).astype(float)
    luminance = drawn[0] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) >= -1).all()  # rounding to 8 bits
    assert luminance[-1] > 150


def test_values_out_of_bounds_are_clipped_and_nan_is_nothing():
    np.testing.assert_array_equal(
        overlay_heatmap(GREY, np.full((2, 2), 9.0)), overlay_heatmap(GREY, np.ones((2, 2)))
    )
    np.testing.assert_array_equal(overlay_heatmap(GREY, np.full((2, 2), np.nan)), GREY)


def test_small_heatmaps_are_smooth_over_the_image():
    drawn = overlay_heatmap(GREY, np.array([[0.0, 1.0]]))
    assert len(np.unique(drawn[0, :, 0])) > 4


@pytest.mark.parametrize("heatmap", [np.zeros(4), np.zeros((1, 2, 2)), np.zeros((0, 2))])
def test_other_shapes_are_refused(heatmap):
    with pytest.raises(ValueError, match="heatmap"):
        overlay_heatmap(GREY, heatmap)


def test_opacity_out_of_bounds_is_refused():
    with pytest.raises(ValueError, match="opacity must be in"):
        overlay_heatmap(GREY, np.zeros((2, 2)), opacity=1.5)
