"""The cache of frame features: only what is missing is computed, and half a cache is none."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from kedro.io import DatasetError

from vln_heatmap.datasets import frame_features
from vln_heatmap.datasets.frame_features import Arrays, FeatureStream, FrameFeatureDataset

IDS = ("house_00000_00", "house_00000_01", "house_00001_00")


def arrays(key: str) -> Arrays:
    """Three frames whose values tell the sequence and the frame."""
    number = IDS.index(key) if key in IDS else 9
    maps = (
        np.arange(3, dtype=np.float16)[:, None, None, None] + 10 * number + np.zeros((1, 2, 4, 4), np.float16)
    )
    return {
        "features": maps,
        "depth": np.full((3, 4, 5), 65_000, np.uint16),
        "poses": np.tile(np.eye(4) / 3, (3, 1, 1)),
        "view": np.zeros((4, 5, 3), np.uint8).transpose(2, 0, 1),  # not contiguous
    }


class Source:
    """Gives features and remembers which were asked for; fails at the id ``fails`` if there is one."""

    def __init__(self, fails: str = "", skips: str = "") -> None:
        self.fails, self.skips = fails, skips
        self.asked: list[str] = []

    def __call__(self, wanted: Iterable[str]) -> Iterator[tuple[str, Arrays]]:
        for key in wanted:
            if key == self.fails:
                raise RuntimeError("the encoder gave up")
            self.asked.append(key)
            if key != self.skips:
                yield key, arrays(key)

    def stream(self, fingerprint: str = "a", ids: tuple[str, ...] = IDS) -> FeatureStream:
        return FeatureStream(fingerprint, ids, self)


@pytest.fixture
def dataset(tmp_path: Path) -> FrameFeatureDataset:
    return FrameFeatureDataset(filepath=str(tmp_path / "features"))


def test_arrays_come_back_bit_for_bit_and_by_frame(dataset: FrameFeatureDataset) -> None:
    dataset.save(Source().stream())
    stored = dataset.load()
    assert tuple(stored) == IDS
    assert len(stored) == 3
    assert stored.fingerprint == "a"
    for key in stored:
        for name, expected in arrays(key).items():
            np.testing.assert_array_equal(stored[key].read(name), expected, strict=True)
            order = [2, 0, 2]
            np.testing.assert_array_equal(stored[key].read(name, order), expected[order], strict=True)


def test_only_what_is_missing_is_computed_after_a_failure(dataset: FrameFeatureDataset) -> None:
    broken = Source(fails=IDS[1])
    with pytest.raises(DatasetError, match="the encoder gave up"):
        dataset.save(broken.stream())
    assert broken.asked == [IDS[0]]
    assert not dataset.exists()
    with pytest.raises(DatasetError, match="run `kedro run --pipelines=pretrain` first"):
        dataset.load()
    again = Source()
    dataset.save(again.stream())
    assert again.asked == list(IDS[1:])
    assert dataset.exists()
    done = Source()
    dataset.save(done.stream())
    assert done.asked == []
    np.testing.assert_array_equal(dataset.load()[IDS[0]].read("features"), arrays(IDS[0])["features"])


def test_features_of_anything_else_are_made_anew(dataset: FrameFeatureDataset) -> None:
    dataset.save(Source().stream("a"))
    other = Source(fails=IDS[2])
    with pytest.raises(DatasetError):
        dataset.save(other.stream("b"))
    assert other.asked == list(IDS[:2])
    assert not dataset.exists()  # although all files of "a" had been there
    back = Source()
    dataset.save(back.stream("a"))  # what "b" left must not pass for "a"
    assert back.asked == list(IDS)
    assert dataset.load().fingerprint == "a"


def test_sequences_come_and_go(dataset: FrameFeatureDataset, tmp_path: Path) -> None:
    dataset.save(Source().stream(ids=IDS[:2]))
    more = Source()
    dataset.save(more.stream(ids=IDS[1:]))
    assert more.asked == [IDS[2]]
    assert tuple(dataset.load()) == IDS[1:]
    assert sorted(f.stem for f in (tmp_path / "features").glob("*/*.safetensors")) == sorted(IDS[1:])
    with pytest.raises(KeyError, match=IDS[0]):
        dataset.load()[IDS[0]]


def test_a_sequence_without_features_leaves_the_set_incomplete(dataset: FrameFeatureDataset) -> None:
    with pytest.raises(DatasetError, match=f"1 of 3 .*{IDS[1]}"):
        dataset.save(Source(skips=IDS[1]).stream())
    assert not dataset.exists()


def test_what_a_killed_run_left_beside_is_cleared_away(dataset: FrameFeatureDataset, tmp_path: Path) -> None:
    folder = tmp_path / "features"
    shard = folder / "shard_00000"
    shard.mkdir(parents=True)
    (shard / f".{IDS[0]}.tmp").write_bytes(b"half")
    dataset.save(Source().stream())
    assert {f.name for f in folder.iterdir()} == {"shard_00000", "ids.txt", "fingerprint.txt"}
    assert {f.name for f in shard.iterdir()} == {f"{i}.safetensors" for i in IDS}


def test_new_files_go_where_there_is_room(
    dataset: FrameFeatureDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_features, "SHARD_SIZE", 2)
    dataset.save(Source().stream())
    dataset.save(Source().stream(ids=IDS[1:]))  # one leaves the first folder
    more = Source()
    dataset.save(more.stream(ids=(*IDS[1:], "x_00", "x_01")))
    assert more.asked == ["x_00", "x_01"]
    shards = sorted((tmp_path / "features").glob("shard_*"))
    assert [sorted(f.stem for f in shard.iterdir()) for shard in shards] == [
        [IDS[1], "x_00"],
        [IDS[2], "x_01"],
    ]
    assert [key for key in dataset.load() if len(dataset.load()[key].read("depth")) == 3] == [
        *IDS[1:],
        "x_00",
        "x_01",
    ]


@pytest.mark.parametrize("length", [0, 5, 60, -1])
def test_a_truncated_file_is_named(dataset: FrameFeatureDataset, tmp_path: Path, length: int) -> None:
    dataset.save(Source().stream())
    file = tmp_path / "features" / "shard_00000" / f"{IDS[1]}.safetensors"
    file.write_bytes(file.read_bytes()[:length])
    stored = dataset.load()
    with pytest.raises(OSError, match=rf"{IDS[1]}\.safetensors.*delete the file and run pretrain again"):
        stored[IDS[1]].read("features", [0])
    assert stored[IDS[0]].read("features", [0]).shape == (1, 2, 4, 4)
    file.unlink()
    with pytest.raises(OSError, match=IDS[1]):
        stored[IDS[1]].read("features", [0])
    again = Source()
    dataset.save(again.stream())
    assert again.asked == [IDS[1]]


@pytest.mark.parametrize("name", ["../thief", "a/b", "a\\b", "..", "", ".hidden", "a\nb", "/etc/passwd"])
def test_an_id_that_is_no_plain_name_is_refused_before_anything_is_touched(
    dataset: FrameFeatureDataset, tmp_path: Path, name: str
) -> None:
    dataset.save(Source().stream())
    source = Source()
    with pytest.raises(DatasetError, match=r"must be letters, digits") as error:
        dataset.save(source.stream("b", (IDS[0], name)))
    assert repr(name) in str(error.value) or json.dumps(name) in str(error.value)
    assert source.asked == []
    assert tuple(dataset.load()) == IDS
    assert not list(tmp_path.glob("thief*"))
