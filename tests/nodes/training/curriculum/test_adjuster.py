"""Three ways to train badly, and what is done about each."""

import pytest
from training_curriculum import project_curriculum, report

from vln_heatmap.nodes.training.curriculum.adjuster import Settings, TrainingAdjuster
from vln_heatmap.nodes.training.director import Event

START = Settings(views=3, weight_decay=0.01, clip=1.0)


def adjuster(**changes: object) -> TrainingAdjuster:
    rules = TrainingAdjuster(project_curriculum(epoch_scale=1.0, **changes))
    rules.start(START)
    return rules


def feed(rules: TrainingAdjuster, objectives: list[float], **metric: list[float]) -> list[Event]:
    events = []
    for epoch, objective in enumerate(objectives):
        validation = {name: values[epoch] for name, values in metric.items()}
        events += rules.update(report(epoch, **validation), objective)
    return events


def test_a_plateau_halves_the_learning_rate_and_turns_to_geometry():
    rules = adjuster()
    events = feed(rules, [1.0] * 6)
    assert [(e.epoch, e.kind, e.name, e.before, e.after) for e in events] == [
        (5, "adjustment", "lr", 1.0, 0.5),
        (5, "adjustment", "focus", 1.0, 1.5),
    ]
    assert events[0].cause == "plateau: loss 1, not 1% better for 5 epochs"
    assert rules.settings == Settings(0.5, 1.5, 3, 0.0, 0.01, 1.0)


def test_a_plateau_acts_again_after_its_patience_and_says_when_nothing_is_left():
    rules = adjuster()
    events = feed(rules, [1.0] * 31)
    assert [(e.epoch, e.after) for e in events if e.name == "lr"] == [
        (5, 0.5),
        (10, 0.25),
        (15, 0.125),
        (20, 0.1),
    ]
    assert [e.after for e in events if e.name == "focus"] == [1.5, 2.25]
    last = events[-1]
    assert (last.name, last.severity) == ("plateau", "warning")
    assert last.cause.endswith("nothing is left to change")


def test_slow_correspondence_widens_the_window_up_to_24_views_and_mines_negatives():
    rules = adjuster(adjuster={})
    feed(rules, [0.9**i for i in range(50)], correspondence_accuracy=[0.6] * 50)
    assert (rules.settings.views, rules.settings.hard_negatives, rules.settings.lr) == (24, 0.3, 1.0)


def test_correspondence_that_grows_or_is_good_is_left_alone():
    falling = [0.9**i for i in range(10)]
    growing = [0.5 + 0.02 * i for i in range(10)]
    assert feed(adjuster(), falling, correspondence_accuracy=growing) == []
    assert feed(adjuster(), falling, correspondence_accuracy=[0.9] * 10) == []


def test_swinging_reasoning_is_regularised_and_clipped():
    rules = adjuster()
    events = feed(rules, [0.9**i for i in range(6)], reasoning_accuracy=[0.6, 0.7] * 3)
    assert [(e.name, e.before, e.after) for e in events] == [
        ("weight_decay", 0.01, 0.02),
        ("clip", 1.0, 0.5),
    ]
    assert events[0].cause == "oscillation: reasoning_accuracy turns in 100% of 6 epochs, by 0.100 each"
    feed(rules, [0.5**i for i in range(200)], reasoning_accuracy=[0.6, 0.7] * 100)
    assert (rules.settings.weight_decay, rules.settings.clip) == pytest.approx((0.08, 0.1))


def test_small_swings_and_slow_turns_are_no_oscillation():
    falling = [0.9**i for i in range(12)]
    assert feed(adjuster(), falling, reasoning_accuracy=[0.6, 0.61] * 6) == []
    assert feed(adjuster(), falling, reasoning_accuracy=[0.1 * i for i in range(12)]) == []


def test_rules_wait_for_a_full_window_after_being_told_to_forget():
    rules = adjuster()
    feed(rules, [1.0] * 5)
    rules.forget()
    assert feed(rules, [1.0] * 5) == []
    assert len(feed(rules, [1.0])) == 2


def test_it_can_be_turned_off():
    assert feed(adjuster(adjuster={"enabled": False}), [1.0] * 20) == []
