"""Learning rates by step and by part of the model; averaged weights; what survives a restart."""

import copy
import math
from itertools import pairwise

import numpy as np
import pytest
import synthetic
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vln_heatmap.nodes.model.parts import part_of
from vln_heatmap.nodes.training.ema import WeightAverage
from vln_heatmap.nodes.training.history import History
from vln_heatmap.nodes.training.optimizer import (
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    parameter_groups,
    set_learning_rate,
)
from vln_heatmap.nodes.training.schedule import learning_rate_factor
from vln_heatmap.params import ModelParams, OptimizerParams, ScheduleParams, TrainParams


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
        self.header = nn.Linear(4, 1)
        self.encoder = nn.Linear(3, 3).requires_grad_(False)


def test_the_learning_rate_warms_up_to_its_peak_and_ends_at_its_last_share():
    params = ScheduleParams(warmup=0.1, final=0.2)
    factors = [learning_rate_factor(step, 101, params) for step in range(101)]
    assert factors[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert factors[10] == pytest.approx(1.0)
    assert factors[55] == pytest.approx(0.6)  # half-way down the cosine
    assert factors[100] == pytest.approx(0.2)


@given(st.integers(1, 50), st.floats(0, 0.99), st.floats(0, 1), st.sampled_from(["cosine", "constant"]))
def test_the_learning_rate_never_leaves_its_bounds(steps: int, warmup: float, final: float, name: str):
    params = ScheduleParams(name=name, warmup=warmup, final=final)
    factors = [learning_rate_factor(step, steps, params) for step in range(steps)]
    assert all(0 <= f <= 1 + 1e-12 for f in factors)
    assert max(factors) == pytest.approx(1.0) or steps == 1
    after = factors[round(warmup * steps) :]
    assert all(a >= b - 1e-12 for a, b in pairwise(after))


def test_every_trainable_parameter_is_in_one_group_with_its_rate_and_decay():
    params = OptimizerParams(lr=0.1, weight_decay=0.3, lr_multipliers={"head": 2.0, "head.1": 3.0})
    groups = parameter_groups(Parts(), params)
    found = {name: (g["lr"], g["weight_decay"]) for g in groups for name in g["names"]}
    assert found == {
        "head.0.weight": (0.2, 0.3),
        "head.0.bias": (0.2, 0.0),
        "head.1.weight": (pytest.approx(0.3), 0.0),  # the longer path wins; one axis: no decay
        "head.1.bias": (pytest.approx(0.3), 0.0),
        "header.weight": (0.1, 0.3),  # a path names whole modules: "head" is not in "header"
        "header.bias": (0.1, 0.0),
    }


@pytest.mark.parametrize("part", ["vggt", "fusion", "projector", "language", "lora", "heads"])
def test_every_part_of_the_model_can_have_a_rate_of_its_own(part: str):
    """Without the adapters the language model trains; with them only they do."""
    tuning = {"tuning": {"lora": {"rank": 2}}} if part == "lora" else {}
    model = synthetic.toy_model(ModelParams.model_validate(synthetic.PARAMS.model_dump() | tuning))
    groups = parameter_groups(model, OptimizerParams(lr=0.1, lr_multipliers={part: 0.5}))
    slow = {name for group in groups if group["lr"] == 0.05 for name in group["names"]}
    assert slow
    assert slow == {name for group in groups for name in group["names"] if part_of(name) == part}


def test_a_path_that_fits_nothing_and_a_model_without_weights_are_refused():
    with pytest.raises(
        ValueError, match=r"no trainable parameter: \['haed'\]; the model has \['head', 'header'\]"
    ):
        parameter_groups(Parts(), OptimizerParams(lr_multipliers={"haed": 2.0}))
    with pytest.raises(ValueError, match="no trainable parameter"):
        parameter_groups(Parts().requires_grad_(False), OptimizerParams())


def test_the_factor_scales_every_group_from_its_own_peak():
    optimizer = make_optimizer(Parts(), OptimizerParams(lr=0.1, lr_multipliers={"header": 0.5}))
    for factor in (0.5, 0.25):
        set_learning_rate(optimizer, factor)
        assert {g["lr"] for g in optimizer.param_groups} == {0.1 * factor, 0.05 * factor}


def test_a_restored_optimizer_makes_the_very_same_updates():
    torch.manual_seed(0)
    model = Parts()
    optimizer = make_optimizer(model, OptimizerParams())

    def update(model: Parts, optimizer: torch.optim.Optimizer) -> None:
        model.head(torch.arange(3.0)).square().sum().backward()  # the header gets no gradient: no state
        optimizer.step()
        optimizer.zero_grad()

    update(model, optimizer)
    twin = copy.deepcopy(model)
    other = make_optimizer(twin, OptimizerParams())
    load_optimizer_tensors(other, {k: t.clone() for k, t in optimizer_tensors(optimizer).items()})
    for _ in range(3):
        update(model, optimizer)
        update(twin, other)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_the_average_is_the_recursion_it_claims_to_be():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average, expected = WeightAverage(model, decay=0.5), 0.0
    for step in range(20):
        nn.init.constant_(model.weight, float(step))
        average.update(step)
        keep = min(0.5, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * step
        assert average.tensors["weight"].item() == pytest.approx(expected, rel=1e-5)


def test_without_decay_the_average_is_the_weights():
    model = nn.Linear(2, 2)
    average = WeightAverage(model, decay=0.0)
    nn.init.constant_(model.weight, 3.0)
    average.update(1000)
    assert torch.equal(average.tensors["weight"], model.weight)


def test_averaged_weights_are_in_the_model_only_inside_applied():
    model = Parts()
    average = WeightAverage(model, decay=0.9)
    assert "encoder.weight" not in average.tensors
    own, frozen = model.head[0].weight.detach().clone(), model.encoder.weight.detach().clone()
    average.tensors["head.0.weight"].zero_()
    with average.applied():
        assert (model.head[0].weight == 0).all()
        assert torch.equal(model.encoder.weight, frozen)
    with pytest.raises(ZeroDivisionError), average.applied():  # an error inside puts them back too
        _ = 1 / 0
    assert torch.equal(model.head[0].weight, own)
    assert (average.tensors["head.0.weight"] == 0).all()


def test_a_history_survives_the_way_through_a_tensor():
    history = History()
    history.add({"loss": 0.1})
    history.add({"loss": 1 / 3})
    history.extend_last({"val/auc": 0.7})
    again = History.from_tensor(*history.tensor(), history.phases)
    again.add({"loss": math.pi})
    frame = again.frame()
    assert frame["step"].tolist() == [1, 2, 3]
    assert frame["step"].dtype == np.int64
    assert frame["loss"].tolist() == [0.1, 1 / 3, math.pi]
    assert frame["val/auc"].tolist()[1] == 0.7
    assert frame["val/auc"].isna().tolist() == [True, False, True]
    assert again.recent(2) == {"loss": pytest.approx((1 / 3 + math.pi) / 2)}


def test_a_run_is_identified_by_what_changes_its_result_only():
    base = TrainParams()
    assert base.identity() == TrainParams(num_workers=7, save_every=3, device="cpu", log_every=1).identity()
    assert base.identity() != TrainParams(steps=7).identity()


def test_accumulation_must_divide_the_batch():
    with pytest.raises(ValueError, match="accumulation must divide batch_size, got 3 and 8"):
        TrainParams(batch_size=8, accumulation=3)
