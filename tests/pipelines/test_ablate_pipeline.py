"""The comparison of variants from the command line, at the smallest size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
from command_line import kedro
from mlflow import MlflowClient

PARAMETERS = """
ablate:
  variants:
    reference: {}
    no_vggt: {model.vggt.name: none, ablate.pretrain_steps: 0}
    measured_with_fast: {ablate.sampler: fast}
"""


def test_variants_are_trained_measured_drawn_and_logged_once(finished_project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(finished_project, folder)
    (folder / "conf/base/parameters_ablate.yml").write_text(PARAMETERS)
    first = kedro(folder, "run", "--pipelines=ablate")
    assert first.count("finetune: 0 of 2 steps done") == 2
    second = kedro(folder, "run", "--pipelines=ablate")
    assert "steps done" not in second
    reporting = folder / "data/08_reporting"
    files = sorted(reporting.glob("ablation_results.json/*/ablation_results.json"))
    results = [json.loads(file.read_text()) for file in files]
    assert results[0] == results[1]
    assert list(results[0]["variants"]) == ["reference", "no_vggt", "measured_with_fast"]
    assert (reporting / "ablation_figure.png").stat().st_size > 1000
    tables = sorted(reporting.glob("ablation_table.parquet/*/ablation_table.parquet"))
    assert pd.read_parquet(tables[0])["variant"].unique().tolist() == list(results[0]["variants"])
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (experiment,) = [e.experiment_id for e in client.search_experiments() if e.name == "vln_heatmap"]
    last, before, *_ = client.search_runs([experiment], order_by=["attributes.start_time DESC"])
    for run in (last, before):
        assert run.data.metrics["variants/no_vggt/auc"] == results[0]["variants"]["no_vggt"]["auc"]
        assert run.data.metrics["no_vggt/seed_0/test/auc"] == results[0]["variants"]["no_vggt"]["auc"]
    assert run.data.params["ablate.variants.no_vggt.model.vggt.name"] == "none"
    assert "no_vggt/seed_0/finetune/loss" in before.data.metrics
    assert "no_vggt/seed_0/finetune/loss" not in last.data.metrics
    names = {Path(item.path).name for item in client.list_artifacts(last.info.run_id, "ablate")}
    assert names == {"ablation_results.json", "ablation_table.parquet", "ablation_figure.png"}
