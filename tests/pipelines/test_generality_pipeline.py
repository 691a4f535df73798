"""The generality stage from the command line, at the smallest size, with a recording; nothing is filmed twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
from command_line import kedro
from mlflow import MlflowClient
from recorded_wall import write_frames

LOOKS = [
    "plain",
    "photographs",
    "ornaments",
    "renderer",
    "sensor_1",
    "sensor_2",
    "narrow_low",
    "narrow_high",
    "video",
    "recording",
]


def newest(folder: Path, name: str) -> Path:
    return sorted((folder / "data/08_reporting" / name).glob(f"*/{name}"))[-1]


def test_all_looks_are_measured_drawn_and_logged_and_filmed_once(
    finished_project: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(finished_project, folder)
    recording = tmp_path / "recording"
    recording.mkdir()
    write_frames(recording, 8)
    options = f"--params=generality.recordings={recording}"
    kedro(folder, "run", "--pipelines=generality", options)
    results = json.loads(newest(folder, "generality_results.json").read_text())
    shown = [look for look in LOOKS if look != "renderer" or look in results["looks"]]  # it may not work here
    assert list(results["looks"]) == shown
    assert results["meta"]["counted"] == [look for look in shown if look not in ("plain", "ornaments")]
    assert 0 <= results["score"] <= 1
    table = pd.read_parquet(newest(folder, "generality_table.parquet"))
    assert table["look"].unique().tolist() == [*shown, "mean"]
    for name in ("generality_figure.png", "generality_sheet.png"):
        assert (folder / "data/08_reporting" / name).stat().st_size > 1000
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (experiment,) = [e.experiment_id for e in client.search_experiments() if e.name == "vln_heatmap"]
    run = client.search_runs([experiment], order_by=["attributes.start_time DESC"])[0]
    assert run.data.metrics["generality/score"] == results["score"]

    films = {path: path.stat().st_mtime_ns for path in (folder / "data/generality").rglob("*.mp4")}
    pretrained = folder / "data/06_models/pretrained"
    kedro(folder, "run", "--pipelines=generality", f"{options},generality.checkpoint={pretrained}")
    assert {path: path.stat().st_mtime_ns for path in (folder / "data/generality").rglob("*.mp4")} == films
    other = json.loads(newest(folder, "generality_results.json").read_text())
    assert other["meta"]["data"] == results["meta"]["data"]
    assert other["mean"]["sift_ransac"] == results["mean"]["sift_ransac"]
    assert other["score"] != results["score"]
