"""Navigation from the command line, at the smallest size: learned, corrected, measured, drawn and filmed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
from box_walks import ROOT
from command_line import kedro


def test_navigation_is_learned_measured_drawn_and_filmed(tmp_path: Path, empty_tracking_db: Path) -> None:
    folder = tmp_path / "project"
    for name in ("src", "conf"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for file in (ROOT / "pyproject.toml", ROOT / ".telemetry", empty_tracking_db):
        shutil.copy(file, folder / file.name)
    kedro(folder, "run", "--pipelines=navigation")
    reporting, rollouts = folder / "data/08_reporting", folder / "data/07_model_output/navigation_rollouts"
    section = json.loads((reporting / "results.json").read_text())["navigation"]
    walked = ["random", "forward_only", "always_stop", "expert", "model", "before_cotraining"]
    assert list(section["policies"]) == [*walked, "model_shuffled"]
    assert section["comparisons"].keys() == set(section["policies"]) - {"model"}
    assert section["policies"]["expert"]["sr"] == 1
    assert section["policies"]["always_stop"]["sr"] == 0
    assert section["episodes"] == 2
    (table,) = reporting.glob("navigation_table.parquet/*/navigation_table.parquet")
    assert len(pd.read_parquet(table)) == 14
    assert (reporting / "navigation_figure.png").stat().st_size > 1000
    films = sorted(path.name[:5] for path in (reporting / "navigation_videos").glob("*.mp4"))
    assert films == ["exper", "model"]
    walkers = 4 + 2 + 1  # baselines, the two stages, the student under supervision
    assert len(list(rollouts.iterdir())) == walkers
    rounds = folder / "data/01_raw/navigation_corrections"
    assert len(list(rounds.iterdir())) == 1
    kedro(folder, "run", "--pipelines=dagger")
    assert len(list(rounds.iterdir())) == 2
    assert len(list((folder / "data/06_models/cotrained").iterdir())) == 2
