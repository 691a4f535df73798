"""The store gives back what it was given, and no way of dying loses or doubles a sequence."""

import errno
import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from kedro.io import DataCatalog, DatasetError, Version

from vln_heatmap.datasets import sequence_store
from vln_heatmap.datasets.sequence import FRAME_COLUMNS, MODALITIES, Sequence
from vln_heatmap.datasets.sequence_files import (
    CorruptSequenceError,
    StoredSequence,
    depth_to_millimetres,
    encode_sequence,
    millimetres_to_depth,
    skipped_sequence,
)
from vln_heatmap.datasets.sequence_shards import CollectionStream, SequenceStore, StorePlan
from vln_heatmap.datasets.sequence_store import SequenceStoreDataset, store_sequence
from vln_heatmap.datasets.video import decode_grey16, encode_grey16, encode_rgb
from vln_heatmap.geometry.cameras import look_pose

LENGTH, HEIGHT, WIDTH = 5, 16, 24
SHARD = "shard_00000"


def make_sequence(sequence_id: str = "house_00000_00") -> Sequence:
    """A walk along -Z whose depth, ids and colours are known in closed form."""
    index = np.arange(LENGTH)
    ramp = np.linspace(0, 60, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    rgb = np.broadcast_to((40 * index)[:, None, None, None], (LENGTH, HEIGHT, WIDTH, 3)).astype(np.uint8)
    depth = np.round(ramp + index[:, None, None] * 0.123, 3).astype(np.float32)
    instance = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * 170 + index[:, None, None]).astype(
        np.int32
    )
    poses = [look_pose((0.1, 1.25, -0.25 * i), 0.1) for i in index]
    frames = pd.DataFrame(
        {
            "frame_index": index,
            "timestamp": index / 10,
            "camera_to_world": [pose.ravel() for pose in poses],
            "state": [[0.1, 0.0, -0.25 * i, 0.1, 0.0, 1.25] for i in index],
            "velocity": [[0.25, 0.0, 0.0, 0.0, 0.0]] * LENGTH,
            "action": np.ones(LENGTH, np.int8),
            "collided": np.zeros(LENGTH, bool),
            "is_first": index == 0,
            "is_last": index == LENGTH - 1,
            "is_terminal": np.zeros(LENGTH, bool),
            "visible_ids": [[1, 7]] * LENGTH,
            "visible_pixels": [[3, 4]] * LENGTH,
            "visible_u": [[0.25, 0.5]] * LENGTH,
            "visible_v": [[0.5, 0.75]] * LENGTH,
            "visible_depth": [[1.5, 2.5]] * LENGTH,
            "moved_ids": [[7]] * LENGTH,
            "moved_poses": [look_pose((0.1, 0.2, 0.3), 0.4).ravel()] * LENGTH,
        }
    )
    metadata = {
        "scene": "house_00000",
        "camera": {"width": WIDTH, "height": HEIGHT, "hfov": 90.0},
        "fps": 10.0,
        "box": np.float64(1.5),
    }
    return Sequence(sequence_id, rgb, depth, instance, frames, metadata)


def dataset(folder: Path, version: str, **options) -> SequenceStoreDataset:
    return SequenceStoreDataset(filepath=str(folder / "sequences"), version=Version(None, version), **options)


def stream(ids: list[str], *, fingerprint: str = "f", stop_after: int | None = None) -> CollectionStream:
    """Sequences of the given ids; with ``stop_after`` the collection dies there."""

    def generate():
        for number, sequence_id in enumerate(ids):
            if number == stop_after:
                raise RuntimeError("a worker died")
            yield encode_sequence(make_sequence(sequence_id))

    return CollectionStream(StorePlan(fingerprint, tuple(ids)), generate())


@pytest.fixture
def stored(tmp_path: Path) -> StoredSequence:
    store_sequence(tmp_path, encode_sequence(make_sequence()))
    return StoredSequence(tmp_path / SHARD / "house_00000_00")


# --- encoding -------------------------------------------------------------------------------------------


