"""VGGT learns geometry from walks through a box, and what it learned is a checkpoint like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch
from box_walks import walk

from vln_heatmap.datasets.checkpoint import CheckpointDataset, TrainingState
from vln_heatmap.datasets.frame_features import FrameFeatures
from vln_heatmap.datasets.geometry_windows import GeometryWindows, field_of_view, nearest
from vln_heatmap.nodes.losses.geometry import geometry_targets
from vln_heatmap.nodes.model.vggt import make_geometry
from vln_heatmap.nodes.pretrain_geometry import errors_of, pretrain_geometry
from vln_heatmap.params import GeometryParams, VGGTParams

WALKS = synthetic.walks()
SAMPLES = synthetic.sample_table(WALKS)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FrameFeatures:
    return synthetic.store_features(tmp_path_factory.mktemp("features"), WALKS)


def params(**train: Any) -> GeometryParams:
    base = {"batch_size": 4, "num_workers": 0, "device": "cpu", "threads": 1, "ema_decay": 0.9}
    often = {"validate_every": 1000, "save_every": 2, "metric": "depth_error", "mode": "min"}
    optimizer = {"lr": 3e-3}
    return GeometryParams.model_validate(
        {
            "frames": 4,
            "gap": (1, 2),
            "colour": 0.0,
            "train": base | often | {"optimizer": optimizer} | train,
            "validation_windows": 16,
        }
    )


def run(features: Any, state: Any, params: GeometryParams, samples: pd.DataFrame = SAMPLES) -> Any:
    return pretrain_geometry(samples, features, synthetic.PARAMS, params, state, None)


# --- windows ----------------------------------------------------------------------------------------------


def test_windows_are_frames_of_one_walk_with_their_depth_and_poses(features: FrameFeatures) -> None:
    windows = GeometryWindows(list(WALKS), features, params(), training=False)
    truth = WALKS["house_00000_01"]
    for seed in range(20):
        window = windows.get(1, np.random.default_rng(seed))
        chosen = [int(np.abs(truth.poses - pose).sum((1, 2)).argmin()) for pose in window["poses"]]
        assert set(np.diff(chosen)) <= {1} or set(np.diff(chosen)) <= {2}
        np.testing.assert_array_equal(window["frames"], features["house_00000_01"].read("frames", chosen))
        np.testing.assert_allclose(window["depth"], nearest(truth.depth[chosen], 28), atol=1e-6)
        assert window["frames"].shape == (4, 3, 28, 28)
    again = windows.get(1, np.random.default_rng(19))
    assert all(np.array_equal(window[name], again[name]) for name in window)


@pytest.mark.parametrize(("share", "ways"), [(0.0, {True}), (0.5, {True, False}), (1.0, {False})])
def test_training_windows_may_run_back_in_time(
    features: FrameFeatures, share: float, ways: set[bool]
) -> None:
    reverse = params().model_copy(update={"reverse": share})
    windows = GeometryWindows(list(WALKS), features, reverse, training=True)
    truth = WALKS["house_00001_00"]

    def forwards(seed: int) -> bool:
        poses = windows.get(2, np.random.default_rng(seed))["poses"]
        first, last = (int(np.abs(truth.poses - pose).sum((1, 2)).argmin()) for pose in poses[[0, -1]])
        return first < last

    assert {forwards(seed) for seed in range(20)} == ways


def test_a_walk_shorter_than_a_window_repeats_frames(features: FrameFeatures) -> None:
    long = params().model_copy(update={"frames": 12})
    window = GeometryWindows(list(WALKS), features, long, training=False).get(0, np.random.default_rng(0))
    assert len(window["frames"]) == 12


def test_the_field_of_view_of_a_stretched_image_is_that_of_the_camera() -> None:
    """A 4:3 camera with 90 degrees: tan(half height) = 3/4."""
    np.testing.assert_allclose(
        np.tan(field_of_view(90.0, 48, 64) / 2), [0.75, 1.0], rtol=1e-6
    )  # height, width


def test_depth_is_taken_at_pixel_centres_and_never_averaged() -> None:
    maps = np.arange(12.0).reshape(1, 2, 6)
    assert nearest(maps, 2).tolist() == [[[1, 4], [7, 10]]]


# --- learning ---------------------------------------------------------------------------------------------


def truth_of(windows: GeometryWindows, count: int) -> dict[str, torch.Tensor]:
    samples = [windows.get(i % len(windows), np.random.default_rng(i)) for i in range(count)]
    batch = windows.collate(samples)
    return geometry_targets(batch["depth"], batch["poses"], batch["fov"])


def mean_errors(features: FrameFeatures, ids: list[str], params: GeometryParams) -> dict[str, float]:
    """Errors of a model that always says the mean of what training shows it, at each place of a window."""
    seen = truth_of(GeometryWindows(ids, features, params, training=True), 200)
    asked = truth_of(GeometryWindows(ids, features, params, training=False), params.validation_windows)

    class Mean:
        depth = seen["depth"].mean((0, 1)).expand_as(asked["depth"])
        pose_encodings = (seen["encoding"].mean(0).expand_as(asked["encoding"]),)

    return errors_of(Mean(), asked)


#: Finer patches than the toy's, or four of them would have to tell where the camera is.
SIZES = synthetic.PARAMS.vggt.model_copy(
    update={
        "patch": 7,
        "dim": 32,
        "layer_scale": 1.0,
        "camera_depth": 1,
        "camera_rounds": 2,
        "dense_features": 16,
        "dense_channels": (8, 8, 8, 8),
    }
)
MODEL = synthetic.PARAMS.model_copy(update={"vggt": SIZES})


def test_it_learns_depth_and_poses_of_a_few_walks(tmp_path: Path) -> None:
    """On walks that it sees, it is better than the mean of the truth."""
    walks = {
        "house_00000_00": walk("house_00000_00", "f" * 8),
        "house_00000_01": walk("house_00000_01", "l" * 8),
    }
    features = synthetic.store_features(tmp_path / "features", walks)
    samples = synthetic.sample_table(walks)
    seen = samples.assign(split=np.where(samples.index % 2, "train", "val"))  # every walk in both
    short = params(steps=80, optimizer={"lr": 4e-3}).model_copy(update={"frames": 3})
    state = TrainingState(tmp_path / "state")
    checkpoint, history = next(pretrain_geometry(seen, features, MODEL, short, state, None))
    assert history["loss"].tail(20).mean() < 0.3 * history["loss"].head(5).mean()
    plain = mean_errors(features, sorted(walks), short)
    found = checkpoint["meta"]["metrics"]
    for name in ("depth_error", "position_error", "turn_error"):
        assert found[name] < 0.7 * plain[name], (name, found, plain)


# --- the stage --------------------------------------------------------------------------------------------


def test_what_it_makes_is_a_source_of_vggt_weights(features: FrameFeatures, tmp_path: Path) -> None:
    state = TrainingState(tmp_path / "state")
    steps = run(features, state, params(steps=2))
    checkpoint, history = next(steps)
    assert len(history) == 2
    CheckpointDataset(filepath=str(tmp_path / "geometry")).save(checkpoint)
    assert state.path.is_file()
    assert next(steps, None) is None
    assert not state.path.is_file()
    source = {"source": str(tmp_path / "geometry")}
    model = make_geometry(synthetic.PARAMS.vggt.model_copy(update=source))  # without the heads
    trained = checkpoint["state_dict"]
    assert all(torch.equal(value, trained[name]) for name, value in model.state_dict().items())
    with_heads = VGGTParams.model_validate(checkpoint["meta"]["vggt"]).model_copy(update=source)
    assert {"camera_head", "depth_head"} <= {
        name.split(".")[0] for name in make_geometry(with_heads).state_dict()
    }


def test_a_run_that_was_cut_goes_on_as_if_it_had_not_been(features: FrameFeatures, tmp_path: Path) -> None:
    whole, history = next(run(features, TrainingState(tmp_path / "one"), params(steps=4)))

    class Broken(FrameFeatures):
        reads = 0

        def __getitem__(self, key: str) -> Any:
            Broken.reads += 1
            if Broken.reads > 12:  # in the middle of the fourth step of four windows each
                raise KeyboardInterrupt
            return super().__getitem__(key)

    state = TrainingState(tmp_path / "two")
    with pytest.raises(KeyboardInterrupt):
        next(run(Broken(features.folder, features, features.fingerprint), state, params(steps=4)))
    resumed, again = next(run(features, state, params(steps=4)))
    assert again["loss"].tolist() == history["loss"].tolist()
    assert all(torch.equal(v, whole["state_dict"][name]) for name, v in resumed["state_dict"].items())


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_without_walks_is_named(features: FrameFeatures, split: str) -> None:
    with pytest.raises(ValueError, match=f"no samples in the {split} split"):
        next(run(features, None, params(), SAMPLES[SAMPLES["split"] != split]))


def test_parameters_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match=r"gap must be \(least, most\)"):
        GeometryParams(gap=(3, 2))
    with pytest.raises(ValueError, match="must be above 0"):
        GeometryParams.model_validate({"loss": {"camera": 0, "depth": 0}})
