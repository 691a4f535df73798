"""The table of generality is what its file says, beside the baseline that is best in each look."""

from typing import Any

import pytest

from vln_heatmap.reporting.generality_table import TABLE, generality_table


def entry(auc: float, within: float = 0.7, iou: float = 0.5) -> dict[str, Any]:
    return {"auc": auc, "auc_ci": [auc - 0.01, auc + 0.01], "auc_within": within, "iou": iou}


METHODS = {
    "model": entry(0.9, 0.8, 0.6),
    "encoder_cosine": entry(0.85),
    "sift_ransac": entry(0.7),
    "geometry": entry(1.0),
}
RESULTS = {
    "looks": {"plain": METHODS, "kitchen": {**METHODS, "sift_ransac": entry(0.88, 0.75, 0.4)}},
    "mean": METHODS,
    "meta": {"counted": ["kitchen"], "windows": {"plain": 36, "kitchen": 15}, "reference": "plain"},
}


def test_each_look_is_compared_with_its_own_best_baseline_and_never_with_the_ceiling() -> None:
    lines = generality_table(RESULTS).split("\n")
    plain, kitchen, mean = lines[2:5]
    assert plain.startswith("| plain (not in the mean) | .900 (.890–.910) | frozen encoder")
    assert kitchen.startswith("| kitchen | .900 (.890–.910) | SIFT")
    assert "| .880 | .800 | .750 | .600 | .400 |" in kitchen
    assert mean.startswith("| **mean** | **.900")
    assert "51 windows" in lines[-1]


def test_only_what_stands_between_the_markers_changes() -> None:
    text = "before\n<!-- generality -->\nold\n<!-- /generality -->\nafter\n"
    new = TABLE.updated(text, RESULTS)
    assert new.startswith("before\n<!-- generality -->\n| look")
    assert new.endswith("<!-- /generality -->\nafter\n")
    assert TABLE.updated(new, RESULTS) == new
    with pytest.raises(ValueError, match="generality"):
        TABLE.updated("nothing", RESULTS)
