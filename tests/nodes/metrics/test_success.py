"""The success metrics: known values, plain loops, and what answers get that know nothing."""

from typing import Any

import naive_success as naive
import numpy as np
import pytest

from vln_heatmap.nodes.metrics.bootstrap import Ratio, value
from vln_heatmap.nodes.metrics.success import (
    balanced_accuracy,
    balanced_mean,
    best_balanced_cut,
    better_than_either,
    distinctness,
    forced_choice,
    geometric_error,
    pairs_within,
)
from vln_heatmap.nodes.metrics.success_goals import GOALS, Goal, goals_table, judged

MAPS, SIZE, SCENES = 9, 5, 2
WINDOW = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
SCENE = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1])


@pytest.fixture
def world() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    shape = (MAPS, SIZE, SIZE)
    return {
        "scores": rng.random(shape).round(1),
        "hot": rng.random(shape) < 0.3,
        "known": rng.random(shape) < 0.8,
    }


def test_they_agree_with_plain_loops(world: dict[str, Any]) -> None:
    scores, hot, known = world.values()
    pairs = [(i, j) for i in range(MAPS) for j in range(i + 1, MAPS) if WINDOW[i] == WINDOW[j]]
    expected = {
        "balanced": naive.balanced(scores, hot, known),
        "accuracy": naive.balanced((scores > 0.5) == hot, hot, known),
        "choice": naive.choice(scores, hot, known),
        "distinct": naive.orders(scores, hot, known, pairs),
    }
    measured = {
        "balanced": balanced_mean(scores, hot, known, SCENE, SCENES),
        "accuracy": balanced_accuracy(scores > 0.5, hot, known, SCENE, SCENES),
        "choice": forced_choice(scores, hot, known, SCENE, SCENES),
        "distinct": distinctness(scores, hot, known, WINDOW, SCENE, SCENES),
    }
    assert {name: value(s, SCENES) for name, s in measured.items()} == pytest.approx(expected)


def test_a_resample_is_the_metric_of_what_was_drawn(world: dict[str, Any]) -> None:
    """Drawing the first scene twice and the second never is measuring the first alone."""
    drawn, rows = np.array([[2.0, 0.0]]), SCENE == 0
    part = {name: values[rows] for name, values in world.items()}
    metrics: list[tuple[Any, Any]] = [(balanced_mean, ()), (forced_choice, ()), (distinctness, (WINDOW,))]
    for metric, extra in metrics:
        whole = metric(*world.values(), *extra, SCENE, SCENES).values(drawn)[0]
        alone = metric(*part.values(), *(e[rows] for e in extra), SCENE[rows], 1)
        assert whole == pytest.approx(value(alone, 1))


def test_all_pairs_of_a_window_and_no_others() -> None:
    i, j = pairs_within(WINDOW)
    expected = {(a, b) for a in range(MAPS) for b in range(a + 1, MAPS) if WINDOW[a] == WINDOW[b]}
    assert set(zip(i.tolist(), j.tolist(), strict=True)) == expected
    assert len(i) == 3 + 1 + 6


def test_cells_of_one_kind_leave_accuracy_undefined(world: dict[str, Any]) -> None:
    everything = np.ones_like(world["hot"])
    assert value(balanced_accuracy(everything, everything, world["known"], SCENE, SCENES), SCENES) is None


def test_inconsistency_is_bounded_by_the_geometric_error() -> None:
    rng = np.random.default_rng(0)
    carried, own, target = rng.random((3, 4, 5, 5))
    assert ((carried - own) ** 2 <= 4 * geometric_error(carried, own, target) + 1e-12).all()
    np.testing.assert_allclose(geometric_error(target, target, target), 0)


def test_the_cut_is_the_best_of_all(world: dict[str, Any]) -> None:
    scores, hot, known = world.values()

    def accuracy(cut: float) -> float:
        return naive.balanced((scores >= cut) == hot, hot, known)

    assert accuracy(best_balanced_cut(scores, hot, known)) == max(map(accuracy, np.unique(scores[known])))


def test_fusing_wins_ties_and_loses() -> None:
    hot = np.zeros((3, 2, 2), bool)
    hot[:, 0] = True
    right, wrong = hot.astype(float), 1.0 - hot
    known, window = np.ones_like(hot), np.arange(3)
    fused = np.stack([right[0], right[1], wrong[2]])  # better than both, as good as one, worse than both
    first = np.stack([wrong[0], right[1], right[2]])
    second = np.stack([np.zeros((2, 2)), wrong[1], right[2]])
    share = better_than_either(fused, (first, second), hot, known, window, window, 3)
    assert isinstance(share, Ratio)
    assert share.numerator.tolist() == [1, 0.5, 0]
    assert value(share, 3) == 0.5


def test_windows_of_one_kind_say_nothing_about_fusion() -> None:
    hot, scores = np.ones((2, 2, 2), bool), np.zeros((2, 2, 2))
    window = np.arange(2)
    assert value(better_than_either(scores, (scores,), hot, hot, window, window, 2), 2) is None


@pytest.mark.parametrize(
    ("rule", "given", "verdict"),
    [(">=", 0.5, True), (">", 0.5, False), ("<", 0.5, False), ("<", 0.4, True), (">", None, None)],
)
def test_verdicts(rule: str, given: float | None, verdict: bool | None) -> None:
    assert Goal("x", rule, 0.5).passed(given) is verdict


def test_what_is_only_reported_is_not_judged() -> None:
    assert Goal("memory_gib").passed(3.0) is None


def test_goals_as_a_section_and_as_a_table() -> None:
    section = judged({"distinctness": 0.96, "geometric_loss": 0.2}, {"distinctness": [0.9, 0.97]})
    assert list(section) == [goal.name for goal in GOALS]
    assert section["distinctness"] == {
        "value": 0.96,
        "ci": [0.9, 0.97],
        "rule": ">=",
        "target": 0.95,
        "passed": True,
    }
    table = goals_table(section).set_index("metric")
    assert table.loc["distinctness", ["value", "low", "high", "target"]].tolist() == [0.96, 0.9, 0.97, 0.95]
    assert table["passed"].map(str).to_dict() | {"distinctness": "True", "geometric_loss": "False"} == (
        table["passed"].map(str).to_dict()
    )
    assert table["passed"].isna().sum() == len(GOALS) - 2