def test_a_sequence_comes_back_as_it_was(stored: StoredSequence) -> None:
    before, after = make_sequence(), stored.load()
    np.testing.assert_array_equal(after.instance, before.instance)
    np.testing.assert_allclose(after.depth, before.depth, atol=5e-4)
    np.testing.assert_array_equal(depth_to_millimetres(after.depth), depth_to_millimetres(before.depth))
    assert np.abs(after.rgb.astype(int) - before.rgb).max() <= 4  # H.264 of a flat colour
    np.testing.assert_array_equal(after.poses, before.poses)
    assert list(after.frames.columns) == list(FRAME_COLUMNS)
    for name in ("visible_ids", "visible_pixels", "visible_u", "visible_v", "visible_depth"):
        assert [list(row) for row in after.frames[name]] == [list(row) for row in before.frames[name]]
    assert after.metadata == {**before.metadata, "box": 1.5}
    assert after.camera == before.camera == stored.camera


def without(sequence: Sequence, *names: str) -> Sequence:
    """The walk as an import of a format that lacks these leaves it."""
    frames = sequence.frames.copy()
    for column in (column for name in names for column in MODALITIES[name]):
        frames[column] = None
    arrays = {name: getattr(sequence, name)[:0] for name in ("depth", "instance") if name in names}
    return replace(sequence, frames=frames, metadata={**sequence.metadata, "absent": list(names)}, **arrays)


def test_what_is_absent_is_not_stored_and_asking_for_it_says_so(tmp_path: Path) -> None:
    encoded = encode_sequence(without(make_sequence(), "depth", "instance", "pose", "state", "velocity"))
    assert set(encoded.files) == {"rgb.mp4", "frames.parquet", "metadata.json"}
    store_sequence(tmp_path, encoded)
    stored = StoredSequence(tmp_path / SHARD / encoded.id)
    assert stored.absent == set(MODALITIES)
    assert stored.load().depth.shape == stored.load().instance.shape == (0, HEIGHT, WIDTH)
    assert stored.rgb().shape == (LENGTH, HEIGHT, WIDTH, 3)
    assert stored.frames["state"].isna().all()
    assert list(stored.frames["action"]) == [1] * LENGTH
    for read, name in (
        (stored.depth, "depth"),
        (stored.instance, "instance"),
        (lambda: stored.poses, "pose"),
    ):
        with pytest.raises(CorruptSequenceError, match=f"was imported without {name}"):
            read()
    with pytest.raises(ValueError, match="was imported without pose"):
        _ = stored.load().poses


def test_a_null_that_nothing_explains_is_refused() -> None:
    half = make_sequence()
    half.frames.at[2, "state"] = None
    with pytest.raises(ValueError, match="state must not be null"):
        encode_sequence(half)
    with pytest.raises(ValueError, match="state must be null, because it is absent"):
        encode_sequence(replace(make_sequence(), metadata={**half.metadata, "absent": ["state"]}))
    with pytest.raises(ValueError, match=r"absent can name depth, .* got 'sound'"):
        encode_sequence(replace(make_sequence(), metadata={**half.metadata, "absent": ["sound"]}))


@settings(max_examples=15, deadline=None)
@given(arrays(np.uint16, st.tuples(st.integers(1, 4), st.integers(4, 9), st.integers(4, 9))))
def test_grey_video_is_lossless(frames: np.ndarray) -> None:
    indices = np.arange(len(frames))[::-1].copy()
    for context in (0, 1):
        encoded = encode_grey16(frames, fps=10, context=context)
        np.testing.assert_array_equal(decode_grey16(encoded, indices), frames[::-1])


@given(arrays(np.uint16, 50))
def test_every_millimetre_survives_the_way_through_metres(millimetres: np.ndarray) -> None:
    np.testing.assert_array_equal(depth_to_millimetres(millimetres_to_depth(millimetres)), millimetres)


def test_depth_out_of_range() -> None:
    np.testing.assert_array_equal(depth_to_millimetres(np.array([0, 65.535, 65.536, 1e6])), [0, 65535, 0, 0])
    for bad in (np.nan, np.inf, -0.1):
        with pytest.raises(ValueError, match="finite and >= 0"):
            depth_to_millimetres(np.array([1.0, bad]))


