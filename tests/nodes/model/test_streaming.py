"""Streaming prediction: the answers of the batch predictor, every frame encoded once, a memory with a bound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import synthetic

from vln_heatmap.nodes.model import streaming
from vln_heatmap.nodes.model.assemble import make_model
from vln_heatmap.nodes.model.encoder2d import make_encoder
from vln_heatmap.nodes.model.predictor import HeatmapPredictor, Prediction
from vln_heatmap.params import ModelParams

PHRASE = synthetic.PHRASES[0]


def make_predictor(**changes: Any) -> HeatmapPredictor:
    sizes = synthetic.PARAMS.model_dump()
    for part, values in changes.items():
        sizes[part] |= values
    params = ModelParams.model_validate(sizes)
    encoder = make_encoder(params.encoder)
    layout: dict[str, Any] = {"groups": encoder.groups, "extra": encoder.extra}
    return HeatmapPredictor(make_model(params, synthetic.TOKENIZER, **layout))


@pytest.fixture(scope="module")
def predictor() -> HeatmapPredictor:
    return make_predictor()


def video(count: int = 9) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 24, 32, 3), np.uint8)


def same(one: Prediction, other: Prediction) -> None:
    assert one.keyframe_indices.tolist() == other.keyframe_indices.tolist()
    assert one.current_index == other.current_index
    for name in ("heatmaps", "distributions", "classes", "validity"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-5, err_msg=name)


def test_at_every_frame_the_answer_is_that_of_the_batch_predictor(predictor: HeatmapPredictor) -> None:
    frames, stream = video(), predictor.stream()
    for number, frame in enumerate(frames):
        assert stream.add(frame) == number
        if number:
            same(stream.predict(PHRASE), predictor.predict(frames[: number + 1], PHRASE))
    named = stream.predict(PHRASE, keyframes=[5, 0])
    same(named, predictor.predict(frames, PHRASE, keyframes=[5, 0]))
    assert set(named.seconds) == {"choose", "encode", "model", "resize"}


def test_so_it_is_for_a_sampler_that_asks_vggt() -> None:
    heads = {"heads": ("camera", "depth"), "dense_features": 8, "dense_channels": (8, 8, 8, 8)}
    predictor = make_predictor(vggt=heads, keyframes={"name": "enhanced"})
    frames, stream = video(6), predictor.stream()
    for frame in frames:
        stream.add(frame)
    same(stream.predict(), predictor.predict(frames))


def test_a_frame_is_encoded_when_it_comes_and_never_again(
    predictor: HeatmapPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    encode = streaming.encoded_frames
    monkeypatch.setattr(
        streaming, "encoded_frames", lambda rgb, *rest: encoded.append(len(rgb)) or encode(rgb, *rest)
    )
    stream = predictor.stream(max_frames=6)
    for frame in video():
        stream.add(frame)
        if len(stream) > 1:
            stream.predict(PHRASE)
    assert encoded == [1] * 9


def test_a_full_memory_keeps_the_samplers_half(predictor: HeatmapPredictor) -> None:
    """Uniform: the middle frame of each of four equal parts, then whatever comes."""
    stream, remembered = predictor.stream(max_frames=8), []
    for frame in video(17):
        stream.add(frame)
        remembered.append(stream.numbers)
    assert remembered[7] == list(range(8))
    assert remembered[8] == [0, 2, 4, 6, 8]
    assert remembered[11] == [0, 2, 4, 6, 8, 9, 10, 11]
    assert remembered[12] == [0, 4, 8, 10, 12]
    assert max(map(len, remembered)) == 8


@pytest.mark.parametrize("max_frames", [2, 3, 4, 5])
def test_a_small_memory_keeps_as_many_as_there_are_keyframes(
    predictor: HeatmapPredictor, max_frames: int
) -> None:
    stream = predictor.stream(max_frames=max_frames)
    for number, frame in enumerate(video(12)):
        stream.add(frame)
        assert len(stream) <= max_frames
        assert stream.numbers[-1] == number
        if number >= 3:
            assert len(stream.predict().keyframe_indices) == min(3, len(stream) - 1)
            assert len(stream) >= min(4, max_frames)


def test_after_forgetting_the_answer_is_that_on_what_is_remembered(predictor: HeatmapPredictor) -> None:
    frames, stream = video(12), predictor.stream(max_frames=6)
    for frame in frames:
        stream.add(frame)
    kept = stream.numbers
    assert len(kept) < 12
    mine, batch = stream.predict(PHRASE), predictor.predict(frames[kept], PHRASE)
    assert mine.keyframe_indices.tolist() == [kept[i] for i in batch.keyframe_indices]
    assert mine.current_index == 11
    np.testing.assert_allclose(mine.heatmaps, batch.heatmaps, atol=1e-5)
    with pytest.raises(ValueError, match=r"keyframes must be among the remembered \[.*\], got \[1\]"):
        stream.predict(keyframes=[1])


def test_heatmaps_have_the_size_of_the_newest_frame(predictor: HeatmapPredictor) -> None:
    stream = predictor.stream()
    stream.add(video(1)[0])
    stream.add(np.zeros((10, 12, 3), np.uint8))
    assert stream.predict().heatmaps.shape == (1, 10, 12)


def test_wrong_requests_are_named(predictor: HeatmapPredictor) -> None:
    with pytest.raises(ValueError, match="max_frames must be at least 2"):
        predictor.stream(max_frames=1)
    stream = predictor.stream()
    for wrong in (video(1), video(1)[0].astype(float), video(1)[0, 0], np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"a frame must be \[H, W, 3\] uint8, got \("):
            stream.add(wrong)
    assert len(stream) == 0
    stream.add(video(1)[0])
    with pytest.raises(ValueError, match=r"at least 2 frames are needed .*, got 1"):
        stream.predict()
    stream.add(video(1)[0])
    with pytest.raises(ValueError, match="keyframes must be among"):
        stream.predict(keyframes=[])
