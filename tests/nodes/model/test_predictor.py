"""The predictor: a checkpoint is enough, frames may have any size, and every wrong request has its own error."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
import torch

from vln_heatmap import HeatmapPredictor
from vln_heatmap.datasets.checkpoint import CheckpointDataset, MissingCheckpointError
from vln_heatmap.datasets.tensor_file import CorruptCheckpointError
from vln_heatmap.nodes.model.assemble import checkpoint_meta, make_model
from vln_heatmap.nodes.model.encoder2d import make_encoder
from vln_heatmap.nodes.model.heads import HeatmapOutput
from vln_heatmap.nodes.model.heatmap_model import HeatmapModel
from vln_heatmap.nodes.model.predictor import Prediction

PHRASE = synthetic.PHRASES[0]


def model(seed: int = 0) -> HeatmapModel:
    encoder = make_encoder(synthetic.PARAMS.encoder)
    layout: dict[str, Any] = {"groups": encoder.groups, "extra": encoder.extra}
    return make_model(synthetic.PARAMS, synthetic.TOKENIZER, seed=seed, **layout)


@pytest.fixture(scope="module")
def predictor() -> HeatmapPredictor:
    return HeatmapPredictor(model())


def video(count: int = 6, height: int = 24, width: int = 32) -> np.ndarray:
    """Noise with a level of its own in every frame."""
    noise = np.random.default_rng(0).integers(0, 128, (count, height, width, 3), np.uint8)
    return noise + (np.arange(count, dtype=np.uint8) * (127 // count))[:, None, None, None]


def save(folder: Path, version: str, seed: int) -> Path:
    """A checkpoint as a run leaves it."""
    path = folder / version / "finetuned"
    made = model(seed)
    meta = checkpoint_meta(made, synthetic.PARAMS, synthetic.TOKENIZER)
    CheckpointDataset(filepath=str(path)).save({"state_dict": made.state_dict(), "meta": meta})
    return path


def same(one: Prediction, other: Prediction) -> None:
    for name in ("heatmaps", "distributions", "classes", "validity"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-5, err_msg=name)


# --- what comes out ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(37, 53), (90, 160), (28, 28), (16, 7)])
def test_heatmaps_have_the_size_of_the_frames_and_are_probabilities(
    predictor: HeatmapPredictor, height: int, width: int
) -> None:
    result = predictor.predict(video(5, height, width), PHRASE)
    assert result.heatmaps.shape == result.masks.shape == (3, height, width)
    assert result.heatmaps.dtype == np.float32
    assert result.heatmaps.min() >= 0
    assert result.heatmaps.max() <= 1
    np.testing.assert_array_equal(result.masks, result.heatmaps > 0.5)
    assert result.distributions.shape == (3, 8, 8)
    np.testing.assert_allclose(result.distributions.sum((1, 2)), 1, rtol=1e-5)
    assert result.classes.shape == (3, 3, 8, 8)
    np.testing.assert_allclose(result.classes.sum(1), 1, rtol=1e-5)
    assert result.validity.shape == (3,)
    assert ((result.validity > 0) & (result.validity < 1)).all()
    assert result.current_index == 4
    assert result.keyframe_indices.tolist() == sorted(set(result.keyframe_indices.tolist()))
    assert result.keyframe_indices.max() < 4
    assert set(result.seconds) == {"choose", "encode", "model", "resize"}
    assert all(seconds >= 0 for seconds in result.seconds.values())


@pytest.mark.parametrize(("height", "width"), [(40, 64), (8, 8), (37, 53), (5, 90)])
def test_a_place_of_the_models_grid_is_the_same_place_of_the_frame(
    height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits that rise from left to right (keyframe 0) and from top to bottom (1) do so over the frame."""
    across = ((torch.arange(8.0) + 0.5) / 8 - 0.5).expand(8, 8)  # position of the cells' centres, as a share
    logits = torch.stack([across, across.T])[None, None]
    output = HeatmapOutput(
        logits, logits, torch.zeros(1, 1, 2), torch.zeros(1, 1, 2, 3, 8, 8), logits[:, :, 0]
    )
    predictor = HeatmapPredictor(model())
    monkeypatch.setattr(predictor, "run", lambda *_: output)
    heatmaps = predictor.predict(video(3, height, width)).heatmaps
    for axis, (heatmap, count) in enumerate(zip(heatmaps, (width, height), strict=True)):
        lines = heatmap if axis == 0 else heatmap.T  # [other, count]
        places = (np.arange(count) + 0.5) / count - 0.5
        inner = np.abs(places) < 0.5 - 1 / 16  # beyond the outermost centres there is nothing to go on
        expected = np.broadcast_to(1 / (1 + np.exp(-places)), lines.shape)
        np.testing.assert_allclose(lines[:, inner], expected[:, inner], atol=1e-5)


