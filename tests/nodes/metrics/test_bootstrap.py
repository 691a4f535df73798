"""Statistics over scenes and their intervals."""

import json

import numpy as np
import pytest

from vln_heatmap.nodes.metrics.bootstrap import (
    Difference,
    MeanOf,
    Ratio,
    interval,
    scene_weights,
    summary,
    value,
)


def test_weights_draw_as_many_scenes_as_there_are():
    weights = scene_weights(7, 50, seed=1)
    assert weights.shape == (50, 7)
    assert (weights.sum(1) == 7).all()
    assert (weights == scene_weights(7, 50, seed=1)).all()
    assert not (weights == scene_weights(7, 50, seed=2)).all()


def test_ratio_pools_instead_of_averaging():
    ratio = Ratio(np.array([1.0, 0.0]), np.array([1.0, 9.0]))
    assert value(ratio, 2) == pytest.approx(0.1)
    assert ratio.values(np.array([[2.0, 0.0]]))[0] == 1.0


def test_nothing_to_divide_is_empty_or_unknown():
    none = np.zeros(2)
    assert value(Ratio(none, none, empty=1.0, samples=np.ones(2)), 2) == 1.0
    assert value(Ratio(none, none, empty=1.0, samples=none), 2) is None
    assert value(Ratio(none, none), 2) is None


def test_mean_leaves_unknown_parts_out():
    known, unknown = Ratio(np.ones(2), np.full(2, 4.0)), Ratio(np.zeros(2), np.zeros(2))
    assert value(MeanOf((known, unknown)), 2) == 0.25
    assert value(MeanOf((unknown, unknown)), 2) is None


def test_interval_of_equal_scenes_is_a_point():
    ratio = Ratio(np.full(5, 3.0), np.full(5, 4.0))
    assert interval(ratio, scene_weights(5, 200, 0)) == pytest.approx([0.75, 0.75])


def test_interval_has_the_width_of_the_mean_of_scenes():
    """For a plain mean of n equal-sized scenes, the bootstrap's spread is std / sqrt(n)."""
    scene_means = np.random.default_rng(0).normal(size=400)
    low, high = interval(Ratio(scene_means, np.ones(400)), scene_weights(400, 4000, 0))
    assert (high - low) / (2 * 1.96) == pytest.approx(scene_means.std() / 20, rel=0.06)
    assert low < scene_means.mean() < high


def test_one_scene_gives_no_interval():
    assert interval(Ratio(np.ones(1), np.ones(1)), scene_weights(1, 10, 0)) is None


def test_paired_difference_of_a_shifted_method_is_certain():
    first = np.random.default_rng(0).random(6)
    ratios = [Ratio(first + shift, np.ones(6)) for shift in (0.1, 0.0)]
    assert interval(Difference(*ratios), scene_weights(6, 100, 0)) == pytest.approx([0.1, 0.1])


def test_summary_is_json_without_nan():
    out = summary(
        {"x": Ratio(np.zeros(2), np.zeros(2)), "y": Ratio(np.ones(2), np.ones(2))}, scene_weights(2, 9, 0)
    )
    assert json.loads(json.dumps(out, allow_nan=False)) == {
        "x": None,
        "x_ci": None,
        "y": 1.0,
        "y_ci": [1.0, 1.0],
    }


def test_no_scenes_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        scene_weights(0, 10, 0)
