"""What series of numbers do, on series that were made to do it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vln_heatmap.nodes.training.curriculum.trend import (
    is_plateau,
    mean_change,
    relative_slope,
    slope,
    turning_share,
)


@given(st.integers(2, 20), st.floats(-5, 5), st.floats(-5, 5))
def test_the_slope_of_a_line_is_its_own(count: int, start: float, rise: float):
    assert slope([start + rise * i for i in range(count)]) == pytest.approx(rise, abs=1e-9)


def test_a_relative_slope_has_no_unit():
    values = [1.0, 0.9, 0.8, 0.7]
    assert relative_slope(values) == pytest.approx(-0.1 / 0.85)
    assert relative_slope([7 * v for v in values]) == pytest.approx(relative_slope(values))
    assert relative_slope([0.0, 0.0]) == slope([3.0]) == relative_slope([]) == 0


def test_a_plateau_is_no_better_than_before_for_its_patience():
    options = {"patience": 3, "tolerance": 0.01}
    assert is_plateau([1.0, 0.995, 1.2, 0.992], **options)
    assert not is_plateau([1.0, 0.995, 0.98, 0.992], **options)  # 2 % better within the patience
    assert not is_plateau([1.0, 1.0, 1.0], **options)  # nothing before it


def test_a_swinging_series_turns_at_every_inner_value():
    assert turning_share([0, 1, 0, 1, 0]) == 1
    assert turning_share([0, 1, 2, 1, 0]) == pytest.approx(1 / 3)
    assert turning_share([0, 1, 2, 3]) == turning_share([1, 0]) == 0
    assert mean_change([0, 1, 0, 2]) == pytest.approx(4 / 3)
    assert mean_change([1.0]) == 0
