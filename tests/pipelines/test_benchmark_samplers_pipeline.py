"""The comparison of samplers from the command line, at the smallest size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
from command_line import kedro
from mlflow import MlflowClient

from vln_heatmap.params import SamplerBenchmarkParams


def test_all_samplers_are_measured_drawn_and_logged(finished_project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(finished_project, folder)
    kedro(folder, "run", "--pipelines=benchmark_samplers")
    reporting = folder / "data/08_reporting"
    (file,) = reporting.glob("sampler_results.json/*/sampler_results.json")
    results = json.loads(file.read_text())["samplers"]
    names = list(SamplerBenchmarkParams().samplers)
    assert list(results) == names
    (file,) = reporting.glob("sampler_table.parquet/*/sampler_table.parquet")
    assert pd.read_parquet(file)["sampler"].unique().tolist() == names
    assert (reporting / "sampler_figure.png").stat().st_size > 1000
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (experiment,) = [e.experiment_id for e in client.search_experiments() if e.name == "vln_heatmap"]
    run = client.search_runs([experiment], order_by=["attributes.start_time DESC"])[0]
    assert run.data.metrics["samplers/fast/coverage"] == results["fast"]["coverage"]
    assert run.data.params["benchmark_samplers.pixels"] == "14"
    artifacts = {item.path for item in client.list_artifacts(run.info.run_id, "benchmark_samplers")}
    expected = {"sampler_results.json", "sampler_table.parquet", "sampler_figure.png"}
    assert {Path(path).name for path in artifacts} == expected
