"""What one stage writes to its run, whatever the tracking server takes in one request."""

from __future__ import annotations

import shutil
from pathlib import Path

from mlflow import MlflowClient

from vln_heatmap.tracking import StageRuns


def test_any_number_of_metrics_parameters_and_tags_arrives(empty_tracking_db: Path, tmp_path: Path) -> None:
    client = MlflowClient(f"sqlite:///{shutil.copy(empty_tracking_db, tmp_path / 'mlflow.db')}")
    runs = StageRuns(client, client.create_run("0"), ["ablate"])
    params = {f"p{i}": str(i) for i in range(150)}
    metrics = {f"m{i}": float(i) for i in range(1700)}
    runs.log("ablate", params=params, metrics=metrics, tags={"saved.table": "now"})
    data = client.get_run(runs.run_id("ablate")).data
    assert data.metrics == metrics
    assert data.params == params
    assert data.tags["saved.table"] == "now"
    runs.log("ablate", tags={"alone": "yes"})
    assert client.get_run(runs.run_id("ablate")).data.tags["alone"] == "yes"
