"""The plain director gives the schedule of one phase, epoch by epoch, and goes on where it was interrupted."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vln_heatmap.nodes.training.director import EpochReport, SinglePhase
from vln_heatmap.nodes.training.schedule import learning_rate_factor
from vln_heatmap.params import TrainParams


def run(director: SinglePhase, *, interrupt: int = -1) -> tuple[list[float], list[int]]:
    """Learning rate factors of all steps and the numbers of steps of the epochs."""
    factors: list[float] = []
    lengths: list[int] = []
    decision = "continue"
    while decision == "continue":
        if len(lengths) == interrupt:
            state = json.loads(json.dumps(director.state_dict()))
            director = SinglePhase(director.train)
            director.load_state_dict(state)
        plan = director.plan()
        factors += plan.lr_factors
        lengths.append(plan.steps)
        decision = director.report(EpochReport(epoch=plan.epoch, step=len(factors), losses={"loss": 1.0}))
    assert decision == "done"
    return factors, lengths


@given(st.integers(1, 60), st.integers(1, 70), st.floats(0, 0.9), st.integers(0, 5))
def test_epochs_of_a_plain_run_make_up_its_schedule(steps: int, every: int, warmup: float, interrupt: int):
    train = TrainParams(steps=steps, validate_every=every, schedule={"warmup": warmup})
    factors, lengths = run(SinglePhase(train), interrupt=interrupt)
    assert factors == [learning_rate_factor(step, steps, train.schedule) for step in range(steps)]
    assert sum(lengths) == steps == SinglePhase(train).expected_steps()
    assert all(length == every for length in lengths[:-1])


def test_a_plain_run_changes_nothing_but_the_learning_rate():
    train = TrainParams(steps=3, validate_every=3)
    plan = SinglePhase(train).plan()
    assert plan.loss_weights == train.loss.weights.model_dump()
    assert plan.sample_weights is plan.clip is plan.weight_decay is None
    assert plan.window == plan.techniques == {}
    assert SinglePhase(train).events() == []


def test_a_report_of_another_epoch_is_refused():
    director = SinglePhase(TrainParams(steps=3))
    with pytest.raises(ValueError, match="must be of epoch 0, which was planned, got 1"):
        director.report(EpochReport(epoch=1, step=3, losses={}))


def test_a_run_that_is_over_has_no_plan():
    director = SinglePhase(TrainParams(steps=3))
    director.report(EpochReport(epoch=0, step=3, losses={}))
    with pytest.raises(RuntimeError, match="over after 1 epochs"):
        director.plan()