def test_equal_sequences_give_equal_bytes() -> None:
    assert encode_sequence(make_sequence()).files == encode_sequence(make_sequence()).files


def test_equal_frames_give_equal_bytes_whatever_was_in_memory_before() -> None:
    rng = np.random.default_rng(0)
    frames = np.kron(rng.integers(0, 255, (9, 6, 8, 3)), np.ones((1, 8, 8, 1))).astype(np.uint8)
    frames[3:] = np.roll(frames[3:], 5, axis=2)
    rubbish: list[np.ndarray] = []
    seen = set()
    for number in range(40):
        rubbish.append(np.full(rng.integers(10, 300_000), number, np.uint8))
        del rubbish[: max(0, len(rubbish) - 4)]
        seen.add(encode_rgb(frames, fps=10, crf=18))
    assert len(seen) == 1


@pytest.mark.parametrize("size", [(15, 24), (16, 23)])
def test_odd_image_sizes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="even image sizes"):
        encode_rgb(np.zeros((2, *size, 3), np.uint8), fps=10, crf=18)


def test_ids_beyond_16_bits_are_refused() -> None:
    sequence = make_sequence()
    sequence.instance[0, 0, 0] = 65536
    with pytest.raises(ValueError, match=r"\[0, 65535\], got 65536"):
        encode_sequence(sequence)


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".hidden", "/etc", "a" * 129, "nul\0"])
def test_unsafe_ids_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sequence id"):
        encode_sequence(make_sequence(name))
    (tmp_path / "plan.json").write_text(json.dumps({"fingerprint": "f", "ids": [name]}))
    with pytest.raises(CorruptSequenceError, match=r"plan\.json"):
        SequenceStore(tmp_path)


# --- reading --------------------------------------------------------------------------------------------


def test_single_frames_in_any_order(stored: StoredSequence) -> None:
    whole = stored.load()
    for read, every in (
        (stored.rgb, whole.rgb),
        (stored.depth, whole.depth),
        (stored.instance, whole.instance),
    ):
        np.testing.assert_array_equal(read([3, 0, 3, -1]), every[[3, 0, 3, -1]])
        assert read([]).shape == (0, *every.shape[1:])
        with pytest.raises(IndexError, match=r"0 \.\. 4, got 5"):
            read([5])


def test_reading_one_part_touches_no_other(stored: StoredSequence) -> None:
    for name in ("rgb.mp4", "instance.mkv", "frames.parquet"):
        (stored.folder / name).unlink()
    assert stored.depth([2]).shape == (1, HEIGHT, WIDTH)


@pytest.mark.parametrize("name", ["rgb.mp4", "depth.mkv", "instance.mkv", "frames.parquet", "metadata.json"])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), r"truncated|not the metadata"),
        (lambda path: path.write_bytes(b""), r"truncated|not the metadata"),
        (lambda path: path.write_bytes(bytes(b ^ 1 for b in path.read_bytes())), r"altered|not the metadata"),
    ],
)
def test_damage_is_named(stored: StoredSequence, name: str, damage, reason: str) -> None:
    damage(stored.folder / name)
    with pytest.raises(CorruptSequenceError, match=f"house_00000_00: {name}: .*({reason})"):
        StoredSequence(stored.folder).load()


def test_frames_and_videos_must_fit_together(tmp_path: Path) -> None:
    encoded = encode_sequence(make_sequence())
    metadata = json.loads(encoded.files["metadata.json"])
    metadata["length"] = LENGTH + 1
    files = {**encoded.files, "metadata.json": json.dumps(metadata).encode()}
    store_sequence(tmp_path, sequence_store.EncodedSequence(encoded.id, files))
    sequence = StoredSequence(tmp_path / SHARD / encoded.id)
    with pytest.raises(CorruptSequenceError, match=r"frames\.parquet: 5 rows for 6 frames"):
        _ = sequence.frames
    with pytest.raises(CorruptSequenceError, match=r"depth\.mkv: frame 5 is missing"):
        sequence.depth()


# --- the Kedro dataset ----------------------------------------------------------------------------------

IDS = ["house_00000_00", "house_00000_01", "house_00001_00"]


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
from test_sequence_store import IDS, dataset, stream, sequence_store
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
