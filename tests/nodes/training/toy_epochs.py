"""A toy training that a director changes from epoch to epoch, as hard to resume as a real one.

As a script (``toy_epochs.py FOLDER KILL_AT``) it runs in ``FOLDER`` and kills itself with signal 9 in the middle
of step KILL_AT of the run (0 = never).
"""

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import toy_training as toy
from pydantic import BaseModel
from torch import Tensor

from vln_heatmap.datasets.checkpoint import TrainingState
from vln_heatmap.nodes.training.base import EpochLoss, Losses, TrainingResult
from vln_heatmap.nodes.training.director import Decision, EpochPlan, EpochReport, Event


class ToyWindow(BaseModel):
    noise: float = 0.1


class VariedData(toy.ToyData):
    """Toy data whose noise an epoch may change."""

    def __init__(self) -> None:
        self.params = ToyWindow()

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        sample = super().get(index, rng)
        extra = rng.standard_normal(4).astype(np.float32) * np.float32(self.params.noise)
        return {**sample, "x": sample["x"] + extra}


class WeightedLoss(EpochLoss):
    """The toy loss with weights of the epoch, and a memory: the mean of all losses so far pulls a little."""

    def __init__(self) -> None:
        self.memory = torch.zeros(2, dtype=torch.float64)
        self.calls = 0

    def begin(self, plan: EpochPlan, model: Any) -> None:
        self.weights = plan.loss_weights

    def columns(self) -> Mapping[str, float]:
        return {f"weight/{name}": weight for name, weight in self.weights.items()}

    def __call__(self, model: Any, batch: Any) -> Losses:
        self.calls += 1
        error = model(batch["x"]) - batch["y"]
        parts = {"square": error.square().mean(), "absolute": error.abs().mean()}
        total = sum(self.weights[name] * part for name, part in parts.items())
        total = total * (1 + 0.01 * self.memory[0].item())
        return Losses(total, parts, error.abs(), {"data/low_quality": (batch["y"] > 0).float().mean()})

    def after_step(self, model: Any, numbers: Mapping[str, float]) -> None:
        mean = 0.9 * self.memory[0].item() + 0.1 * numbers["loss"]
        self.memory = torch.tensor([mean, self.memory[1].item() + 1], dtype=torch.float64)

    def state_dict(self) -> dict[str, Tensor]:
        return {"memory": self.memory}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        self.memory = tensors["memory"]


class Adaptive:
    """Epochs of 3, 5, 4 and 6 steps in two phases; what was reported of one changes the next."""

    steps = (3, 5, 4, 6)

    def __init__(self, decisions: Mapping[int, Decision] | None = None) -> None:
        self.decisions = dict(decisions or {})
        self.reports: list[EpochReport] = []
        self.state: dict[str, Any] = {"epoch": 0, "scale": 1.0, "hard": {}, "events": []}

    def plan(self) -> EpochPlan:
        epoch, scale = self.state["epoch"], self.state["scale"]
        steps = self.steps[epoch % len(self.steps)]
        weights = None
        if epoch:
            weights = np.array([1 + self.state["hard"].get(str(i), 0.0) for i in range(7)])
        return EpochPlan(
            epoch=epoch,
            phase="first" if epoch < 2 else "second",
            steps=steps,
            lr_factors=tuple(scale / (1 + i) for i in range(steps)),
            loss_weights={"square": scale, "absolute": 0.1 * (epoch + 1)},
            sample_weights=weights,
            clip=0.5 if epoch == 1 else None,
            weight_decay=0.2 if epoch == 2 else None,
            window={"noise": 0.3} if epoch in {1, 3} else {},
        )

    def report(self, report: EpochReport) -> Decision:
        self.reports.append(report)
        hard = self.state["hard"] | {str(i): loss for i, loss in report.sample_losses.items()}
        scale = self.state["scale"] * (0.9 if report.validation.get("error", 0) > 1 else 1.1)
        event = Event(report.step, report.epoch, "weights", "square", "toy", self.state["scale"], scale)
        epoch = report.epoch + 1
        events = [*self.state["events"], asdict(event)]
        self.state = {"epoch": epoch, "scale": scale, "hard": hard, "events": events}
        over = "done" if epoch == len(self.steps) else "continue"
        return self.decisions.get(report.epoch, over)

    def events(self) -> list[Event]:
        return [Event(**event) for event in self.state["events"]]

    def expected_steps(self) -> int:
        return sum(self.steps)

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.state = dict(state)


def run(state: TrainingState | None = None, **changes: Any) -> TrainingResult:
    """Train a new toy model by an ``Adaptive`` director."""
    settings = {"director": Adaptive(), "loss_fn": WeightedLoss(), "dataset": VariedData(), "save_every": 2}
    return toy.run(state, **{**settings, **changes})


class KilledLoss(WeightedLoss):
    """Ends the process in the middle of a step of the run."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def __call__(self, model: Any, batch: Any) -> Losses:
        losses = super().__call__(model, batch)
        if self.calls % 2 == 0 and self.memory[1] + 1 == self.step:
            os.kill(os.getpid(), signal.SIGKILL)
        return losses


if __name__ == "__main__":
    folder, kill_at = Path(sys.argv[1]), int(sys.argv[2])
    state = TrainingState(folder / "training.safetensors")
    result = run(state, loss_fn=KilledLoss(kill_at), num_workers=1)
    losses = {"losses": result.history["loss"].tolist(), "weights": result.state_dict}
    torch.save(losses, folder / "result.pt")
