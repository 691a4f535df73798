"""Distillation: a divergence, 0 between equals, with the gradient of its source; teachers of both kinds."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
import torch
from technique_batches import Answer, random_answer, random_batch
from torch import nn

from vln_heatmap.datasets.checkpoint import CheckpointDataset
from vln_heatmap.nodes.model.assemble import checkpoint_meta
from vln_heatmap.nodes.training.stage import predict
from vln_heatmap.nodes.training.techniques.base import Context
from vln_heatmap.nodes.training.techniques.distillation import (
    Distillation,
    FixedTeacher,
    binary_divergence,
    distillation_losses,
    divergence,
)
from vln_heatmap.nodes.training.techniques.teacher import Teachers
from vln_heatmap.params.techniques import DistillationParams

MASK = random_batch()["keyframe_mask"]


def total(student: Answer, teacher: Answer, temperature: float = 2.0) -> torch.Tensor:
    return sum(distillation_losses(student, teacher, MASK, temperature=temperature).values())


def test_equals_have_nothing_to_teach_each_other() -> None:
    """The loss is 0 there, and its gradient too: a minimum."""
    answer = random_answer()
    logits = {name: value.clone().requires_grad_() for name, value in vars(answer).items()}
    loss = total(Answer(**logits), answer)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    for name in ("mask_logits", "distribution_logits", "class_logits"):
        assert logits[name].grad is not None
        assert logits[name].grad.abs().max() < 1e-6


def test_every_other_student_pays() -> None:
    teacher = random_answer()
    for name in ("mask_logits", "distribution_logits", "class_logits"):
        noise = torch.randn(getattr(teacher, name).shape, generator=torch.Generator().manual_seed(3))
        other = replace(teacher, **{name: getattr(teacher, name) + 0.1 * noise})
        assert total(other, teacher) > 1e-4


def test_a_teacher_that_is_sure_asks_for_the_log_of_its_answer() -> None:
    """KL((1, 0, 0) || uniform of 3) = log 3; a yes against a coin = log 2. T = 1."""
    sure = torch.tensor([80.0, 0.0, 0.0])
    assert divergence(torch.zeros(3), sure, temperature=1, dim=0) == pytest.approx(math.log(3))
    assert binary_divergence(torch.zeros(1), torch.tensor([80.0]), temperature=1) == pytest.approx(
        math.log(2)
    )


def test_two_classes_are_yes_or_no() -> None:
    s, t = torch.tensor([0.7, -2.0]), torch.tensor([-1.3, 0.4])
    pairs = [torch.stack([x, torch.zeros(2)]) for x in (s, t)]
    both = divergence(*pairs, temperature=3, dim=0)
    torch.testing.assert_close(both, binary_divergence(s, t, temperature=3))


def test_at_high_temperature_logits_are_matched() -> None:
    """T^2 KL -> sum (z_s - z_t)^2 / (2 C) for logits of mean 0 (Hinton et al., section 2.1)."""
    s, t = torch.tensor([1.0, -0.5, -0.5]).double(), torch.tensor([-1.0, 0.0, 1.0]).double()
    loss = divergence(s, t, temperature=1e3, dim=0)
    assert loss.item() == pytest.approx((s - t).square().sum().item() / 6, rel=1e-2)


def test_padding_teaches_nothing_and_neither_does_a_map_that_is_not_valid() -> None:
    student, teacher = random_answer(seed=1), random_answer(seed=2)
    before = distillation_losses(student, teacher, MASK, temperature=2)
    garbage = replace(student, **{n: v.clone() for n, v in vars(student).items()})
    for name in ("mask_logits", "distribution_logits", "class_logits"):
        getattr(garbage, name)[:, :, -1] += 7  # the padded keyframe
    assert distillation_losses(garbage, teacher, MASK, temperature=2) == before
    blind = replace(teacher, validity_logits=torch.full_like(teacher.validity_logits, -200.0))
    assert distillation_losses(student, blind, MASK, temperature=2)["distribution"] == 0


def test_a_finer_teacher_is_read_on_the_student_grid() -> None:
    """A teacher with the same constant maps, twice as fine, agrees."""
    flat = Answer(*(torch.full_like(v, 0.7) for v in vars(random_answer()).values()))
    fine = Answer(*(torch.full_like(v, 0.7) for v in vars(random_answer(size=16)).values()))
    assert total(flat, fine).item() == pytest.approx(0, abs=1e-6)


def test_single_views_have_no_classes_to_teach() -> None:
    answer = replace(random_answer(), class_logits=None)
    assert set(distillation_losses(answer, answer, MASK, temperature=1)) == {"mask", "distribution"}


# --- teachers ---------------------------------------------------------------------------------------------


def context(model: nn.Module) -> Context:
    return Context(predict, lambda *_: torch.zeros(()), 14, Teachers(model))


def test_an_averaged_teacher_teaches_once_the_model_has_moved_on() -> None:
    model, batch = synthetic.toy_model(), random_batch()
    technique = Distillation(DistillationParams(decay=0.9), context(model))
    output = predict(model, batch)
    names = {"distillation_mask", "distillation_distribution", "distillation_classes"}
    first = technique.loss(model, batch, output)
    assert set(first) == names
    assert sum(first.values()).item() == pytest.approx(0, abs=1e-6)
    trained = [p for p in model.parameters() if p.requires_grad]
    with torch.no_grad():
        for parameter in trained:
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    later = technique.loss(model, batch, predict(model, batch))
    assert sum(later.values()) > 1e-4
    gradients = torch.autograd.grad(sum(later.values()), trained, allow_unused=True)
    assert any(g is not None and g.abs().max() > 0 for g in gradients)


def test_weights_multiply_and_a_part_of_weight_0_is_left_out() -> None:
    model, batch, answer = synthetic.toy_model(), random_batch(), random_answer()
    plain, more = (
        Distillation(DistillationParams(mask=w, classes=0), context(model)).loss(model, batch, answer)
        for w in (1.0, 3.0)
    )
    assert set(plain) == {"distillation_mask", "distillation_distribution"}
    torch.testing.assert_close(more["distillation_mask"], 3 * plain["distillation_mask"])


def test_a_checkpoint_teaches_what_it_knows(tmp_path: Path) -> None:
    """The checkpoint of a model agrees with that model, and only with that one."""
    model, batch = synthetic.toy_model(seed=1), random_batch()
    meta = checkpoint_meta(model, synthetic.PARAMS, synthetic.TOKENIZER)
    dataset = CheckpointDataset(filepath=str(tmp_path / "big"))
    dataset.save({"state_dict": model.state_dict(), "meta": meta})
    technique = Distillation(DistillationParams(teacher=str(tmp_path / "big")), context(model))
    same = technique.loss(model, batch, predict(model, batch))
    assert sum(same.values()).item() == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        model.head.out[-1].bias[0] += 1
    assert sum(technique.loss(model, batch, predict(model, batch)).values()) > 1e-3
    assert technique.state_dict() == {}


def test_a_teacher_of_other_features_is_refused() -> None:
    model, other = synthetic.toy_model(), synthetic.toy_model()
    other.similar = (3,)
    with pytest.raises(ValueError, match=r"same features .* \(3,\)"):
        FixedTeacher(other, model)
