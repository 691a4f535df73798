"""All techniques together: nothing without them, their state is whole, and a resumed run goes on bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import safetensors.torch
import synthetic
import torch
from technique_batches import random_batch
from torch import Tensor, nn

from vln_heatmap.nodes.losses.weighting import window_mean
from vln_heatmap.nodes.training.stage import predict
from vln_heatmap.nodes.training.techniques.base import Batch
from vln_heatmap.nodes.training.techniques.batch import BATCH_TECHNIQUES, Techniques
from vln_heatmap.nodes.training.techniques.sampling import SAMPLING
from vln_heatmap.nodes.training.techniques.teacher import Teacher, evaluating
from vln_heatmap.params.techniques import TECHNIQUE_PARAMS

ALL: dict[str, Any] = {
    "hard_negatives": {},
    "multi_scale": {"scales": (1.0, 1.5)},
    "distillation": {"decay": 0.5},
    "self_training": {"decay": 0.5, "confidence": 0.6},
    "adversarial": {"every": 3, "random_start": True},
}


def objective(output: Any, batch: Batch) -> Tensor:
    error = (output.mask_logits.sigmoid() - batch["mask"]).square()
    return window_mean(error, batch["keyframe_mask"][..., None, None] * batch["pixel_weight"])


def make(model: nn.Module) -> Techniques:
    return Techniques(model, predict=predict, objective=objective)


def half_known(seed: int) -> Batch:
    batch = random_batch(seed=seed)
    batch["pixel_weight"][..., 4:, :] = 0
    return batch


def train(model: nn.Module, techniques: Techniques, optimizer: Any, steps: range) -> list[float]:
    """As the loop does it; the total loss of each step."""
    losses = []
    for step in steps:
        torch.manual_seed(step)
        batch = techniques.prepare(half_known(step))
        output = predict(model, batch)
        total = objective(output, batch) + sum(techniques.loss(model, batch, output).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        techniques.after_step()
        losses.append(total.item())
    return losses


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)


def test_every_name_has_settings_and_something_that_acts() -> None:
    assert set(TECHNIQUE_PARAMS) == set(BATCH_TECHNIQUES) | set(SAMPLING)


def test_without_techniques_there_is_nothing() -> None:
    model, batch = synthetic.toy_model(), random_batch()
    techniques = make(model)
    for settings in ({}, {"easy_to_hard": {}}):  # the latter chooses samples only
        techniques.use(settings)
        assert techniques.prepare(batch) is batch
        assert techniques.loss(model, batch, None) == {}
        techniques.after_step()
        assert techniques.state_dict() == {}


@pytest.mark.parametrize("use_first", [True, False])
def test_a_resumed_run_goes_on_bit_for_bit(use_first: bool) -> None:
    """Six steps at once, or three, everything through a file, and three more: the same losses and weights."""
    whole = synthetic.toy_model().train()
    techniques = make(whole)
    techniques.use(ALL)
    expected = train(whole, techniques, sgd(whole), range(6))
    first = synthetic.toy_model().train()
    begun = make(first)
    begun.use(ALL)
    losses = train(first, begun, sgd(first), range(3))
    stored = safetensors.torch.load(safetensors.torch.save(begun.state_dict()))
    second = synthetic.toy_model(seed=5).train()  # other weights, which are all overwritten
    second.load_state_dict(first.state_dict())
    resumed = make(second)
    if use_first:
        resumed.use(ALL)
        resumed.load_state_dict(stored)
    else:
        resumed.load_state_dict(stored)
        resumed.use(ALL)
    losses += train(second, resumed, sgd(second), range(3, 6))
    assert losses == expected
    weights = second.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in whole.state_dict().items())
    final = techniques.state_dict()
    assert all(torch.equal(t, final[name]) for name, t in resumed.state_dict().items())
    assert len(final) == len(stored) > 10


def test_state_is_kept_while_the_settings_stay_and_dismissed_when_they_go() -> None:
    model = synthetic.toy_model()
    techniques = make(model)
    techniques.use({"multi_scale": {}, "distillation": {}})
    techniques.after_step()
    techniques.use({"multi_scale": None, "distillation": {}})  # None = the defaults, as before
    assert techniques.state_dict()["multi_scale.step"] == 1
    teachers = [name for name in techniques.state_dict() if name.startswith("teachers.")]
    assert teachers
    techniques.use({"multi_scale": {"scales": (1.0, 2.0)}})
    assert set(techniques.state_dict()) == {"multi_scale.step"}
    assert techniques.state_dict()["multi_scale.step"] == 0


def test_two_techniques_share_a_teacher_who_answers_once() -> None:
    model, batch = synthetic.toy_model(), half_known(0)
    calls = 0

    def counted(network: Any, given: Batch) -> Any:
        nonlocal calls
        calls += 1
        return predict(network, given)

    techniques = Techniques(model, predict=counted, objective=objective)
    techniques.use({"distillation": {"decay": 0.9}, "self_training": {"decay": 0.9}})
    output = predict(model, batch)
    techniques.loss(model, batch, output)
    assert calls == 1
    techniques.loss(model, dict(batch), output)  # another batch
    assert calls == 2
    techniques.after_step()
    techniques.loss(model, batch, output)
    assert calls == 3


def test_a_teacher_is_the_average_of_the_weights() -> None:
    """At decay 0.9, from weight 0 to 1: the steps keep 1/10, 2/11, … of what was, at most 0.9."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    teacher = Teacher(model, decay=0.9)
    nn.init.ones_(model.weight)
    teacher.update()
    x = torch.ones(1, 1)
    assert teacher.answer({"x": x}, lambda net, b: net(b["x"])).item() == pytest.approx(0.9)
    teacher.update()
    assert teacher.answer({"x": x}, lambda net, b: net(b["x"])).item() == pytest.approx(1 - 0.1 * 2 / 11)
    assert model.weight.item() == 1
    assert model(x).requires_grad
    assert not teacher.answer({"x": x}, lambda net, b: net(b["x"])).requires_grad
    teacher.restart()
    assert teacher.answer({"x": x}, lambda net, b: net(b["x"])).item() == 1


def test_modes_are_given_back() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout())).train()
    model[1].eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == [True, True, False, False]
