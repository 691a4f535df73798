"""Frames of walks and images become the arrays that dialogues read, row by row."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from box_walks import walk
from PIL import Image
from synthetic import PARAMS

from vln_heatmap.datasets.frame_features import FrameFeatureDataset
from vln_heatmap.datasets.sequence import MODALITIES
from vln_heatmap.nodes.navigation.frames import ArrayFrames, Media, media_frames, walk_arrays, walk_frames


class Mean:
    """An encoder of which the only feature is the mean colour."""

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean((2, 3), keepdim=True)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vln_heatmap.nodes.model.encoder2d.make_encoder", lambda params: Mean())


def test_images_of_any_size_become_rows_in_order(encoder: None, tmp_path: Path) -> None:
    for shade, size in ((10, (8, 6)), (20, (5, 9))):
        Image.new("RGB", size, (shade, 0, 0)).save(tmp_path / f"{shade}.png")
    media = {"talk": [Media(tmp_path / "20.png"), Media(tmp_path / "10.png")], "text": []}
    store = FrameFeatureDataset(filepath=str(tmp_path / "features"))
    store.save(media_frames(media, PARAMS))
    (key,) = store.load()
    rows = store.load()[key]
    assert rows.read("features")[:, 0, 0, 0].tolist() == [20, 10]
    assert rows.read("frames", [1])[:, 0].mean() == 10
    assert rows.read("frames").shape == (2, 3, 28, 28)
    before = media_frames(media, PARAMS).fingerprint
    Image.new("RGB", (8, 6)).save(tmp_path / "10.png")
    assert media_frames(media, PARAMS).fingerprint != before


def test_walks_without_depth_have_images_only(encoder: None, tmp_path: Path) -> None:
    whole = walk()
    bare = dataclasses.replace(
        whole,
        depth=whole.depth[:0],
        instance=whole.instance[:0],
        metadata={**whole.metadata, "absent": sorted(MODALITIES)},
    )
    assert set(walk_arrays(bare, Mean(), 28)) == {"features", "frames"}
    assert {"depth", "poses", "hfov"} <= set(walk_arrays(whole, Mean(), 28))
    stream = walk_frames({"a": bare, "b": whole}.__getitem__, ["a", "b"], PARAMS, version="1")
    assert [key for key, _ in stream.compute(["b", "a"])] == ["b", "a"]
    assert walk_frames(lambda _: bare, ["a"], PARAMS, version="2").fingerprint != stream.fingerprint


def test_arrays_in_memory_are_read_like_files() -> None:
    rows: Any = ArrayFrames({"frames": np.arange(5)})
    assert rows.read("frames", (3, 1, 1)).tolist() == [3, 1, 1]
    assert rows.read("frames").tolist() == [0, 1, 2, 3, 4]
