"""The policy from the command line: on our own walks, and on the same ones exported as a LeRobot data set."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_line import kedro

from vln_heatmap.nodes.policy.inference import Policy


@pytest.fixture(scope="module")
def project_with_policies(tmp_path_factory: pytest.TempPathFactory, recorded_project: Path) -> dict[str, Any]:
    """A project in which both were trained; the results of each."""
    folder = tmp_path_factory.mktemp("policy") / "project"
    shutil.copytree(recorded_project, folder)
    output = kedro(folder, "run", "--pipelines=inspect_data,policy")
    own = newest(folder, "08_reporting/policy_results.json")
    kedro(folder, "run", "--pipelines=export")
    source = "policy.data.format=lerobot,policy.data.source=data/07_model_output/export/lerobot"
    kedro(folder, "run", "--pipelines=policy", f"--params={source}")
    return {"folder": folder, "output": output, "own": own}


def newest(folder: Path, name: str) -> Path:
    path = folder / "data" / name
    return sorted(path.glob(f"*/{path.name}"))[-1]


def test_all_methods_are_scored_and_the_section_joins_the_results(
    project_with_policies: dict[str, Any],
) -> None:
    folder = project_with_policies["folder"]
    own = json.loads(project_with_policies["own"].read_text())
    exported = json.loads(newest(folder, "08_reporting/policy_results.json").read_text())
    for results, kind in ((own, "sequences"), (exported, "lerobot")):
        assert set(results["methods"]) == {
            "hold_last",
            "mean_action",
            "flow_matching",
            "flow_matching_mean",
            "regression",
        }
        assert results["data"]["format"] == kind
        assert all(np.isfinite(scores["mse"]) for scores in results["methods"].values())
    assert json.loads((folder / "data/08_reporting/results.json").read_text())["policy"] == exported


def test_the_checkpoint_of_the_command_line_acts(project_with_policies: dict[str, Any]) -> None:
    folder = project_with_policies["folder"]
    policy = Policy.open(folder / "data/06_models/policy")
    assert policy.cameras == ("observation.images.front",)
    assert policy.action_names == ("forward", "left", "up", "yaw", "pitch")
    image = np.zeros((48, 64, 3), np.uint8)
    assert np.isfinite(policy.act([image], "go to the door", np.zeros(6))).all()


def test_the_data_were_inspected(project_with_policies: dict[str, Any]) -> None:
    folder = project_with_policies["folder"]
    report = json.loads((folder / "data/08_reporting/inspection_report.json").read_text())
    assert report["episodes"] == len(pd.read_parquet(newest(folder, "03_primary/policy_index.parquet")))
    assert report["problems"] == {}
    assert "problems: none" in project_with_policies["output"]
    assert (folder / "data/08_reporting/inspection_figure.png").stat().st_size > 1000


def test_without_sequences_of_our_own_it_is_told_what_to_do(project: Path) -> None:
    from box_walks import ROOT
    from kedro.framework.session import KedroSession

    message = r"collect,validate,normalize` first, or name data\.format"
    with (
        KedroSession.create(project, conf_source=str(ROOT / "conf"), env="test") as session,
        pytest.raises(Exception, match=message),
    ):
        session.run(pipeline_names=["policy"])
