"""Inputs that are changed so that the model errs, and then learned.

Two kinds: small perturbations of frames and features along the gradient of the loss, and shifted or mirrored
views, of which the one with the largest loss is taken. Invariant: a perturbation stays in its ball, frames stay
images, targets stay true; the gradients of the weights come from the last pass alone.

Sources: FGSM, Goodfellow et al., "Explaining and harnessing adversarial examples", ICLR 2015, arXiv:1412.6572,
section 4; PGD, Madry et al., ICLR 2018, arXiv:1706.06083, eq. 2; worst of k spatial transformations, Engstrom et
al., "Exploring the landscape of spatial robustness", ICML 2019, arXiv:1712.02779.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vln_heatmap.nodes.training.techniques.base import Batch, Context, Counted, Objective
from vln_heatmap.nodes.training.techniques.teacher import evaluating
from vln_heatmap.nodes.training.techniques.views import (
    cells_to_shift,
    first_view,
    mirrored,
    shifted,
    window,
)
from vln_heatmap.params.techniques import AdversarialParams

_COLOURS = 255.0


def perturbed(batch: Batch, loss: Callable[[Batch], Tensor], params: AdversarialParams) -> Batch:
    """Frames and features that raise the loss, at most their radius away.

    x + scale * u, where u ascends from 0 (or from a random point): u <- project(u + step_size * radius * d(g)),
    g the gradient of the loss in u. For "linf", |u| <= radius in every element and d = sign; for "l2", the root
    mean square of u over each window is at most the radius, and d = g / its root mean square. The scale of
    frames is 255 (their range), of features the standard deviation of the channel over the batch.

    Args:
        batch: frames [B, T, 3, S, S] in [0, 255] and features [B, T, C, g, g].
        loss: of a batch, a scalar.
        params: radii, norm, number and size of the steps.
    """
    radii = {name: getattr(params, name) for name in ("frames", "features") if getattr(params, name)}
    clean = {name: batch[name].detach().float() for name in radii}
    scales = {name: _scale(name, x) for name, x in clean.items()}
    change = {name: _start(x, radii[name], params) for name, x in clean.items()}
    for _ in range(params.steps):
        inputs = {name: u.requires_grad_() for name, u in change.items()}
        with torch.enable_grad():
            value = loss(
                batch | {name: _applied(name, clean[name], scales[name], u) for name, u in inputs.items()}
            )
        gradients = torch.autograd.grad(value, list(inputs.values()))
        change = {
            name: _projected(
                u.detach() + params.step_size * radii[name] * _direction(g, params.norm), radii[name], params
            )
            for (name, u), g in zip(inputs.items(), gradients, strict=True)
        }
    return batch | {name: _applied(name, clean[name], scales[name], u) for name, u in change.items()}


def _scale(name: str, x: Tensor) -> Tensor:
    """Units of a perturbation: [1] of frames, [C, 1, 1] of features."""
    if name == "frames":
        return x.new_tensor([_COLOURS])
    return x.movedim(2, 0).flatten(1).std(1)[:, None, None]


def _applied(name: str, clean: Tensor, scale: Tensor, change: Tensor) -> Tensor:
    moved = clean + scale * change
    return moved.clamp(0, _COLOURS) if name == "frames" else moved


def _start(x: Tensor, radius: float, params: AdversarialParams) -> Tensor:
    """Where the ascent begins: 0, or anywhere in the ball."""
    if not params.random_start:
        return torch.zeros_like(x)
    return _projected(radius * (2 * torch.rand_like(x) - 1), radius, params)


def _direction(gradient: Tensor, norm: str) -> Tensor:
    if norm == "linf":
        return gradient.sign()
    return gradient / _rms(gradient).clamp_min(torch.finfo(gradient.dtype).tiny)


def _projected(change: Tensor, radius: float, params: AdversarialParams) -> Tensor:
    if params.norm == "linf":
        return change.clamp(-radius, radius)
    return change * (radius / _rms(change).clamp_min(radius))


def _rms(x: Tensor) -> Tensor:
    """Root mean square over each window, [B, 1, ...]; of elements over the largest, so that none underflows."""
    largest = x.abs().flatten(1).amax(1).clamp_min(torch.finfo(x.dtype).tiny)  # [B]
    shape = (-1, *[1] * (x.dim() - 1))
    return (largest * (x / largest.view(shape)).flatten(1).square().mean(1).sqrt()).view(shape)


def per_window(objective: Objective, output: Any, batch: Batch) -> Tensor:
    """The objective of every window alone: [B]."""
    return torch.stack(
        [objective(window(output, b), window(batch, b)) for b in range(len(batch["instruction"]))]
    )


class Adversarial(Counted):
    """Losses "adversarial" (perturbed inputs) and "spatial" (the worst of shifted and mirrored views)."""

    def __init__(self, params: AdversarialParams, context: Context) -> None:
        super().__init__()
        self.params, self.context = params, context

    def loss(self, model: nn.Module, batch: Batch, output: Any) -> dict[str, Tensor]:
        params = self.params
        losses: dict[str, Tensor] = {}
        if self.step % params.every:
            return losses
        if params.weight and (params.frames or params.features):
            changed = perturbed(batch, lambda b: self._objective(model, b), params)
            losses["adversarial"] = params.weight * self._objective(model, changed)
        if params.spatial:
            losses["spatial"] = params.spatial * self._objective(model, self.worst_view(model, batch))
        return losses

    def _objective(self, model: nn.Module, batch: Batch) -> Tensor:
        return self.context.objective(self.context.predict(model, batch), batch)

    def worst_view(self, model: nn.Module, batch: Batch) -> Batch:
        """Of the candidates of each window the one with the largest loss, as a batch of first views."""
        candidates = [self._transformation(batch) for _ in range(self.params.candidates)]
        if len(candidates) == 1:
            return transformed(batch, *candidates[0])
        with evaluating(model):
            tried = [transformed(batch, *candidate) for candidate in candidates]
            outputs = [self.context.predict(model, one) for one in tried]
            losses = [
                per_window(self.context.objective, out, one) for out, one in zip(outputs, tried, strict=True)
            ]
        worst = torch.stack(losses).argmax(0)  # [B]
        shifts, mirrors = (torch.stack(parts) for parts in zip(*candidates, strict=True))  # [k, B, 2], [k, B]
        rows = torch.arange(len(worst), device=worst.device)
        return transformed(batch, shifts[worst, rows], mirrors[worst, rows])

    def _transformation(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """A random shift [B, 2] in cells of the features and whether to mirror [B]."""
        features = batch["features"]
        count, device, unit = len(features), features.device, cells_to_shift(batch)
        most = int(self.params.shift * features.shape[-1] / unit)  # units
        shift = torch.randint(-most, most + 1, (count, 2), device=device) * unit
        return shift, torch.rand(count, device=device) < self.params.mirror


def transformed(batch: Batch, shift: Tensor, mirror: Tensor) -> Batch:
    """First views, mirrored where ``mirror`` [B], then shifted [B, 2]."""
    return shifted(mirrored(first_view(batch), mirror), shift)