def test_the_threshold_decides_the_masks_alone() -> None:
    low, high = (HeatmapPredictor(model(), threshold=t).predict(video()) for t in (0.05, 0.95))
    same(low, high)
    assert (low.threshold, high.threshold) == (0.05, 0.95)
    np.testing.assert_array_equal(low.masks, low.heatmaps > 0.05)
    np.testing.assert_array_equal(high.masks, high.heatmaps > 0.95)
    with pytest.raises(ValueError, match=r"threshold must be in \(0, 1\), got 1"):
        HeatmapPredictor(model(), threshold=1)


def test_without_an_instruction_the_heatmap_is_what_is_co_visible(predictor: HeatmapPredictor) -> None:
    frames = video(4, 8, 8)  # the heatmap grid itself, so that nothing is resized
    result = predictor.predict(frames)
    np.testing.assert_allclose(result.heatmaps, result.classes[:, 0], atol=1e-5)
    spoken = predictor.predict(frames, PHRASE)
    assert (spoken.heatmaps < spoken.classes[:, 0]).all()


# --- which frames -----------------------------------------------------------------------------------------


def test_keyframes_may_be_chosen_in_any_order_and_from_the_end(predictor: HeatmapPredictor) -> None:
    frames = video()
    result = predictor.predict(frames, PHRASE, keyframes=[0, 3], current=4)
    assert (result.keyframe_indices.tolist(), result.current_index) == ([0, 3], 4)
    negative = predictor.predict(frames, PHRASE, keyframes=[-6, -3], current=-2)
    assert (negative.keyframe_indices.tolist(), negative.current_index) == ([0, 3], 4)
    same(negative, result)
    later = predictor.predict(frames, keyframes=np.array([5, 1]), current=0)
    assert (later.keyframe_indices.tolist(), later.current_index) == ([5, 1], 0)
    assert len(later.heatmaps) == 2


def test_frames_that_are_not_asked_about_do_not_matter(predictor: HeatmapPredictor) -> None:
    frames = video()
    result = predictor.predict(frames, PHRASE, keyframes=[0, 3], current=4)
    frames[[1, 2, 5]] = 255
    same(predictor.predict(frames, PHRASE, keyframes=[0, 3], current=4), result)
    frames[4, :12] = 255 - frames[4, :12]
    assert (
        np.abs(
            predictor.predict(frames, PHRASE, keyframes=[0, 3], current=4).heatmaps - result.heatmaps
        ).max()
        > 1e-4
    )


def test_the_model_gets_the_keyframes_in_the_users_order_and_the_current_view_last(
    predictor: HeatmapPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[np.ndarray] = []
    run = predictor.run
    monkeypatch.setattr(predictor, "run", lambda frames, *rest: given.append(frames) or run(frames, *rest))
    flat = np.arange(0, 240, 40, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 9, 9, 3), np.uint8)
    predictor.predict(flat, keyframes=[3, 0, 5], current=1)
    assert given[0][:, 0, 0, 0].tolist() == [120, 0, 200, 40]
    assert given[0].shape == (4, 3, 28, 28)


@pytest.mark.parametrize(
    ("count", "current", "chosen"), [(2, -1, [0]), (4, -1, [0, 1, 2]), (9, 3, [0, 1, 2]), (9, -1, 3)]
)
def test_the_sampler_chooses_among_earlier_frames(
    predictor: HeatmapPredictor, count: int, current: int, chosen: list[int] | int
) -> None:
    result = predictor.predict(video(count), current=current)
    if isinstance(chosen, int):
        assert len(result.keyframe_indices) == chosen
        assert result.keyframe_indices.max() < count - 1
    else:
        assert result.keyframe_indices.tolist() == chosen
    assert len(result.heatmaps) == len(result.keyframe_indices)


