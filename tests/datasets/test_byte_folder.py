"""A folder of files holds what was saved last, and nothing else."""

from __future__ import annotations

import pytest
from kedro.io import DatasetError

from vln_heatmap.datasets.byte_folder import ByteFolderDataset


def test_contents_come_back_and_old_files_go(tmp_path):
    folder = ByteFolderDataset(filepath=str(tmp_path / "deep" / "films"))
    assert not folder.exists()
    folder.save({"a.mp4": b"one", "b.rrd": b""})
    folder.save({"c.mp4": b"two"})
    assert folder.load() == {"c.mp4": b"two"}
    folder.save({})
    assert folder.load() == {}


@pytest.mark.parametrize("name", ["../a", "x/y", ".hidden", ""])
def test_files_stay_in_the_folder(tmp_path, name):
    folder = ByteFolderDataset(filepath=str(tmp_path / "films"))
    folder.save({"a": b"1"})
    with pytest.raises(DatasetError, match="cannot be called"):
        folder.save({name: b"2"})
    assert folder.load() == {"a": b"1"}


def test_nothing_was_saved(tmp_path):
    with pytest.raises(DatasetError, match="there is no folder"):
        ByteFolderDataset(filepath=str(tmp_path / "films")).load()
