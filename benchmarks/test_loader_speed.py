"""What one loader process makes, against what the model of the default preset takes in, in processor time.

``pytest benchmarks/test_loader_speed.py -s`` prints the numbers. Windows are those of finetuning (8 keyframes, 3
current views), of walks as the default collection records them; their content is made up.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.config import OmegaConfigLoader

from vln_heatmap.datasets.frame_features import FeatureStream, FrameFeatureDataset, FrameFeatures
from vln_heatmap.nodes.model.assemble import make_model
from vln_heatmap.nodes.model.encoder2d import make_encoder
from vln_heatmap.nodes.model.tokenizer import train_tokenizer
from vln_heatmap.nodes.training.director import SinglePhase
from vln_heatmap.nodes.training.loader import Feed
from vln_heatmap.nodes.training.objective import StageLoss
from vln_heatmap.nodes.training.stage import StageData
from vln_heatmap.nodes.training.update import Updater
from vln_heatmap.params import ModelParams, StageParams

ROOT = Path(__file__).parents[1]
WALKS, FRAMES, SIDE = 16, 32, 224
BATCHES = 12


def parameters() -> tuple[ModelParams, StageParams]:
    conf = OmegaConfigLoader(str(ROOT / "conf"), base_env="base", default_run_env="base")["parameters"]
    return ModelParams.model_validate(conf["model"]), StageParams.model_validate(conf["finetune"])


def walk(rng: np.random.Generator, channels: int, model: ModelParams) -> dict[str, Any]:
    """Arrays of a walk along a wall, as ``cache_frames`` makes them."""
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    poses[:, 0, 3] = 0.1 * np.arange(FRAMES)
    grid, small = model.encoder.grid, model.vggt.resolution
    return {
        "features": rng.standard_normal((FRAMES, channels, grid, grid), np.float32).astype(np.float16),
        "frames": rng.integers(0, 256, (FRAMES, 3, small, small), np.uint8),
        "depth": rng.integers(2000, 2100, (FRAMES, SIDE, SIDE), np.uint16),
        "instance": rng.integers(1, 20, (FRAMES, SIDE, SIDE), np.uint16),
        "poses": poses,
        "hfov": np.array([90.0]),
        "moved_ids": np.zeros(0, np.int32),
        "moved_poses": np.zeros((FRAMES, 0, 4, 4)),
    }


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, StageData, ModelParams, StageParams]:
    model, params = parameters()
    encoder, rng = make_encoder(model.encoder), np.random.default_rng(0)
    ids = tuple(f"house_{i:05}_00" for i in range(WALKS))
    dataset = FrameFeatureDataset(filepath=str(tmp_path_factory.mktemp("features")))
    channels = sum(encoder.groups) + encoder.extra
    dataset.save(
        FeatureStream("made up", ids, lambda wanted: ((i, walk(rng, channels, model)) for i in wanted))
    )
    features: FrameFeatures = dataset.load()
    row = {"split": "train", "task": "finetune", "current": FRAMES - 1, "candidates": list(range(FRAMES - 1))}
    said = {"instruction": "the red chair", "referred": [3], "levels": ["geometric"], "weight": 1.0}
    samples = pd.DataFrame([{"sequence_id": i, "scene": i[:11], **row, **said} for i in ids])
    tokenizer = train_tokenizer(["the red chair", "the door to the left"], 300)
    network = make_model(model, tokenizer, groups=encoder.groups, extra=encoder.extra)
    return network, StageData("finetune", samples, features, tokenizer, {}), model, params


def seconds_a_batch(data: StageData, model: ModelParams, params: StageParams) -> float:
    """Of processor time that a loader process spends."""
    windows, size = data.windows("train", model, params, training=True), params.train.batch_size

    def batch(number: int) -> None:
        samples = [windows.get((number + i) % len(windows), np.random.default_rng(i)) for i in range(size)]
        windows.collate(samples)

    batch(0)
    start = time.process_time()
    for number in range(BATCHES):
        batch(number * size)
    return (time.process_time() - start) / BATCHES


def seconds_a_step(network: Any, data: StageData, model: ModelParams, params: StageParams) -> float:
    """Of processor time that one update takes with a batch that is there."""
    train = params.train
    windows = data.windows("train", model, params, training=True)
    loss = StageLoss(train.loss, network, mix=lambda _: {}, patch=model.vggt.patch)
    updater = Updater(network.train(), loss, train)
    updater.begin(SinglePhase(train).plan())
    indices = [i % len(windows) for i in range(train.batch_size)]
    batch = windows.collate([windows.get(i, np.random.default_rng(i)) for i in indices])
    times = []
    for step in range(4):
        start = time.process_time()
        updater.update([(indices, batch)], step, 1.0, 1.0)
        times.append(time.process_time() - start)
    return min(times)


def test_one_loader_process_makes_batches_five_times_as_fast_as_the_model_takes_them(
    benchmark: Any, stage: Any
) -> None:
    network, data, model, params = stage
    torch.set_num_threads(params.train.threads or torch.get_num_threads())
    step = seconds_a_step(network, data, model, params)
    batch = benchmark.pedantic(seconds_a_batch, args=(data, model, params), rounds=1)
    benchmark.extra_info |= {"batch": batch, "step": step, "ratio": step / batch}
    print(f"\n{1000 * batch:.0f} ms a batch, {1000 * step:.0f} ms a step: {step / batch:.1f} times")
    assert step / batch > 5


def test_an_epoch_costs_the_wait_for_its_first_batch_and_no_more(benchmark: Any, stage: Any) -> None:
    """The loader process lives on: the first batch of a later epoch comes sooner than that of a new loader."""
    _, data, model, params = stage
    windows = data.windows("train", model, params, training=True)
    plan = SinglePhase(params.train.model_copy(update={"validate_every": 4})).plan()

    def first(feed: Feed, number: int) -> float:
        start = time.perf_counter()
        batches = feed.epoch(plan, 4 * number, 4 * number)
        next(batches)
        spent = time.perf_counter() - start
        for _ in batches:
            pass
        return spent

    feed = Feed(windows, params.train, weights=None)
    new = first(feed, 0)
    later = benchmark.pedantic(first, args=(feed, 1), rounds=1)
    later = min(later, *(first(feed, number) for number in (2, 3, 4)))
    benchmark.extra_info |= {"new": new, "later": later}
    print(f"\n{1000 * new:.0f} ms to the first batch of a run, {1000 * later:.0f} ms to that of an epoch")
    assert later < 1.2 * new
