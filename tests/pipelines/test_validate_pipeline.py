"""The validate stage as a session runs it: files, tracking, reruns, and errors before the first node."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from box_walks import ROOT, blind, store, walk
from kedro.framework.session import KedroSession
from mlflow import MlflowClient

from vln_heatmap.hooks import MissingUpstreamError
from vln_heatmap.nodes.validate import TooFewGoodSequencesError

VERSION = "2026-01-01T00.00.00.000Z"


def collected(project: Path) -> None:
    """What a finished collection of four walks leaves; one of them saw no depth."""
    folder = project / f"data/01_raw/sequences/{VERSION}/sequences"
    folder.mkdir(parents=True)
    _, index = store(folder, *(walk(f"house_0000{i}_00") for i in range(3)), blind(walk("house_00003_00")))
    (folder / "plan.json").write_text(json.dumps({"fingerprint": "x", "ids": index["id"].to_list()}))
    table = project / f"data/01_raw/sequence_index.parquet/{VERSION}/sequence_index.parquet"
    table.parent.mkdir(parents=True)
    index.to_parquet(table)


def run(project: Path, *, only_missing_outputs: bool = False, **changes: Any) -> None:
    params = {"validate": changes}
    with KedroSession.create(
        project, env="test", conf_source=str(ROOT / "conf"), runtime_params=params
    ) as session:
        session.run(pipeline_names=["validate"], only_missing_outputs=only_missing_outputs)


def versions(project: Path, dataset: str) -> list[Path]:
    return sorted((project / "data").glob(f"*/{dataset}/*/{dataset}"))


def test_bad_sequences_are_put_aside_and_all_is_tracked(project: Path) -> None:
    collected(project)
    run(project, min_accepted_share=0.7)
    index = pd.read_parquet(versions(project, "validated_index.parquet")[0])
    assert index["accepted"].to_list() == [True, True, True, False]
    quarantine = pd.read_parquet(versions(project, "quarantine.parquet")[0])
    assert quarantine["id"].to_list() == ["house_00003_00"]
    assert (project / "data/08_reporting/validation_summary.html").stat().st_size > 1000
    assert (project / "data/08_reporting/data_docs/index.html").exists()
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    (tracked,) = client.search_runs([client.get_experiment_by_name("vln_heatmap").experiment_id])
    assert tracked.info.status == "FINISHED"
    assert tracked.data.metrics["validate/sequences/accepted"] == 3
    assert tracked.data.metrics["validate/quality/geometric"] == 1.0
    assert tracked.data.metrics["training_effect/effect"] == 1.0
    effect = json.loads(versions(project, "training_effect.json")[0].read_text())
    assert effect["model"]["reason"] == "0 finished runs with known data, a fit needs 8"
    assert tracked.data.params["validate.min_accepted_share"] == "0.7"
    assert tracked.data.params["validate.frames.pose_jump.max_value"] == "0.3"
    assert tracked.data.tags["loaded.sequences"] == VERSION
    artifacts = {item.path for item in client.list_artifacts(tracked.info.run_id, "validate")}
    assert {"validate/validation_summary.html", "validate/data_docs"} <= artifacts

    run(project, only_missing_outputs=True)
    assert len(versions(project, "validated_index.parquet")) == 1  # nothing was left to do


def test_too_little_that_is_good_stops_the_run_after_the_reports(project: Path) -> None:
    collected(project)
    with pytest.raises(TooFewGoodSequencesError, match=r"3 of 4 sequences .*no_depth \(1\)"):
        run(project, min_accepted_share=0.9)
    assert not versions(project, "validated_index.parquet")
    assert json.loads(versions(project, "validation_report.json")[0].read_text())["reasons"]["no_depth"] == 1
    assert "3 of 4" in (project / "data/08_reporting/validation_summary.html").read_text()


def test_without_a_collection_the_error_names_the_command(project: Path) -> None:
    with pytest.raises(MissingUpstreamError, match=r"`kedro run --pipelines=collect --env=test` first"):
        run(project)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"thumbnail": 1}, "thumbnail"),
        ({"quality": {"pairs": 0}}, "pairs"),
        ({"quality": {"dark": [3.0, 3.0]}}, "dark needs two different limits"),
        ({"frames": {"pose_jump": {"max_value": "far"}}}, "max_value"),
        ({"frames": {"pose_jump": {"type": "expect_miracles"}}}, "type"),
    ],
)
def test_wrong_parameters_are_refused_before_the_first_node(
    project: Path, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(Exception, match=f"(?s)validate.*{message}"):
        run(project, **wrong)
    assert not (project / "data").exists()


def test_the_stage_is_imported_without_torch_and_great_expectations() -> None:
    code = (
        "import sys; from vln_heatmap.pipelines.validate import create_pipeline; create_pipeline();"
        "print(sorted({'torch', 'great_expectations', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