def test_the_same_request_has_the_same_answer(predictor: HeatmapPredictor) -> None:
    frames = video()
    before = frames.copy()
    one, two = predictor.predict(frames, PHRASE), predictor.predict(frames, PHRASE)
    np.testing.assert_array_equal(one.heatmaps, two.heatmaps)
    np.testing.assert_array_equal(frames, before)


@pytest.mark.parametrize(
    ("keyframes", "current", "message"),
    [
        (None, 6, r"current must be in \[-6, 5\] for 6 frames, got 6"),
        (None, -7, r"current must be in \[-6, 5\] for 6 frames, got -7"),
        (None, 0, "the first frame has no earlier frames"),
        ([], -1, "keyframes must be a list of at least one index"),
        ([0, 6], -1, r"keyframes must be in \[-6, 5\] for 6 frames, got \[0, 6\]"),
        ([-7], -1, r"keyframes must be in \[-6, 5\]"),
        ([[0, 1]], -1, "keyframes must be a list"),
    ],
)
def test_frames_that_are_not_there_are_named(
    predictor: HeatmapPredictor, keyframes: Sequence[int] | None, current: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        predictor.predict(video(), keyframes=keyframes, current=current)


@pytest.mark.parametrize(
    "frames",
    [
        video().astype(np.float32),
        video()[..., 0],
        video()[0],
        video().transpose(0, 3, 1, 2),
        np.zeros((3, 0, 8, 3), np.uint8),
        np.zeros((3, 8, 8, 4), np.uint8),
    ],
    ids=["float", "grey", "one image", "channels first", "no rows", "alpha"],
)
def test_anything_but_rgb_frames_is_refused(predictor: HeatmapPredictor, frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"frames must be \[T, H, W, 3\] uint8, got \("):
        predictor.predict(frames)


@pytest.mark.parametrize("count", [0, 1])
def test_one_frame_has_nothing_to_be_compared_with(predictor: HeatmapPredictor, count: int) -> None:
    with pytest.raises(ValueError, match=f"at least 2 frames are needed .* got {count}"):
        predictor.predict(video()[:count])


# --- checkpoints ------------------------------------------------------------------------------------------


def test_a_checkpoint_predicts_as_the_model_it_was_made_from(
    predictor: HeatmapPredictor, tmp_path: Path
) -> None:
    path = save(tmp_path, "v1", seed=0)
    frames = video()
    for place in (path, str(path), path / "model.safetensors"):
        restored = HeatmapPredictor.from_checkpoint(place, threshold=0.3)
        result = restored.predict(frames, PHRASE)
        np.testing.assert_array_equal(result.heatmaps, predictor.predict(frames, PHRASE).heatmaps)
        assert result.threshold == 0.3


def test_without_a_path_the_newest_checkpoint_of_the_project_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert HeatmapPredictor.from_checkpoint().model.params.preset == "reference"  # that of the package
    with pytest.raises(MissingCheckpointError, match="run `kedro run --pipelines=finetune` first"):
        HeatmapPredictor.from_checkpoint("data/06_models/finetuned")
    folder = tmp_path / "data/06_models/finetuned"
    save(folder, "2026-01-02T00.00.00.000Z", seed=2)
    save(folder, "2026-01-01T00.00.00.000Z", seed=1)
    frames = video()
    newest = HeatmapPredictor.from_checkpoint().predict(frames)
    np.testing.assert_array_equal(newest.heatmaps, HeatmapPredictor(model(2)).predict(frames).heatmaps)


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_a_truncated_checkpoint_is_named(tmp_path: Path, keep: int) -> None:
    path = save(tmp_path, "v1", seed=0)
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(CorruptCheckpointError, match=r"model\.safetensors cannot be read"):
        HeatmapPredictor.from_checkpoint(path)


def test_importing_the_package_needs_no_torch_until_the_predictor_is_asked_for() -> None:
    code = (
        "import sys, vln_heatmap; early = 'torch' in sys.modules; vln_heatmap.HeatmapPredictor;"
        "sys.exit(early or 'torch' not in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(ImportError):
        from vln_heatmap import HeatmapOracle  # type: ignore[attr-defined] # noqa: F401
