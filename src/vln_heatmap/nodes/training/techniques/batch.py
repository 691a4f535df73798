"""The techniques of the present phase as one: what the loop talks to.

    techniques = Techniques(model, predict=predict, objective=objective, patch=params.vggt.patch)
    techniques.use(plan.techniques)                                    # at the beginning of each epoch
    batch = techniques.prepare(batch)                                  # after torch's seed is set
    total = objective(output, batch) + sum(techniques.loss(model, batch, output).values())
    techniques.after_step()                                            # after each update of the weights

Invariant: a technique that stays in use with the same settings from one epoch to the next keeps its state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from vln_heatmap.nodes.training.state import group, grouped
from vln_heatmap.nodes.training.techniques.adversarial import Adversarial
from vln_heatmap.nodes.training.techniques.base import Batch, BatchTechnique, Context, Objective, Predict
from vln_heatmap.nodes.training.techniques.distillation import Distillation
from vln_heatmap.nodes.training.techniques.lookalikes import Lookalikes
from vln_heatmap.nodes.training.techniques.multi_scale import MultiScale
from vln_heatmap.nodes.training.techniques.self_training import SelfTraining
from vln_heatmap.nodes.training.techniques.teacher import Teachers
from vln_heatmap.params.techniques import technique_params

#: What acts on batches, by name; techniques that are not here act on the choice of samples alone.
BATCH_TECHNIQUES: dict[str, Callable[[Any, Context], BatchTechnique]] = {
    "hard_negatives": Lookalikes,
    "multi_scale": MultiScale,
    "distillation": Distillation,
    "self_training": SelfTraining,
    "adversarial": Adversarial,
}


class Techniques:
    """All techniques in use, in the order of ``TECHNIQUE_PARAMS``.

    Args:
        model: the network that is trained, unwrapped.
        predict, objective, patch: see ``Context``.
    """

    def __init__(self, model: nn.Module, *, predict: Predict, objective: Objective, patch: int = 14) -> None:
        self.model = model
        self.context = Context(predict, objective, patch, Teachers(model))
        self._settings: dict[str, Any] = {}
        self._active: dict[str, BatchTechnique] = {}
        self._stored: dict[str, Tensor] = {}  # state of techniques that are not in use yet

    def use(self, settings: Mapping[str, Any]) -> None:
        """Techniques from now on, by name with their settings.

        Raises:
            ValueError: an unknown name or setting.
        """
        wanted = technique_params(settings)
        before, self._active = self._active, {}
        for name in (name for name in wanted if name in BATCH_TECHNIQUES):
            if name in before and wanted[name] == self._settings[name]:
                self._active[name] = before[name]
                continue
            self._active[name] = BATCH_TECHNIQUES[name](wanted[name], self.context)
            if own := group(name, self._stored):
                self._active[name].load_state_dict(own)
        self._settings, self._stored = wanted, {}
        self.context.teachers.keep(
            {s.decay for s in wanted.values() if getattr(s, "decay", None) is not None}
        )

    def prepare(self, batch: Batch) -> Batch:
        """The batch to train on: each technique changes what the one before it made."""
        for technique in self._active.values():
            batch = technique.prepare(batch)
        return batch

    def loss(self, model: nn.Module, batch: Batch, output: Any) -> dict[str, Tensor]:
        """Further losses by name, weighted; see ``BatchTechnique.loss``."""
        parts: dict[str, Tensor] = {}
        for technique in self._active.values():
            parts |= technique.loss(model, batch, output)
        return parts

    def after_step(self) -> None:
        """The weights have been updated."""
        self.context.teachers.update()
        for technique in self._active.values():
            technique.after_step(self.model)

    def restart(self) -> None:
        """After a rollback: averaged teachers begin anew with the weights that the model has now."""
        self.context.teachers.restart()

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors for a saved run."""
        states = {name: technique.state_dict() for name, technique in self._active.items()}
        return grouped(teachers=self.context.teachers.state_dict(), **states)

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of ``state_dict``; may be called before ``use`` or after it."""
        self.context.teachers.load_state_dict(group("teachers", tensors))
        for name, technique in self._active.items():
            if own := group(name, tensors):
                technique.load_state_dict(own)
        others = set(BATCH_TECHNIQUES) - set(self._active)
        self._stored = {k: t for k, t in tensors.items() if k.partition(".")[0] in others}
