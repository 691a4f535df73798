"""Sample weights of hard-negative mining and easy-to-hard: distributions with the shares that were asked for."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.nodes.training.order import SampleOrder
from vln_heatmap.nodes.training.techniques.sampling import (
    competence,
    difficulty,
    easy_to_hard,
    hard_negatives,
    sample_weights,
)
from vln_heatmap.params.techniques import EasyToHardParams, HardNegativeParams, technique_params


def table(n: int, **columns: object) -> pd.DataFrame:
    content = {
        "current": [20] * n,
        "candidates": [[19]] * n,
        "level": [1] * n,
        "weight": [1.0] * n,
        **columns,
    }
    return pd.DataFrame(content)


# --- hard negatives ---------------------------------------------------------------------------------------


def test_the_share_of_an_epoch_comes_from_the_hardest_samples() -> None:
    """100 samples, the 20 hardest get 0.3 of the epoch and their part of the other 0.7."""
    losses = {row: float(row) for row in range(100)}
    weights = hard_negatives(table(100), losses, HardNegativeParams(share=0.3, top=0.2), 0.0)
    assert weights[80:].sum() == pytest.approx(0.3 + 0.7 * 0.2)
    assert np.ptp(weights[:80]) == np.ptp(weights[80:]) == 0
    drawn = SampleOrder(100, seed=0, weights=weights).epoch(0)
    assert 42 <= (drawn >= 80).sum() <= 46  # 44 of 100


def test_nothing_is_hard_before_a_loss_is_known() -> None:
    samples = table(4, weight=[1.0, 2.0, 0.0, 1.0])
    assert hard_negatives(samples, {}, HardNegativeParams(), 0.5).tolist() == [0.25, 0.5, 0, 0.25]
    unknown = hard_negatives(samples, {1: float("nan")}, HardNegativeParams(), 0.5)
    assert unknown.tolist() == [0.25, 0.5, 0, 0.25]


def test_only_samples_of_known_loss_are_hard_and_of_equal_ones_the_first() -> None:
    weights = hard_negatives(table(5), {3: 1.0, 1: 1.0}, HardNegativeParams(share=1, top=0.5), 0.0)
    assert weights.tolist() == [0, 1, 0, 0, 0]


# --- easy to hard -----------------------------------------------------------------------------------------


def test_competence_grows_from_its_start_to_one() -> None:
    """sqrt(0.09 + 0.91 / 2) half way to ``until``."""
    params = EasyToHardParams(start=0.3, until=0.8)
    assert competence(0.0, params) == pytest.approx(0.3)
    assert competence(0.4, params) == pytest.approx(np.sqrt(0.09 + 0.455))
    assert competence(0.8, params) == competence(1.0, params) == 1.0
    linear = EasyToHardParams(start=0.2, until=1, power=1)
    assert competence(0.5, linear) == pytest.approx(0.6)


def test_the_easiest_share_takes_part() -> None:
    """Ten samples by their level and span; 0.3 of them at the beginning, all from ``until`` on."""
    samples = table(10, candidates=[[20 - reach] for reach in (9, 1, 8, 2, 7, 3, 6, 4, 5, 10)])
    params = EasyToHardParams(start=0.3, until=0.5, span=1)
    first = easy_to_hard(samples, {}, params, 0.0)
    assert np.flatnonzero(first).tolist() == [1, 3, 5]
    assert first[1] == pytest.approx(1 / 3)
    assert easy_to_hard(samples, {}, params, 0.5) == pytest.approx(np.full(10, 0.1))


@pytest.mark.parametrize(
    ("column", "harder"),
    [
        ("level", [1, 2, 3]),
        ("distractors", [0, 1, 4]),
        ("overlap", [0.9, 0.5, 0.0]),
        ("candidates", [[20, 21], [25, 16], [3]]),
    ],
)
def test_every_fact_alone_orders_the_samples(column: str, harder: list[object]) -> None:
    samples = table(3, **{column: harder})
    values = difficulty(samples, EasyToHardParams(span=1))
    assert values[0] < values[1] < values[2]
    assert difficulty(table(3), EasyToHardParams()).tolist() == [0, 0, 0]


def test_a_level_counts_more_than_any_number_of_distractors() -> None:
    samples = table(2, level=[1, 2], distractors=[1000, 0])
    easy, hard = difficulty(samples, EasyToHardParams(overlap=0, span=0))
    assert easy < hard


# --- all of them ------------------------------------------------------------------------------------------

positive = st.floats(0, 10).map(lambda x: round(x, 3))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(positive, st.integers(0, 3), st.integers(0, 20)), min_size=1, max_size=30).filter(
        lambda rows: any(weight for weight, _, _ in rows)
    ),
    losses=st.dictionaries(st.integers(0, 29), st.floats(0, 1e6)),
    share=st.floats(0, 1),
    progress=st.floats(0, 1),
)
def test_weights_are_a_distribution(
    rows: list[tuple[float, int, int]], losses: dict[int, float], share: float, progress: float
) -> None:
    weight, level, reach = map(list, zip(*rows, strict=True))
    samples = table(len(rows), weight=weight, level=level, candidates=[[20 - r] for r in reach])
    known = {row: loss for row, loss in losses.items() if row < len(rows)}
    techniques = {"hard_negatives": {"share": share}, "easy_to_hard": None, "distillation": {}}
    weights = sample_weights(samples, known, techniques, progress)
    assert weights is not None
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    assert (weights[np.asarray(weight) == 0] == 0).all()


def test_mining_stays_within_what_is_easy_enough() -> None:
    samples = table(10, candidates=[[20 - reach] for reach in range(10)])
    losses = {row: float(row) for row in range(10)}
    techniques = {"hard_negatives": {"share": 1.0, "top": 0.01}, "easy_to_hard": {"start": 0.5, "span": 1}}
    weights = sample_weights(samples, losses, techniques, 0.0)
    assert weights is not None
    assert np.flatnonzero(weights).tolist() == [4]  # the hardest of the five easiest


def test_other_techniques_choose_no_samples() -> None:
    assert sample_weights(table(3), {}, {"distillation": {}}, 0.0) is None
    assert sample_weights(table(3), {}, {}, 0.0) is None


def test_wrong_names_settings_and_progress_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be among .* got \['mixup'\]"):
        technique_params({"mixup": {}})
    with pytest.raises(ValueError, match="less than or equal to 1"):
        technique_params({"hard_negatives": {"share": 2}})
    with pytest.raises(ValueError, match="above 0"):
        EasyToHardParams(overlap=0, language=0, span=0)
    with pytest.raises(ValueError, match="progress must be in"):
        sample_weights(table(3), {}, {"easy_to_hard": {}}, 1.5)
    with pytest.raises(ValueError, match="not all 0"):
        sample_weights(table(2, weight=[0.0, 0.0]), {}, {"easy_to_hard": {}}, 0.0)


def test_sampling_needs_no_torch() -> None:
    code = (
        "import sys, vln_heatmap.nodes.training.techniques.sampling, vln_heatmap.nodes.training.techniques.base;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
