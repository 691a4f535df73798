"""Collections as a Kedro dataset: lazy, versioned, and no way of dying loses or doubles a sequence."""

import errno
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kedro.io import DataCatalog, DatasetError
from stored_sequences import IDS, SHARD, dataset, make_sequence, stream

from vln_heatmap.datasets import sequence_store
from vln_heatmap.datasets.sequence_files import encode_sequence, skipped_sequence
from vln_heatmap.datasets.sequence_shards import CollectionStream, StorePlan


def test_a_collection_is_a_lazy_mapping(tmp_path: Path) -> None:
    dataset(tmp_path, "1").save(stream(IDS))
    store = dataset(tmp_path, "2").load()
    assert list(store) == IDS
    assert store.load(IDS[1]).id == IDS[1]
    assert list(pickle.loads(pickle.dumps(store))) == IDS
    with pytest.raises(KeyError, match="nowhere"):
        store["../nowhere"]
    (session,) = store.sessions()
    assert session["sequences"] == 3
    assert session["bytes"] == sum(
        f.stat().st_size for i in IDS for f in (store.folder / SHARD / i).iterdir()
    )


def test_the_catalog_makes_it_versioned(tmp_path: Path) -> None:
    entry = {"type": "vln_heatmap.datasets.SequenceStoreDataset", "filepath": str(tmp_path / "sequences")}
    catalog = DataCatalog.from_config({"sequences": {**entry, "versioned": True}}, save_version="1")
    assert not catalog.exists("sequences")
    catalog.save("sequences", stream(IDS))
    assert catalog.exists("sequences")
    assert list(catalog.load("sequences")) == IDS
    with pytest.raises(DatasetError, match="versioned: true"):
        DataCatalog.from_config({"sequences": entry}).load("sequences")


def test_nothing_stored_yet_names_the_command(tmp_path: Path) -> None:
    empty = dataset(tmp_path, "1")
    assert not empty.exists()
    with pytest.raises(DatasetError, match="run `kedro run --pipelines=collect` first"):
        empty.load()
    assert dataset(tmp_path, "1", unfinished=True).load() == {}


def test_an_interrupted_collection_is_continued(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="a worker died"):
        dataset(tmp_path, "1").save(stream(IDS, stop_after=2))
    with pytest.raises(DatasetError, match="after 2 of 3"):
        dataset(tmp_path, "2").load()
    assert not dataset(tmp_path, "2").exists()
    assert dataset(tmp_path, "2", unfinished=True).load() == {"f": frozenset(IDS[:2])}

    first = tmp_path / "sequences" / "1" / "sequences" / SHARD / IDS[0] / "rgb.mp4"
    written = first.stat().st_mtime_ns
    rest = CollectionStream(StorePlan("f", tuple(IDS)), [encode_sequence(make_sequence(IDS[2]))])
    dataset(tmp_path, "2").save(rest)

    store = dataset(tmp_path, "3").load()
    assert list(store) == IDS
    assert [path.name for path in (tmp_path / "sequences").iterdir()] == ["2"]
    assert (store.folder / SHARD / IDS[0] / "rgb.mp4").stat().st_mtime_ns == written
    assert [session["sequences"] for session in store.sessions()] == [2, 1]
    assert dataset(tmp_path, "3", unfinished=True).load() == {}


