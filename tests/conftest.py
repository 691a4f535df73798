"""Fixtures that every test may use: a throw-away project folder, and an MLflow database made only once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

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
