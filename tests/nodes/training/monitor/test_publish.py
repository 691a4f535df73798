"""Alerts are in the run while it goes on: values as curves, causes as tags."""

from vln_heatmap.nodes.training.director import Event
from vln_heatmap.nodes.training.monitor.publish import event_tags, publish

EVENTS = [
    Event(0, 0, "phase", "first: extended", "start", 3.0, 4.0),
    Event(10, 1, "alert", "memory", "96 % in use", None, 0.96, "critical"),
    Event(20, 2, "alert", "memory", "97 % in use", None, 0.97, "critical"),
    Event(20, 2, "alert", "plateau/geometric", "no progress", None, 0.0),
    Event(30, 3, "adjustment", "lr", "plateau", 1.0, 0.5),
    Event(40, 4, "alert", "not_finite", "loss nan", None, float("nan"), "critical"),
    Event(40, 4, "rollback", "lr_factor", "loss nan", 1.0, 0.5, "critical"),
]


class Run:
    """Keeps what it is told."""

    def __init__(self):
        self.metrics, self.tags = [], {}

    def log_metrics(self, metrics, step):
        self.metrics += [(step, name, value) for name, value in metrics.items()]

    def log_tags(self, tags):
        self.tags.update(tags)


def test_tags_count_the_alerts_and_tell_the_latest_of_each_name():
    assert event_tags(EVENTS) == {
        "alerts": "3 critical, 1 info",
        "alert/memory": "step 20, epoch 2 (2 times, the latest): 97 % in use",
        "alert/plateau/geometric": "step 20, epoch 2: no progress",
        "alert/not_finite": "step 40, epoch 4: loss nan",
        "rollback": "step 40, epoch 4: loss nan",
    }
    assert event_tags(EVENTS[:1]) == {}


def test_piece_by_piece_is_the_same_as_all_at_once():
    whole, pieces = Run(), Run()
    publish(whole, EVENTS)
    for count in range(len(EVENTS)):
        publish(pieces, EVENTS[: count + 1], known=count)
    assert pieces.metrics == whole.metrics
    assert pieces.tags == whole.tags
    assert whole.metrics == [
        (10, "watch/alert/memory", 0.96),
        (20, "watch/alert/memory", 0.97),
        (20, "watch/alert/plateau/geometric", 0.0),
        (30, "watch/adjustment/lr", 0.5),
        (40, "watch/rollback/lr_factor", 0.5),
    ]
