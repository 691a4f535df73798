"""Weights of samples: shares that can be reached are reached, others come as near as they can."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vln_heatmap.nodes.sampling import achieved_shares, level_weights

NAMES = ("a", "b", "c")


def test_separate_levels_get_their_shares_exactly() -> None:
    levels = [["a"]] * 6 + [["b"]] * 3 + [["c"]] * 1
    weights = level_weights(levels, {"a": 0.5, "b": 0.3, "c": 0.2})
    np.testing.assert_allclose(weights, [0.5 / 0.6] * 6 + [1.0] * 3 + [2.0], rtol=1e-6)


def test_crossed_levels_stay_independent() -> None:
    """From equal numbers of all four combinations, the nearest weights with given margins are the products."""
    levels = [[], ["a"], ["b"], ["a", "b"]] * 5
    weights = level_weights(levels, {"a": 0.4, "b": 0.3})
    expected = [4 * p for p in (0.6 * 0.7, 0.4 * 0.7, 0.6 * 0.3, 0.4 * 0.3)] * 5
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_overlapping_levels_add_up_to_more_than_one() -> None:
    levels = [["a"]] * 4 + [["a", "b"]] * 2 + [["b"]] * 4 + [[]] * 2
    wanted = {"a": 0.7, "b": 0.6}
    achieved = achieved_shares(levels, level_weights(levels, wanted), NAMES)
    assert achieved == pytest.approx(wanted | {"c": 0.0}, abs=1e-6)


def test_shares_that_cannot_be_meet_in_the_middle() -> None:
    """Two levels that exclude each other, wanted in 0.8 and 0.4: the mean of what either asks, in log odds."""
    levels = [["a"]] * 5 + [["b"]] * 5

    def odds(share: float) -> float:
        return math.log(share / (1 - share))

    middle = 1 / (1 + math.exp(-(odds(0.8) + odds(0.6)) / 2))
    achieved = achieved_shares(levels, level_weights(levels, {"a": 0.8, "b": 0.4}), ["a", "b"])
    assert achieved == pytest.approx({"a": middle, "b": 1 - middle}, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(NAMES), max_size=3), min_size=4, max_size=40),
    st.lists(st.floats(0.2, 5), min_size=40, max_size=40),
)
def test_shares_of_some_weights_are_found_again(levels: list[list[str]], drawn: list[float]) -> None:
    """Wanted shares come from random weights, so that they can be reached."""
    wanted = achieved_shares(levels, drawn[: len(levels)], NAMES)
    present = achieved_shares(levels, np.ones(len(levels)), NAMES)
    assume(all(share in (0, 1) or 0.05 < share < 0.95 for share in wanted.values()))
    weights = level_weights(levels, wanted)
    assert weights.mean() == pytest.approx(1)
    assert (weights > 0).all()
    for name, share in achieved_shares(levels, weights, NAMES).items():
        assert share == pytest.approx(wanted[name] if 0 < present[name] < 1 else present[name], abs=2e-3)
    for one, own in zip(weights, levels, strict=True):  # the same levels, the same weight
        assert all(one == w for w, other in zip(weights, levels, strict=True) if set(other) == set(own))


def test_the_prior_is_kept_within_a_level() -> None:
    levels = [["a"], ["a"], ["b"], ["b"]]
    weights = level_weights(levels, {"a": 0.75, "b": 0.25}, prior=[1.0, 3.0, 1.0, 1.0])
    np.testing.assert_allclose(weights, [0.75, 2.25, 0.5, 0.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("levels", "shares"),
    [
        ([["a"], ["b"]], {}),
        ([["a"]] * 3, {"a": 0.4}),  # all serve it
        ([["a"], []], {"b": 0.4}),  # nobody does
        ([["a"], []], {"a": 0.0}),  # nothing is asked
        ([["a"], []], {"a": 1.0}),
    ],
)
def test_where_nothing_binds_weights_are_equal(levels: list[list[str]], shares: dict[str, float]) -> None:
    assert (level_weights(levels, shares) == 1.0).all()


def test_no_level_is_drawn_more_than_allowed() -> None:
    levels = [["a"]] + [[]] * 99
    assert level_weights(levels, {"a": 0.5})[0] == pytest.approx(50)
    limited = level_weights(levels, {"a": 0.5}, most=10.0)
    assert limited[0] / limited.mean() == pytest.approx(10, rel=0.1)
    assert (limited > 0).all()
