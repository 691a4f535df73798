"""Runs, parameters, metrics, artifacts and versions of stages in MLflow; errors before the first node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.pipeline import Pipeline, node
from mlflow import MlflowClient
from mlflow.entities import Run
from pydantic import Field

from vln_heatmap import pipeline_registry
from vln_heatmap.datasets.tracker import Tracker
from vln_heatmap.hooks import MissingUpstreamError, anchored, git_state, run_name
from vln_heatmap.params import Params
from vln_heatmap.tracking import finite_numbers, flat_parameters


class WalkParams(Params):
    seed: int = Field(0, ge=0)
    rooms: tuple[str, ...] = ()


CATALOG: dict[str, Any] = {
    "walks": {"type": "json.JSONDataset", "filepath": "data/walks.json", "versioned": True},
    "scores": {
        "type": "json.JSONDataset",
        "filepath": "data/scores.json",
        "metadata": {"mlflow": {"metrics": "scores", "artifact_path": "validate"}},
    },
    "summary": {"type": "json.JSONDataset", "filepath": "data/summary.json"},
    "tracker": {"type": "vln_heatmap.datasets.TrackerDataset"},
}


def make_walks(params: WalkParams) -> list[int]:
    return [params.seed, params.seed + 1]


def score(walks: list[int], tracker: Tracker) -> dict[str, Any]:
    for step, walk in enumerate(walks):
        tracker.log_metrics({"loss": float(walk)}, step)
    return {"all": {"mean": sum(walks) / len(walks)}, "worst": "none", "share": float("nan")}


def summarize(params: WalkParams, scores: dict[str, Any]) -> dict[str, int]:
    if params.seed == 13:
        raise RuntimeError("thirteen walks cannot be summarized")
    return {"seed": params.seed}


@pytest.fixture
def road(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A road of two toy stages whose nodes interleave: collect has one node before and one after validate."""
    stages = {
        "collect": Pipeline(
            [
                node(make_walks, "params:walk", "walks", name="make_walks"),
                node(summarize, ["params:walk", "scores"], "summary", name="summarize"),
            ]
        ),
        "validate": Pipeline([node(score, ["walks", "tracker"], "scores", name="score")]),
    }
    monkeypatch.setattr(pipeline_registry, "find_pipelines", lambda **_: stages)
    monkeypatch.setattr(pipeline_registry, "stage_names", lambda: frozenset(stages))
    (project / "conf/base").mkdir(parents=True)
    (project / "conf/local").mkdir()
    (project / "conf/base/catalog.yml").write_text(yaml.safe_dump(CATALOG))
    (project / "conf/base/parameters.yml").write_text("walk: {seed: 3, rooms: [hall, bath]}")
    return project


def run_road(road: Path, stages: list[str] | None = None, **params: Any) -> None:
    pipelines.configure("vln_heatmap.pipeline_registry")
    with KedroSession.create(road, runtime_params=params) as session:
        session.run(pipeline_names=stages)


def runs_by_name(road: Path) -> dict[str, Run]:
    client = MlflowClient(f"sqlite:///{road}/mlflow.db")
    experiment = client.get_experiment_by_name("vln_heatmap")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    return {run.info.run_name: run for run in runs}  # the newest of each name


def test_stages_nest_under_one_parent_each_with_its_own(road: Path) -> None:
    run_road(road)
    runs = runs_by_name(road)
    assert set(runs) == {"road", "collect", "validate"}
    parent = runs["road"]
    for stage in ("collect", "validate"):
        assert runs[stage].data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert runs[stage].info.status == parent.info.status == "FINISHED"
    assert runs["collect"].data.params == {"walk.seed": "3", "walk.rooms": '["hall", "bath"]'}
    assert runs["validate"].data.params == parent.data.params == {}
    assert {"seconds/make_walks", "seconds/summarize"} == set(runs["collect"].data.metrics)
    assert runs["validate"].data.metrics.items() >= {"scores/all/mean": 3.5, "loss": 4.0}.items()
    assert "scores/share" not in runs["validate"].data.metrics
    version = parent.data.tags["data.version"]
    assert runs["collect"].data.tags["saved.walks"] == version
    assert runs["validate"].data.tags["loaded.walks"] == version
    assert len(parent.data.tags["git.commit"]) in {40, len("unknown")}


def test_tracker_writes_a_curve_to_the_run_of_its_stage(road: Path) -> None:
    run_road(road)
    client = MlflowClient(f"sqlite:///{road}/mlflow.db")
    curve = client.get_metric_history(runs_by_name(road)["validate"].info.run_id, "loss")
    assert [(point.step, point.value) for point in curve] == [(0, 3.0), (1, 4.0)]


