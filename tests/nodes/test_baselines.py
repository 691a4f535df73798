"""Baselines where the right answer is known: on a painted wall, and where there is nothing to go by."""

from dataclasses import replace

import numpy as np
import pytest
from evaluation_world import GROUPS, SIDE, painted_world, strip
from sklearn.metrics import roc_auc_score

from vln_heatmap.nodes import baselines
from vln_heatmap.nodes.evaluation_windows import Window, draw_windows, read_window
from vln_heatmap.params import EvaluateParams

SIZE = (14, 14)


@pytest.fixture(scope="module")
def window() -> Window:
    world, samples = painted_world()
    drawn = draw_windows(
        samples[(samples["current"] == 7) & (samples["kind"] == "everything")], EvaluateParams(keyframes=4)
    )
    row = next(drawn[drawn["split"] == "test"].itertuples(index=False))
    return read_window(row, world, world, GROUPS)


@pytest.fixture(scope="module")
def truth(window) -> np.ndarray:
    return np.stack([strip(7, k) for k in window.keyframes])[:, ::4, ::4]


def test_all_ones_says_everything_was_seen(window):
    maps = baselines.all_ones(window, (3, 5))
    assert maps.scores.shape == (4, 3, 5)
    assert (maps.scores == 1).all()
    assert (maps.classes == 0).all()


def test_colours_of_the_strip_are_found_again(window, truth):
    scores = baselines.patch_colour(window, SIZE).scores
    np.testing.assert_allclose(scores[truth], 0, atol=5e-3)  # the same pixels; off by float32 cancellation
    assert scores[~truth].max() < -0.01


def test_features_of_the_strip_are_found_again(window, truth):
    scores = baselines.encoder_cosine(window, SIZE).scores
    np.testing.assert_allclose(scores[truth], 1, atol=1e-3)
    assert scores[~truth].max() < 0.999


def test_cosine_looks_at_the_groups_apart_and_at_nothing_behind_them(window):
    changed = window.features.copy()
    changed[:, : GROUPS[0]] *= 50  # length of a group must not matter
    changed[:, sum(GROUPS) :] = 7
    expected = baselines.encoder_cosine(window, SIZE).scores
    scores = baselines.encoder_cosine(replace(window, features=changed), SIZE).scores
    np.testing.assert_allclose(scores, expected, atol=1e-3)


def test_cosine_without_groups_is_refused(window):
    with pytest.raises(ValueError, match="names no groups"):
        baselines.encoder_cosine(replace(window, groups=()), SIZE)


def test_sift_matches_lie_in_the_strip(window, truth):
    scores = baselines.sift_ransac(window, SIZE).scores
    assert roc_auc_score(truth.ravel(), scores.ravel()) > 0.9


def test_sift_of_a_blank_view_is_empty(window):
    blank = window.rgb.copy()
    blank[-1] = 90
    assert (baselines.sift_ransac(replace(window, rgb=blank), SIZE).scores == 0).all()


def test_geometry_is_the_truth_on_a_wall(window, truth):
    maps = baselines.geometry(window, SIZE, sigma=0)
    np.testing.assert_array_equal(maps.scores > 0.5, truth)
    np.testing.assert_array_equal(maps.classes, np.where(truth, 0, 2))
    assert maps.validity.tolist() == truth.any((1, 2)).tolist()


def test_geometry_sees_what_stands_in_between(window, truth):
    depth = window.depth.copy()
    depth[:-1, :, : SIDE // 2] = 0.5  # keyframes look at a near thing on their left
    maps = baselines.geometry(replace(window, depth=depth), SIZE, sigma=0)
    columns = np.arange(SIDE)[::4] + 8 * (7 - window.keyframes[:, None])  # [K, w] columns in the keyframe
    hidden = truth & (columns < SIDE // 2)[:, None]
    np.testing.assert_array_equal(maps.classes, np.where(hidden, 1, np.where(truth, 0, 2)))


def test_geometry_keeps_to_the_ids_that_are_referred_to(window, truth):
    maps = baselines.geometry(replace(window, referred=(2,)), SIZE, sigma=0)
    np.testing.assert_array_equal(maps.scores > 0.5, truth & (window.instance[-1][::4, ::4] == 2))
    absent = baselines.geometry(replace(window, referred=(9,)), SIZE, sigma=0)
    assert (absent.scores == 0).all()
    assert (absent.validity == 0).all()


def test_geometry_behind_the_camera_is_outside(window):
    poses = window.poses.copy()
    poses[0] = poses[-1] @ np.diag([-1.0, 1.0, -1.0, 1.0])  # turned round
    assert (baselines.geometry(replace(window, poses=poses), SIZE, sigma=0).classes[0] == 2).all()


def test_geometry_tolerates_five_percent(window):
    poses = window.poses.copy()
    poses[:-1] = poses[-1]
    for step, seen in ((0.09, True), (0.12, False)):  # 4.5 and 6 % of two metres
        depth = window.depth.copy()
        depth[:-1] -= step
        classes = baselines.geometry(replace(window, poses=poses, depth=depth), SIZE, sigma=0).classes
        assert (classes == (0 if seen else 1)).all()


def test_mean_maps_are_means_by_rank(window):
    def one(level: float):
        mask = np.full((2, 2, 2), level) * np.array([1, 0.5])[:, None, None]
        shares = np.stack([np.stack([mask[k], 1 - mask[k], 0 * mask[k]]) for k in range(2)])
        return mask, np.array([level > 0.5, False]), shares

    means = baselines.mean_maps([one(0.2), one(0.8)], ranks=2)
    np.testing.assert_allclose(means.mask[:, 0, 0], [0.5, 0.25])
    np.testing.assert_allclose(means.valid, [0.5, 0])
    maps = means(window, (3, 3))  # four keyframes take the two ranks at even steps
    np.testing.assert_allclose(maps.scores[:, 1, 1], [0.5, 0.5, 0.25, 0.25])
    assert maps.classes[-1].tolist() == [[1] * 3] * 3


def test_mean_maps_of_fewer_keyframes_than_ranks_leave_no_gap():
    row = (np.ones((1, 2, 2)), np.array([True]), np.ones((1, 3, 2, 2)) / 3)
    means = baselines.mean_maps([row], ranks=5)
    assert means.mask.shape == (5, 2, 2)
    np.testing.assert_allclose(means.mask, 1)


def test_mean_maps_need_windows():
    with pytest.raises(ValueError, match="no training windows"):
        baselines.mean_maps([], ranks=2)


def test_resizing_keeps_constants_and_means():
    ramp = np.arange(16.0).reshape(1, 4, 4)
    np.testing.assert_allclose(baselines.resized(ramp, (2, 2))[0], [[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_allclose(baselines.resized(np.full((1, 3, 3), 0.4), (7, 5)), 0.4, rtol=1e-6)
