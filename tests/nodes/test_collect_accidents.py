"""Whatever kills a collection, what comes out in the end is what an uninterrupted one makes, byte for byte."""

from __future__ import annotations

import io
import logging
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import interrupted_collection
import pytest
from interrupted_collection import PARAMS, collect, dataset

from vln_heatmap.datasets.sequence_shards import read_index, shard_folders
from vln_heatmap.nodes import collect as nodes
from vln_heatmap.nodes.collect_report import summarise_collection

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits")


def content(folder: Path, version: str) -> dict[str, bytes]:
    """Every file of every sequence, and the index as a Parquet file."""
    store = dataset(folder, version).load()
    files = {
        f"{i}/{path.name}": path.read_bytes() for i in store for path in sorted(store[i].folder.iterdir())
    }
    buffer = io.BytesIO()
    summarise_collection(store, PARAMS)[0].to_parquet(buffer)
    return files | {"index": buffer.getvalue()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    collect(folder, "1")
    return content(folder, "2")


def meet_with(accident: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, interrupted_collection.__file__, str(folder), accident]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert dataset(folder, "2", unfinished=True).load(), done.stderr  # something was left
    return done


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    assert meet_with("kill", folder).returncode == -signal.SIGKILL
    return folder


@pytest.mark.parametrize("cut", [0, 30, 10_000], ids=["whole", "torn", "lost"])
def test_a_killed_collection_goes_on_to_the_same_content(
    killed: Path, tmp_path: Path, undisturbed: dict[str, bytes], cut: int
) -> None:
    """The index may have reached the disk as a whole, in part or not at all."""
    shutil.copytree(killed / "sequences", tmp_path / "sequences")
    (left,) = dataset(tmp_path, "2", unfinished=True).load().values()
    assert len(left) == 2
    (shard,) = shard_folders(tmp_path / "sequences" / "1" / "sequences")
    index = shard / "index.jsonl"
    index.write_bytes(index.read_bytes()[: -cut or None])
    collect(tmp_path, "2")
    (shard,) = shard_folders(tmp_path / "sequences" / "2" / "sequences")
    assert len(read_index(shard)) == {0: 6, 30: 5, 10_000: 4}[cut]
    assert content(tmp_path, "3") == undisturbed


def test_a_full_disk_is_said_and_survived(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    done = meet_with("disk", tmp_path)
    assert done.returncode == 1
    assert "The 2 of 6 sequences stored so far are intact: free some space and run again" in done.stderr
    assert not list(tmp_path.rglob(".partial-*"))
    collect(tmp_path, "2")
    assert content(tmp_path, "3") == undisturbed


def test_a_killed_worker_is_replaced_and_changes_nothing(
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(interrupted_collection.MARK, str(tmp_path / "killed"))
    monkeypatch.setattr(nodes, "collect_scene", interrupted_collection.collect_scene_or_die)
    with caplog.at_level(logging.WARNING, "vln_heatmap"):
        collect(tmp_path, "1", workers=2)
    assert "go on in a fresh pool" in caplog.text
    assert content(tmp_path, "2") == undisturbed


@pytest.mark.ray
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install '.[ray]'")
def test_ray_gives_the_same_bytes(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    collect(tmp_path, "1", workers=2, executor="ray")
    assert content(tmp_path, "2") == undisturbed
