"""Our own collection is opened late: the one that was split, or the newest, or it is told what makes one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from box_walks import store, walk
from kedro.io import DatasetError

from vln_heatmap.datasets.own_episodes import OwnEpisodesDataset
from vln_heatmap.datasets.sequence_shards import PLAN

OLD, NEW = "2026-01-01T00.00.00.000Z", "2026-02-01T00.00.00.000Z"


def dataset(folder: Path) -> OwnEpisodesDataset:
    return OwnEpisodesDataset(
        filepath=str(folder / "own.json"),
        sequences={"filepath": str(folder / "sequences")},
        splits={"filepath": str(folder / "splits.parquet")},
    )


def collected(folder: Path, version: str, name: str) -> None:
    made, _ = store(folder / version, walk(name, "ff"))
    place = folder / "sequences" / version / "sequences"
    shutil.copytree(made.folder, place)
    (place / PLAN).write_text(json.dumps({"fingerprint": version, "ids": [name]}))
    splits = folder / "splits.parquet" / version / "splits.parquet"
    splits.parent.mkdir(parents=True)
    pd.DataFrame({"id": [name], "split": ["train"]}).to_parquet(splits)


def test_the_collection_that_was_split_is_opened_and_without_a_word_the_newest(tmp_path: Path) -> None:
    collected(tmp_path, OLD, "house_00000_00")
    collected(tmp_path, NEW, "house_00001_00")
    own = dataset(tmp_path)
    assert own.stands_in
    assert not own.exists()
    assert list(own.load()()[0]) == ["house_00001_00"]
    own.save({"sequences": OLD, "episodes": 1})
    assert own.exists()
    assert list(own.load()()[0]) == ["house_00000_00"]


def test_without_a_collection_the_stages_that_make_one_are_named(tmp_path: Path) -> None:
    opened = dataset(tmp_path).load()
    with pytest.raises(DatasetError, match=r"collect,validate,normalize` first, or name data\.format"):
        opened()
