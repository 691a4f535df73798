"""Parquet episodes: our own come back exactly, broken ones are refused with file, row and reason."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from imported import PHRASE, ROUTE, kept, same_frames, spoken_walk
from PIL import Image

from vln_heatmap.datasets.sequence_files import depth_to_millimetres, encode_sequence
from vln_heatmap.interchange.checks import RefusedError
from vln_heatmap.interchange.incoming import Stated
from vln_heatmap.interchange.parquet_episodes import ParquetEpisodes, encode_episode

STEPS = 4


def foreign_rows(**changes: Any) -> dict[str, list[Any]]:
    """An episode as another project may write it: no poses, discrete actions, images 8 x 6."""
    images = [np.full((6, 8, 3), 10 * step, np.uint8) for step in range(STEPS)]
    rows = {
        "image_1_bytes": [png(image) for image in images],
        "state": [[0.1 * step, 0, 0, 0, 0, 1.25] for step in range(STEPS)],
        "action": [1, 1, 2, 0],
        "prompt": ["to the door"] * STEPS,
        "is_first": [True, False, False, False],
        "is_last": [False, False, False, True],
        "is_terminal": [False, False, False, True],
    }
    return {name: values for name, values in (rows | changes).items() if values is not None}


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder: Path, rows: dict[str, list[Any]], name: str = "walk_7.parquet") -> Path:
    pq.write_table(pa.table(rows), folder / name)
    return folder / name


def read(folder: Path, stated: Stated | None = None) -> Any:
    source = ParquetEpisodes(folder, stated or Stated())
    return source.read(source.ids[0])


def test_our_own_sequence_comes_back_exactly(tmp_path: Path) -> None:
    before = spoken_walk()
    (tmp_path / "any.parquet").write_bytes(encode_episode(before))
    source = ParquetEpisodes(tmp_path, Stated())
    assert source.ids == (before.id,)
    after = source.read(before.id)
    np.testing.assert_array_equal(after.rgb, before.rgb)
    np.testing.assert_array_equal(depth_to_millimetres(after.depth), depth_to_millimetres(before.depth))
    np.testing.assert_array_equal(after.instance, before.instance)
    same_frames(kept(tmp_path / "a", before).load(), kept(tmp_path / "b", after).load())
    assert before.metadata.items() <= after.metadata.items()
    assert encode_sequence(after).files["depth.mkv"] == encode_sequence(before).files["depth.mkv"]


def test_the_columns_are_those_that_trainers_read(tmp_path: Path) -> None:
    table = pq.read_table(io.BytesIO(encode_episode(spoken_walk(), image="jpeg")))
    assert {"image_1", "state", "action", "prompt", "is_first", "is_last", "is_terminal"} <= set(
        table.column_names
    )
    assert table.column("image_1")[0].as_py()[:2] == b"\xff\xd8"  # JPEG
    assert set(table.column("prompt").to_pylist()) == {ROUTE["text"]}
    assert len(table.column("action")[0]) == 5
    assert table.column("is_first").to_pylist() == [True] + [False] * (table.num_rows - 1)


def test_what_another_project_lacks_is_absent(tmp_path: Path) -> None:
    write(tmp_path, foreign_rows())
    sequence = read(tmp_path, Stated(hfov=70.0, fps=5.0))
    assert sequence.id == "walk_7"
    assert sequence.absent == {"depth", "instance", "pose", "velocity"}
    assert sequence.frames["action"].tolist() == [1, 1, 2, 0]
    assert sequence.frames["timestamp"].tolist() == [0, 0.2, 0.4, 0.6]
    assert sequence.camera.hfov == 70.0
    assert [item["text"] for item in sequence.metadata["instructions"]] == ["to the door"]
    assert kept(tmp_path, sequence).frames["state"].iloc[2].tolist() == pytest.approx([0.2, 0, 0, 0, 0, 1.25])


def test_a_file_may_hold_several_episodes(tmp_path: Path) -> None:
    rows = {name: values * 2 for name, values in foreign_rows().items()}
    write(tmp_path, rows)
    source = ParquetEpisodes(tmp_path, Stated())
    assert source.ids == ("walk_7_0000", "walk_7_0001")
    assert [len(source.read(name)) for name in source.ids] == [STEPS, STEPS]


def test_a_state_of_another_robot_can_be_left_out(tmp_path: Path) -> None:
    write(tmp_path, foreign_rows(state=[[0.0] * 14] * STEPS))
    with pytest.raises(
        RefusedError, match=r"walk_7\.parquet, row 0: state must be 6 numbers, got 14 numbers"
    ):
        read(tmp_path)
    assert "state" in read(tmp_path, Stated(drop=frozenset({"state"}))).absent


ROTATED = (np.eye(4) * 2).ravel().tolist()
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no images": ({"image_1_bytes": None}, "column image_1 is missing"),
    "no prompt": ({"prompt": None}, "column prompt is missing"),
    "no flag": ({"is_last": None}, "column is_last is missing"),
    "broken image": ({"image_1_bytes": [b"\x89PNG no"] * STEPS}, "row 0: the image cannot be decoded"),
    "no image": (
        {"image_1_bytes": [*foreign_rows()["image_1_bytes"][:3], None]},
        "row 3: an image must be PNG",
    ),
    "image size": (
        {"image_1_bytes": [*foreign_rows()["image_1_bytes"][:3], png(np.zeros((8, 8, 3), np.uint8))]},
        "row 3: the image size changes: 8x8 after 8x6",
    ),
    "odd image": (
        {"image_1_bytes": [png(np.zeros((5, 7, 3), np.uint8))] * STEPS},
        "even image sizes, got 7x5",
    ),
    "NaN": ({"state": [[0.0] * 6] * 2 + [[0.0, np.nan, 0, 0, 0, 0]] * 2}, r"row 2: state\[1\] is nan"),
    "null": ({"state": [[0.0] * 6] * 3 + [None]}, "row 3: state must be 6 numbers, got nothing"),
    "dimension": ({"action": [[0.0] * 5] * 3 + [[0.0] * 4]}, "row 3: action must be 5 numbers, got 4"),
    "action": ({"action": [1, 1, 7, 0]}, "row 2: action must be -1, 0, 1, 2 or 3, got 7"),
    "pose": ({"camera_to_world": [ROTATED] * STEPS}, "row 0: the pose is not a rigid"),
    "last too early": ({"is_last": [False, True, False, True]}, "row 1: is_last is True on the wrong row"),
    "no last": ({"is_last": [False] * 4}, "row 3: is_last is False on the wrong row"),
    "ends midway": ({"is_terminal": [False, True, False, False]}, "row 1: is_terminal is True"),
    "no truth": ({"is_terminal": [0.0, 1.0, 0.0, 0.0]}, "row 0: is_terminal must be true or false"),
    "starts late": ({"is_first": [False, True, False, False]}, "row 0: is_first must be true on the first"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_with_file_row_and_reason(tmp_path: Path, name: str) -> None:
    changes, message = BROKEN[name]
    file = write(tmp_path, foreign_rows(**changes))
    with pytest.raises(RefusedError, match=message) as refused:
        read(tmp_path)
    assert refused.value.file == str(file)


@pytest.mark.parametrize(
    "damage",
    [lambda path: path.write_bytes(path.read_bytes()[:-30]), lambda path: path.write_bytes(b"")],
)
def test_a_damaged_file_costs_its_episode_only(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    damage(write(tmp_path, foreign_rows(), "a.parquet"))
    write(tmp_path, foreign_rows(), "b.parquet")
    source = ParquetEpisodes(tmp_path, Stated())
    assert source.ids == ("a", "b")
    with pytest.raises(RefusedError, match=r"a\.parquet: not a readable Parquet file"):
        source.read("a")
    assert len(source.read("b")) == STEPS


def test_an_id_in_the_file_cannot_lead_out_of_the_store(tmp_path: Path) -> None:
    sequence = spoken_walk()
    object.__setattr__(sequence, "id", "../../evil")
    (tmp_path / "a.parquet").write_bytes(encode_episode(sequence))
    source = ParquetEpisodes(tmp_path, Stated())
    with pytest.raises(RefusedError, match="sequence id must be letters"):
        source.read(source.ids[0])
    assert source.ids == ("a",)


def test_the_same_id_twice_is_refused(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        (tmp_path / name).write_bytes(encode_episode(spoken_walk()))
    with pytest.raises(RefusedError, match=r"b\.parquet, row 0: the id house_00000_00 exists already"):
        ParquetEpisodes(tmp_path, Stated())


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"no \.parquet file"):
        ParquetEpisodes(tmp_path, Stated())


def test_phrases_stand_in_for_a_missing_route() -> None:
    sequence = spoken_walk()
    sequence.metadata["instructions"] = [PHRASE]
    table = pq.read_table(io.BytesIO(encode_episode(sequence)))
    assert table.column("prompt")[0].as_py() == PHRASE["text"]
