"""The export and import stages: from a store to files of another project and back, whatever goes wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imported import kept, same_frames, spoken_walk
from kedro.io import DataCatalog, DatasetError, Version
from kedro.runner import SequentialRunner
from pydantic import ValidationError

from vln_heatmap.datasets.sequence_store import (
    SequenceStore,
    SequenceStoreDataset,
    encode_sequence,
    store_sequence,
)
from vln_heatmap.interchange.checks import RefusedError
from vln_heatmap.interchange.export_dataset import Export, ExportDataset
from vln_heatmap.nodes.export import export_sequences
from vln_heatmap.nodes.import_sequences import import_sequences, summarise_import
from vln_heatmap.params import ExportParams, ImportParams
from vln_heatmap.pipelines.export import create_pipeline as export_pipeline

FORMATS = ("lerobot", "episodes", "streamvln")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> SequenceStore:
    folder = tmp_path_factory.mktemp("sequences")
    for name, actions in (
        ("house_00000_00", "fflfrffl"),
        ("house_00000_01", "rrf"),
        ("house_00001_00", "ll"),
    ):
        store_sequence(folder, encode_sequence(spoken_walk(name, actions), crf=4))
    return SequenceStore(folder)


@pytest.fixture(scope="module")
def exports(store: SequenceStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store in every format, written by the pipeline."""
    folder = tmp_path_factory.mktemp("export")
    for name in FORMATS:
        catalog = DataCatalog.from_config({"export_report": {"type": "MemoryDataset"}})
        catalog["sequences"] = store
        catalog["params:export"] = ExportParams(format=name)
        catalog["export"] = ExportDataset(filepath=str(folder))
        SequentialRunner().run(export_pipeline(), catalog)
        report = catalog.load("export_report")
        assert (report["format"], report["episodes"], report["frames"]) == (name, 3, 16)
        assert report["bytes"] == sum(f.stat().st_size for f in (folder / name).rglob("*") if f.is_file())
    return folder


def params(source: Path, name: str, **changes: Any) -> ImportParams:
    return ImportParams.model_validate(
        {"source": str(source), "format": name, "video": {"crf": 4}, **changes}
    )


def imported(folder: Path, given: ImportParams, unfinished: dict | None = None) -> SequenceStore:
    dataset = SequenceStoreDataset(filepath=str(folder / "sequences"), version=Version(None, "now"))
    dataset.save(import_sequences(unfinished or {}, given))
    return dataset.load()


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_exported_can_be_imported(
    store: SequenceStore, exports: Path, tmp_path: Path, name: str
) -> None:
    found = imported(tmp_path, params(exports / name, name))
    assert sorted(found) == sorted(store)
    index, report = summarise_import(found, params(exports / name, name))
    assert (report["sequences"], report["frames"], report["scenes"], report["refused"]) == (3, 16, 2, {})
    assert index["stopped"].all()
    for sequence_id in store:
        before, after = store[sequence_id], found[sequence_id]
        assert after.frames["action"].tolist() == before.frames["action"].tolist()
        assert np.abs(after.rgb().astype(int) - before.rgb()).mean() < 4
    if name == "episodes":
        assert report["absent"] == []
        same_frames(found.load("house_00000_00"), store.load("house_00000_00"))
        np.testing.assert_array_equal(found["house_00001_00"].depth(), store["house_00001_00"].depth())
        assert index["path_metres"].tolist() == pytest.approx([5 * 0.25, 0.25, 0])
    else:
        assert "instance" in report["absent"]


def test_a_broken_episode_is_left_out_with_its_reason(exports: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(exports / "streamvln", tmp_path / "copy"))
    (source / "images/house_00000_01/rgb/002.jpg").unlink()
    found = imported(tmp_path, params(source, "streamvln"))
    assert sorted(found) == ["house_00000_00", "house_00001_00"]
    reason = found.skipped["house_00000_01"]
    assert "annotations.json, row 1: 4 actions for 3 images" in reason
    _, report = summarise_import(found, params(source, "streamvln"))
    assert report["refused"] == {"house_00000_01": reason}
    with pytest.raises(RefusedError, match="4 actions for 3 images"):
        list(import_sequences({}, params(source, "streamvln", strict=True)))


