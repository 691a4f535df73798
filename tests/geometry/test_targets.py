"""Target heatmaps: what counts, and that smoothing neither makes nor loses mass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.geometry.covisibility import COVISIBLE, IGNORE, OCCLUDED, OUTSIDE
from vln_heatmap.geometry.targets import target_heatmaps


def test_without_smoothing_the_mask_is_the_referred_covisible_area() -> None:
    classes = np.array(
        [[[COVISIBLE, COVISIBLE], [OCCLUDED, IGNORE]], [[OUTSIDE, COVISIBLE], [OUTSIDE, IGNORE]]]
    )
    classes = classes.astype(np.uint8)
    instance = np.array([[7, 8], [7, 0]])
    everything = target_heatmaps(classes, instance, (), 0)
    np.testing.assert_array_equal(everything.mask, [[[1, 1], [0, 0]], [[0, 1], [0, 0]]])
    np.testing.assert_array_equal(everything.distribution, [[[0.5, 0.5], [0, 0]], [[0, 1], [0, 0]]])
    sevens = target_heatmaps(classes, instance, [7], 0)
    np.testing.assert_array_equal(sevens.mask, [[[1, 0], [0, 0]], [[0, 0], [0, 0]]])
    np.testing.assert_array_equal(sevens.valid, [True, False])
    np.testing.assert_array_equal(sevens.distribution[1], 0)


def test_a_point_becomes_a_gaussian() -> None:
    classes = np.full((1, 31, 31), OUTSIDE, np.uint8)
    classes[0, 15, 15] = COVISIBLE
    (mask,) = target_heatmaps(classes, np.ones((31, 31), int), (), 2.0).mask
    r2 = (np.arange(31)[:, None] - 15) ** 2 + (np.arange(31) - 15) ** 2
    np.testing.assert_allclose(mask, np.exp(-r2 / 8) / (2 * np.pi * 4), atol=1e-4)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**16), sigma=st.floats(0, 12), size=st.integers(2, 24), share=st.floats(0, 1))
def test_mass_is_kept_and_values_stay_in_range(seed: int, sigma: float, size: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    classes = np.where(rng.random((3, size, size)) < share, COVISIBLE, OUTSIDE).astype(np.uint8)
    targets = target_heatmaps(classes, np.ones((size, size), int), (), sigma)
    counts = (classes == COVISIBLE).sum((1, 2))
    np.testing.assert_allclose(targets.mask.sum((1, 2)), counts, rtol=1e-4)
    assert targets.mask.min() >= 0
    assert targets.mask.max() <= 1
    np.testing.assert_array_equal(targets.valid, counts > 0)
    np.testing.assert_allclose(targets.distribution.sum((1, 2)), targets.valid, atol=1e-5)


def test_a_full_view_stays_one_up_to_the_border() -> None:
    targets = target_heatmaps(np.zeros((1, 16, 16), np.uint8), np.ones((16, 16), int), (), 3.0)
    np.testing.assert_allclose(targets.mask, 1, atol=1e-5)


def test_on_a_coarser_grid_a_cell_starts_as_its_share() -> None:
    classes = np.full((1, 4, 4), OUTSIDE, np.uint8)
    classes[0, 0, :3] = COVISIBLE
    targets = target_heatmaps(classes, np.ones((4, 4), int), (), 0, grid=(2, 2))
    np.testing.assert_allclose(targets.mask[0], [[0.5, 0.25], [0, 0]])


def test_an_instruction_about_nothing_in_view_is_not_valid() -> None:
    targets = target_heatmaps(np.zeros((2, 4, 4), np.uint8), np.ones((4, 4), int), [5], 1.0)
    assert not targets.valid.any()
    assert not targets.mask.any()


def test_no_keyframes_give_no_targets() -> None:
    targets = target_heatmaps(np.zeros((0, 8, 8), np.uint8), np.ones((8, 8), int), (), 1.0, grid=(4, 4))
    assert targets.mask.shape == (0, 4, 4)
    assert targets.valid.shape == (0,)


def test_wrong_sizes_and_a_negative_sigma_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(4, 4\) pixels, but instance ids \(5, 4\)"):
        target_heatmaps(np.zeros((1, 4, 4), np.uint8), np.ones((5, 4), int))
    with pytest.raises(ValueError, match="got -1"):
        target_heatmaps(np.zeros((1, 4, 4), np.uint8), np.ones((4, 4), int), (), -1)
