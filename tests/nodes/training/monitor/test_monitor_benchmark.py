"""The alerts are right and complete on histories with planted faults, kind by kind."""

import pytest

from vln_heatmap.nodes.training.monitor.benchmark import main, markdown, measure, monitor_accuracy
from vln_heatmap.nodes.training.monitor.planted import planted_history
from vln_heatmap.params.monitor import MonitorParams

PARAMS = MonitorParams()
KINDS = {
    *("plateau", "degradation", "severe_degradation", "memory", "slow", "loading", "low_quality"),
    *("corruption", "rise", "swing", "gradient", "not_finite"),
}


@pytest.fixture(scope="module")
def table():
    return measure(range(5000, 5200), PARAMS)


def test_every_kind_of_alert_is_planted_many_times(table):
    assert set(table.index) == KINDS
    assert table["planted"].min() >= 20


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_precision_and_recall_are_at_least_95_per_cent(table, kind):
    assert table.loc[kind, "precision"] >= 0.95
    assert table.loc[kind, "recall"] >= 0.95


def test_a_deaf_monitor_has_no_recall_and_a_nervous_one_no_precision(monkeypatch):
    """Measured on the histories that are planted for the default thresholds."""

    def measured(**limits):
        resources = PARAMS.resources.model_copy(update=limits)
        return measure(range(20), PARAMS.model_copy(update={"resources": resources}))

    path = "vln_heatmap.nodes.training.monitor.benchmark.planted_history"
    monkeypatch.setattr(path, lambda seed, _, noise: planted_history(seed, PARAMS, noise=noise))
    assert measured(epochs=50).loc["slow", "recall"] == 0
    assert measured(memory=0.3, slower=0.05, epochs=1).loc[["slow", "memory"], "precision"].max() < 0.5


def test_histories_are_functions_of_their_seed():
    def plain(history):
        return [repr(report) for report in history.reports], history.planted

    assert plain(planted_history(3, PARAMS)) == plain(planted_history(3, PARAMS))
    assert plain(planted_history(3, PARAMS)) != plain(planted_history(4, PARAMS))


def test_the_accuracy_is_the_worst_number():
    worst = measure(range(40), PARAMS)[["precision", "recall"]].to_numpy().min()
    assert monitor_accuracy(range(40), PARAMS) == worst


def test_the_command_prints_one_line_a_kind(capsys):
    main(["--histories", "3"])
    printed = capsys.readouterr().out
    table = measure(range(3), PARAMS)
    assert markdown(table) in printed
    assert all(f"| `{kind}` |" in printed for kind in table.index)
