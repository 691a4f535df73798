"""A whole curriculum without a model: what is planned, what is decided, and that it resumes exactly."""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_curriculum import make_samples, project_curriculum, report

from vln_heatmap.nodes.training.curriculum.director import CurriculumDirector
from vln_heatmap.nodes.training.director import EpochPlan, SinglePhase, make_director
from vln_heatmap.nodes.training.monitor import Alert, Monitor
from vln_heatmap.params import TrainParams, WindowParams
from vln_heatmap.params.monitor import MonitorParams

TRAIN = TrainParams(batch_size=8, optimizer={"lr": 1e-4, "weight_decay": 0.02, "clip": 1.0})
SAMPLES = make_samples()


@dataclass
class Watcher:
    """A monitor that asks for an action after given epochs."""

    actions: dict[int, str]
    phases: int = 0
    seen: list[int] = field(default_factory=list)

    def observe(self, report: Any) -> list[Alert]:
        self.seen.append(report.epoch)
        action = self.actions.get(report.epoch)
        return [Alert("performance", "critical", "auc fell by 0.12", 0.7, 0.1, action)] if action else []  # type: ignore[arg-type]

    def begin_phase(self) -> None:
        self.phases += 1

    def state_dict(self) -> dict[str, Any]:
        return {"phases": self.phases, "seen": self.seen}

    def load_state_dict(self, state: Any) -> None:
        self.phases, self.seen = state["phases"], list(state["seen"])


def director(*, monitor: Any = None, **changes: Any) -> CurriculumDirector:
    curriculum = project_curriculum(**changes)
    return CurriculumDirector(TRAIN, curriculum, SAMPLES, window=WindowParams(), monitor=monitor)


def plain(plan: EpochPlan) -> dict[str, Any]:
    """A plan that can be compared."""
    weights = plan.sample_weights
    return asdict(plan) | {"sample_weights": None if weights is None else weights.tolist()}


def test_a_tiny_run_goes_through_the_three_phases():
    own = director(extension=0.0)
    assert own.expected_steps() == 220
    phases, peaks, decision = [], [], "continue"
    while decision == "continue":
        plan = own.plan()
        assert plan.steps == len(plan.lr_factors) == 22
        phases.append(plan.phase)
        peaks.append(max(plan.lr_factors))
        decision = own.report(report(plan.epoch, step=22 * (plan.epoch + 1)))
    assert decision == "done"
    assert phases == ["geometric_foundation"] * 3 + ["cross_frame_learning"] * 4 + ["advanced_reasoning"] * 3
    assert (peaks[3], peaks[7]) == (0.5, pytest.approx(0.2, rel=0.02))
    assert own.expected_steps() == 220
    with pytest.raises(RuntimeError, match="over after 10 epochs"):
        own.plan()
    assert [e.name for e in own.events() if e.kind == "phase"] == [
        "geometric_foundation",
        "geometric_foundation: finished",
        "cross_frame_learning: finished",
        "advanced_reasoning: finished",
    ]


def test_a_plan_holds_the_phase_and_the_parameters_of_the_run():
    own = director()
    plan = own.plan()
    assert {name: w for name, w in plan.loss_weights.items() if w} == {
        **{name: w for name, w in TRAIN.loss.weights.model_dump().items() if w},
        "geometric": 1.0,
        "correspondence": 0.4,
        "coherence": 0.6,
        "reasoning": 0.2,
        "discrimination": 0.2,
    }
    assert (plan.clip, plan.weight_decay, plan.balancing) == (1.0, 0.02, {})
    assert plan.window == {"views": 3, "mirror": 0.5, "colour": 0.1, "feature_noise": 0.05}
    weights = plan.sample_weights
    only = {level: weights[[own == [level] for own in SAMPLES["levels"]]].sum() for level in ("reasoning",)}
    natural = SAMPLES["weight"][
        [not set(own) & {"geometric", "correspondence", "reasoning"} for own in SAMPLES["levels"]]
    ]
    rest = natural.sum() / SAMPLES["weight"].sum()
    assert only["reasoning"] / weights.sum() == pytest.approx(0.1 * (1 - rest))


