"""Fixtures that every test may use: throw-away project folders (empty, with data), and what is made only once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from command_line import kedro

ROOT = Path(__file__).parents[1]

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def empty_tracking_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated MLflow database without runs; making one takes seconds, so tests copy this one."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def project(tmp_path: Path, empty_tracking_db: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder with a tracking database of its own; sessions started in it touch nothing else.

    Start one with ``KedroSession.create(project_path=project, conf_source=str(ROOT / "conf"), env="test")``.
    """
    import mlflow
    from kedro.framework.project import configure_project

    shutil.copy(empty_tracking_db, tmp_path / "mlflow.db")
    # MLflow exports the address of one session to the next: start from none, and put things back afterwards
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(None)
    configure_project("vln_heatmap")
    return tmp_path


@pytest.fixture(scope="session")
def recorded_project(tmp_path_factory: pytest.TempPathFactory, empty_tracking_db: Path) -> Path:
    """A copy of the project with what collect, validate and normalize make of six short walks. Only read it.

    It is made by the command line in a process of its own, which leaves nothing behind in this one.
    """
    folder = tmp_path_factory.mktemp("recorded") / "project"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "conf", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for file in (ROOT / "pyproject.toml", ROOT / ".telemetry", empty_tracking_db):
        shutil.copy(file, folder / file.name)
    kedro(
        folder,
        "run",
        "--pipelines=collect,validate,normalize",
        "--params=collect.sequences=6,collect.workers=1",
    )
    return folder


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory, recorded_project: Path) -> Path:
    """A copy of ``recorded_project`` that has been pretrained, finetuned and evaluated too."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(recorded_project, folder)
    kedro(folder, "run", "--pipelines=pretrain,finetune,evaluate")
    return folder
