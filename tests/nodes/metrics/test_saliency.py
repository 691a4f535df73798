"""Distribution measures: closed forms and bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vln_heatmap.nodes.metrics import saliency

maps = arrays(np.float64, (3, 4, 5), elements=st.floats(-3, 3, allow_subnormal=False))


@settings(max_examples=60, deadline=None)
@given(maps)
def test_as_distribution_is_one(raw):
    result = saliency.as_distribution(raw)
    assert (result >= 0).all()
    np.testing.assert_allclose(result.sum((1, 2)), 1)


def test_as_distribution_of_flat_maps_is_uniform():
    for level in (0.0, -2.0, 7.0):
        np.testing.assert_allclose(saliency.as_distribution(np.full((1, 4, 5), level)), 1 / 20)


@settings(max_examples=60, deadline=None)
@given(maps, maps)
def test_bounds_and_perfect_values(first, second):
    p, q = saliency.as_distribution(first), saliency.as_distribution(second)
    assert (saliency.kl_divergence(p, q) >= -1e-9).all()
    assert (np.abs(saliency.correlation(p, q)) <= 1 + 1e-9).all()
    assert ((saliency.similarity(p, q) >= 0) & (saliency.similarity(p, q) <= 1 + 1e-9)).all()
    np.testing.assert_allclose(saliency.kl_divergence(p, p), 0, atol=1e-9)
    np.testing.assert_allclose(saliency.similarity(p, p), 1)


def test_half_against_the_whole():
    half = np.zeros((1, 2, 4))
    half[:, :, :2] = 1 / 4
    whole = np.full((1, 2, 4), 1 / 8)
    assert saliency.kl_divergence(half, whole)[0] == pytest.approx(np.log(2))
    assert saliency.similarity(half, whole)[0] == pytest.approx(0.5)
    assert saliency.correlation(half, whole)[0] == 0  # a constant correlates with nothing
    assert saliency.correlation(half, half[:, :, ::-1])[0] == pytest.approx(-1)


def test_constant_float32_map_counts_as_constant():
    varied = saliency.as_distribution(np.random.default_rng(0).random((1, 28, 28)))
    assert saliency.correlation(np.full((1, 28, 28), np.float32(1 / 784)), varied)[0] == 0


def test_peak_error_is_a_distance_in_image_widths():
    mask = np.zeros((2, 6, 10), bool)
    mask[:, 2, 1] = True
    predicted = np.zeros((2, 6, 10))
    predicted[0, 2, 4] = 1  # three pixels to the right
    predicted[1, 5, 5] = 1  # three down, four right
    np.testing.assert_allclose(saliency.peak_error(saliency.distance_to(mask), predicted), [0.3, 0.5])


def test_tied_peaks_share_the_error():
    mask = np.zeros((1, 1, 4), bool)
    mask[0, 0, 0] = True
    assert saliency.peak_error(saliency.distance_to(mask), np.ones((1, 1, 4)))[0] == pytest.approx(
        (0 + 1 + 2 + 3) / 16
    )


def test_distance_without_a_target_is_defined():
    assert (saliency.distance_to(np.zeros((1, 3, 3), bool)) == 1).all()