def test_artifacts_go_to_the_stage_that_saved_them_inside_the_project(road: Path) -> None:
    run_road(road)
    run = runs_by_name(road)["validate"]
    client = MlflowClient(f"sqlite:///{road}/mlflow.db")
    (artifact,) = client.list_artifacts(run.info.run_id, "validate")
    assert artifact.path == "validate/scores.json"
    assert run.info.artifact_uri.startswith((road / "mlartifacts").as_uri())
    saved = next((road / "mlartifacts").rglob("scores.json"))
    assert json.loads(saved.read_text())["all"] == {"mean": 3.5}


def test_one_stage_alone_is_one_run(road: Path) -> None:
    run_road(road, ["collect", "validate"])
    run_road(road, ["validate"], walk={"seed": 5})
    runs = runs_by_name(road)
    assert set(runs) == {"collect+validate", "collect", "validate"}
    assert "mlflow.parentRunId" not in runs["validate"].data.tags
    assert runs["validate"].data.metrics["scores/all/mean"] == 3.5


def test_failed_stage_fails_with_its_parent_and_leaves_finished_ones_alone(road: Path) -> None:
    with pytest.raises(RuntimeError, match="thirteen"):
        run_road(road, walk={"seed": 13})
    runs = runs_by_name(road)
    assert {name: run.info.status for name, run in runs.items()} == {
        "road": "FAILED",
        "collect": "FAILED",
        "validate": "FINISHED",
    }
    assert "thirteen walks" in runs["collect"].data.tags["error"]
    assert runs["road"].data.tags["error"] == runs["collect"].data.tags["error"]


def test_interrupted_run_is_killed_not_finished(road: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Tracker, "log_metrics", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_road(road)
    monkeypatch.undo()
    with KedroSession.create(road) as session:
        session.load_context()  # what a notebook does next; a command line ends and comes to the same
    statuses = {name: run.info.status for name, run in runs_by_name(road).items()}
    assert statuses == {"road": "KILLED", "collect": "KILLED", "validate": "KILLED"}


def test_tracking_can_be_switched_off(road: Path) -> None:
    off = {"disable_tracking": {"pipelines": ["collect", "validate"]}}
    (road / "conf/base/mlflow.yml").write_text(yaml.safe_dump({"tracking": off}))
    run_road(road, ["collect", "validate"])
    assert runs_by_name(road) == {}
    assert (road / "data/summary.json").exists()


def test_missing_upstream_names_the_stage_to_run(road: Path) -> None:
    with pytest.raises(
        MissingUpstreamError, match=r"no walks yet: run `kedro run --pipelines=collect` first"
    ):
        run_road(road, ["validate"])
    client = MlflowClient(f"sqlite:///{road}/mlflow.db")
    assert client.search_runs([e.experiment_id for e in client.search_experiments()]) == []


@pytest.mark.parametrize("wrong", [{"sed": 1}, {"seed": -1}, {"seed": "many"}])
def test_wrong_parameter_is_refused_before_the_first_node(road: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=next(iter(wrong))):
        run_road(road, walk=wrong)
    assert not (road / "data").exists()


def test_relative_sqlite_file_is_anchored_and_servers_are_left_alone(tmp_path: Path) -> None:
    local = anchored({"server": {"mlflow_tracking_uri": "sqlite:///mlflow.db"}}, tmp_path)
    assert local["server"]["mlflow_tracking_uri"] == f"sqlite:///{tmp_path}/mlflow.db"
    assert local["tracking"]["experiment"]["create_experiment_kwargs"] == {"artifact_location": "mlartifacts"}
    for uri in ("http://tracking.example:5000", "sqlite:////absolute/mlflow.db"):
        config = {"server": {"mlflow_tracking_uri": uri}, "tracking": {"experiment": {"name": "mine"}}}
        assert anchored(config, tmp_path) == config


def test_git_state_outside_a_repository_is_unknown(tmp_path: Path) -> None:
    assert git_state(tmp_path) == {"git.commit": "unknown"}


def test_run_is_named_after_its_stages_in_order() -> None:
    assert run_name(["validate", "predict", "collect"]) == "collect+validate+predict"
    assert run_name(["__default__"]) == run_name([]) == "road"


def test_parameters_and_numbers_become_flat() -> None:
    params = {"a": WalkParams(seed=2), "b": {}, "c": None, "d": 0.5}
    assert flat_parameters(params, "p") == {
        "p.a.seed": "2",
        "p.a.rooms": "[]",
        "p.d": "0.5",
    }
    assert finite_numbers({"a": {"b": 1, "c": "x"}, "d": [1], "e": float("inf")}) == {"a/b": 1.0}
