"""What the next epoch learns from, in hand-worked cases and in general."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_curriculum import project_curriculum, report

from vln_heatmap.nodes.training.curriculum.mix import (
    DataScheduler,
    bottlenecks,
    focused,
    limited_repeats,
    mix,
    mixed_weights,
    served,
)
from vln_heatmap.params.curriculum import DataScheduleParams

PARAMS = DataScheduleParams()
PHASES = project_curriculum().phases
FIRST, SECOND, THIRD = (phase.shares for phase in PHASES.values())


def test_the_limits_are_those_of_the_plan():
    edge = {"geometric_loss": 0.15, "correspondence_accuracy": 0.85, "reasoning_accuracy": 0.80}
    assert bottlenecks(edge, PARAMS) == {}
    worse = {"geometric_loss": 0.151, "correspondence_accuracy": 0.849, "reasoning_accuracy": 0.799}
    assert bottlenecks(worse, PARAMS) == {
        "geometric": "geometric_loss 0.151 > 0.15",
        "correspondence": "correspondence_accuracy 0.849 < 0.85",
        "reasoning": "reasoning_accuracy 0.799 < 0.8",
    }
    assert bottlenecks({"geometric_loss": float("nan")}, PARAMS) == {}


def test_a_bottleneck_gets_60_the_leading_level_30_the_rest_10():
    assert mix(SECOND, ["reasoning"], PARAMS) == pytest.approx(
        {"geometric": 0.1, "correspondence": 0.3, "reasoning": 0.6}
    )
    assert mix(THIRD, ["geometric"], PARAMS) == pytest.approx(
        {"geometric": 0.6, "correspondence": 0.1, "reasoning": 0.3}
    )


def test_a_bottleneck_never_gets_less_than_the_phase_planned():
    assert mix(FIRST, ["geometric"], PARAMS) == pytest.approx(
        {"geometric": 0.7, "correspondence": 0.3 * 0.75, "reasoning": 0.3 * 0.25}
    )


def test_two_bottlenecks_share_as_planned_and_the_third_gets_what_is_left():
    mixed = mix(FIRST, ["correspondence", "reasoning"], PARAMS)
    assert mixed == pytest.approx({"geometric": 0.4, "correspondence": 0.4, "reasoning": 0.2})


def test_without_a_bottleneck_or_with_nothing_else_the_plan_holds():
    assert mix(SECOND, [], PARAMS) == SECOND
    assert mix(SECOND, list(SECOND), PARAMS) == SECOND
    assert mix({"geometric": 1.0}, ["reasoning"], PARAMS) == {"geometric": 1.0}


@given(
    st.dictionaries(st.sampled_from("abcde"), st.floats(0.01, 1), min_size=1),
    st.sets(st.sampled_from("abcde")),
)
def test_a_mix_adds_up_to_1(planned: dict[str, float], critical: set[str]):
    planned = {name: share / sum(planned.values()) for name, share in planned.items()}
    mixed = mix(planned, sorted(critical), PARAMS)
    assert sum(mixed.values()) == pytest.approx(1)
    assert set(mixed) == set(planned)


def test_disjoint_levels_are_drawn_in_their_shares():
    serves = served([["a"]] * 6 + [["b"]] * 2)
    weights = mixed_weights(serves, np.ones(8), {"a": 0.3, "b": 0.7})
    assert weights / 8 == pytest.approx([0.05] * 6 + [0.35] * 2)


def test_samples_without_a_level_keep_their_share_and_absent_levels_leave_theirs():
    serves = served([["a"], ["b"], [], ["other"]])
    weights = mixed_weights(serves, np.array([1.0, 3.0, 2.0, 2.0]), {"a": 0.3, "b": 0.3, "nowhere": 0.4})
    assert weights / 4 == pytest.approx([0.25, 0.25, 0.25, 0.25])


def test_within_a_level_samples_keep_their_proportions_and_overlaps_count_twice():
    serves = served([["a"], ["a"], ["a", "b"]])
    weights = mixed_weights(serves, np.array([1.0, 3.0, 1.0]), {"a": 0.5, "b": 0.5})
    assert weights / 3 == pytest.approx([0.1, 0.3, 0.1 + 0.5])


def test_a_rare_level_is_not_drawn_too_often():
    serves = served([["rare"]] + [["a"]] * 49 + [["b"]] * 50)
    shares = {"rare": 0.6, "a": 0.3, "b": 0.1}
    weights = mixed_weights(serves, np.ones(100), shares, most=5)
    assert weights[0] == pytest.approx(5)
    assert weights[1] / weights[-1] == pytest.approx((0.3 / 49) / (0.1 / 50))  # the others in proportion


@given(
    st.lists(st.sets(st.sampled_from("abc")), min_size=1, max_size=30), st.floats(1, 10), st.integers(0, 99)
)
def test_weights_are_frequencies_for_any_samples(levels: list[set[str]], most: float, seed: int):
    base = np.random.default_rng(seed).uniform(0, 1, len(levels))
    base[0] = 1.0
    weights = mixed_weights(
        served([sorted(own) for own in levels]), base, {"a": 0.6, "b": 0.3, "c": 0.1}, most=most
    )
    assert weights.mean() == pytest.approx(1)
    assert ((weights > 0) == (base > 0)).all()  # nothing is left out


def test_no_sample_is_drawn_all_the_time():
    weights = limited_repeats(np.array([90.0, 10.0, 1.0, 0.0]), np.ones(4), draws=4, repeats=1.5)
    assert weights / 4 == pytest.approx([0.375, 0.375, 0.25, 0.0])  # the last takes what it may not
    few = limited_repeats(np.array([3.0, 1.0]), np.array([3.0, 1.0]), draws=100, repeats=1.0)
    assert few == pytest.approx([1.5, 0.5])  # what the base weights want is not cut
    only = limited_repeats(np.array([1.0, 0.0, 0.0]), np.ones(3), draws=30, repeats=1.0)
    assert only == pytest.approx([3.0, 0.0, 0.0])  # there is nobody to give it to


def test_a_mix_that_only_rounding_changes_is_no_event():
    scheduler = DataScheduler(PARAMS)
    scheduler.start(SECOND)
    assert scheduler.update(report(0, correspondence_accuracy=0.5, reasoning_accuracy=0.5), SECOND) == []


def test_a_change_of_mix_is_an_event_with_its_cause():
    scheduler = DataScheduler(PARAMS)
    scheduler.start(SECOND)
    assert scheduler.update(report(0, reasoning_accuracy=0.9), SECOND) == []
    (event,) = scheduler.update(report(1, reasoning_accuracy=0.7), SECOND)
    assert (event.kind, event.cause) == ("mix", "reasoning_accuracy 0.7 < 0.8")
    assert event.before == "geometric 40%, correspondence 45%, reasoning 15%"
    assert event.after == "geometric 10%, correspondence 30%, reasoning 60%"
    assert scheduler.update(report(2, reasoning_accuracy=0.6), SECOND) == []
    (event,) = scheduler.update(report(3, reasoning_accuracy=0.8), SECOND)
    assert event.cause == "no bottleneck"
    assert scheduler.shares == SECOND


def test_focus_raises_a_level_at_the_cost_of_the_others():
    assert focused({"a": 0.5, "b": 0.5}, "a", 3.0) == pytest.approx({"a": 0.75, "b": 0.25})
