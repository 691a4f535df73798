"""The whole road as a user drives it: commands in, models, tables and pictures out."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import kedro
from PIL import Image

from vln_heatmap import HeatmapPredictor
from vln_heatmap.datasets.sequence_store import SequenceStore
from vln_heatmap.datasets.video import encode_rgb

BASELINES = {"all_ones", "mean_map", "patch_colour", "encoder_cosine", "sift_ransac", "geometry"}
PREDICTION = Path("data/07_model_output/prediction")


@pytest.fixture(scope="session")
def walk(finished_project: Path) -> Any:
    """Frames of a walk in a house of the collection."""
    newest = max((finished_project / "data/01_raw/sequences").iterdir())
    store = SequenceStore(newest / "sequences")
    return store[next(iter(store))].rgb()


def runs_by_name(folder: Path) -> dict[str, Any]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return {run.info.run_name: run for run in found}


def test_results_hold_the_model_and_every_baseline(finished_project: Path) -> None:
    results = json.loads((finished_project / "data/08_reporting/results.json").read_text())["heatmap"]
    assert set(results) == {"model"} | BASELINES
    for method in results.values():
        assert 0 <= method["auc"] <= 1
        assert 0 <= method["iou"] <= 1
    assert results["all_ones"]["auc"] == 0.5
    assert results["geometry"]["auc"] > 0.97  # true depth and pose know what was seen


def test_stages_are_runs_under_the_run_of_their_command(finished_project: Path) -> None:
    runs = runs_by_name(finished_project)
    parent = runs["pretrain+finetune+evaluate"].info.run_id
    for stage in ("pretrain", "finetune", "evaluate"):
        assert runs[stage].data.tags["mlflow.parentRunId"] == parent
        assert runs[stage].info.status == "FINISHED"
    assert math.isfinite(runs["finetune"].data.metrics["val/auc"])
    assert runs["finetune"].data.params["finetune.train.steps"] == "6"
    assert "loaded.samples" in runs["finetune"].data.tags


def test_a_finished_road_trains_nothing_again(finished_project: Path) -> None:
    before = sorted((finished_project / "data/06_models").rglob("*.safetensors"))
    output = kedro(finished_project, "run", "--only-missing-outputs")
    assert "Running node" not in output
    assert sorted((finished_project / "data/06_models").rglob("*.safetensors")) == before


def test_predict_on_a_video(finished_project: Path, walk: Any, tmp_path: Path) -> None:
    video = tmp_path / "walk.mp4"
    video.write_bytes(encode_rgb(walk, fps=5, crf=18))
    kedro(
        finished_project,
        "run",
        "--pipelines=predict",
        f"--params=predict.video={video},predict.instruction=the door",
    )
    folder = finished_project / PREDICTION
    with np.load(folder / "heatmaps.npz") as arrays:
        heatmaps, masks = arrays["heatmaps"], arrays["masks"]
        keyframes, current = arrays["keyframe_indices"], int(arrays["current_index"])
    assert heatmaps.shape == masks.shape == (len(keyframes), *walk.shape[1:3])
    assert current == len(walk) - 1
    assert (keyframes < current).all()
    summary = json.loads((folder / "prediction.json").read_text())
    assert summary["instruction"] == "the door"
    assert set(summary["seconds"]) >= {"encode", "model"}
    overlays = sorted((folder / "overlays").glob("*.png"))
    assert [Image.open(file).size for file in overlays] == [walk.shape[2:0:-1]] * len(keyframes)
    assert min(Image.open(folder / "summary.png").size) > 200


def test_predict_from_python_agrees_with_the_pipeline(
    finished_project: Path, walk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished_project)
    result = HeatmapPredictor.from_checkpoint().predict(walk)
    again = HeatmapPredictor.from_checkpoint("data/06_models/finetuned").predict(
        walk, "", result.keyframe_indices
    )
    np.testing.assert_array_equal(result.heatmaps, again.heatmaps)
    assert result.heatmaps.dtype == np.float32
    assert ((result.heatmaps >= 0) & (result.heatmaps <= 1)).all()


def test_predict_with_a_named_checkpoint_needs_no_model_of_the_project(
    finished_project: Path, recorded_project: Path, walk: Any, tmp_path: Path
) -> None:
    folder, named = tmp_path / "project", tmp_path / "named"
    shutil.copytree(recorded_project, folder)
    shutil.copytree(max((finished_project / "data/06_models/finetuned").iterdir()) / "finetuned", named)
    video = tmp_path / "walk.mp4"
    video.write_bytes(encode_rgb(walk, fps=5, crf=18))
    kedro(folder, "run", "--pipelines=predict", f"--params=predict.video={video},predict.checkpoint={named}")
    assert (folder / PREDICTION / "heatmaps.npz").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--pipelines=predict",), "predict.video=PATH"),
        (("--pipelines=predict", "--params=predict.video=missing.mp4"), "missing.mp4"),
        (("--pipelines=collect", "--params=collect.scens=3"), "scens"),
        (("--pipelines=finetune", "--params=finetune.train.steps=0"), "greater than or equal to 1"),
        (("--pipelines=finetune", "--params=model.fusion.width=40"), "preset 'test'"),
    ],
    ids=["no video", "missing video", "unknown key", "bad value", "another model"],
)
def test_bad_requests_get_one_clear_answer(
    finished_project: Path, options: tuple[str, ...], message: str
) -> None:
    assert message in kedro(finished_project, "run", *options, fails=True)


def test_a_stage_names_the_stage_that_it_misses(recorded_project: Path) -> None:
    output = kedro(recorded_project, "run", "--pipelines=finetune", fails=True)
    assert "kedro run --pipelines=pretrain" in output
