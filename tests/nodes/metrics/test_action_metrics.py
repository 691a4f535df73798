"""Errors of actions against numbers that can be told in the head."""

from __future__ import annotations

import numpy as np
import pytest

from vln_heatmap.nodes.metrics.actions import action_scores, bin_of

ONE = np.ones(2)
KEYS = {"std": ONE, "low": -ONE, "high": ONE, "bins": 4, "names": ["x", "yaw"]}


def test_a_perfect_answer_has_no_error() -> None:
    truth = np.random.default_rng(0).uniform(-1, 1, (12, 2))
    scores = action_scores(truth, truth, np.arange(12) % 3, **KEYS)
    assert (scores["mse"], scores["mae"], scores["accuracy"]) == (0, 0, 1)
    assert scores["mse_by_step"] == [0, 0, 0]


def test_errors_are_in_deviations_and_told_by_step_and_dimension() -> None:
    truth = np.zeros((4, 2))
    said = np.array([[2.0, 0.0], [4.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
    scores = action_scores(said, truth, np.array([0, 1, 0, 1]), **(KEYS | {"std": np.array([2.0, 1.0])}))
    assert scores["mse_by_step"] == [0.5, 2.0]
    assert scores["mse_by_dimension"] == {"x": 2.5, "yaw": 0.0}
    assert scores["mae_by_dimension"] == {"x": 3.0, "yaw": 0.0}
    assert (scores["mse"], scores["mae"], scores["accuracy"]) == (1.25, 0.75, 0.5)


def test_the_mean_has_error_one_and_dimensions_that_never_change_are_left_out() -> None:
    truth = np.stack([np.random.default_rng(1).normal(5, 3, 4000), np.full(4000, 7.0)], 1)
    std = truth.std(0)
    said = np.broadcast_to([truth[:, 0].mean(), 0.0], truth.shape)
    scores = action_scores(said, truth, np.zeros(4000, int), **(KEYS | {"std": std}))
    assert scores["mse"] == pytest.approx(1)
    assert list(scores["mse_by_dimension"]) == ["x"]
    with pytest.raises(ValueError, match="ever changes"):
        action_scores(truth, truth, np.zeros(4000, int), **(KEYS | {"std": np.zeros(2)}))


def test_bins_divide_the_range_and_the_outer_ones_are_open() -> None:
    values = np.array([-9.0, -1.0, -0.51, 0.0, 0.49, 0.5, 1.0, 9.0])
    assert bin_of(values, -1.0, 1.0, 4).tolist() == [0, 0, 0, 2, 2, 3, 3, 3]


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got \(3, 2\) and \(2, 2\)"):
        action_scores(np.zeros((3, 2)), np.zeros((2, 2)), np.zeros(3, int), **KEYS)