def test_another_plan_leaves_the_interrupted_one_alone(tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        dataset(tmp_path, "1").save(stream(IDS, stop_after=1))
    dataset(tmp_path, "2").save(stream(IDS[:2], fingerprint="other"))
    assert list(dataset(tmp_path, "3").load()) == IDS[:2]
    assert dataset(tmp_path, "3", unfinished=True).load() == {"f": frozenset(IDS[:1])}


def test_the_newest_complete_version_is_loaded(tmp_path: Path) -> None:
    dataset(tmp_path, "1").save(stream(IDS))
    with pytest.raises(DatasetError):
        dataset(tmp_path, "2").save(stream(IDS, fingerprint="other", stop_after=1))
    assert dataset(tmp_path, "3").load().folder.parent.name == "1"


def test_a_stream_that_ends_early_or_strays_from_its_plan_is_an_error(tmp_path: Path) -> None:
    plan = StorePlan("f", tuple(IDS))
    with pytest.raises(DatasetError, match=f"without 3 sequences, first {IDS[0]}"):
        dataset(tmp_path, "1").save(CollectionStream(plan, []))
    stray = [encode_sequence(make_sequence("house_00009_00"))]
    with pytest.raises(DatasetError, match="house_00009_00' is not in the plan"):
        dataset(tmp_path, "2").save(CollectionStream(plan, stray))


def test_skipped_sequences_complete_the_plan_but_are_no_data(tmp_path: Path) -> None:
    made = [encode_sequence(make_sequence(IDS[0])), skipped_sequence(IDS[1], "no floor")]
    dataset(tmp_path, "1").save(CollectionStream(StorePlan("f", tuple(IDS[:2])), made))
    store = dataset(tmp_path, "2").load()
    assert list(store) == IDS[:1]
    assert store.skipped == {IDS[1]: "no floor"}


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sequence_store.write_durably

    def full_disk(path: Path, data: bytes) -> None:
        if IDS[1] in str(path) and path.name == "instance.mkv":
            path.write_bytes(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(sequence_store, "write_durably", full_disk)
        with pytest.raises(DatasetError, match=rf"{IDS[1]}.*disk is full.*1 of 3 sequences.*intact"):
            dataset(tmp_path, "1").save(stream(IDS))
    folder = tmp_path / "sequences" / "1" / "sequences" / SHARD
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {IDS[0]}

    dataset(tmp_path, "2").save(stream(IDS))
    store = dataset(tmp_path, "3").load()
    assert [store.load(i).id for i in store] == IDS


def test_a_killed_write_leaves_no_half_sequence(tmp_path: Path) -> None:
    """A process killed between two files of a sequence; the next run cleans up and goes on."""
    script = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from stored_sequences import IDS, dataset, stream
from vln_heatmap.datasets import sequence_store
real = sequence_store.write_durably
def dying(path, data):
    if IDS[1] in str(path) and path.name == "depth.mkv":
        os._exit(9)
    real(path, data)
sequence_store.write_durably = dying
dataset(Path(sys.argv[1]), "1").save(stream(IDS))
"""
    here = str(Path(__file__).parent)
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path), here], check=False)
    assert killed.returncode == 9
    folder = tmp_path / "sequences" / "1" / "sequences" / SHARD
    assert (folder / f".partial-{IDS[1]}").is_dir()
    assert dataset(tmp_path, "2", unfinished=True).load() == {"f": frozenset(IDS[:1])}
    dataset(tmp_path, "2").save(stream(IDS))
    assert list(dataset(tmp_path, "3").load()) == IDS
    assert not list((tmp_path / "sequences").rglob(".partial-*"))


def test_a_running_collection_is_not_taken_over(tmp_path: Path) -> None:
    def racing():
        yield encode_sequence(make_sequence(IDS[0]))
        with pytest.raises(DatasetError, match="another run is storing"):
            dataset(tmp_path, "2").save(stream(IDS))
        for sequence_id in IDS[1:]:
            yield encode_sequence(make_sequence(sequence_id))

    dataset(tmp_path, "1").save(CollectionStream(StorePlan("f", tuple(IDS)), racing()))
    assert list(dataset(tmp_path, "3").load()) == IDS


def test_a_lost_folder_makes_the_version_unfinished(tmp_path: Path) -> None:
    dataset(tmp_path, "1").save(stream(IDS))
    shutil.rmtree(tmp_path / "sequences" / "1" / "sequences" / SHARD / IDS[1])
    with pytest.raises(DatasetError, match="after 2 of 3"):
        dataset(tmp_path, "2").load()
