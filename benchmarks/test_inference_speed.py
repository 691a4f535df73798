"""The predictor on one sequence, by part, and what one more frame costs a stream.

``pytest benchmarks/test_inference_speed.py -s`` prints the numbers. The model is the default preset's with random
weights: time does not depend on what was learned.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from kedro.config import OmegaConfigLoader

from vln_heatmap.nodes.model.assemble import make_model
from vln_heatmap.nodes.model.encoder2d import make_encoder
from vln_heatmap.nodes.model.predictor import HeatmapPredictor
from vln_heatmap.nodes.model.streaming import StreamingPredictor
from vln_heatmap.nodes.model.tokenizer import train_tokenizer
from vln_heatmap.params import ModelParams

ROOT = Path(__file__).parents[1]
FRAMES, SIDE, PHRASE = 32, 224, "the red chair"


@pytest.fixture(scope="module")
def predictor() -> HeatmapPredictor:
    conf = OmegaConfigLoader(str(ROOT / "conf"), base_env="base", default_run_env="base")
    params = ModelParams.model_validate(conf["parameters"]["model"])
    encoder = make_encoder(params.encoder)
    tokenizer = train_tokenizer([PHRASE, "the door to the left"], 300)
    return HeatmapPredictor(make_model(params, tokenizer, groups=encoder.groups, extra=encoder.extra))


def video(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def test_one_sequence_takes_at_most_two_seconds(benchmark, predictor: HeatmapPredictor) -> None:
    """32 frames come one by one; the last is answered with the sampler's keyframes, and with all others."""
    frames = video(FRAMES)

    def run() -> dict[str, float]:
        stream, start = predictor.stream(), time.perf_counter()
        for frame in frames:
            stream.add(frame)
        encoded = time.perf_counter() - start
        parts = {**stream.predict(PHRASE).seconds, "encode": encoded}
        every = stream.predict(PHRASE, keyframes=range(FRAMES - 1)).seconds["model"]
        return {**parts, "all": encoded + parts["model"] + parts["resize"], "model_every_frame": every}

    run()
    parts = min((run() for _ in range(3)), key=lambda run: run["all"])
    benchmark.pedantic(predictor.predict, args=(frames, PHRASE), rounds=3)
    benchmark.extra_info |= parts
    print(f"\n{FRAMES} frames, ms:", {name: round(1000 * seconds) for name, seconds in parts.items()})
    print("only the keyframes and the current view, ms:", round(1000 * benchmark.stats["min"]))
    assert parts["encode"] + parts["model_every_frame"] < 2
    assert parts["all"] < 2


def test_one_more_frame_costs_a_long_memory_no_more_than_a_short_one(
    benchmark, predictor: HeatmapPredictor
) -> None:
    """Median time to add a frame to 64 remembered ones, over the same with 8; to a full memory, too."""
    (frame,) = video(1)

    def add(stream: StreamingPredictor) -> float:
        start = time.perf_counter()
        stream.add(frame)
        return time.perf_counter() - start

    def fill(stream: StreamingPredictor, count: int) -> StreamingPredictor:
        while len(stream) < count:
            stream.add(frame)
        return stream

    short, long = (fill(predictor.stream(max_frames=1000), count) for count in (8, 64))
    full = predictor.stream(max_frames=64)
    rounds = benchmark.pedantic(
        lambda: [(add(short), add(long), add(fill(full, 64))) for _ in range(5)], rounds=1, iterations=1
    )
    few, many, forgetting = (float(np.median(times)) for times in zip(*rounds, strict=True))
    assert len(full) == 33  # the best half, and the new one
    benchmark.extra_info |= {"ratio": many / few, "ratio_forgetting": forgetting / few}
    ratios = f"{many / few:.2f} of it to 64, {forgetting / few:.2f} to 64 when that is all it holds"
    print(f"\nadding a frame: {1000 * few:.1f} ms to 8, {ratios}")
    assert many < 2 * few
    assert forgetting < 2 * few
