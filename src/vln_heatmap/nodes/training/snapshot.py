"""A run between two steps, as tensors and JSON: what is saved is all that the rest of the run depends on.

Invariant: ``restore`` into a new run of the same parameters gives the very run that ``snapshot`` was taken of.
Rank 0 writes; with several processes every one of them reads the same state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vln_heatmap.nodes.training.base import Best
from vln_heatmap.nodes.training.director import Decision
from vln_heatmap.nodes.training.history import History
from vln_heatmap.nodes.training.optimizer import load_optimizer_tensors, optimizer_tensors
from vln_heatmap.nodes.training.sharding import load_weights, whole
from vln_heatmap.nodes.training.state import group, grouped, trained_tensors
from vln_heatmap.nodes.training.update import Updater


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: updates done; first: those done when the current epoch began.
        decision: the director's last one.
        best: validation so far; history: of all steps.
        director: its state in the current epoch.
        loss: what the loss remembers, to be loaded when the epoch has begun.
    """

    step: int = 0
    first: int = 0
    decision: Decision = "continue"
    best: Best | None = None
    history: History = field(default_factory=History)
    director: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Tensor] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self.decision in {"done", "stop"}


def snapshot(updater: Updater, progress: Progress) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON of a run."""
    columns, values = progress.history.tensor()
    scaler, best, seen = updater.accelerator.scaler, progress.best, updater.sample_losses
    tensors = grouped(
        weights=trained_tensors(updater.model),
        average=updater.average.tensors,
        best=best.tensors if best else {},
        optimizer=optimizer_tensors(updater.optimizer),
        loss=updater.loss.state_dict(),
        history={"values": values},
        samples={"index": torch.tensor([*seen]), "loss": torch.tensor([*seen.values()], dtype=torch.float64)},
    )
    rest = {
        "step": progress.step,
        "first": progress.first,
        "decision": progress.decision,
        "director": progress.director,
        "columns": columns,
        "phases": progress.history.phases,
        "best": {"step": best.step, "metrics": best.metrics} if best else None,
        "scaler": scaler.state_dict() if scaler else None,
    }
    return {name: whole(tensor) for name, tensor in tensors.items()}, rest


def restore(updater: Updater, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> Progress:
    """Inverse of ``snapshot``; the director and the loss are left to the caller."""
    load_weights(updater.model, group("weights", tensors))
    updater.average.load(group("average", tensors))
    load_optimizer_tensors(updater.optimizer, group("optimizer", tensors))
    if rest["scaler"]:
        updater.accelerator.scaler.load_state_dict(rest["scaler"])
    samples = group("samples", tensors)
    updater.sample_losses = dict(zip(samples["index"].tolist(), samples["loss"].tolist(), strict=True))
    values = group("history", tensors)["values"]
    return Progress(
        step=rest["step"],
        first=rest["first"],
        decision=rest["decision"],
        best=Best(**rest["best"], tensors=group("best", tensors)) if rest["best"] else None,
        history=History.from_tensor(rest["columns"], values, rest["phases"]),
        director=rest["director"],
        loss=group("loss", tensors),
    )
