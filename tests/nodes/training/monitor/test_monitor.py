"""Each alert begins where its condition does, once, and a monitor can be saved between any two epochs."""

import json
import math

import pytest
from pydantic import ValidationError

from vln_heatmap.nodes.training.director import EpochReport
from vln_heatmap.nodes.training.monitor import Monitor
from vln_heatmap.nodes.training.monitor.planted import planted_history
from vln_heatmap.params.monitor import MonitorParams

PARAMS = MonitorParams()


def alerts(monitor=None, **series):
    """(epoch, alert) of reports in which the field ``losses__loss`` etc. takes these values one after another."""
    monitor = monitor or Monitor(PARAMS)
    found = []
    for epoch in range(max(map(len, series.values()))):
        fields = {"losses": {}, "validation": {}, "resources": {}, "data": {}}
        for path, values in series.items():
            field, _, name = path.partition("__")
            if name and epoch < len(values):
                fields[field][name] = values[epoch]
            elif not name:
                fields[field] = values[epoch]
        found += [(epoch, alert) for alert in monitor.observe(EpochReport(epoch, epoch + 1, **fields))]
    return found


def times(found, name):
    return [epoch for epoch, alert in found if alert.name == name]


@pytest.mark.parametrize(("part", "epochs"), [("geometric", 5), ("correspondence", 8), ("reasoning", 10)])
def test_a_constant_loss_is_a_plateau_after_the_epochs_of_its_level(part, epochs):
    """The mean of three epochs exists from epoch 2 on; that one is the best."""
    found = alerts(**{f"losses__{part}": [1.0] * 40})
    assert times(found, f"plateau/{part}") == [2 + epochs]
    assert found[0][1].value == 0
    assert found[0][1].threshold == 0.01
    assert found[0][1].action == "none"


def test_a_loss_that_falls_by_more_than_the_tolerance_is_no_plateau_and_a_slower_one_is():
    falling = [0.99**t for t in range(60)]  # 4.9 % in five epochs
    creeping = [0.9985**t for t in range(60)]  # 0.75 %
    assert times(alerts(losses__geometric=falling), "plateau/geometric") == []
    assert times(alerts(losses__geometric=creeping), "plateau/geometric")[0] == 7


def test_a_plateau_can_come_again_after_progress():
    losses = [1.0] * 20 + [0.5] * 20
    assert len(times(alerts(losses__geometric=losses), "plateau/geometric")) == 2


def test_a_loss_below_zero_has_plateaus_too():
    falling = [-1 - 0.02 * t for t in range(30)]
    assert times(alerts(losses__geometric=falling), "plateau/geometric") == []
    assert times(alerts(losses__geometric=[-1.0] * 30), "plateau/geometric") == [7]


@pytest.mark.parametrize(
    ("drop", "name", "begin"), [(0.06, "degradation/iou", 22), (0.12, "severe_degradation/iou", 21)]
)
def test_a_metric_that_falls_behind(drop, name, begin):
    """Three validations in a row for a drop, two for a severe one, from epoch 20 on."""
    found = alerts(validation__iou=[0.8] * 20 + [0.8 - drop] * 20)
    assert [(epoch, alert.name) for epoch, alert in found] == [(begin, name)]
    assert found[0][1].value == pytest.approx(drop)


def test_one_bad_or_one_good_validation_is_no_level():
    assert alerts(validation__auc=[0.8] * 10 + [0.5] + [0.8] * 10) == []
    assert alerts(validation__auc=[0.8] * 10 + [0.95] * 2 + [0.8] * 10) == []


def test_losses_and_errors_get_worse_upwards():
    found = alerts(validation__geometric_loss=[0.1] * 10 + [0.25] * 10)
    assert times(found, "severe_degradation/geometric_loss") == [11]
    assert alerts(validation__geometric_loss=[0.25] * 10 + [0.1] * 10) == []


def test_a_metric_that_was_not_measured_is_neither_good_nor_bad():
    values = [0.8] * 10 + [0.72, math.nan, 0.72, math.nan, 0.72]
    assert times(alerts(validation__iou=values), "degradation/iou") == [14]


def test_the_first_severe_degradation_asks_for_a_rollback_and_the_second_for_a_stop():
    curve = [0.8] * 10 + [0.6] * 2 + [0.8] * 5 + [0.6] * 2
    found = alerts(validation__auc=curve)
    assert [(epoch, alert.action) for epoch, alert in found] == [(11, "rollback"), (18, "stop")]
    patient = Monitor(PARAMS.model_copy(update={"rollbacks": 2}))
    assert [alert.action for _, alert in alerts(patient, validation__auc=curve)] == ["rollback", "rollback"]


