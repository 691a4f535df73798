"""Geometry pretraining from the command line, and a road that goes on from its weights by one parameter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from command_line import kedro

from vln_heatmap.datasets.checkpoint import Checkpoint


def test_weights_that_it_makes_are_taken_by_name_and_not_stored_twice(
    recorded_project: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(recorded_project, folder)
    kedro(folder, "run", "--pipelines=pretrain_geometry")
    geometry = folder / "data/06_models/geometry"
    assert json.loads((geometry / "state.json").read_text())["stage"] == "pretrain_geometry"
    frozen = "--params=model.vggt.source=data/06_models/geometry,model.vggt.frozen=true"
    kedro(folder, "run", "--pipelines=pretrain,finetune", frozen)
    checkpoint = Checkpoint.open(folder / "data/06_models/finetuned")
    assert not [name for name in checkpoint.state_dict() if name.startswith("vggt.")]
    assert checkpoint.meta["external"]["vggt"]["source"] == "data/06_models/geometry"
