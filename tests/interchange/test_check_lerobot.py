"""The comparison with the official reader finds what differs (what the reader returns is made up here)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from imported import kept, spoken_walk
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence_files import StoredSequence
from vln_heatmap.interchange.check_lerobot import Finding, compare
from vln_heatmap.interchange.lerobot_format import DEPTH_KEY, NUMBERS, RGB_KEY, DepthCodes, task_of
from vln_heatmap.interchange.lerobot_writer import write_dataset

Items = dict[str, NDArray]


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StoredSequence]:
    folder = tmp_path_factory.mktemp("store")
    return {walk.id: kept(folder, walk) for walk in (spoken_walk(), spoken_walk("house_00001_00", "rrf"))}


@pytest.fixture(scope="module")
def export(sequences: dict[str, StoredSequence], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export")
    write_dataset(root, sequences.values(), {}, depth=DepthCodes(10.0))
    return root


@pytest.fixture
def items(sequences: dict[str, StoredSequence], export: Path) -> Items:
    """What a reader returns that makes no mistake."""
    rows = pd.read_parquet(export / "data/chunk-000/file-000.parquet")
    found: Items = {
        name: np.stack(rows[name].to_list()) for name in (*NUMBERS, "frame_index", "episode_index")
    }
    found["indices"] = np.arange(len(rows))
    found["task"] = np.array([task_of(s) for s in sequences.values() for _ in range(len(s))])
    found[RGB_KEY] = np.concatenate([np.moveaxis(s.rgb(), -1, 1) for s in sequences.values()])
    depth = np.concatenate([s.depth() for s in sequences.values()])
    codes = DepthCodes(10.0)
    found[DEPTH_KEY] = np.rint(1000 * codes.decode(codes.encode(depth)))[:, None]
    found["facts"] = np.array(json.dumps({"episodes": 2, "frames": len(rows)}))
    return found


def failures(items: Items, export: Path, sequences: dict[str, StoredSequence]) -> list[str]:
    return [finding.name for finding in compare(items, export, sequences) if not finding.passed]


def test_a_faithful_reader_passes(items: Items, export: Path, sequences: dict[str, StoredSequence]) -> None:
    findings = list(compare(items, export, sequences))
    assert [finding.name for finding in findings if not finding.passed] == []
    assert {"camera_to_world", "action", "tasks that differ", "depth, millimetres"} <= {
        f.name for f in findings
    }


def test_every_mistake_is_found(items: Items, export: Path, sequences: dict[str, StoredSequence]) -> None:
    mistakes = {
        "camera_to_world": "camera_to_world",
        "observation.state": "observation.state",
        "discrete_action": "discrete_action",
        RGB_KEY: "colour, grey levels",
        DEPTH_KEY: "depth, millimetres",
    }
    for key, name in mistakes.items():
        shifted = np.roll(items[key], 1, axis=0)  # every frame gets its neighbour's
        assert failures({**items, key: shifted}, export, sequences) == [name]
    wrong = {**items, "task": np.array(["stop"] * len(items["task"]))}
    assert failures(wrong, export, sequences) == ["tasks that differ"]
    fewer = {**items, "facts": np.array(json.dumps({"episodes": 1, "frames": 13}))}
    assert failures(fewer, export, sequences) == ["episodes"]


def test_a_finding_passes_up_to_what_is_allowed() -> None:
    assert Finding("a", 3, 3).passed
    assert not Finding("a", 3.1, 3).passed
