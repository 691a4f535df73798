"""The table of the ablation says what the results say, where the document wants it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vln_heatmap.reporting import training_ablation_table
from vln_heatmap.reporting.ablation_figure import PANELS, ablation_plot
from vln_heatmap.reporting.ablation_table import TABLE, ablation_table, main


def entry(auc: float, **more: Any) -> dict[str, Any]:
    kind = {"auc": auc - 0.01, "iou": 0.5}
    numbers = {"auc": auc, "auc_ci": [auc - 0.02, auc + 0.02], "iou": 0.5, "iou_ci": [0.4, 0.6]}
    seeds = {"auc": [auc - 0.01, auc + 0.01], "iou": [0.5, 0.5]}
    cost = {"changes": {}, "parameters": 1_234_567, "steps": 580, "seconds": 310.4, "step_seconds": 0.456}
    return {**cost, **numbers, "everything": kind, "referring": kind, "seeds": seeds, **more}


def margin(against: str, auc: float) -> dict[str, Any]:
    return {"against": against, "auc": auc, "auc_ci": [auc - 0.01, auc + 0.01], "iou": 0.0, "iou_ci": None}


RESULTS: dict[str, Any] = {
    "variants": {
        "plain": entry(0.9),
        "no_vggt": entry(0.8, changes={"model.vggt.name": "none"}, difference=margin("plain", -0.1)),
        "fast": entry(
            0.95,
            changes={"model.head.odometry": True, "ablate.against": "no_vggt"},
            difference=margin("no_vggt", 0.15),
        ),
    },
    "meta": {"reference": "plain", "scenes": 8, "samples": 200, "seeds": [0, 1], "training_samples": 960},
}


def rows(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "|" in line
    ]


def test_every_variant_has_its_row_and_the_reference_is_bold() -> None:
    _, _, plain, other, third = rows(ablation_table(RESULTS))
    assert plain[0] == "**plain**"
    assert plain[2] == "**.900 (.880–.920)**"
    assert plain[3] == plain[7] == ""
    assert other[:4] == ["no vggt", "`model.vggt.name: none`", ".800 (.780–.820)", "−.100 (−.110 … −.090)"]
    assert other[4:] == [".790", ".790", ".500 (.400–.600)", "+.000", "1.23 M", "580 steps, 310 s", "0.46 s"]
    assert third[1] == "`model.head.odometry: true`"
    assert third[3] == "+.150 (+.140 … +.160) (to no vggt)"


def test_the_note_says_what_was_measured() -> None:
    note = ablation_table(RESULTS).splitlines()[-1]
    assert (
        "200 windows in 8 houses never seen in training, means over 2 seeds, trained on 960 samples" in note
    )
    alone = {**RESULTS, "meta": RESULTS["meta"] | {"scenes": 1, "seeds": [0]}}
    assert "one seed" in ablation_table(alone)
    assert "intervals" not in ablation_table(alone)


def test_only_what_stands_between_the_markers_changes() -> None:
    text = "before\n<!-- ablation -->\nold\n<!-- /ablation -->\nafter\n"
    new = TABLE.updated(text, RESULTS)
    assert new == f"before\n<!-- ablation -->\n{ablation_table(RESULTS)}\n<!-- /ablation -->\nafter\n"
    assert TABLE.updated(new, RESULTS) == new
    for broken in ("nothing", "<!-- ablation -->\nnot closed"):
        with pytest.raises(ValueError, match="needs <!-- ablation -->"):
            TABLE.updated(broken, RESULTS)


def test_ways_to_train_have_a_block_of_their_own(tmp_path: Path) -> None:
    page, results = tmp_path / "page.md", tmp_path / "results.json"
    both = "<!-- ablation -->\nparts\n<!-- /ablation -->\n<!-- training_ablation -->\n<!-- /training_ablation -->"
    page.write_text(both)
    results.write_text(json.dumps(RESULTS))
    assert training_ablation_table.main([str(results), "--update", str(page)]) == 0
    first, second = page.read_text().split("<!-- /ablation -->")
    assert "parts" in first
    assert ablation_table(RESULTS, changes=False) in second
    assert rows(second)[3][:3] == ["no vggt", ".800 (.780–.820)", "−.100 (−.110 … −.090)"]


def test_the_command_takes_the_newest_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, page = tmp_path / "results.json", tmp_path / "page.md"
    assert main([str(folder)]) == 1
    assert "kedro run --pipelines=ablate" in capsys.readouterr().err
    for version, auc in (("2026-01-01", 0.6), ("2026-01-02", 0.7)):
        file = folder / version / folder.name
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({**RESULTS, "variants": {"plain": entry(auc)}}))
    assert main([str(folder)]) == 0
    assert ".700 (" in capsys.readouterr().out
    page.write_text("<!-- ablation -->\n<!-- /ablation -->")
    assert main([str(folder), "--update", str(page)]) == 0
    assert ".700 (" in page.read_text()
    page.write_text("no markers")
    assert main([str(folder), "--update", str(page)]) == 1
    assert "cannot render" in capsys.readouterr().err


def test_the_figure_has_gaps_where_there_is_nothing() -> None:
    figure = ablation_plot(RESULTS["variants"], reference="plain")
    assert len(figure.axes) == len(PANELS)
    assert [len(axes.lines) for axes in figure.axes] == [3 * 3, 2 * 3 + 1, 3 * 3, 2 * 2 + 1]
    empty = entry(0.9) | {"auc": None, "iou_ci": None, "seeds": {}}
    bare = ablation_plot({"plain": empty}, reference="plain")
    assert [len(axes.lines) for axes in bare.axes] == [0, 1, 2, 1]
