"""What the training loop costs beside the computing itself, and what a saved state costs.

``pytest benchmarks/test_training_overhead.py`` prints both.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vln_heatmap.datasets.checkpoint import TrainingState
from vln_heatmap.nodes.training.loop import train
from vln_heatmap.params import TrainParams

STEPS = 30


class Noise:
    """Samples that cost nothing, so that only the loop is measured."""

    def __len__(self) -> int:
        return 100

    def get(self, index: int, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((64, 128), dtype=np.float32)

    def collate(self, samples: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(samples))  # [B, 64, 128]


def make_model() -> nn.Module:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)


def loss(model: nn.Module, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    error = model(batch).square().mean()
    return error, {"square": error}


def bare_loop() -> None:
    """The same computing in the fewest lines of torch."""
    model = make_model().train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    data, rng = Noise(), np.random.default_rng(0)
    for step in range(STEPS):
        total, _ = loss(model, data.collate([data.get(step, rng) for _ in range(8)]))
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def our_loop() -> None:
    params = TrainParams(steps=STEPS, batch_size=8, num_workers=0, device="cpu", metric="none")
    train(make_model(), loss, Noise(), params)


def seconds(run: Any) -> float:
    """Fastest of three, after one to warm up."""
    times = []
    for _ in range(4):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times[1:])


def test_the_loop_costs_at_most_a_fifth_of_the_computing(benchmark) -> None:
    ours = benchmark.pedantic(seconds, args=(our_loop,), rounds=1)
    ratio = ours / seconds(bare_loop)
    benchmark.extra_info["ratio"] = ratio
    print(f"\n{ours / STEPS * 1e3:.1f} ms a step, {ratio:.2f} times a bare loop")
    assert ratio < 1.2


def test_saving_a_state_costs_little_more_than_the_disk_does(benchmark, tmp_path: Path) -> None:
    state = TrainingState(tmp_path / "training.safetensors")
    groups = ("weights", "average", "best", "first_moment", "second_moment")
    tensors = {f"{group}.x": torch.randn(5_000_000) for group in groups}
    ours = benchmark.pedantic(seconds, args=(lambda: state.save("me", tensors, {"step": 1}),), rounds=1)
    content = state.path.read_bytes()

    def plain_write() -> None:
        with (tmp_path / "plain").open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    ratio = ours / seconds(plain_write)
    benchmark.extra_info["ratio"] = ratio
    print(f"\n{ours * 1e3:.0f} ms for {len(content) / 1e6:.0f} MB, {ratio:.2f} times a plain write")
    assert ratio < 3