def test_a_rollback_that_does_not_help_ends_in_a_stop():
    found = alerts(validation__auc=[0.8] * 10 + [0.6] * 10)
    assert [(epoch, alert.action) for epoch, alert in found[:2]] == [(11, "rollback"), (13, "stop")]


def test_only_the_chosen_metrics_ask_for_a_rollback():
    found = alerts(validation__reasoning_accuracy=[0.8] * 10 + [0.5] * 10)
    assert [(alert.name, alert.action) for _, alert in found] == [
        ("severe_degradation/reasoning_accuracy", "none")
    ]


@pytest.mark.parametrize(
    ("field", "usual", "bad", "name", "begin"),
    [
        ("resources__memory_share", 0.9, 0.96, "memory", 20),
        ("resources__wait_share", 0.25, 0.35, "loading", 21),  # two epochs in a row
        ("resources__step_seconds", 1.0, 1.6, "slow", 21),
        ("data__low_quality_share", 0.19, 0.25, "low_quality", 20),
        ("data__corrupt_share", 0.0, 0.04, "corruption", 20),
        ("data__corrupt_share", 0.0, 0.02, "corruption", 21),  # mean of three epochs
    ],
)
def test_limits(field, usual, bad, name, begin):
    assert alerts(**{field: [usual] * 40}) == []
    found = alerts(**{field: [usual] * 20 + [bad] * 20})
    assert [(epoch, alert.name) for epoch, alert in found] == [(begin, name)]
    assert found[0][1].value > found[0][1].threshold


def test_values_that_touch_the_threshold_again_and_again_alert_once_until_they_were_normal():
    swinging = [0.96, 0.93] * 10
    assert times(alerts(resources__memory_share=swinging), "memory") == [0]
    assert times(alerts(resources__memory_share=[*swinging, 0.5, 0.5, 0.96]), "memory") == [0, 22]
    assert times(alerts(resources__memory_share=[*swinging, 0.5, 0.96]), "memory") == [0]


def test_the_normal_time_of_a_step_is_that_of_the_phase():
    monitor = Monitor(PARAMS)
    assert alerts(monitor, resources__step_seconds=[1.0] * 10) == []
    monitor.begin_phase()
    assert alerts(monitor, resources__step_seconds=[3.0] * 10) == []


def test_a_loss_that_rises_and_one_that_swings():
    assert times(alerts(losses__loss=[1.0] * 20 + [2.0] * 10), "rise") == [
        22
    ]  # median of four: 1, 1, 2, 2 is 1.5
    assert alerts(losses__loss=[1.0] * 6 + [9.0] + [1.0] * 4) == []  # one epoch
    swing = alerts(losses__loss=[1.0] * 4 + [1.2, 0.8] * 10)
    assert [alert.name for _, alert in swing if alert.kind != "plateau"] == ["swing"]
    exponential = alerts(losses__loss=[4 * 0.9**t for t in range(40)])
    assert exponential == []


def test_an_exploding_gradient():
    assert times(alerts(grad_norm_max=[1.0] * 10 + [11.0] + [1.0] * 10 + [11.0]), "gradient") == [10, 21]
    assert alerts(grad_norm_max=[1.0] * 10 + [9.0]) == []


def test_a_loss_that_is_not_finite_asks_for_a_rollback_and_leaves_the_means_alone():
    found = alerts(losses__geometric=[1.0, 0.9, math.nan, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert [(epoch, alert.name, alert.action) for epoch, alert in found] == [(2, "not_finite", "rollback")]
    assert "geometric nan" in found[0][1].cause


def test_a_new_phase_forgets_losses_but_not_levels():
    monitor = Monitor(PARAMS)
    assert alerts(monitor, losses__loss=[1.0] * 10, validation__iou=[0.8] * 10) == []
    monitor.begin_phase()
    found = alerts(monitor, losses__loss=[5.0] * 10, validation__iou=[0.6] * 10)
    assert [alert.name for _, alert in found] == ["severe_degradation/iou"]


@pytest.mark.parametrize("cut", [1, 17, 40, 63])
def test_a_restored_monitor_says_the_same(cut):
    for seed in range(3):
        reports = planted_history(seed, PARAMS).reports
        whole, first, second = Monitor(PARAMS), Monitor(PARAMS), Monitor(PARAMS)
        expected = [whole.observe(report) for report in reports]
        assert [first.observe(report) for report in reports[:cut]] == expected[:cut]
        second.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
        assert [second.observe(report) for report in reports[cut:]] == expected[cut:]
        assert second.state_dict() == whole.state_dict()


def test_a_report_without_numbers_is_no_alert():
    assert Monitor(PARAMS).observe(EpochReport(0, 1, {})) == []


def test_thresholds_that_contradict_each_other_are_refused():
    with pytest.raises(ValidationError, match="severe_drop must be at least drop"):
        MonitorParams.model_validate({"performance": {"drop": 0.2}})
