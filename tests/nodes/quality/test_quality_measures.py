"""Single measures against images for which the value is known."""

from __future__ import annotations

import numpy as np
import pytest
from box_walks import walk
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter1d

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.nodes.quality.annotation import visible_error
from vln_heatmap.nodes.quality.coverage import seen_growth, viewpoints
from vln_heatmap.nodes.quality.footage import look_at, pair_starts
from vln_heatmap.nodes.quality.geometric import floor_error, pose_jumps, rotation_angles
from vln_heatmap.nodes.quality.grades import grade, weakest, weighted
from vln_heatmap.nodes.quality.measures import clipped_share, depth_noise, edge_sharpness, entropy
from vln_heatmap.nodes.quality.smoothness import jitter
from vln_heatmap.params import QualityParams

PARAMS = QualityParams()


def test_grades_are_linear_between_bad_and_good() -> None:
    assert grade([1.0, 2.0, 2.5, 3.0, 9.0], (2.0, 3.0)).tolist() == [0, 0, 0.5, 1, 1]
    assert grade([0.0, 1.0, 2.0], (2.0, 0.0)).tolist() == [1, 0.5, 0]
    assert weakest([0.5, np.nan, 0.2]) == 0.2
    assert weakest([np.nan]) == weakest([]) == 1.0
    assert weighted({"a": 1.0, "b": 0.0}, {"a": 3, "b": 1, "c": 5}) == 0.75


@given(st.lists(st.floats(-10, 10), min_size=1), st.floats(-5, 5), st.floats(0.1, 5))
def test_grades_stay_in_the_unit_interval_and_keep_the_order(
    values: list[float], bad: float, gap: float
) -> None:
    grades = grade(sorted(values), (bad, bad + gap))
    assert ((grades >= 0) & (grades <= 1)).all()
    assert (np.diff(grades) >= 0).all()
    np.testing.assert_allclose(grade(-np.array(values), (-bad, -bad - gap)), grade(values, (bad, bad + gap)))


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("contrast", [20, 200])
def test_an_edge_blurred_over_k_pixels_has_a_kth_of_its_sharpness(width: int, contrast: int) -> None:
    ids = np.ones((1, 32, 32), int)
    ids[..., 16:] = 2
    grey = np.where(ids == 2, contrast + 10, 10).astype(np.float32)
    grey = uniform_filter1d(grey, width, axis=-1)
    assert edge_sharpness(grey, ids, 1)[0] == pytest.approx(1 / width, rel=1e-3)


def test_an_image_without_edges_is_not_blurred() -> None:
    ids = np.ones((2, 32, 32), int)
    ids[..., 16:] = 2
    smooth = np.full((2, 32, 32), 90, np.float32)
    assert np.isnan(edge_sharpness(smooth, ids, 1)).all()  # the border has no contrast
    assert np.isnan(
        edge_sharpness(smooth + np.arange(32) * 5, np.ones_like(ids), 1)
    ).all()  # and here is none


def test_entropy_counts_the_bits_of_equally_frequent_levels() -> None:
    levels = np.repeat(np.arange(8) * 30, 8).reshape(1, 8, 8).astype(np.float32)
    plain = np.full((1, 8, 8), 77, np.float32)
    np.testing.assert_allclose(entropy(np.concatenate([levels, plain])), [3, 0])


def test_black_and_white_are_clipped() -> None:
    image = np.array([[[0, 2, 100, 255]]], np.float32)
    assert clipped_share(image)[0] == 0.75


def test_a_slanted_plane_is_smooth_and_noise_is_measured() -> None:
    camera, rng = PinholeCamera(64, 64, 90.0), np.random.default_rng(0)
    plane = 4 / (camera.directions() @ np.array([0.5, -0.4, 1.0]))[None]  # [1, H, W]
    ids = np.ones(plane.shape, int)
    assert depth_noise(plane, ids, 1)[0] < 1e-9
    noisy = plane * rng.normal(1, 0.01, plane.shape)
    # the median of |N(0, 6 s²)|: sqrt(6) * 0.6745 s
    assert depth_noise(noisy, ids, 1)[0] == pytest.approx(np.sqrt(6) * 0.6745 * 0.01, rel=0.1)
    steps = np.where(np.arange(64) % 8 < 4, 1.0, 3.0)[None, None].repeat(64, 1)
    assert depth_noise(steps, (steps > 2).astype(int), 1)[0] == 0  # edges between instances are not noise
    assert np.isnan(depth_noise(plane * 0, ids, 1)).all()


