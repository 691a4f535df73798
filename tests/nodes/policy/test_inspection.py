"""The inspection names every planted defect with file and row, and says nothing of sound data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from box_walks import store, walk
from robot_episodes import action, episode, folder_of_episodes, write

from vln_heatmap.nodes.policy.inspection import draw_inspection, inspect_data, report_lines
from vln_heatmap.params.policy import InspectDataParams

LENGTH = 5


def inspect(folder: Path, **changes: Any) -> tuple[dict[str, Any], pd.DataFrame]:
    data = {"format": "parquet", "source": str(folder)}
    return inspect_data(None, InspectDataParams.model_validate({"data": data, **changes}))


def test_sound_data_are_described_and_have_no_problem(tmp_path: Path) -> None:
    report, problems = inspect(folder_of_episodes(tmp_path, count=3, length=LENGTH))
    assert problems.empty
    assert (report["files"], report["episodes"], report["steps"]) == (2, 3, 3 * LENGTH + 1)
    assert (report["lengths"]["min"], report["lengths"]["max"]) == (LENGTH, LENGTH + 1)
    assert report["cameras"] == {name: {"8x6": 3 * LENGTH + 1} for name in ("image_1", "image_2")}
    assert report["numbers"]["action"]["max"] == [LENGTH, 2, 0.5]
    assert report["numbers"]["action"]["count"] == 3 * LENGTH + 1
    assert report["prompts"]["different"] == 3
    assert list(report_lines(report))[-1] == "problems: none"
    assert len(draw_inspection(report).axes) == 3


PLANTED: list[tuple[dict[str, Any], str, int, str]] = [
    ({"state": None}, "missing_column", -1, "column state is missing"),
    ({"image_1": None}, "missing_column", -1, "column image_1 is missing"),
    ({"is_terminal": None}, "missing_column", -1, "column is_terminal is missing"),
    (
        {"action": [action(0, row) if row != 3 else [0.0, float("nan"), 1.0] for row in range(LENGTH)]},
        "not_finite",
        3,
        "action[1] is nan",
    ),
    (
        {"state": [[1.0] * 4 if row != 2 else [1.0] * 5 for row in range(LENGTH)]},
        "wrong_dimension",
        2,
        "state has 5 numbers, elsewhere 4",
    ),
    (
        {"action": [action(0, row) if row != 1 else None for row in range(LENGTH)]},
        "no_numbers",
        1,
        "action must be a list of numbers, got None",
    ),
    ({"prompt": ["go"] * 4 + [" "]}, "no_prompt", 4, "the prompt is ' '"),
    ({"is_first": [False] * LENGTH}, "broken_flag", 0, "is_first must be true on the first row"),
    ({"is_last": [False] * LENGTH}, "broken_flag", 4, "is_last is false on an episode's last row"),
    (
        {"is_last": [True, False, False, False, True]},
        "broken_flag",
        0,
        "is_last is true before the episode ends",
    ),
    (
        {"is_terminal": [False, True, False, False, False]},
        "broken_flag",
        1,
        "is_terminal is true before the episode ends",
    ),
    ({"is_first": [True, False, False, False, True]}, "one_step", 4, "the episode has one step"),
]


@pytest.mark.parametrize(("changes", "kind", "row", "problem"), PLANTED)
def test_each_planted_defect_is_found(
    tmp_path: Path, changes: dict[str, Any], kind: str, row: int, problem: str
) -> None:
    write(tmp_path / "good.parquet", episode(1, LENGTH))
    bad = write(tmp_path / "worse.parquet", episode(0, LENGTH, **changes))
    report, problems = inspect(tmp_path)
    found = problems[problems["kind"] == kind].iloc[0]
    assert (found["file"], found["row"], found["problem"]) == (str(bad), row, problem)
    assert report["problems"][kind] == 1
    assert set(problems["file"]) == {str(bad)}


def test_images_and_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    columns = episode(0, LENGTH)
    columns["image_2"][3] = b"no picture"
    columns["image_1"][1] = None
    write(tmp_path / "a.parquet", columns)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 but no more")
    _, problems = inspect(tmp_path)
    assert problems[["row", "column", "kind"]].to_numpy().tolist() == [
        [1, "image_1", "undecodable_image"],
        [3, "image_2", "undecodable_image"],
        [-1, "", "unreadable"],
    ]
    _, rarely = inspect(tmp_path, image_stride=4)
    assert (rarely["kind"] == "unreadable").all()


def test_many_problems_of_a_kind_are_counted_and_a_few_are_listed(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", episode(0, LENGTH, prompt=[""] * LENGTH))
    report, problems = inspect(tmp_path, shown=2)
    assert report["problems"] == {"no_prompt": LENGTH}
    assert problems["row"].tolist() == [0, 1]


def test_our_own_sequences_and_a_damaged_one(tmp_path: Path) -> None:
    names = [f"house_0000{number}_00" for number in range(3)]
    sequences, _ = store(tmp_path, *(walk(name, "ff") for name in names))
    splits = pd.DataFrame({"id": names, "split": ["train", "val", "test"]})
    report, problems = inspect_data(lambda: (sequences, splits), InspectDataParams())
    assert problems.empty
    assert report["numbers"]["action"]["names"] == ["forward", "left", "up", "yaw", "pitch"]
    np.testing.assert_allclose(report["numbers"]["action"]["max"][0], 0.25, atol=1e-6)
    video = sequences[names[1]].folder / "rgb.mp4"
    video.write_bytes(video.read_bytes()[:-10])
    _, problems = inspect_data(lambda: (sequences, splits), InspectDataParams())
    assert len(problems) == 1
    assert "truncated" in problems["problem"][0]
