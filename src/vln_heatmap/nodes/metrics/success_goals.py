"""What the project wants to reach: a target for each success metric.

Invariant: a metric that could not be measured is neither passed nor failed.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

_RULES = {">=": operator.ge, ">": operator.gt, "<": operator.lt}


@dataclass(frozen=True)
class Goal:
    """A metric's name, and what it is to reach.

    Attributes:
        name: key in the results.
        rule: ">=", ">" or "<"; "" for a number that is only reported.
        target: None with it.
    """

    name: str
    rule: str = ""
    target: float | None = None

    def passed(self, value: float | None) -> bool | None:
        """Whether a value reaches the goal; None where there is no value or no goal."""
        if value is None or self.target is None:
            return None
        return bool(_RULES[self.rule](value, self.target))


#: In the order of the table. Definitions: docs/success_metrics.md.
GOALS = (
    Goal("distinctness", ">=", 0.95),
    Goal("spatial_accuracy", ">=", 0.90),
    Goal("temporal_consistency", ">=", 0.85),
    Goal("geometric_loss", "<", 0.05),
    Goal("correspondence_accuracy", ">", 0.88),
    Goal("reasoning_accuracy", ">", 0.85),
    Goal("projection_accuracy", ">", 0.85),
    Goal("fusion_effectiveness", ">", 0.88),
    Goal("epoch_minutes", "<", 30.0),
    Goal("inference_seconds", "<", 2.0),
    Goal("monitor_accuracy", ">", 0.95),
    Goal("training_memory_gib"),
    Goal("training_gpu_memory_gib"),
    Goal("memory_gib"),
    Goal("gpu_memory_gib"),
)


def judged(
    values: Mapping[str, float | None], intervals: Mapping[str, list[float] | None]
) -> dict[str, dict[str, Any]]:
    """Every goal with its value, interval and verdict, ready for JSON."""
    return {
        goal.name: {
            "value": (value := values.get(goal.name)),
            "ci": intervals.get(goal.name),
            "rule": goal.rule,
            "target": goal.target,
            "passed": goal.passed(value),
        }
        for goal in GOALS
    }


def goals_table(section: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """``judged`` as one row a metric: metric, value, low, high, rule, target, passed (null = not measured)."""
    rows = [
        (name, e["value"], *(e["ci"] or (None, None)), e["rule"], e["target"], e["passed"])
        for name, e in section.items()
    ]
    table = pd.DataFrame(rows, columns=["metric", "value", "low", "high", "rule", "target", "passed"])
    numbers = dict.fromkeys(("value", "low", "high", "target"), "float64")
    return table.astype({**numbers, "passed": "boolean"})
