"""Events of a training in its MLflow run while it runs: numbers as curves, causes as tags.

Invariant: what the run says is a function of all events so far, so publishing again after a resume changes
nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from vln_heatmap.nodes.training.director import Event

_LONGEST = 400  # characters of a tag's text
_TOLD = {"alert": "alert/{}", "rollback": "rollback", "stop": "stopped"}  # tag by kind of event
_CURVES = ("alert", "adjustment", "rollback")  # kinds whose values are metrics; others are metrics already


class RunLog(Protocol):
    """Where metrics and tags go: see ``Tracker``."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None: ...

    def log_tags(self, tags: Mapping[str, str]) -> None: ...


def publish(tracker: RunLog, events: Sequence[Event], *, known: int = 0) -> None:
    """Write the events after the first ``known`` ones to the run.

    Metrics are called ``watch/<kind>/<name>``: MLflow sorts its charts, and these come after loss and val.

    Args:
        tracker: of the stage.
        events: all so far.
        known: how many of them were published before.
    """
    for event in events[known:]:
        if event.kind in _CURVES and isinstance(event.after, int | float) and math.isfinite(event.after):
            tracker.log_metrics({f"watch/{event.kind}/{event.name}": float(event.after)}, event.step)
    if any(event.kind in _TOLD for event in events[known:]):
        tracker.log_tags(event_tags(events))


def event_tags(events: Sequence[Any]) -> dict[str, str]:
    """Tags of a run: ``alerts`` counts them by severity, ``alert/<name>`` tells the latest of that name and how
    often there was one, ``rollback`` and ``stopped`` tell why.
    """
    latest = {_TOLD[e.kind].format(e.name): e for e in events if e.kind in _TOLD}
    times = Counter(_TOLD[e.kind].format(e.name) for e in events if e.kind == "alert")
    tags = {name: _text(event, times[name]) for name, event in latest.items()}
    counts = Counter(e.severity for e in events if e.kind == "alert")
    if counts:
        tags["alerts"] = ", ".join(f"{counts[s]} {s}" for s in ("critical", "warning", "info") if counts[s])
    return tags


def _text(event: Any, times: int) -> str:
    often = f" ({times} times, the latest)" if times > 1 else ""
    return f"step {event.step}, epoch {event.epoch}{often}: {event.cause}"[:_LONGEST]