def test_techniques_of_the_phase_choose_samples():
    own = director(steps_per_epoch=2)
    for epoch in range(3):
        own.report(report(epoch))
    plan = own.plan()
    assert set(plan.techniques) == {"hard_negatives", "easy_to_hard", "multi_scale"}
    assert plan.phase == "cross_frame_learning"
    assert (plan.sample_weights == 0).any()  # the hardest wait
    assert plan.sample_weights.mean() == pytest.approx(1)
    hardest = max(own.losses, key=lambda i: own.losses[i] if plan.sample_weights[i] else -1)
    without = director(steps_per_epoch=2)
    for epoch in range(3):
        without.report(replace(report(epoch), sample_losses={}))
    assert plan.sample_weights[hardest] > without.plan().sample_weights[hardest]


def test_adjustments_reach_the_plan_and_end_with_the_phase():
    own = director(epoch_scale=0.2, extension=0.0)
    before = own.plan()
    for epoch in range(3):
        own.report(report(epoch, losses={"mask": 1.0}, correspondence_accuracy=0.5))
    plan = own.plan()
    assert plan.loss_weights["geometric"] == 1.5
    names = [e.name for e in own.events() if e.kind == "adjustment"]
    assert names == ["views", "hard_negatives", "lr", "focus", "slow"]  # which has nothing left to change
    assert (before.window["views"], plan.window["views"]) == (3, 5)
    assert plan.techniques == {"hard_negatives": {"share": 0.3}}
    free = director(epoch_scale=0.2, extension=0.0, adjuster={"enabled": False})
    for epoch in range(3):
        free.report(report(epoch))
    assert plan.lr_factors == pytest.approx([0.5 * f for f in free.plan().lr_factors])
    for epoch in range(3, 6):
        own.report(report(epoch, losses={"mask": 0.5**epoch}))
    plan = own.plan()
    assert (plan.phase, plan.window["views"], plan.loss_weights["geometric"]) == (
        "cross_frame_learning",
        4,
        0.8,
    )
    assert max(plan.lr_factors) == 0.5


def test_the_first_alarm_rolls_back_with_other_hyperparameters_and_the_second_stops():
    own = director(monitor=Watcher({1: "rollback", 4: "rollback"}))
    decisions = [own.report(report(0)), own.report(report(1))]
    assert decisions == ["continue", "rollback"]
    changes = [(e.name, e.cause, e.before, e.after) for e in own.events() if e.kind == "rollback"]
    assert changes == [
        ("lr_factor", "auc fell by 0.12", 1.0, 0.5),
        ("clip_factor", "auc fell by 0.12", 1.0, 0.5),
    ]
    plan = own.plan()
    assert plan.clip == 0.5
    assert own.report(report(2)) == "continue"
    assert max(own.plan().lr_factors) == 0.25  # of the second phase's 0.5
    assert own.report(report(3)) == "continue"
    assert own.report(report(4)) == "stop"
    last = own.events()[-1]
    assert (last.kind, last.severity) == ("stop", "critical")
    assert last.cause.startswith(
        "auc fell by 0.12, after 1 rollback(s): stopped in phase cross_frame_learning"
    )
    with pytest.raises(RuntimeError, match="over"):
        own.plan()
    assert own.expected_steps() == 50  # those done


def test_an_alarm_that_says_stop_stops_and_one_at_the_end_changes_nothing():
    assert director(monitor=Watcher({0: "stop"})).report(report(0)) == "stop"
    own = director(monitor=Watcher({9: "rollback"}), extension=0.0)
    assert [own.report(report(epoch)) for epoch in range(10)][-1] == "done"


def test_an_epoch_that_broke_off_rolls_back_once_and_does_not_count():
    own = director(extension=0.0)
    broken = {"loss": float("nan")}
    assert own.report(report(0, losses=broken, step=3)) == "rollback"
    assert own.expected_steps() == 3 + 220
    assert own.plan().lr_factors[-1] == pytest.approx(
        0.5 * director().plan().lr_factors[-1]
    )  # the same epoch again
    assert own.report(report(1, losses=broken, step=7)) == "stop"
    assert own.events()[-1].cause.startswith("the loss is not finite, after 1 rollback(s)")


