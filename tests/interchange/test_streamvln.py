"""StreamVLN folders: actions and images come back in order, and nothing outside the folder is read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imported import ROUTE, kept, spoken_walk

from vln_heatmap.interchange.checks import RefusedError
from vln_heatmap.interchange.incoming import Stated
from vln_heatmap.interchange.streamvln import StreamVLNFolder, annotation, write_images
from vln_heatmap.nodes.validation.inspection import inspect_sequence
from vln_heatmap.params import ValidateParams


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An export of two walks."""
    walks = [spoken_walk(), spoken_walk("house_00001_00", "rrf")]
    for sequence in walks:
        write_images(sequence.id, sequence.rgb, tmp_path, quality=95)
    (tmp_path / "annotations.json").write_text(json.dumps([annotation(sequence) for sequence in walks]))
    return tmp_path


def change(folder: Path, edit: Callable[[list[dict[str, Any]]], Any]) -> None:
    file = folder / "annotations.json"
    entries = json.loads(file.read_text())
    edit(entries)
    file.write_text(json.dumps(entries))


def test_an_entry_says_what_led_to_each_frame() -> None:
    entry = annotation(spoken_walk("house_00000_00", "fflr"))
    assert entry == {
        "id": "house_00000_00",
        "video": "images/house_00000_00",
        "instructions": [ROUTE["text"]],
        "actions": [-1, 1, 1, 2, 3],
    }


def test_a_walk_comes_back_with_its_actions_images_and_route(folder: Path) -> None:
    source = StreamVLNFolder(folder, Stated())
    assert source.ids == ("house_00000_00", "house_00001_00")
    before, after = spoken_walk(), source.read("house_00000_00")
    assert after.frames["action"].tolist() == before.frames["action"].tolist()
    assert after.frames["is_terminal"].tolist() == before.frames["is_terminal"].tolist()
    assert [item["text"] for item in after.metadata["instructions"]] == [ROUTE["text"]]
    assert np.abs(after.rgb.astype(int) - before.rgb).mean() < 3  # JPEG
    assert after.absent == {"depth", "instance", "pose", "state", "velocity"}
    assert after.metadata["scene"] == "house_00000"


def test_an_imported_walk_is_readable_but_gives_no_heatmap(folder: Path, tmp_path: Path) -> None:
    stored = kept(tmp_path / "store", StreamVLNFolder(folder, Stated()).read("house_00001_00"))
    assert stored.rgb().shape[0] == len(stored) == 4
    params = ValidateParams(frames={}, sequences={})
    error = inspect_sequence(stored, params).error
    assert error.startswith("it was imported without depth, instance, pose, state, velocity")


def test_walks_that_the_format_cannot_hold_say_why() -> None:
    free, unstopped, silent = (spoken_walk() for _ in range(3))
    free.frames.loc[2, "action"] = -1
    unstopped.frames["is_terminal"] = False
    silent = dataclasses.replace(silent, metadata={**silent.metadata, "instructions": []})
    for sequence, reason in (
        (free, "moves freely"),
        (unstopped, "does not end by STOP"),
        (silent, "no route"),
    ):
        with pytest.raises(ValueError, match=reason):
            annotation(sequence)


@pytest.mark.parametrize("video", ["../other", "/etc", "images/../../x", ""])
def test_paths_that_lead_out_of_the_folder_are_refused(folder: Path, video: str) -> None:
    change(folder, lambda entries: entries[1].update(video=video))
    with pytest.raises(RefusedError, match=r"annotations\.json.*(leads out|sequence id)"):
        StreamVLNFolder(folder, Stated())


def test_a_link_that_leads_out_of_the_folder_is_refused(folder: Path, tmp_path_factory: Any) -> None:
    outside = tmp_path_factory.mktemp("outside") / "rgb"
    (folder / "images/house_00001_00/rgb").rename(outside)
    (folder / "images/house_00001_00/rgb").symlink_to(outside)
    with pytest.raises(RefusedError, match="leads out of"):
        StreamVLNFolder(folder, Stated()).read("house_00001_00")


BROKEN: dict[str, tuple[Callable[[list[dict[str, Any]]], Any], str]] = {
    "lengths": (lambda e: e[0]["actions"].append(1), r"row 0: 10 actions for 9 images"),
    "start": (lambda e: e[0]["actions"].__setitem__(0, 1), r"row 0: actions must begin with -1, got \[1\]"),
    "unknown": (lambda e: e[0]["actions"].__setitem__(2, 5), "row 0: action must be -1, 0, 1, 2 or 3, got 5"),
    "twice": (lambda e: e[0]["actions"].__setitem__(2, -1), "row 0: actions hold -1 after the first"),
    "text": (lambda e: e[0]["actions"].__setitem__(2, "1"), "row 0: actions must be whole numbers"),
    "instructions": (lambda e: e[0].update(instructions=[3]), "row 0: instructions must be texts"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_walk_is_refused_and_the_others_are_read(folder: Path, name: str) -> None:
    edit, message = BROKEN[name]
    change(folder, edit)
    source = StreamVLNFolder(folder, Stated())
    with pytest.raises(RefusedError, match=message):
        source.read(source.ids[0])
    assert len(source.read(source.ids[1])) == 4


def test_broken_annotations_are_refused(folder: Path) -> None:
    change(folder, lambda entries: entries[1].pop("actions"))
    with pytest.raises(RefusedError, match="row 1: the entry has no 'actions'"):
        StreamVLNFolder(folder, Stated())
    change(folder, lambda entries: entries[1].update(actions=[], video=entries[0]["video"]))
    with pytest.raises(RefusedError, match=r"row 1: the video .images/house_00000_00. is listed twice"):
        StreamVLNFolder(folder, Stated())
    (folder / "annotations.json").write_text("{")
    with pytest.raises(RefusedError, match="not a readable JSON file"):
        StreamVLNFolder(folder, Stated())


def test_a_damaged_image_is_named(folder: Path) -> None:
    (folder / "images/house_00001_00/rgb/002.jpg").write_bytes(b"\xff\xd8 no")
    with pytest.raises(RefusedError, match="rgb, row 2: the image cannot be decoded"):
        StreamVLNFolder(folder, Stated()).read("house_00001_00")
