"""Named arrays in a file: bit for bit, whole or not at all, never pickled."""

from pathlib import Path

import numpy as np
import pytest
from kedro.io import DatasetError

from vln_heatmap.datasets.npz import NpzDataset

ARRAYS = {
    "heatmaps": np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4),
    "masks": np.array([[True, False]]),
    "current_index": np.array(7),
    "allow": np.zeros((0, 3), np.int64),
}


@pytest.fixture
def dataset(tmp_path: Path) -> NpzDataset:
    return NpzDataset(filepath=str(tmp_path / "deep" / "heatmaps.npz"))


def test_arrays_come_back_with_type_and_shape(dataset: NpzDataset, tmp_path: Path) -> None:
    assert not dataset.exists()
    dataset.save(ARRAYS)
    assert dataset.exists()
    loaded = dataset.load()
    assert loaded.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(loaded[name], array, strict=True)
    with np.load(tmp_path / "deep" / "heatmaps.npz", allow_pickle=False) as plain:  # numpy alone can read it
        assert set(plain.files) == set(ARRAYS)


def test_objects_are_refused_and_what_was_stored_stays(dataset: NpzDataset, tmp_path: Path) -> None:
    dataset.save(ARRAYS)
    with pytest.raises(DatasetError, match="allow_pickle"):
        dataset.save({"heatmaps": np.array([{"a": 1}], dtype=object)})
    assert dataset.load().keys() == ARRAYS.keys()
    assert [f.name for f in (tmp_path / "deep").iterdir()] == ["heatmaps.npz"]


@pytest.mark.parametrize("keep", [0, 3, 40, 300, -1])
def test_a_truncated_file_is_named(dataset: NpzDataset, tmp_path: Path, keep: int) -> None:
    dataset.save(ARRAYS)
    file = tmp_path / "deep" / "heatmaps.npz"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DatasetError, match=r"heatmaps\.npz cannot be read"):
        dataset.load()


def test_a_damaged_array_is_noticed(dataset: NpzDataset, tmp_path: Path) -> None:
    dataset.save(ARRAYS)
    file = tmp_path / "deep" / "heatmaps.npz"
    content = bytearray(file.read_bytes())
    content[60:90] = bytes(30)
    file.write_bytes(bytes(content))
    with pytest.raises(DatasetError, match=r"heatmaps\.npz cannot be read"):
        dataset.load()


def test_a_missing_file_is_named(dataset: NpzDataset) -> None:
    with pytest.raises(DatasetError, match=r"heatmaps\.npz"):
        dataset.load()
