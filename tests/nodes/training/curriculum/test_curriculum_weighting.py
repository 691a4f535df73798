"""Loss weights that follow the losses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_curriculum import report

from vln_heatmap.nodes.training.curriculum.weighting import WEIGHTINGS, TrendWeighting
from vln_heatmap.params.curriculum import WeightingParams

PARAMS = WeightingParams(name="trend", window=3, rate=0.1, tolerance=0.01)


def weighting(**weights: float) -> TrendWeighting:
    policy = TrendWeighting(PARAMS, 3)
    policy.start(weights)
    return policy


def test_a_rising_loss_counts_more_and_a_falling_one_less():
    policy = weighting(mask=1.0, dice=1.0, referred=1.0)
    for epoch in range(3):
        losses = {"mask": 1.0 + 0.1 * epoch, "dice": 1.0 - 0.1 * epoch, "referred": 1.0 + 0.001 * epoch}
        events = policy.update(report(epoch, losses=losses))
    assert policy.weights == pytest.approx({"mask": 1.1, "dice": 0.9, "referred": 1.0})
    assert [(e.kind, e.name, e.before, e.after) for e in events] == [
        ("weights", "mask", 1.0, pytest.approx(1.1)),
        ("weights", "dice", 1.0, pytest.approx(0.9)),
    ]
    assert events[0].cause == "loss +9.1% an epoch over 3 epochs, usual +0.1%"


def test_losses_that_fall_alike_keep_their_proportions_unless_each_goes_by_itself():
    for relative, expected in ((True, {"mask": 1.0, "dice": 0.5}), (False, {"mask": 0.81, "dice": 0.405})):
        policy = TrendWeighting(PARAMS.model_copy(update={"relative": relative}), 3)
        policy.start({"mask": 1.0, "dice": 0.5})
        for epoch in range(4):
            policy.update(report(epoch, losses={"mask": 0.7**epoch, "dice": 9 * 0.7**epoch}))
        assert policy.weights == pytest.approx(expected)


def test_nothing_changes_before_the_window_is_full():
    policy = weighting(mask=1.0)
    assert policy.update(report(0, losses={"mask": 1.0})) == []
    assert policy.update(report(1, losses={"mask": 2.0})) == []
    policy.forget()
    assert policy.update(report(2, losses={"mask": 3.0})) == []


@given(st.lists(st.floats(0, 1e6), max_size=60), st.floats(0.1, 2.0))
def test_weights_stay_within_their_limits(losses: list[float], start: float):
    policy = weighting(mask=start, dice=0.0, referred=1.0)
    for epoch, loss in enumerate(losses):
        policy.update(report(epoch, losses={"mask": loss, "dice": loss, "referred": 1.0}))
        assert 0.1 <= policy.weights["mask"] <= 2.0
    assert policy.weights["dice"] == 0.0  # what is off stays off


def test_limits_are_reached():
    policy = weighting(rising=1.0, falling=1.0)
    for epoch in range(40):
        policy.update(report(epoch, losses={"rising": 1.0 + epoch, "falling": 0.8**epoch}))
    assert policy.weights == {"rising": 2.0, "falling": 0.1}


def test_parts_may_be_chosen():
    policy = TrendWeighting(PARAMS.model_copy(update={"parts": ("dice",), "relative": False}), 2)
    policy.start({"mask": 1.0, "dice": 1.0})
    for epoch in range(2):
        policy.update(report(epoch, losses={"mask": 1.0 + epoch, "dice": 1.0 + epoch}))
    assert policy.weights == pytest.approx({"mask": 1.0, "dice": 1.1})


def test_every_name_of_the_parameters_is_a_policy():
    names = WeightingParams.model_fields["name"].annotation.__args__
    assert set(WEIGHTINGS) == set(names)
    for name in set(names) - {"trend"}:
        policy = WEIGHTINGS[name](PARAMS, 2)
        policy.start({"mask": 0.7})
        assert policy.update(report(0, losses={"mask": 9.0})) == []
        assert policy.weights == {"mask": 0.7}
