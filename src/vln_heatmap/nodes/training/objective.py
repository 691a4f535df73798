"""The objective of a stage: the heatmap loss by the weights of the epoch, its balancing and techniques.

Invariant: what a plan does not ask for costs nothing; with the plain plan it is ``HeatmapLoss`` and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vln_heatmap.nodes.losses.heatmap import HeatmapLoss
from vln_heatmap.nodes.losses.objective import judged
from vln_heatmap.nodes.training.base import EpochLoss, Losses
from vln_heatmap.nodes.training.curriculum.balancing import Balancer, gradient_norms, make_balancer
from vln_heatmap.nodes.training.director import EpochPlan
from vln_heatmap.nodes.training.state import group, grouped
from vln_heatmap.nodes.training.techniques.batch import Techniques
from vln_heatmap.params import LossParams
from vln_heatmap.params.losses import LOSS_NEEDS

Batch = dict[str, Any]
#: Weights of the samples (None = their own) -> share of each level.
Mix = Callable[[Any], Mapping[str, float]]
_POOR = 0.5  # share of the cells without depth from which a window is of low quality


def predict(network: Any, batch: Mapping[str, Any]) -> Any:
    """Model output for a batch of windows."""
    poses = {"poses": batch["poses"]} if "poses" in batch else {}
    places = batch["current"], batch["keyframes"]
    return network(batch["frames"].float() / 255, batch["features"], batch["instruction"], *places, **poses)


class StageLoss(EpochLoss):
    """See the module.

    Args:
        params: of the loss.
        network: that is trained, unwrapped.
        mix: shares of the levels, for the history.
        patch: side of VGGT's patches.
    """

    def __init__(self, params: LossParams, network: nn.Module, *, mix: Mix, patch: int) -> None:
        self.network, self.mix = network, mix
        self.loss = HeatmapLoss(params)
        self.techniques = Techniques(network, predict=predict, objective=self._of_output, patch=patch)
        self.balancer: Balancer | None = None
        self.step = 0  # since the balancer began

    def begin(self, plan: EpochPlan, model: Any) -> None:
        """See ``EpochLoss``."""
        self.planned = {name: weight for name, weight in plan.loss_weights.items() if weight}
        self.shares = {f"mix/{level}": share for level, share in self.mix(plan.sample_weights).items()}
        self.techniques.use(plan.techniques)
        if self.balancer is None or not plan.balancing:
            self.balancer = make_balancer(plan.balancing, list(plan.loss_weights))
        if self.balancer:
            self.balancer.begin(plan.loss_weights)

    def columns(self) -> Mapping[str, float]:
        """See ``EpochLoss``."""
        return {f"weight/{name}": weight for name, weight in self.weights.items()} | self.shares

    @property
    def weights(self) -> dict[str, float]:
        """Of the next step, by part; those of weight 0 are left out."""
        if self.balancer is None:
            return self.planned
        return {name: weight for name, weight in self.balancer.weights().items() if weight}

    def __call__(self, model: Any, batch: Batch) -> Losses:
        """See ``LossFunction``."""
        numbers = batch_quality(batch)
        batch = self.techniques.prepare(batch)
        total, parts, samples, output = judged(self.loss, predict, model, batch, self.weights)
        if self.balancer and self.balancer.looks(self.step):
            norms = gradient_norms(parts, self._shared())
            numbers |= {f"norm/{name}": total.new_tensor(norm) for name, norm in norms.items()}
        more = self.techniques.loss(self.network, batch, output)
        return Losses(sum(more.values(), total), {**parts, **more}, samples, numbers)

    def _of_output(self, output: Any, batch: Batch) -> Tensor:
        """Total of the parts that need nothing beside the maps."""
        return self.loss(output, batch, self._plain)[0]

    @property
    def _plain(self) -> dict[str, float]:
        weights = {name: weight for name, weight in self.weights.items() if name not in LOSS_NEEDS}
        return weights or {"mask": 1.0}

    def _shared(self) -> list[nn.Parameter]:
        """The parameters that balancing looks at: those of the heads' common description of the matches."""
        matcher = [
            p for n, p in self.network.named_parameters() if n.startswith("matcher.") and p.requires_grad
        ]
        return matcher or [p for p in self.network.parameters() if p.requires_grad]

    def after_step(self, model: Any, numbers: Mapping[str, float]) -> None:
        """See ``EpochLoss``."""
        self.techniques.after_step()
        if self.balancer:
            found = {name.partition("/")[2]: v for name, v in numbers.items() if name.startswith("norm/")}
            losses = {name: numbers[f"loss/{name}"] for name in self.weights if f"loss/{name}" in numbers}
            self.balancer.update(losses, found or None)
            self.step += 1

    def rolled_back(self) -> None:
        self.techniques.restart()

    def state_dict(self) -> dict[str, Tensor]:
        """See ``EpochLoss``."""
        balancer = {**self.balancer.state_dict(), "step": torch.tensor(self.step)} if self.balancer else {}
        return grouped(techniques=self.techniques.state_dict(), balancer=balancer)

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """See ``EpochLoss``."""
        self.techniques.load_state_dict(group("techniques", tensors))
        own = group("balancer", tensors)
        if self.balancer and own:
            self.step = int(own.pop("step"))
            self.balancer.load_state_dict(own)


def batch_quality(batch: Batch) -> dict[str, Tensor]:
    """Shares of the windows that are corrupt (no depth at all, or features that are not finite) and of low
    quality (more than half of the current views' cells without depth)."""
    known = batch["pixel_weight"].flatten(1).float().mean(1)  # [B]
    sound = batch["features"].flatten(1).isfinite().all(1) & (known > 0)
    return {
        "data/low_quality": (known < _POOR).float().mean(),
        "data/corrupt": (~sound).float().mean(),
    }
