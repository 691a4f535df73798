"""Learning rates within a phase against their closed forms."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_curriculum import project_curriculum

from vln_heatmap.nodes.training.curriculum.phase_schedule import CURVES, phase_factor, phase_factors
from vln_heatmap.params.curriculum import PhaseParams

PHASES = project_curriculum().phases


def phase(epochs: int, **schedule: object) -> PhaseParams:
    return PhaseParams(epochs=epochs, data={"geometric": 1.0}, schedule=schedule)


def test_the_first_phase_warms_up_for_five_epochs_and_restarts_its_cosine():
    first = PHASES["geometric_foundation"]
    assert phase_factor(2.5, first) == pytest.approx(0.5)
    assert phase_factor(5, first) == 1.0
    restart = 5 + 25 / 3  # of two cycles the second is twice as long
    assert phase_factor(restart - 1e-9, first) == pytest.approx(0.05)
    assert phase_factor(restart, first) == pytest.approx(1.0)
    assert phase_factor(restart + 25 / 3, first) == pytest.approx((1 + 0.05) / 2)  # half-way down
    assert phase_factor(30, first) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("epoch", "drops"), [(0, 0), (9.99, 0), (10, 1), (25, 2), (34.9, 2), (35, 3), (40, 3)]
)
def test_the_second_phase_drops_at_its_milestones(epoch: float, drops: int):
    assert phase_factor(epoch, PHASES["cross_frame_learning"]) == pytest.approx(0.5 * 0.3**drops)


def test_the_third_phase_falls_as_a_polynomial():
    third = PHASES["advanced_reasoning"]
    assert phase_factor(0, third) == 0.2
    assert phase_factor(15, third) == pytest.approx(0.2 * (0.02 + 0.98 * 0.5**0.9))
    assert phase_factor(30, third) == pytest.approx(0.2 * 0.02)


def test_one_cycle_is_the_plain_cosine():
    one = phase(10, name="cosine_restarts")
    assert phase_factor(3, one) == pytest.approx(0.5 * (1 + math.cos(0.3 * math.pi)))


@given(
    st.sampled_from(sorted(CURVES)), st.integers(1, 50), st.integers(1, 9), st.integers(1, 4), st.floats(0, 4)
)
def test_rates_are_above_0_and_at_most_the_peak(
    name: str, epochs: int, steps: int, cycles: int, warmup: float
):
    own = phase(epochs + 4, name=name, warmup=warmup, cycles=cycles, growth=1.5, milestones=(1.0, 2.0))
    factors = phase_factors(own, first=0, steps=steps, total=steps)
    assert all(0 < factor <= 1 for factor in factors)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 5))
def test_epochs_make_up_the_curve_and_an_extension_stays_where_it_ended(steps: int, epochs: int, extra: int):
    own, total = PHASES["advanced_reasoning"], steps * epochs
    whole = phase_factors(own, first=0, steps=total, total=total)
    parts = [phase_factors(own, first=e * steps, steps=steps, total=total) for e in range(epochs + extra)]
    assert sum(parts[:epochs], ()) == whole
    assert set(sum(parts[epochs:], ())) == {whole[-1]}