def test_metadata_that_is_nonsense_costs_its_episode(exports: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(exports / "episodes", tmp_path / "copy"))
    import pyarrow.parquet as pq

    file = source / "house_00000_01.parquet"
    table = pq.read_table(file)
    text = json.dumps({"id": "house_00000_01", "camera": {"width": 1, "height": 2, "hfov": 90}, "fps": 10})
    pq.write_table(table.replace_schema_metadata({b"vln_heatmap.metadata": text.encode()}), file)
    found = imported(tmp_path, params(source, "episodes"))
    assert sorted(found) == ["house_00000_00", "house_00001_00"]
    assert "rgb must be (4, 2, 1, 3), got (4, 48, 64, 3)" in found.skipped["house_00000_01"]


def test_nothing_that_can_be_imported_is_an_error(exports: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(exports / "episodes", tmp_path / "copy"))
    for file in source.glob("*.parquet"):
        file.write_bytes(b"no")
    found = imported(tmp_path, params(source, "episodes"))
    with pytest.raises(ValueError, match=r"no episode could be imported: .*not a readable Parquet file"):
        summarise_import(found, params(source, "episodes"))


def test_an_interrupted_import_goes_on_where_it_was(exports: Path, tmp_path: Path) -> None:
    given = params(exports / "episodes", "episodes")
    whole = {encoded.id: encoded.files for encoded in import_sequences({}, given)}
    stream = import_sequences({}, given)
    left = {stream.plan.fingerprint: frozenset({"house_00000_00"})}
    rest = {encoded.id: encoded.files for encoded in import_sequences(left, given)}
    assert rest == {name: files for name, files in whole.items() if name != "house_00000_00"}
    other = import_sequences({}, params(exports / "episodes", "episodes", fps=5.0))
    assert other.plan.fingerprint != stream.plan.fingerprint


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name the folder to import"):
        import_sequences({}, ImportParams())
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        import_sequences({}, params(tmp_path / "nowhere", "lerobot"))
    with pytest.raises(ValidationError, match="drop"):
        ImportParams(drop=("sound",))


def test_chosen_sequences_only(store: SequenceStore, tmp_path: Path) -> None:
    export = export_sequences(store, ExportParams(format="episodes", ids=("house_00000_01",), image="jpeg"))
    assert export.write(tmp_path)["episodes"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["house_00000_01.parquet"]
    with pytest.raises(KeyError, match="no sequence 'x'"):
        export_sequences(store, ExportParams(ids=("x",)))


def test_walks_that_the_format_cannot_hold_are_listed(tmp_path: Path) -> None:
    cut = spoken_walk("house_00000_01", "rrf")
    cut.frames["is_terminal"] = False
    walks = {walk.id: kept(tmp_path / "store", walk) for walk in (spoken_walk(), cut)}
    (tmp_path / "out").mkdir()
    report = export_sequences(walks, ExportParams(format="streamvln")).write(tmp_path / "out")
    assert report["episodes"] == 1
    assert report["left_out"] == {
        "house_00000_01": "it does not end by STOP, which the format takes for granted"
    }
    with pytest.raises(
        ValueError, match="no sequence can be written as a StreamVLN walk; house_00000_01: it"
    ):
        export_sequences({cut.id: walks[cut.id]}, ExportParams(format="streamvln")).write(tmp_path / "none")


def test_an_export_that_fails_leaves_the_last_one(tmp_path: Path) -> None:
    dataset = ExportDataset(filepath=str(tmp_path))
    with pytest.raises(DatasetError, match="nothing was exported"):
        dataset.load()

    def good(folder: Path) -> dict[str, Any]:
        (folder / "a").write_text("a")
        return {"episodes": 1}

    def bad(folder: Path) -> dict[str, Any]:
        (folder / "b").write_text("b")
        raise OSError("the disk is full")

    dataset.save(Export("lerobot", good))
    with pytest.raises(DatasetError, match="the disk is full"):
        dataset.save(Export("lerobot", bad))
    assert [path.name for path in (tmp_path / "lerobot").iterdir()] == ["a"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export_report.json", "lerobot"]
    assert dataset.load() == {"episodes": 1, "format": "lerobot", "folder": str(tmp_path / "lerobot")}
