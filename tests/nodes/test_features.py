"""Caching what the frozen encoder sees: exact, lazy, and only what the arrays depend on decides."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch
from box_walks import store, walk

from vln_heatmap.datasets.frame_features import FrameFeatureDataset
from vln_heatmap.datasets.sequence_store import SequenceStore
from vln_heatmap.nodes.features import cache_frames, encoded_frames, frame_arrays, seen_through
from vln_heatmap.nodes.model.encoder2d import Encoder2d, make_encoder
from vln_heatmap.params import FeatureParams, ModelParams, SensorParams

IDS = ("house_00000_00", "house_00000_01", "house_00001_00")
SIDE = synthetic.PARAMS.vggt.resolution


@pytest.fixture(scope="module")
def encoder() -> Encoder2d:
    return make_encoder(synthetic.PARAMS.encoder)


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> SequenceStore:
    folder = tmp_path_factory.mktemp("data") / "2026-01-01T00.00.00.000Z" / "sequences"
    folder.mkdir(parents=True)
    return store(folder, *(walk(name, actions="fl") for name in IDS))[0]


def samples(*ids: str) -> pd.DataFrame:
    return pd.DataFrame([synthetic.sample_row(name) for name in ids])


def images(count: int = 2, height: int = 37, width: int = 53) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


# --- one sequence -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(37, 53), (28, 28), (9, 200), (90, 160)])
def test_images_of_any_size_become_features_and_square_frames(
    encoder: Encoder2d, height: int, width: int
) -> None:
    arrays = encoded_frames(images(3, height, width), encoder, SIDE)
    assert arrays["frames"].shape == (3, 3, SIDE, SIDE)
    assert arrays["frames"].dtype == np.uint8
    assert arrays["features"].shape == (3, encoder.channels, synthetic.GRID, synthetic.GRID)
    assert arrays["features"].dtype == np.float16
    assert np.isfinite(arrays["features"]).all()


def test_places_and_colours_stay_where_they_are(encoder: Encoder2d) -> None:
    """An image whose left half is red, whatever its shape: so is the frame's."""
    rgb = np.zeros((1, 36, 80, 3), np.uint8)
    rgb[:, :, :40, 0] = 200
    arrays = encoded_frames(rgb, encoder, SIDE)
    assert (arrays["frames"][0, 0, :, : SIDE // 2 - 2] == 200).all()
    assert (arrays["frames"][0, 0, :, SIDE // 2 + 2 :] == 0).all()
    assert (arrays["frames"][0, 1:] == 0).all()
    red = arrays["features"][0, sum(encoder.groups)]  # mean red of each cell
    np.testing.assert_allclose(red[:, 0], 200 / 255, atol=0.02)
    np.testing.assert_allclose(red[:, -1], 0, atol=0.02)


def test_a_frame_is_encoded_alone(encoder: Encoder2d) -> None:
    rgb = images(3)
    together = encoded_frames(rgb, encoder, SIDE)
    for i in range(3):
        alone = encoded_frames(rgb[i : i + 1], encoder, SIDE)
        np.testing.assert_array_equal(alone["frames"][0], together["frames"][i])
        np.testing.assert_allclose(alone["features"][0], together["features"][i], atol=2e-2, rtol=1e-2)


def test_the_encoders_features_are_stored_as_they_are(encoder: Encoder2d) -> None:
    rgb = images()
    direct = encoder.encode(torch.from_numpy(rgb).movedim(-1, 1))
    np.testing.assert_array_equal(encoded_frames(rgb, encoder, SIDE)["features"], direct.half().numpy())


def test_what_the_targets_need_is_kept_to_the_millimetre(encoder: Encoder2d) -> None:
    sequence = walk(IDS[0], "fl")
    arrays = frame_arrays(sequence, encoder, SIDE)
    np.testing.assert_allclose(arrays["depth"] / 1000, sequence.depth, atol=1e-6)
    assert arrays["depth"].dtype == arrays["instance"].dtype == np.uint16
    np.testing.assert_array_equal(arrays["instance"], sequence.instance)
    np.testing.assert_array_equal(arrays["poses"], sequence.poses)
    assert arrays["hfov"].tolist() == [sequence.camera.hfov]
    assert {len(arrays[name]) for name in ("features", "frames", "depth", "instance", "poses")} == {3}


def test_motions_of_moved_things_are_kept_by_frame_and_thing(encoder: Encoder2d) -> None:
    sequence = walk(IDS[0], "fl")
    still = frame_arrays(sequence, encoder, SIDE)
    assert still["moved_ids"].shape == (0,)
    assert still["moved_poses"].shape == (3, 0, 4, 4)
    motion = np.eye(4)
    motion[:3, 3] = 1, 0, 2
    frames = sequence.frames.assign(
        moved_ids=[[], [2, 5], [5]],
        moved_poses=[[], [*motion.ravel(), *(2 * motion).ravel()], motion.ravel()],
    )
    arrays = frame_arrays(dataclasses.replace(sequence, frames=frames), encoder, SIDE)
    assert arrays["moved_ids"].tolist() == [2, 5]
    np.testing.assert_array_equal(arrays["moved_poses"][:, 0], [np.eye(4), motion, np.eye(4)])
    np.testing.assert_array_equal(arrays["moved_poses"][:, 1], [np.eye(4), 2 * motion, motion])


# --- the cache --------------------------------------------------------------------------------------------


class Counting:
    """A sequence store that notes what is loaded."""

    def __init__(self, stored: Any, version: str = "v1") -> None:
        self.stored, self.version = stored, version
        self.loaded: list[str] = []

    def load(self, key: str) -> Any:
        self.loaded.append(key)
        return self.stored.load(key)


def test_each_sequence_with_samples_is_encoded_once(sequences: SequenceStore, tmp_path: Path) -> None:
    source = Counting(sequences)
    dataset = FrameFeatureDataset(filepath=str(tmp_path / "features"))
    wanted = samples(IDS[2], IDS[0], IDS[2])
    stream = cache_frames(source, wanted, synthetic.PARAMS)
    assert source.loaded == []  # nothing happens before it is stored
    dataset.save(stream)
    assert source.loaded == [IDS[0], IDS[2]]
    stored = dataset.load()
    assert tuple(stored) == (IDS[0], IDS[2])
    sequence = sequences.load(IDS[2])
    np.testing.assert_array_equal(stored[IDS[2]].read("poses"), sequence.poses)
    dataset.save(cache_frames(source, samples(*IDS), synthetic.PARAMS))
    assert source.loaded == [IDS[0], IDS[2], IDS[1]]


def test_the_fingerprint_names_data_and_encoder_and_no_trained_part() -> None:
    def fingerprint(version: str = "v1", **parts: dict[str, Any]) -> str:
        content = synthetic.PARAMS.model_dump()
        params = ModelParams.model_validate(content | {k: content[k] | v for k, v in parts.items()})
        return cache_frames(Counting(None, version), samples(IDS[0]), params).fingerprint

    plain = fingerprint()
    changes = [
        {"version": "v2"},
        {"encoder": {"input_size": 96}},
        {"encoder": {"blocks": (2,)}},
        {"encoder": {"colour": False}},
        {"vggt": {"resolution": 42}},
    ]
    assert len({plain, *(fingerprint(**change) for change in changes)}) == 1 + len(changes)
    free = [
        {"encoder": {"batch": 7}},
        {"head": {"width": 24}},
        {"fusion": {"width": 8}},
        {"language": {"depth": 2}},
    ]
    assert {fingerprint(**change) for change in free} == {plain}
    assert cache_frames(Counting(None), samples(*IDS), synthetic.PARAMS).fingerprint == plain


def test_a_sequence_that_cannot_be_read_is_named_and_the_finished_ones_stay(
    sequences: SequenceStore, tmp_path: Path
) -> None:
    dataset = FrameFeatureDataset(filepath=str(tmp_path / "features"))
    with pytest.raises(Exception, match="house_00009_00"):
        dataset.save(cache_frames(Counting(sequences), samples(IDS[0], "house_00009_00"), synthetic.PARAMS))
    assert not dataset.exists()
    again = Counting(sequences)
    dataset.save(cache_frames(again, samples(IDS[0], IDS[1]), synthetic.PARAMS))
    assert again.loaded == [IDS[1]]


# --- cameras of their own ---------------------------------------------------------------------------------

POOR = FeatureParams(sensor=SensorParams(strength=2.0))


def test_training_sequences_alone_are_seen_through_cameras_of_their_own(
    sequences: SequenceStore, tmp_path: Path
) -> None:
    wanted = samples(IDS[0], IDS[1]).assign(split=["train", "test"])
    found = {}
    for name, shown in {"plain": None, "poor": POOR, "again": POOR}.items():
        dataset = FrameFeatureDataset(filepath=str(tmp_path / name))
        dataset.save(cache_frames(sequences, wanted, synthetic.PARAMS, shown))
        found[name] = {key: dataset.load()[key] for key in IDS[:2]}
    for array in ("features", "frames"):
        plain, poor, again = (
            [found[name][key].read(array) for key in IDS[:2]] for name in ("plain", "poor", "again")
        )
        assert not np.array_equal(poor[0], plain[0])
        np.testing.assert_array_equal(poor[1], plain[1])
        np.testing.assert_array_equal(poor[0], again[0])
    for array in ("depth", "instance", "poses"):
        plain_array, poor_array = (found[name][IDS[0]].read(array) for name in ("plain", "poor"))
        np.testing.assert_array_equal(poor_array, plain_array)


def test_two_sequences_have_two_cameras(sequences: SequenceStore) -> None:
    sequence = sequences.load(IDS[0])
    one, other = (seen_through(sequence, key, POOR.sensor).rgb for key in ("one", "other"))
    assert not np.array_equal(one, other)


def test_the_fingerprint_names_the_cameras_and_who_is_seen_through_them() -> None:
    wanted = samples(*IDS).assign(split="train")

    def fingerprint(frame: pd.DataFrame, shown: FeatureParams | None) -> str:
        return cache_frames(Counting(None), frame, synthetic.PARAMS, shown).fingerprint

    assert fingerprint(wanted, FeatureParams()) == fingerprint(wanted, None)
    fair = FeatureParams(sensor=SensorParams(strength=1.0))
    different = [(wanted, None), (wanted, POOR), (wanted, fair), (wanted.iloc[:2], fair)]
    assert len({fingerprint(*each) for each in different}) == len(different)
    assert fingerprint(wanted.assign(split="val"), POOR) == fingerprint(wanted, None)
