"""Loss weights that are learned step by step: by uncertainty, or by the size of gradients.

    balancer = make_balancer(plan.balancing, names)   # once a run; None if nothing is to be learned
    balancer.begin(plan.loss_weights)                 # at the beginning of each epoch
    total, parts = loss(output, batch, weights=balancer.weights())
    if balancer.looks(step):                          # before the backward pass
        norms = gradient_norms(parts, shared)
    balancer.update(parts, norms)                     # after the step; means over micro-batches and processes

Invariant: a learned weight is the epoch's own times a factor that is 1 at the start and is kept from epoch to
epoch; a part of weight 0 stays at 0. Factors are learned by gradient descent in closed form and in double
precision, outside of the optimiser of the model, so that they need nothing of it and are the same in every
process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vln_heatmap.params.curriculum import WeightingParams


class Balancer(nn.Module):
    """What both ways have in common.

    Args:
        params: limits of the weights, learning rate.
        names: of all loss parts that a run may have.
    """

    def __init__(self, params: WeightingParams, names: Sequence[str]) -> None:
        super().__init__()
        self.params, self.names = params, list(names)
        self.base = dict.fromkeys(self.names, 0.0)
        self.register_buffer("factor", torch.ones(len(self.names), dtype=torch.float64))  # [P]
        self.factor: Tensor

    def begin(self, weights: Mapping[str, float]) -> None:
        """An epoch begins with these weights by part."""
        self.base = {name: float(weights.get(name, 0.0)) for name in self.names}

    def learns(self, name: str) -> bool:
        """Whether the weight of a part may change."""
        return self.base[name] > 0 and (self.params.parts is None or name in self.params.parts)

    def weights(self) -> dict[str, float]:
        """Weights of the next step by part, the learned ones within the limits."""
        learned = dict(zip(self.names, self.factor.tolist(), strict=True))
        least, most = self.params.least, self.params.most
        return {
            name: min(most, max(least, weight * learned[name])) if self.learns(name) else weight
            for name, weight in self.base.items()
        }

    def looks(self, step: int) -> bool:
        """Whether ``update`` wants the gradient norms of this step."""
        return False

    def update(self, losses: Mapping[str, Any], norms: Mapping[str, Any] | None = None) -> None:
        """Learn from a step.

        Args:
            losses: unweighted, by part; numbers or scalars.
            norms: see ``gradient_norms``; None where they were not wanted.
        """
        raise NotImplementedError

    def _used(self, values: Mapping[str, Any]) -> list[tuple[int, str, float]]:
        """Place, name and value of each part that learns and whose value is finite."""
        found = [(i, name, float(values[name])) for i, name in enumerate(self.names) if name in values]
        return [(i, name, v) for i, name, v in found if self.learns(name) and math.isfinite(v)]


class UncertaintyBalancer(Balancer):
    """Each part weighed by the inverse of its own learned variance.

    With s_i = log variance_i, the objective is sum_i w_i (exp(-s_i) L_i + s_i), where w_i are the epoch's
    weights: up to a factor that of Kendall, Gal & Cipolla, "Multi-task learning using uncertainty to weigh
    losses", CVPR 2018. Its minimum in s_i is log L_i, where every part counts by its own weight whatever its
    size. ``factor`` is exp(-s_i). Descent: s_i -= lr (1 - exp(-s_i) L_i), the gradient less its factor w_i. A
    step is at most 1 long, so that a single outlier does not throw a weight across its limits.
    """

    def update(self, losses: Mapping[str, Any], norms: Mapping[str, Any] | None = None) -> None:
        """See ``Balancer``."""
        least, most = self.params.least, self.params.most
        for i, name, loss in self._used(losses):
            now = float(self.factor[i])
            step = -self.params.lr * (1 - now * loss)
            after = now * math.exp(-max(-1.0, min(1.0, step)))
            self.factor[i] = min(most / self.base[name], max(least / self.base[name], after))


class GradNormBalancer(Balancer):
    """Weights by which all parts pull alike on the shared parameters, slow ones more.

    With g_i the norm of the gradient of part i, G_i = w_i g_i, r_i the part's loss over its first one, divided
    by the mean of these: sum_i |G_i / mean(G) - r_i^alpha| goes down by lr along its gradient in w_i (the mean
    and r_i are constants), and the weights are scaled to the sum of the epoch's own. Chen et al., "GradNorm:
    gradient normalization for adaptive loss balancing in deep multitask networks", ICML 2018, algorithm 1, in
    units of the mean gradient, so that lr does not depend on the size of the losses. ``alpha`` 0 makes all G_i
    alike.
    """

    def __init__(self, params: WeightingParams, names: Sequence[str]) -> None:
        super().__init__(params, names)
        self.register_buffer("first", torch.full((len(self.names),), torch.nan, dtype=torch.float64))  # [P]
        self.first: Tensor

    def looks(self, step: int) -> bool:
        """Every ``params.every`` steps."""
        return step % self.params.every == 0

    def update(self, losses: Mapping[str, Any], norms: Mapping[str, Any] | None = None) -> None:
        """See ``Balancer``."""
        used = [(i, n, loss) for i, n, loss in self._used(losses) if loss > 0]
        for i, _, loss in used:
            if self.first[i].isnan():
                self.first[i] = loss
        pulls = {i: norm for i, _, norm in self._used(norms or {})}
        used = [(i, n, loss) for i, n, loss in used if i in pulls]
        if len(used) < 2 or not any(pulls[i] for i, _, _ in used):
            return
        places = [i for i, _, _ in used]
        base = self.factor.new_tensor([self.base[n] for _, n, _ in used])  # [U]
        weights = base * self.factor[places]
        norm = self.factor.new_tensor([pulls[i] for i in places])
        rate = self.factor.new_tensor([loss for _, _, loss in used]) / self.first[places]
        target = (rate / rate.mean()) ** self.params.alpha
        size = weights * norm
        slope = torch.sign(size / size.mean() - target) * norm / size.mean()  # [U]
        after = (weights - self.params.lr * slope).clamp(self.params.least, self.params.most)
        self.factor[places] = after * (base.sum() / after.sum()) / base


#: Ways to learn weights, by name.
BALANCERS: dict[str, type[Balancer]] = {"uncertainty": UncertaintyBalancer, "gradnorm": GradNormBalancer}


def make_balancer(settings: Mapping[str, Any], names: Sequence[str]) -> Balancer | None:
    """The balancer of a plan's ``balancing``; None if that is empty."""
    if not settings:
        return None
    params = WeightingParams.model_validate(settings)
    return BALANCERS[params.name](params, names)


def gradient_norms(parts: Mapping[str, Tensor], shared: Sequence[Tensor]) -> dict[str, float]:
    """Norm of each part's gradient with respect to the shared parameters; the graph is kept, gradients untouched.

    Args:
        parts: scalars; those without a gradient are left out.
        shared: parameters that every part depends on; the last layer that all share is usual, it is cheap.
    """
    norms = {}
    for name, part in parts.items():
        if part.requires_grad:
            found = torch.autograd.grad(part, list(shared), retain_graph=True, allow_unused=True)
            norms[name] = math.sqrt(sum(float(g.double().square().sum()) for g in found if g is not None))
    return norms
