"""The notebooks run from the first to the last cell, on freshly collected data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def outputs(notebook: Any, cell: str) -> list[dict[str, Any]]:
    """Contents of the outputs of the cell with an id, by MIME type."""
    found = next(item for item in notebook.cells if item.id == cell)
    return [dict(item.get("data", {"text/plain": item.get("text", "")})) for item in found.outputs]


def text(notebook: Any, cell: str) -> str:
    return "".join(str(data.get("text/plain", "")) for data in outputs(notebook, cell))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert any(cell.cell_type == "code" for cell in cells)
    assert all(
        not cell.outputs and cell.execution_count is None for cell in cells if cell.cell_type == "code"
    )


def test_the_data_tour_runs(recorded_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.read(recorded_project / "notebooks/01_data_tour.ipynb", as_version=4)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    resources = {"metadata": {"path": str(recorded_project / "notebooks")}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute(
        env={**os.environ, "KEDRO_ENV": "test"}
    )
    assert "6 sequences" in text(notebook, "catalog")
    assert "6 of 6 sequences accepted" in text(notebook, "validation")
    shares = text(notebook, "covisibility").splitlines()
    assert len(shares) == 4
    assert all("co-visible" in line and "occluded" in line and "outside" in line for line in shares)
    for cell in ("images", "plan", "targets", "statistics"):
        assert any("image/png" in data for data in outputs(notebook, cell)), f"{cell} shows no figure"
