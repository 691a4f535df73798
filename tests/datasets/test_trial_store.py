"""A store of trials: what is finished is found by its key, what is damaged is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from kedro.io import DatasetError

from vln_heatmap.datasets import TrialStoreDataset
from vln_heatmap.datasets.tensor_file import CorruptCheckpointError


def test_checkpoints_and_records_are_found_by_their_key_alone(tmp_path: Path) -> None:
    dataset = TrialStoreDataset(filepath=str(tmp_path / "store"), metadata={"kedro-viz": {"layer": "models"}})
    assert dataset.exists()
    store = dataset.load()
    assert store.checkpoint("a") is None
    assert store.record("a") is None
    kept = store.keep("a", {"state_dict": {"w": torch.arange(3.0)}, "meta": {"preset": "toy"}})
    store.note("a", {"auc": 0.5})
    again = dataset.load()
    found = again.checkpoint("a")
    assert found is not None
    assert found.path == kept.path
    assert found.path.parent.name == "a"  # names what is trained from it
    assert torch.equal(found.state_dict()["w"], torch.arange(3.0))
    assert again.record("a") == {"auc": 0.5}
    assert again.checkpoint("b") is None
    assert again.record("b") is None


def test_states_of_trainings_lie_apart(tmp_path: Path) -> None:
    store = TrialStoreDataset(filepath=str(tmp_path)).load()
    store.state("a").save("first", {"w": torch.ones(1)}, {"step": 1})
    assert store.state("b").load("first") is None
    loaded = store.state("a").load("first")
    assert loaded is not None
    assert loaded[1] == {"step": 1}
    assert store.checkpoint("a") is None  # not finished


def test_what_cannot_be_stored_or_read_is_told(tmp_path: Path) -> None:
    dataset = TrialStoreDataset(filepath=str(tmp_path))
    store = dataset.load()
    with pytest.raises(DatasetError, match="only loaded"):
        dataset.save({})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.note("a", {"auc": float("nan")})
    assert store.record("a") is None
    store.note("a", {})
    (tmp_path / "a" / "record.json").write_text("{")
    with pytest.raises(DatasetError, match="delete it to measure again"):
        store.record("a")
    store.keep("b", {"state_dict": {"w": torch.ones(100)}, "meta": {}})
    weights = tmp_path / "b" / "checkpoint" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(CorruptCheckpointError):
        store.checkpoint("b")