@pytest.mark.parametrize("scale", [1.0, 1.05, 0.9])
def test_floor_tells_the_scale_of_depth(scale: float) -> None:
    import dataclasses

    sequence = walk()
    scaled = dataclasses.replace(sequence, depth=sequence.depth * np.float32(scale))
    errors = floor_error(look_at(scaled, PARAMS))
    np.testing.assert_allclose(errors, abs(scale - 1), atol=1e-3)


def test_a_floor_on_which_nobody_stands_tells_nothing() -> None:
    sequence = walk()
    sequence.metadata["objects"][2]["box_max"] = [3.0, -0.4, 2.5]
    assert np.isnan(floor_error(look_at(sequence, PARAMS))).all()


def test_jumps_are_multiples_of_what_is_allowed() -> None:
    poses = np.stack(
        [look_pose((0, 1, 0), 0.0), look_pose((0.15, 1, 0), 0.0), look_pose((0.15, 1, 0), np.pi / 6)]
    )
    np.testing.assert_allclose(pose_jumps(poses, PARAMS), [0.5, 1.5])
    poses[1, 0, 3] = np.nan
    assert np.isinf(pose_jumps(poses, PARAMS)).all()
    assert rotation_angles(poses[:1], poses[2:]) == pytest.approx(30)


def test_jitter_counts_steps_that_take_back_the_one_before() -> None:
    def line(xs: list[float]) -> np.ndarray:
        return np.stack([look_pose((x, 1.0, 0.0), 0.0) for x in xs])

    assert jitter(line([0, 0.1, 0.2, 0.3]), PARAMS) == 0
    assert jitter(line([0, 0.1, 0, 0.1]), PARAMS) == 1
    assert jitter(line([0, 0.1, 0.2, 0.1, 0]), PARAMS) == pytest.approx(1 / 3)  # turns round once
    assert jitter(line([0, 0, 0]), PARAMS) == 0
    turning = np.stack([look_pose((0, 1, 0), yaw) for yaw in (0.0, 0.1, 0.0, 0.1)])
    assert jitter(turning, PARAMS) == 1


def test_view_points_are_counted_once_each() -> None:
    poses = [look_pose((x, 1.0, 0.0), yaw) for x in (0.0, 0.1, 2.0) for yaw in (0.0, 0.02, np.pi / 2)]
    assert viewpoints(np.stack(poses), 0.5) == 4  # two places, two headings


def test_seen_space_grows_by_what_is_new() -> None:
    still = walk("a_00", "f" * 6)
    stays = look_at(still, PARAMS)
    assert seen_growth(look_at(walk("a_00", ""), PARAMS), PARAMS) == 1.0
    assert 1.0 < seen_growth(stays, PARAMS) < seen_growth(look_at(walk("a_00", "l" * 24), PARAMS), PARAMS)


def test_visible_error_is_the_share_of_pixels_in_dispute() -> None:
    instance = np.array([[1, 1], [2, 0]], np.int32)
    assert visible_error(instance, [1, 2], [2, 1]) == 0
    assert visible_error(instance, [1], [2]) == 0.25
    assert visible_error(instance, [1, 2, 5], [1, 1, 1]) == 0.5


@pytest.mark.parametrize(("length", "pairs"), [(1, 4), (2, 4), (9, 3), (9, 100)])
def test_pairs_are_spread_over_the_sequence(length: int, pairs: int) -> None:
    starts = pair_starts(length, pairs)
    assert len(starts) == max(1, min(pairs, length - 1))
    assert starts[0] == 0
    assert starts[-1] == max(0, length - 2)


@pytest.mark.parametrize("changes", [{"jump": (1.0, 1.0)}, {"weights": (0,) * 5}, {"claims": {"x": 2}}])
def test_impossible_limits_are_refused(changes: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(changes)).removesuffix("s")):
        QualityParams(**changes)
