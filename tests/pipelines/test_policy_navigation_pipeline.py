"""The policy's closed loop from the command line, at the smallest size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
from box_walks import ROOT
from command_line import kedro


def test_a_policy_learns_from_the_expert_and_drives(tmp_path: Path, empty_tracking_db: Path) -> None:
    folder = tmp_path / "project"
    for name in ("src", "conf"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for file in (ROOT / "pyproject.toml", ROOT / ".telemetry", empty_tracking_db):
        shutil.copy(file, folder / file.name)
    kedro(folder, "run", "--pipelines=policy_navigation")
    reporting = folder / "data/08_reporting"
    section = json.loads((reporting / "results.json").read_text())["policy_navigation"]
    point, thing = section["tasks"]["point_goal"], section["tasks"]["object_goal"]
    assert list(point["policies"]) == ["random", "straight", "expert", "policy"]
    assert list(thing["policies"]) == ["random", "expert", "policy"]
    assert point["policies"]["expert"]["sr"] == 1
    (table,) = reporting.glob("policy_navigation_table.parquet/*/*.parquet")
    assert len(pd.read_parquet(table)) == 4 * point["episodes"] + 3 * thing["episodes"]
    assert (reporting / "policy_navigation_figure.png").stat().st_size > 1000
    assert len(list((folder / "data/01_raw/policy_demonstrations").glob("*/*.parquet"))) == 1
