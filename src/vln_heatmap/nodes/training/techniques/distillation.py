"""Agreeing with a teacher: what it holds possible teaches more than the one answer that it gives.

Invariant: every loss is a divergence, never negative, and 0 exactly where student and teacher agree.

Source: Hinton, Vinyals & Dean, "Distilling the knowledge in a neural network", 2015, arXiv:1503.02531, eq. 1 and
section 2.1: logits of both are divided by a temperature T, and the loss is multiplied by T^2, so that its
gradients keep their size. Here as a Kullback-Leibler divergence (their cross-entropy less a constant).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from vln_heatmap.nodes.losses.elementary import full_precision
from vln_heatmap.nodes.losses.weighting import window_mean
from vln_heatmap.nodes.training.techniques.base import Batch, BatchTechnique, Context, Predict
from vln_heatmap.nodes.training.techniques.teacher import evaluating
from vln_heatmap.params.techniques import DistillationParams


def divergence(student: Tensor, teacher: Tensor, *, temperature: float, dim: int) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)) over ``dim`` of logits of one shape."""
    log_s, log_t = (full_precision(x / temperature).log_softmax(dim) for x in (student, teacher))
    return temperature**2 * (log_t.exp() * (log_t - log_s)).sum(dim)


def binary_divergence(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """The same of yes-or-no logits, each the softmax of (logit, 0): sigmoid(x / T)."""
    s, t = (full_precision(x / temperature) for x in (student, teacher))
    yes = t.sigmoid() * (F.logsigmoid(t) - F.logsigmoid(s))
    return temperature**2 * (yes + (-t).sigmoid() * (F.logsigmoid(-t) - F.logsigmoid(-s)))


def distillation_losses(
    student: Any, teacher: Any, keyframe_mask: Tensor, *, temperature: float
) -> dict[str, Tensor]:
    """Mean divergences ``mask``, ``distribution`` and ``classes`` over the real keyframes.

    Args:
        student, teacher: outputs with mask_logits [B, N, K, h, w], distribution_logits [B, N, K, h, w],
            validity_logits [B, N, K] and class_logits [B, N, K, 3, h, w] or None. A teacher's maps of another
            size are resampled to the student's.
        keyframe_mask: [B, N, K] bool, false for padding.
        temperature: above 0.

    The distribution of a map counts as much as the teacher holds it to be valid. Without class logits (single
    views) there is no ``classes``.
    """
    cells = keyframe_mask[..., None, None]
    mask = binary_divergence(
        student.mask_logits, _like(teacher.mask_logits, student.mask_logits), temperature=temperature
    )
    maps = _like(teacher.distribution_logits, student.distribution_logits)
    spread = divergence(
        student.distribution_logits.flatten(-2), maps.flatten(-2), temperature=temperature, dim=-1
    )  # [B, N, K]
    valid = keyframe_mask * full_precision(teacher.validity_logits).sigmoid()
    losses = {"mask": window_mean(mask, cells), "distribution": window_mean(spread, valid)}
    if student.class_logits is not None and teacher.class_logits is not None:
        known = _like(teacher.class_logits, student.class_logits)
        classes = divergence(student.class_logits, known, temperature=temperature, dim=3)  # [B, N, K, h, w]
        losses["classes"] = window_mean(classes, cells)
    return losses


def _like(maps: Tensor, wanted: Tensor) -> Tensor:
    """Maps [..., h', w'] on the grid of others [..., h, w]."""
    if maps.shape == wanted.shape:
        return maps
    flat = full_precision(maps).flatten(0, -3)[:, None]  # [M, 1, h', w']
    size = (wanted.shape[-2], wanted.shape[-1])
    resized = F.interpolate(flat, size=size, mode="bilinear", align_corners=False, antialias=True)
    return resized.view(*maps.shape[:-2], *size)


class Source(Protocol):
    """Who answers: see ``Teacher.answer``."""

    def answer(self, batch: Batch, predict: Predict) -> Any: ...


class FixedTeacher:
    """A trained network that does not change.

    Args:
        network: reads the same features as the model that it teaches; its sizes may differ.
        model: who is taught.

    Raises:
        ValueError: it reads other features than the model.
    """

    def __init__(self, network: nn.Module, model: nn.Module) -> None:
        mine, theirs = (getattr(net, "similar", None) for net in (model, network))
        if mine != theirs:
            raise ValueError(
                f"the teacher must read the same features as the model: its channels are {theirs}, the "
                f"model's {mine}. Choose a checkpoint that was trained with the same model.encoder"
            )
        self.network, self.model = network.requires_grad_(False), model

    def answer(self, batch: Batch, predict: Predict) -> Any:
        """What the network makes of a batch, on the model's device."""
        self.network.to(next(self.model.parameters()).device)
        with evaluating(self.network):
            return predict(self.network, batch)

    @classmethod
    def of_checkpoint(cls, path: str, model: nn.Module) -> FixedTeacher:
        """The network of a checkpoint folder; see ``Checkpoint.open`` for what may be given and go wrong."""
        from vln_heatmap.datasets.checkpoint import Checkpoint
        from vln_heatmap.nodes.model.assemble import model_from_checkpoint

        return cls(model_from_checkpoint(Checkpoint.open(path)), model)


class Distillation(BatchTechnique):
    """``distillation_losses`` with the weights of the settings, as "distillation_<part>"."""

    def __init__(self, params: DistillationParams, context: Context) -> None:
        self.params, self.context = params, context
        self.teacher: Source
        if params.teacher == "ema":
            self.teacher = context.teachers.get(params.decay)
        else:
            self.teacher = FixedTeacher.of_checkpoint(params.teacher, context.teachers.model)

    def loss(self, model: nn.Module, batch: Batch, output: Any) -> dict[str, Tensor]:
        taught = self.teacher.answer(batch, self.context.predict)
        losses = distillation_losses(
            output, taught, batch["keyframe_mask"], temperature=self.params.temperature
        )
        weights: Mapping[str, float] = {name: getattr(self.params, name) for name in losses}
        return {f"distillation_{name}": weights[name] * losses[name] for name in losses if weights[name]}
