"""A training small enough to run to its end many times, with everything random that a real one has.

As a script (``toy_training.py FOLDER KILL_AT WHEN``) it runs in ``FOLDER`` and kills itself with signal 9 at
step KILL_AT: in the middle of the step, or while its state is half written.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vln_heatmap.datasets.checkpoint import TrainingState
from vln_heatmap.nodes.training.loop import TrainingResult, train
from vln_heatmap.params import TrainParams

PARAMS: dict[str, Any] = {
    "steps": 20,
    "batch_size": 4,
    "accumulation": 2,
    "optimizer": {"lr": 0.01, "lr_multipliers": {"out": 0.5}},
    "validate_every": 6,
    "save_every": 5,
    "log_every": 3,
    "threads": 1,
    "num_workers": 0,
    "metric": "error",
    "mode": "min",
}


class ToyData:
    """Seven noisy points: is their sum positive? The noise is an augmentation."""

    def __len__(self) -> int:
        return 7

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        values = np.sin(np.arange(4.0) * (index + 1)) + 0.1 * rng.standard_normal(4)
        return {"x": values.astype(np.float32), "y": np.float32(values.sum()), "name": f"sample {index}"}

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = {key: torch.from_numpy(np.stack([s[key] for s in samples])) for key in "xy"}
        return {**batch, "names": [s["name"] for s in samples]}


class ToyModel(nn.Module):
    """Attention, dropout, batch statistics and a frozen part."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.frozen = nn.Linear(4, 16).requires_grad_(False)
        self.mix = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.2, batch_first=True)
        self.norm = nn.BatchNorm1d(16)
        self.out = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(self.mix(self.frozen(x)[None])[0]))[:, 0]


def toy_loss(model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    error = model(batch["x"]) - batch["y"]
    parts = {"square": error.square().mean(), "absolute": error.abs().mean()}
    return parts["square"] + 0.1 * parts["absolute"], parts


def toy_validation(model: nn.Module) -> dict[str, float]:
    data = ToyData()
    batch = data.collate([data.get(i, np.random.default_rng(i)) for i in range(4)])
    torch.rand(3)  # a validation that uses up random numbers must not change the training
    return {"error": (model(batch["x"]) - batch["y"]).abs().mean().item()}


def run(state: TrainingState | None = None, **changes: Any) -> TrainingResult:
    """Train a new toy model; ``changes`` go to the parameters, or to ``train`` if they are no parameters."""
    params = TrainParams.model_validate(
        {**PARAMS, **{k: v for k, v in changes.items() if k in TrainParams.model_fields}}
    )
    others = {k: v for k, v in changes.items() if k not in TrainParams.model_fields}
    settings = {"loss_fn": toy_loss, "validate": toy_validation, "dataset": ToyData(), **others}
    model = settings.pop("model", None) or ToyModel()
    loss_fn, dataset = settings.pop("loss_fn"), settings.pop("dataset")
    return train(model, loss_fn, dataset, params, state=state, **settings)


def _killed_in_step(number: int) -> Any:
    """A loss that ends the process in the middle of step ``number`` (two micro-batches a step)."""
    calls = 0

    def loss(model: nn.Module, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2 * number:
            os.kill(os.getpid(), signal.SIGKILL)
        return toy_loss(model, batch)

    return loss


def _kill_while_saving() -> None:
    """From now on a state is half written, then the process is gone."""
    import safetensors.torch

    def half(tensors: Any, path: str, metadata: Any) -> None:
        content = safetensors.torch.save(tensors, metadata)
        Path(path).write_bytes(content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    safetensors.torch.save_file = half


def main(folder: Path, kill_at: int, when: str) -> None:
    state = TrainingState(folder / "training.safetensors")
    loss = _killed_in_step(kill_at) if when == "step" else toy_loss
    if when == "saving":
        _kill_while_saving()
    result = run(state, loss_fn=loss, num_workers=1)
    torch.save(
        {"weights": result.state_dict, "losses": result.history["loss"].tolist()}, folder / "result.pt"
    )
    (folder / "best.json").write_text(json.dumps(result.best and result.best.metrics))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
