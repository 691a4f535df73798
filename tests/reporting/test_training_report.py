"""The page holds what the history and the events say, needs nothing else, and takes text as text."""

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vln_heatmap.reporting.training_charts import (
    Charts,
    corners,
    phases,
    smoothed,
    stretches,
    thinned,
    wide_range,
)
from vln_heatmap.reporting.training_report import training_report


@dataclass
class Happened:
    step: int
    epoch: int
    kind: str
    name: str
    cause: str
    before: Any = None
    after: Any = None
    severity: str = "info"


EVENTS = [
    Happened(0, 0, "phase", "first", "start of the run", None, "first"),
    Happened(20, 1, "alert", "memory", "97% of the memory is in use", None, 0.97, "critical"),
    Happened(20, 1, "rollback", "lr_factor", "auc is worse", 1.0, 0.5, "critical"),
    Happened(30, 2, "adjustment", "<b>lr</b>", "</script><script>alert(1)</script>", 1.0, 0.25, "warning"),
]


def history(steps=40):
    step = np.arange(1, steps + 1)
    validated = step % 10 == 0
    return pd.DataFrame(
        {
            "step": step,
            "phase": np.where(step <= steps // 2, "first", "second"),
            "epoch": (step - 1) // 10,
            "loss": 2.0 - step / steps,
            "loss/mask": np.where(step > 5, 1 / step, np.nan),
            "weight/mask": np.where(step > 20, 0.5, 1.0),
            "mix/geometric": np.where(step > 20, 0.8, 0.7),
            "mix/reasoning": 0.5,
            "data/corrupt": 0.0,
            "lr": 0.1**step,
            "grad_norm": 1.0,
            "wait": 0.1,
            "samples_per_s": 30.0,
            "val/auc": np.where(validated, 0.5 + step / 100, np.nan),
            "val/geometric_loss": np.where(validated, 0.3 - step / 200, np.nan),
            "val/turn_error": np.where(validated, 70.0, np.nan),
        }
    )


def figures(page):
    """The figures of the page, by heading."""
    titles = dict(re.findall(r'<h3>([^<]*)</h3><div id="(\w+)">', page))
    found = json.loads(re.search(r"^const charts = (.*);$", page, re.MULTILINE)[1].replace("<\\/", "</"))
    return {title: found[name] for title, name in titles.items()}


@pytest.fixture(scope="module")
def page():
    return training_report(history(), EVENTS, title="finetune & more")


def test_every_group_of_columns_has_its_chart(page):
    assert list(figures(page)) == [
        *("Events", "Total", "mask", "Metrics", "turn_error", "Loss weights", "Data mix"),
        *("Learning rate", "Gradient norm", "Share of the time spent waiting for data", "Samples a second"),
    ]


def test_the_page_needs_no_other_file(page):
    without_library = page.replace(re.search(r"<script>/\*.*?</script>", page, re.DOTALL)[0], "")
    assert len(without_library) < len(page) / 10
    assert not re.search(r"(src|href)=|@import|url\(|https?:", without_library)


def test_text_of_the_run_is_no_markup(page):
    assert "<script>alert" not in page
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in page
    assert "<b>lr</b>" not in page
    assert "<title>finetune &amp; more</title>" in page


def test_events_are_marked_at_their_steps_by_severity(page):
    events = {trace["name"]: trace for trace in figures(page)["Events"]["data"]}
    assert events["critical"]["x"] == [20, 20]
    assert events["critical"]["y"] == ["alert", "rollback"]
    assert events["warning"]["x"] == [30]
    assert "97% of the memory" in events["critical"]["text"][0]
    assert "Rolled back</strong> after step 20: auc is worse" in page


def test_phases_are_bands_and_rollbacks_lines(page):
    for title, figure in figures(page).items():
        bands = [(s["x0"], s["x1"]) for s in figure["layout"]["shapes"] if s["type"] == "rect"]
        assert bands == [(0.5, 20.5), (20.5, 40.5)]
        lines = [s["x0"] for s in figure["layout"]["shapes"] if s["type"] == "line"]
        assert lines == ([] if title == "Events" else [20])


def test_the_best_of_a_loss_is_the_least(page):
    rows = {
        r[0]: r[1:]
        for r in re.findall(r"<tr><td>([\w ]+)</td>" + r'<td class="number">([^<]*)</td>' * 4, page)
    }
    assert rows["auc"] == ("0.600", "0.900", "40", "0.900")
    assert rows["geometric loss"] == ("0.250", "0.100", "40", "0.100")


def test_what_never_changes_is_said_and_not_drawn(page):
    assert "Samples throughout: 0.0% corrupt." in page
    still = history().assign(**{"weight/mask": 1.0, "weight/<dice>": 0.25, "mix/geometric": 0.7})
    page = training_report(still, [], title="plain")
    assert not {"Loss weights", "Data mix"} & set(figures(page))
    assert "Loss weights throughout: mask 1, &lt;dice&gt; 0.25." in page
    assert "Data throughout: geometric 70%, reasoning 50%." in page


def test_shares_of_levels_that_overlap_are_not_added_up():
    (chart,) = Charts(history(), EVENTS).mix()
    geometric, reasoning = chart.figure.data
    assert max(geometric.y) == 0.8
    assert set(reasoning.y) == {0.5}
    assert geometric.stackgroup is None


def test_charts_are_left_out_where_there_is_nothing_to_show():
    page = training_report(history()[["step", "loss"]], [], title="plain")
    assert list(figures(page)) == ["Total"]


def test_a_history_without_rows_or_loss_is_refused():
    with pytest.raises(ValueError, match="got 0 rows"):
        training_report(history().iloc[:0], [], title="")
    with pytest.raises(ValueError, match="columns step and loss"):
        training_report(history().drop(columns="loss"), [], title="")


def test_stacked_shares_have_the_same_corners():
    table = history().assign(**{"mix/geometric": np.where(np.arange(40) < 7, 0.7, 0.6)})
    table["mix/reasoning"] = 1 - table["mix/geometric"]
    table.loc[30:, ["mix/reasoning", "mix/geometric"]] = 0.4, 0.6  # no change
    (chart,) = Charts(table, []).mix()
    first, second = chart.figure.data
    assert list(first.x) == list(second.x) == [1, 8, 40]
    np.testing.assert_allclose(np.add(first.y, second.y), 1)


def test_step_functions_keep_their_corners():
    values = np.array([[1.0, 0], [1, 0], [1, 2], [1, 2], [1, 2]])
    assert corners(values).tolist() == [True, False, True, False, True]


def test_long_lines_are_averaged_and_keep_their_mean():
    x = np.arange(6000.0)
    few, values = thinned(x, 2 * x)
    assert len(few) == 1200
    np.testing.assert_allclose(values, 2 * few)
    assert few.mean() == x.mean()
    x[3] = np.nan
    assert np.isfinite(thinned(x, x)).all()


def test_means_do_not_run_across_phases():
    table = pd.DataFrame({"step": range(240), "phase": ["a"] * 120 + ["b"] * 120})
    values = np.where(np.arange(240) < 120, 1.0, 5.0)
    np.testing.assert_array_equal(smoothed(values, stretches(table)), values)
    assert phases(table) == [("a", 0, 119), ("b", 120, 239)]


def test_only_positive_values_over_a_power_of_ten_get_a_logarithmic_axis():
    assert wide_range(np.array([0.01, 1.0]))
    assert not wide_range(np.array([0.5, 1.0]))
    assert not wide_range(np.array([0.0, 1.0]))
