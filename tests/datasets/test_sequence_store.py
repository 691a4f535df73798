"""A stored sequence is what was stored, part by part, and damage is named."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from stored_sequences import HEIGHT, LENGTH, SHARD, WIDTH, make_sequence

from vln_heatmap.datasets import sequence_store
from vln_heatmap.datasets.sequence import FRAME_COLUMNS, MODALITIES, Sequence
from vln_heatmap.datasets.sequence_files import (
    CorruptSequenceError,
    StoredSequence,
    depth_to_millimetres,
    encode_sequence,
    millimetres_to_depth,
)
from vln_heatmap.datasets.sequence_shards import SequenceStore
from vln_heatmap.datasets.sequence_store import store_sequence
from vln_heatmap.datasets.video import decode_grey16, encode_grey16, encode_rgb


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
