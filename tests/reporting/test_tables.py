"""Tables are rendered from the results file and nothing else."""

import json

import pytest

from vln_heatmap.nodes.metrics.success_goals import GOALS, judged
from vln_heatmap.reporting.tables import SUCCESS, heatmap_table, main, number, success_table, update_blocks

RESULTS = {
    "heatmap": {
        "geometry": {"auc": 0.99, "auc_ci": [0.98, 1.0]},
        "all_ones": {"auc": 0.5, "auc_ci": [0.5, 0.5], "kld": 1.234},
        "model": {"auc": 0.8634, "auc_ci": [0.84, 0.88], "referring": {"auc": 0.7}, "iou": None},
    },
    "meta": {"scenes": 8, "samples": 200, "maps": 1600, "map_size": [28, 28]},
}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0.8634, 3), ".863"),
        ((1.0, 3), "1.000"),
        ((-0.05, 2), "-.05"),
        ((10.25, 1), "10.2"),
        ((None, 3), "–"),
        ((0.8634, 3, [0.84, 0.88]), ".863 (.840–.880)"),
    ],
)
def test_numbers(arguments, expected):
    assert number(*arguments) == expected


def test_table_orders_marks_and_counts():
    lines = heatmap_table(RESULTS).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:5]]
    assert [row[0] for row in cells[2:]] == ["**this model**", "all ones", "true depth and pose (ceiling)"]
    assert len({len(row) for row in cells}) == 1
    assert cells[2][1] == "**.863 (.840–.880)**"
    assert cells[2][-1] == "**.700**"
    assert cells[2][cells[0].index("IoU ↑")] == "**–**"
    assert cells[3][cells[0].index("KLD ↓")] == "1.23"
    assert "200 windows in 8 houses" in lines[-1]
    assert "28×28" in lines[-1]


def with_success():
    values = {"distinctness": 0.96, "geometric_loss": 0.1, "memory_gib": 1.5, "inference_seconds": 0.5}
    section = judged(values, {"distinctness": [0.95, 0.97]})
    return RESULTS | {"success": section, "meta": RESULTS["meta"] | {"success": {"windows_asked_again": 32}}}


def test_every_goal_has_a_row_and_a_verdict():
    assert list(SUCCESS) == [goal.name for goal in GOALS]
    lines = success_table(with_success()).splitlines()
    rows = {line.split(" | ")[0].strip("| "): line for line in lines}
    assert rows["distinctness of keyframes"].endswith("| .960 (.950–.970) | ≥ 0.95 | passed |")
    assert rows["geometric loss"].endswith("| .100 | < 0.05 | failed |")
    assert rows["inference on a sequence"].endswith("| .50 s | < 2 s | passed |")
    assert rows["memory of evaluation"].endswith("| 1.50 GiB |  | – |")
    assert rows["fusion effectiveness"].endswith("| – | > 0.88 | – |")
    assert "32 of these windows" in lines[-1]


def test_command_prints_one_section(tmp_path, capsys):
    results = tmp_path / "results.json"
    results.write_text(json.dumps(with_success()))
    assert main([str(results), "--section", "success"]) == 0
    assert capsys.readouterr().out == success_table(with_success()) + "\n"
    results.write_text(json.dumps(RESULTS))
    assert main([str(results), "--section", "success"]) == 1
    assert "no results for the block 'success'" in capsys.readouterr().err


def test_blocks_are_replaced_and_nothing_else():
    text = "# T\n<!-- results: heatmap -->\nold\n<!-- /results -->\ntail | x |\n"
    once = update_blocks(text, RESULTS)
    assert (
        once == f"# T\n<!-- results: heatmap -->\n{heatmap_table(RESULTS)}\n<!-- /results -->\ntail | x |\n"
    )
    assert update_blocks(once, RESULTS) == once


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- results: heatmap -->\nx\n", "1 result blocks are opened, 0 are closed"),
        (
            "<!-- results: policy -->\n<!-- /results -->",
            "no results for the block 'policy'; there are heatmap",
        ),
    ],
)
def test_broken_blocks_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        update_blocks(text, RESULTS)


def test_command_prints_and_updates(tmp_path, capsys):
    results, readme = tmp_path / "results.json", tmp_path / "README.md"
    results.write_text(json.dumps(RESULTS))
    readme.write_text("<!-- results: heatmap -->\n<!-- /results -->\n")
    assert main([str(results)]) == 0
    assert heatmap_table(RESULTS) in capsys.readouterr().out
    assert main([str(results), "--update", str(readme)]) == 0
    assert heatmap_table(RESULTS) in readme.read_text()


def test_command_says_what_is_missing(tmp_path, capsys):
    assert main([str(tmp_path / "none.json")]) == 1
    assert "kedro run --pipelines=evaluate" in capsys.readouterr().err
    (tmp_path / "bad.json").write_text("{")
    assert main([str(tmp_path / "bad.json")]) == 1
    assert "cannot render" in capsys.readouterr().err
