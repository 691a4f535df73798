"""A phase ends when its criteria hold, or at its limit, and says which."""

import pytest
import yaml
from training_curriculum import CONF, project_curriculum, report

from vln_heatmap.nodes.training.curriculum.phases import PhaseMachine
from vln_heatmap.nodes.training.director import Event
from vln_heatmap.params import StageParams
from vln_heatmap.params.curriculum import CurriculumParams

LIMIT = {"auc": {"least": 0.8}, "geometric_loss": {"most": 0.1}}


def machine(**changes: object) -> PhaseMachine:
    phases = {
        "first": {"epochs": 10, "data": {"geometric": 1.0}, "criteria": LIMIT},
        "second": {"epochs": 4, "data": {"reasoning": 1.0}},
    }
    return PhaseMachine(CurriculumParams.model_validate({"phases": phases, **changes}))


def events_of(phases: PhaseMachine, epochs: int, **validation: float) -> list[Event]:
    return [event for epoch in range(epochs) for event in phases.advance(report(epoch, **validation))]


def test_it_ends_as_soon_as_its_criteria_hold_but_not_before_its_least_share():
    phases = machine(least=0.5)
    events = events_of(phases, 5, auc=0.8, geometric_loss=0.1)
    assert [(e.epoch, e.name, e.before, e.after) for e in events] == [
        (4, "first: converged", "first", "second")
    ]
    assert events[0].cause == "auc 0.8 >= 0.8; geometric_loss 0.1 <= 0.1"


def test_it_extends_up_to_its_limit_and_says_what_was_missing():
    phases = machine(extension=0.3)
    events = events_of(phases, 13, auc=0.7, geometric_loss=0.05)
    assert [(e.epoch, e.name, e.severity) for e in events] == [
        (9, "first: extended", "info"),
        (12, "first: limit", "warning"),
    ]
    assert (events[0].before, events[0].after, events[0].cause) == (10, 13, "auc 0.7 < 0.8")
    assert events[1].cause == "13 epochs, and still auc 0.7 < 0.8"


def test_an_extended_phase_ends_when_its_criteria_hold():
    phases = machine(extension=0.3)
    events_of(phases, 11, auc=0.7, geometric_loss=0.05)
    (event,) = phases.advance(report(11, auc=0.9, geometric_loss=0.05))
    assert event.name == "first: converged"


def test_what_is_not_measured_decides_nothing():
    phases = machine(extension=0.3)
    (event,) = events_of(phases, 10, auc=float("nan"))
    assert (event.name, event.cause) == (
        "first: finished",
        "10 epochs; not measured: auc, geometric_loss",
    )
    (last,) = events_of(phases, 4)
    assert (last.name, last.cause, last.after) == ("second: finished", "4 epochs", "end")
    assert phases.over
    assert phases.expected_epochs() == 0


def test_one_factor_scales_all_phases():
    params = project_curriculum(epoch_scale=1.0)
    full, tiny = PhaseMachine(params), PhaseMachine(params.model_copy(update={"epoch_scale": 0.1}))
    assert [full.planned(name) for name in full.names] == [30, 40, 30]
    assert [tiny.planned(name) for name in tiny.names] == [3, 4, 3]
    assert (full.expected_epochs(), tiny.expected_epochs()) == (100, 10)


@pytest.mark.parametrize("scale", [1e-3, 0.04])
def test_no_phase_is_left_without_an_epoch(scale: float):
    assert all(
        PhaseMachine(project_curriculum(epoch_scale=scale)).planned(n) >= 1
        for n in project_curriculum().phases
    )


def test_the_base_configuration_is_a_curriculum_that_is_not_in_use():
    stage = StageParams.model_validate(yaml.safe_load(CONF.read_text())["finetune"])
    assert stage.curriculum is not None
    assert not stage.curriculum.enabled