def test_the_monitor_is_told_of_every_phase():
    watcher = Watcher({})
    own = director(monitor=watcher, extension=0.0)
    for epoch in range(10):
        own.report(report(epoch))
    assert watcher.phases == 2
    assert watcher.seen == list(range(10))


NUMBER = st.floats(0, 1)
REPORTS = st.lists(
    st.fixed_dictionaries(
        {
            "loss": st.floats(0, 10),
            "geometric_loss": NUMBER,
            "correspondence_accuracy": NUMBER,
            "reasoning_accuracy": NUMBER,
            "auc": NUMBER,
        }
    ),
    min_size=1,
    max_size=12,
)


@given(REPORTS, st.integers(0, 12), st.sampled_from(["trend", "fixed", "gradnorm"]))
@settings(max_examples=20, deadline=None)
def test_interrupted_at_any_epoch_it_goes_on_as_if_it_had_not_been(
    reports: list[dict[str, float]], interrupt: int, weighting: str
):
    def make() -> CurriculumDirector:
        changes = {"weighting": {"name": weighting, "window": 2, "tolerance": 0.0}}
        return director(monitor=Monitor(MonitorParams()), epoch_scale=0.12, **changes)

    whole, parts = make(), make()
    for epoch, numbers in enumerate(reports):
        if epoch == interrupt:
            state = json.loads(json.dumps(parts.state_dict()))
            parts = make()
            parts.load_state_dict(state)
        assert plain(whole.plan()) == plain(parts.plan()) == plain(parts.plan())
        losses = {"loss": numbers["loss"], "mask": numbers["loss"], "geometric": numbers["geometric_loss"]}
        validation = {name: value for name, value in numbers.items() if name != "loss"}
        decisions = {own.report(report(epoch, losses=losses, **validation)) for own in (whole, parts)}
        assert len(decisions) == 1
        if decisions & {"stop", "done"}:
            break
    assert whole.events() == parts.events()
    assert json.dumps(whole.state_dict()) == json.dumps(parts.state_dict())


def test_a_run_without_a_curriculum_is_the_plain_one():
    off = project_curriculum().model_copy(update={"enabled": False})
    for curriculum in (None, off):
        own = make_director(TRAIN, curriculum, SAMPLES, MonitorParams())
        assert isinstance(own, SinglePhase)
    own = make_director(TRAIN, project_curriculum(), SAMPLES, None, window=WindowParams(views=2))
    assert isinstance(own, CurriculumDirector)


def test_weights_that_are_learned_by_step_are_announced():
    plan = director(weighting={"name": "gradnorm", "alpha": 0.5}).plan()
    assert (plan.balancing["name"], plan.balancing["alpha"]) == ("gradnorm", 0.5)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("loss", {"nothing": 1.0}, r"phase 'geometric_foundation' of the curriculum[\s\S]*nothing"),
        ("window", {"zoom": 2}, "zoom"),
        ("techniques", {"magic": {}}, "magic"),
        ("techniques", {"hard_negatives": {"share": 2}}, "share"),
    ],
)
def test_what_does_not_exist_is_refused(field: str, value: Any, message: str):
    curriculum = project_curriculum()
    first = curriculum.phases["geometric_foundation"].model_copy(update={field: value})
    phases = {**curriculum.phases, "geometric_foundation": first}
    with pytest.raises(ValueError, match=message):
        CurriculumDirector(
            TRAIN, curriculum.model_copy(update={"phases": phases}), SAMPLES, window=WindowParams()
        )


def test_a_report_of_another_epoch_is_refused():
    with pytest.raises(ValueError, match="must be of epoch 0"):
        director().report(report(3))


def test_losses_that_are_not_finite_are_not_remembered():
    own = director()
    nan = float("nan")
    own.report(replace(report(0, losses={"mask": nan}, auc=nan), sample_losses={1: nan}))
    assert own.losses == {}
    json.loads(json.dumps(own.state_dict(), allow_nan=False))
