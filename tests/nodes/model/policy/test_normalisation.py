"""Normalisation: exact inverses, known ends, constants, and statistics that do not fit."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vln_heatmap.nodes.model.policy.normalisation import (
    SCALINGS,
    Normaliser,
    StatisticsMismatchError,
    check_statistics,
    normalisers,
)
from vln_heatmap.nodes.statistics import Moments

scalings = st.sampled_from(sorted(SCALINGS))
rows = arrays(np.float64, st.tuples(st.integers(1, 40), st.just(3)), elements=st.floats(-1e4, 1e4))


def summary(values: np.ndarray) -> dict[str, Any]:
    return Moments.of(values).summary([f"d{n}" for n in range(values.shape[1])])


@given(values=rows, scaling=scalings)
def test_the_inverse_is_exact_up_to_rounding(values: np.ndarray, scaling: Any) -> None:
    normaliser = Normaliser.of(summary(values), scaling)
    back = normaliser.denormalised(normaliser.normalised(values))
    tolerance = 1e-6 * max(1, np.abs(values).max())  # below it, a dimension counts as constant
    np.testing.assert_allclose(back, values, atol=tolerance, rtol=0)
    assert (normaliser.low < normaliser.high).all()


def test_each_scaling_has_its_known_ends() -> None:
    values = np.linspace(-3, 5, 1001)[:, None]
    of = {name: Normaliser.of(summary(values), name) for name in SCALINGS}
    assert of["min_max"].normalised(np.array([-3.0, 1.0, 5.0])).tolist() == [-1, 0, 1]
    np.testing.assert_allclose(of["quantile"].normalised(np.array([-2.92, 4.92])), [-1, 1], atol=0.01)
    normal = of["mean_std"].normalised(values)
    assert normal.mean() == pytest.approx(0, abs=1e-9)
    assert normal.std() == pytest.approx(1)
    np.testing.assert_array_equal(of["none"].normalised(values), values)


@pytest.mark.parametrize("scaling", ["quantile", "min_max", "mean_std"])
def test_a_constant_dimension_is_zero_and_comes_back(scaling: Any) -> None:
    values = np.stack([np.full(50, 7.5), np.arange(50.0)], 1)
    normaliser = Normaliser.of(summary(values), scaling)
    assert not normaliser.normalised(values)[:, 0].any()
    assert normaliser.denormalised(np.array([123.0, 0.0]))[0] == 7.5


def test_a_dimension_that_rarely_changes_is_scaled_by_its_whole_range() -> None:
    values = np.zeros((1000, 1))
    values[0] = 4.0
    np.testing.assert_allclose(Normaliser.of(summary(values), "quantile").normalised(values[:2, 0]), [1, -1])


def test_untouched_dimensions_stay_as_they_are() -> None:
    values = np.random.default_rng(0).normal(5, 3, (100, 2))
    normaliser = Normaliser.of(summary(values), "mean_std", (1,))
    np.testing.assert_array_equal(normaliser.normalised(values)[:, 1], values[:, 1])
    assert abs(normaliser.normalised(values)[:, 0].mean()) < 1e-9
    with pytest.raises(ValueError, match="below 2, got 2"):
        Normaliser.of(summary(values), "mean_std", (2,))


def statistics() -> dict[str, Any]:
    values = np.random.default_rng(0).normal(size=(30, 3))
    return {
        "state": summary(values),
        "action": summary(values[:, :2]),
        "normalisation": {"action": "min_max", "untouched_action": [1]},
    }


def test_statistics_travel_as_json_and_others_are_refused() -> None:
    ours = statistics()
    through = json.loads(json.dumps(ours))
    check_statistics(ours, through, checkpoint="x")
    state, action = normalisers(through)
    assert state.scale.shape == (3,)
    assert action.scale[1] == 1.0
    other = copy.deepcopy(ours)
    other["action"]["q99"][0] += 0.1
    with pytest.raises(StatisticsMismatchError, match=r"action\.q99 = "):
        check_statistics(ours, other, checkpoint="x")
    with pytest.raises(StatisticsMismatchError, match=r"normalisation\.action = \"min_max\", .*have null"):
        check_statistics(ours, ours | {"normalisation": {}}, checkpoint="x")
