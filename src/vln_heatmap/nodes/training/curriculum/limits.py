"""Limits of metrics in words and numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping

from vln_heatmap.params.curriculum import LimitParams


def holds(value: float, limit: LimitParams) -> bool:
    """Whether ``value`` is within the limit, its ends included."""
    return (limit.least is None or value >= limit.least) and (limit.most is None or value <= limit.most)


def described(name: str, value: float, limit: LimitParams) -> str:
    """The end that ``value`` breaks, or those that it keeps: "auc 0.72 < 0.8"."""
    least, most = limit.least, limit.most
    if least is not None and value < least:
        return f"{name} {value:.4g} < {least:g}"
    if most is not None and value > most:
        return f"{name} {value:.4g} > {most:g}"
    ends = [f"{name} {value:.4g} >= {least:g}"] if least is not None else []
    ends += [f"{name} {value:.4g} <= {most:g}"] if most is not None else []
    return " and ".join(ends)


def measured(metrics: Mapping[str, float], name: str) -> float | None:
    """The metric, or None where it is missing or not finite."""
    value = metrics.get(name)
    return float(value) if value is not None and math.isfinite(value) else None
