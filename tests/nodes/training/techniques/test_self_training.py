"""Pseudo-labels: only where nobody knows the truth, only where the teacher is sure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import synthetic
import torch
from technique_batches import SIZE, random_answer, random_batch
from torch import Tensor

from vln_heatmap.nodes.training.stage import predict
from vln_heatmap.nodes.training.techniques.base import Batch, Context
from vln_heatmap.nodes.training.techniques.self_training import (
    SelfTraining,
    class_pseudo_loss,
    mask_pseudo_loss,
    unknown_cells,
)
from vln_heatmap.nodes.training.techniques.teacher import Teachers
from vln_heatmap.params.techniques import SelfTrainingParams


def partly_known() -> Batch:
    """Window 0 has depth everywhere, of window 1 the upper half, of window 2 nothing."""
    batch = random_batch()
    batch["pixel_weight"][1, :, :, SIZE // 2 :] = 0
    batch["pixel_weight"][2] = 0
    return batch


def self_training(answer: Any = None, **settings: Any) -> tuple[SelfTraining, Any]:
    model = synthetic.toy_model()
    context = Context(
        predict if answer is None else lambda *_: answer, lambda *_: torch.zeros(()), 14, Teachers(model)
    )
    return SelfTraining(SelfTrainingParams(**settings), context), model


def gradients(batch: Batch, **settings: Any) -> dict[str, Tensor]:
    """Of all pseudo-losses, by the student's logits."""
    technique, model = self_training(random_answer(seed=2, scale=8), **settings)
    student = {name: v.clone().requires_grad_() for name, v in vars(random_answer()).items()}
    losses = technique.loss(model, batch, replace(random_answer(), **student))
    sum(losses.values()).backward()
    return {name: student[name].grad for name in ("mask_logits", "class_logits")}


def test_labelled_cells_are_never_touched() -> None:
    """Cells with depth and padded keyframes get no gradient, most of the others do."""
    batch = partly_known()
    unknown = unknown_cells(batch)
    assert unknown[0].sum() == 0
    assert unknown[1, :, 0].float().mean() == 0.5
    assert unknown[:, :, -1].sum() == 0  # padding
    found = gradients(batch)
    per_cell = {
        "mask_logits": found["mask_logits"].abs(),
        "class_logits": found["class_logits"].abs().sum(3),
    }
    for gradient in per_cell.values():
        assert (gradient[~unknown] == 0).all()
        assert (gradient[unknown] > 0).float().mean() > 0.5


def test_a_keyframe_that_sees_nothing_is_a_truth_and_no_gap() -> None:
    batch = random_batch()
    batch["valid"][:] = False
    assert unknown_cells(batch).sum() == 0


def test_without_gaps_there_is_no_loss() -> None:
    technique, model = self_training(random_answer())
    losses = technique.loss(model, random_batch(), random_answer(seed=3))
    assert [loss.item() for loss in losses.values()] == [0, 0]


def test_the_loss_is_the_cross_entropy_with_sure_answers_over_all_unknown_cells() -> None:
    """Of four unknown cells the teacher is sure of two, a yes and a no; the student tosses a coin: log 2 / 2."""
    teacher = torch.tensor([9.0, -9.0, 1.0, -1.0]).view(1, 1, 1, 2, 2)
    unknown = torch.ones(1, 1, 1, 2, 2, dtype=torch.bool)
    student = torch.zeros(1, 1, 1, 2, 2)
    loss = mask_pseudo_loss(student, teacher, unknown, confidence=0.9)
    assert loss.item() == pytest.approx(math.log(2) / 2)
    classes = torch.zeros(1, 1, 1, 3, 2, 2)
    classes[:, :, :, 1, 0] = 9.0
    loss = class_pseudo_loss(torch.zeros_like(classes), classes, unknown, confidence=0.9)
    assert loss.item() == pytest.approx(math.log(3) / 2)


def test_a_student_that_agrees_pays_nothing_and_the_threshold_decides() -> None:
    teacher = torch.full((1, 1, 1, 2, 2), math.log(4.0))  # sure at 0.8
    unknown = torch.ones(1, 1, 1, 2, 2, dtype=torch.bool)
    coin = torch.zeros(1, 1, 1, 2, 2)
    assert mask_pseudo_loss(coin, teacher, unknown, confidence=0.81) == 0
    assert mask_pseudo_loss(coin, teacher, unknown, confidence=0.79).item() == pytest.approx(math.log(2))
    assert mask_pseudo_loss(coin + 50, teacher, unknown, confidence=0.79).item() == pytest.approx(0)


def test_garbage_outside_the_gaps_stays_outside() -> None:
    unknown = torch.tensor([[True, False]]).view(1, 1, 1, 1, 2)
    student = torch.tensor([0.0, math.nan]).view(1, 1, 1, 1, 2)
    loss = mask_pseudo_loss(student, torch.full_like(student, 9), unknown, confidence=0.9)
    assert loss.item() == pytest.approx(math.log(2))


def test_one_averaged_teacher_answers_for_the_real_model() -> None:
    technique, model = self_training(confidence=0.6)
    technique.teacher.average.tensors["head.out.3.bias"][2] += 5  # sure that nothing is seen
    batch = partly_known()
    losses = technique.loss(model, batch, predict(model, batch))
    assert set(losses) == {"self_training_mask", "self_training_classes"}
    assert all(loss > 0 for loss in losses.values())
    assert all(loss.requires_grad for loss in losses.values())
