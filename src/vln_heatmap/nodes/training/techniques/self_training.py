"""Pseudo-labels: a teacher's confident answers stand in where nobody knows the truth.

Invariant: a cell whose truth is known is never touched. The truth of a cell is unknown where the current view
has no depth (``pixel_weight`` 0); a window without any depth is an unlabelled sample. That nothing of a keyframe
is co-visible (``valid`` false) is a truth like any other.

Source: Lee, "Pseudo-label", ICML workshop 2013; confidence threshold and the mean over confident and unconfident
cells alike as in Sohn et al., "FixMatch", NeurIPS 2020, arXiv:2001.07685; averaged teacher: Tarvainen & Valpola,
NeurIPS 2017.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vln_heatmap.nodes.losses.elementary import full_precision
from vln_heatmap.nodes.losses.weighting import window_mean
from vln_heatmap.nodes.training.techniques.base import Batch, BatchTechnique, Context
from vln_heatmap.params.techniques import SelfTrainingParams


def unknown_cells(batch: Batch) -> Tensor:
    """Where there is a keyframe and no truth: [B, N, K, h, w] bool."""
    return batch["keyframe_mask"][..., None, None] & (batch["pixel_weight"] == 0)


def mask_pseudo_loss(student: Tensor, teacher: Tensor, unknown: Tensor, *, confidence: float) -> Tensor:
    """Binary cross-entropy with the teacher's hard answers.

    Args:
        student, teacher: mask logits [B, N, K, h, w].
        unknown: [B, N, K, h, w] bool; cells outside it contribute nothing.
        confidence: a cell counts where the teacher's yes or no has at least this probability; the mean is over
            all unknown cells, so that few confident ones weigh little.
    """
    yes = full_precision(teacher).sigmoid()  # [B, N, K, h, w]
    sure = torch.maximum(yes, 1 - yes) >= confidence
    label = (yes > 0.5).to(yes.dtype)
    loss = F.binary_cross_entropy_with_logits(_where(student, unknown & sure), label, reduction="none")
    return window_mean(loss * sure, unknown)


def class_pseudo_loss(student: Tensor, teacher: Tensor, unknown: Tensor, *, confidence: float) -> Tensor:
    """Cross-entropy with the teacher's likeliest class, of class logits [B, N, K, C, h, w]; else as above."""
    best, label = full_precision(teacher).softmax(3).max(3)  # [B, N, K, h, w]
    sure = best >= confidence
    log_p = _where(student, (unknown & sure).unsqueeze(3)).log_softmax(3)
    loss = -log_p.gather(3, label.unsqueeze(3)).squeeze(3)  # [B, N, K, h, w]
    return window_mean(loss * sure, unknown)


def _where(logits: Tensor, used: Tensor) -> Tensor:
    """Logits with 0 where they are not used, so that not even a NaN could come from there."""
    return full_precision(logits).masked_fill(~used, 0.0)


class SelfTraining(BatchTechnique):
    """Losses "self_training_mask" and "self_training_classes" on the cells without truth."""

    def __init__(self, params: SelfTrainingParams, context: Context) -> None:
        self.params, self.context = params, context
        self.teacher = context.teachers.get(params.decay)

    def loss(self, model: nn.Module, batch: Batch, output: Any) -> dict[str, Tensor]:
        params, unknown = self.params, unknown_cells(batch)
        taught = self.teacher.answer(batch, self.context.predict)
        losses = {}
        if params.mask:
            losses["self_training_mask"] = params.mask * mask_pseudo_loss(
                output.mask_logits, taught.mask_logits, unknown, confidence=params.confidence
            )
        if params.classes and output.class_logits is not None:
            losses["self_training_classes"] = params.classes * class_pseudo_loss(
                output.class_logits, taught.class_logits, unknown, confidence=params.confidence
            )
        return losses
