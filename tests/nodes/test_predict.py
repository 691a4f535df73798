"""The predict stage's nodes: frame numbers are the clip's, and what is written fits what was predicted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from box_walks import walk

from vln_heatmap.datasets.checkpoint import Checkpoint, CheckpointDataset
from vln_heatmap.datasets.clip import Clip
from vln_heatmap.datasets.npz import NpzDataset
from vln_heatmap.nodes.model.assemble import checkpoint_meta, make_model
from vln_heatmap.nodes.model.encoder2d import make_encoder
from vln_heatmap.nodes.model.predictor import HeatmapPredictor, Prediction
from vln_heatmap.nodes.predict import kept_index, kept_keyframes, predict_clip, render_prediction
from vln_heatmap.params import PredictParams
from vln_heatmap.reporting.overlays import overlay_heatmap

PHRASE = "the $5 wall"


def saved(folder: Path, seed: int = 0) -> Checkpoint:
    encoder = make_encoder(synthetic.PARAMS.encoder)
    layout: dict[str, Any] = {"groups": encoder.groups, "extra": encoder.extra}
    model = make_model(synthetic.PARAMS, synthetic.TOKENIZER, seed=seed, **layout)
    dataset = CheckpointDataset(filepath=str(folder))
    meta = checkpoint_meta(model, synthetic.PARAMS, synthetic.TOKENIZER)
    dataset.save({"state_dict": model.state_dict(), "meta": meta})
    return dataset.load()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return saved(tmp_path_factory.mktemp("model") / "finetuned")


def long_clip() -> Clip:
    """Every tenth frame of a clip of 81."""
    return Clip(walk().rgb, np.arange(9) * 10, 81)


def predict(model: Any, clip: Clip, **params: Any) -> Prediction:
    return predict_clip(model, clip, PredictParams.model_validate(params), synthetic.PARAMS)


@pytest.mark.parametrize(
    ("number", "kept"), [(0, 0), (80, 8), (-1, 8), (-81, 0), (50, 5), (-31, 5), (54, 5), (56, 6)]
)
def test_a_frame_of_the_clip_is_the_nearest_that_was_kept(number: int, kept: int) -> None:
    assert kept_index(long_clip(), number) == kept


@pytest.mark.parametrize("number", [81, -82, 1000])
def test_a_frame_that_the_clip_does_not_have_is_named(number: int) -> None:
    with pytest.raises(ValueError, match=f"the clip has 81 frames, there is no frame {number}"):
        kept_index(long_clip(), number)


def test_keyframes_that_fall_together_are_one() -> None:
    assert kept_keyframes(long_clip(), [21, 19, 40, -41], current=-1) == [2, 4]
    assert kept_keyframes(long_clip(), [80, 0], current=-1) == [8, 0]  # the current view itself, if one wants
    with pytest.raises(ValueError, match=r"only 9 of 81 frames are kept, and keyframe 78 is .*max_frames"):
        kept_keyframes(long_clip(), [0, 78], current=-1)


def test_the_prediction_is_the_predictors(checkpoint: Checkpoint) -> None:
    clip = long_clip()
    result = predict(checkpoint, clip, instruction=PHRASE, keyframes=[10, -41], current=60, threshold=0.3)
    direct = HeatmapPredictor.from_checkpoint(checkpoint.path).predict(clip.frames, PHRASE, [1, 4], 6)
    np.testing.assert_array_equal(result.heatmaps, direct.heatmaps)
    assert (result.keyframe_indices.tolist(), result.current_index) == ([1, 4], 6)
    np.testing.assert_array_equal(result.masks, result.heatmaps > 0.3)


def test_a_clip_of_one_frame_has_nothing_to_compare(checkpoint: Checkpoint) -> None:
    still = Clip(walk().rgb[:1], np.zeros(1, np.int64), 1)
    with pytest.raises(ValueError, match="at least 2 frames are needed"):
        predict(checkpoint, still)


def test_everything_that_is_written_counts_the_clips_frames(checkpoint: Checkpoint, tmp_path: Path) -> None:
    clip = long_clip()
    params = {"instruction": PHRASE, "keyframes": [30, 10], "current": -1}
    result = predict(checkpoint, clip, **params)
    overlays, sheet, arrays, summary = render_prediction(result, clip, PredictParams.model_validate(params))

    assert list(overlays) == ["keyframe_00030", "keyframe_00010"]
    for name, heatmap in zip(overlays, result.heatmaps, strict=True):
        np.testing.assert_array_equal(np.asarray(overlays[name]), overlay_heatmap(clip.frames[8], heatmap))

    assert sheet.size[0] > sheet.size[1] > 200
    pixels = np.asarray(sheet.convert("RGB"))
    assert (pixels == 255).all(-1).mean() < 0.7  # most of the rest is pictures

    NpzDataset(filepath=str(tmp_path / "heatmaps.npz")).save(arrays)
    with np.load(tmp_path / "heatmaps.npz") as stored:
        height, width = clip.frames.shape[1:3]
        assert stored["heatmaps"].shape == stored["masks"].shape == (2, height, width)
        assert (stored["heatmaps"].dtype, stored["masks"].dtype) == (np.float32, np.bool_)
        assert stored["distributions"].shape == (2, 8, 8)
        assert stored["keyframe_indices"].tolist() == [30, 10]
        assert stored["current_index"].shape == ()
        assert stored["current_index"] == 80
        assert stored["validity"].shape == (2,)

    assert summary["instruction"] == PHRASE
    assert summary["frames"] == {"total": 81, "kept": 9}
    assert summary["current_index"] == 80
    assert [keyframe["index"] for keyframe in summary["keyframes"]] == [30, 10]
    assert [keyframe["peak"] for keyframe in summary["keyframes"]] == pytest.approx(
        result.heatmaps.max((1, 2)), abs=1e-4
    )
    assert set(summary["seconds"]) == {"choose", "encode", "model", "resize", "pictures"}
    assert min(summary["seconds"].values()) >= 0
