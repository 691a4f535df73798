"""What the next epoch learns from: shares of the levels, and the weights of the samples that give them.

Invariant: weights are a function of the samples and of the shares; the shares are one of the validation metrics
and the phase. Nothing is drawn, so that a resumed run has the same mix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vln_heatmap.nodes.training.curriculum.limits import described, holds, measured
from vln_heatmap.nodes.training.director import EpochReport, Event
from vln_heatmap.params.curriculum import DataScheduleParams

Shares = dict[str, float]


def bottlenecks(validation: Mapping[str, float], params: DataScheduleParams) -> dict[str, str]:
    """Levels whose metric is measured and out of its limit, and how in words."""
    found = {}
    for level, limit in params.limits.items():
        value = measured(validation, limit.metric)
        if value is not None and not holds(value, limit):
            found[str(level)] = described(limit.metric, value, limit)
    return found


def mix(planned: Mapping[str, float], critical: Sequence[str], params: DataScheduleParams) -> Shares:
    """Shares of the next epoch.

    The critical levels together get ``params.critical``, or what was planned for them if that is more. Of the
    others the one with the greatest planned share is important, the rest is for maintenance; they divide what is
    left as ``params.important`` to ``params.maintenance``. Levels of one tier divide it as planned, and an empty
    tier leaves its share to the other.

    Args:
        planned: shares of the phase, sum 1.
        critical: levels, of which those without a planned share do not count.
    """
    levels = {level: share for level, share in planned.items() if share > 0}
    first = [level for level in levels if level in critical]
    rest = [level for level in levels if level not in critical]
    if not first or not rest:
        return dict(planned)
    leading = max(rest, key=lambda level: levels[level])
    tiers = [
        (max(params.critical, _total(levels, first)), first),
        (params.important, [leading]),
        (params.maintenance, [level for level in rest if level != leading]),
    ]
    left = 1 - tiers[0][0]
    sizes = [size if names else 0.0 for size, names in tiers[1:]]
    scale = left / sum(sizes) if sum(sizes) else 0.0
    tiers[1:] = [(size * scale, names) for size, (_, names) in zip(sizes, tiers[1:], strict=True)]
    mixed = {level: size * levels[level] / _total(levels, names) for size, names in tiers for level in names}
    total = sum(mixed.values())
    return {level: mixed.get(level, 0.0) / total for level in planned}


def _total(shares: Mapping[str, float], names: Sequence[str]) -> float:
    return sum(shares[name] for name in names)


def focused(shares: Mapping[str, float], level: str, factor: float) -> Shares:
    """Shares with ``level`` times ``factor``, normalised."""
    scaled = {name: share * (factor if name == level else 1.0) for name, share in shares.items()}
    total = sum(scaled.values())
    return {name: share / total for name, share in scaled.items()} if total else dict(shares)


def served(levels: Sequence[Sequence[str]]) -> dict[str, NDArray[np.bool_]]:
    """Which of N samples serve a level, [N] by level; one sample may serve several, or none."""
    names = sorted({name for own in levels for name in own})
    return {name: np.array([name in own for own in levels]) for name in names}


def mixed_weights(
    serves: Mapping[str, NDArray[np.bool_]],
    base: ArrayLike,
    shares: Mapping[str, float],
    *,
    most: float = np.inf,
) -> NDArray[np.float64]:
    """Sample weights of a mixture: a share of the draws comes from the samples of each level.

    p_i = (1 - r) sum_l s_l b_i [i serves l] / B_l, where b are the base weights, B_l their sum over the samples
    of level l, s_l the shares, and r the base share of the samples that serve no level with a share; those
    keep it.
    A level without samples leaves its share to the others.

    Args:
        serves: see ``served``.
        base: [N] weights, >= 0 and not all 0.
        shares: by level.
        most: no level gets more than this times its natural share B_l / sum(b); the others get the rest.

    Returns:
        [N] weights with mean 1.
    """
    weights = np.asarray(base, np.float64)  # [N]
    names = [name for name in shares if shares[name] > 0 and name in serves and weights[serves[name]].any()]
    if not names:
        return weights / weights.mean()
    member = np.stack([serves[name] for name in names], 1).astype(np.float64)  # [N, L]
    mass = weights @ member  # [L]
    wanted = np.array([shares[name] for name in names])  # [L]
    limits = most * mass / weights.sum()  # [L]
    each = _capped(wanted / wanted.sum(), limits) / mass  # [L]
    others = ~member.any(1)  # [N]
    rest = weights[others].sum() / weights.sum()
    mixed = weights * np.where(others, 1 / weights.sum(), (1 - rest) * (member @ each))
    return mixed / mixed.mean()


def _capped(shares: NDArray[np.float64], limits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares [L] above 0 of sum 1, none above its limit; what is cut off goes to the others in proportion.
    Where all limits together do not reach 1, the limits, scaled to it."""
    if limits.sum() <= 1:
        return limits / limits.sum()
    capped = np.zeros(len(shares), bool)
    result = shares
    while (over := (result > limits) & ~capped).any():
        capped |= over
        free = shares * ~capped
        result = np.where(capped, limits, free / free.sum() * (1 - limits[capped].sum()))
    return result


def limited_repeats(
    weights: NDArray[np.float64], base: ArrayLike, *, draws: int, repeats: float
) -> NDArray[np.float64]:
    """Weights [N] of mean 1 by which no sample is expected more than ``repeats`` times in ``draws`` draws, unless
    its base weight alone makes it so; what is cut off goes to the other samples in proportion.

    For techniques that choose single samples: at first they know few of them, and would draw those all the time.
    """
    wanted, own = weights / weights.sum(), np.asarray(base, np.float64)
    chosen = wanted > 0
    limits = np.maximum(repeats / draws, own / own.sum())
    if limits[chosen].sum() > 1:
        wanted[chosen] = _capped(wanted[chosen], limits[chosen])
    return wanted / wanted.mean()


class DataScheduler:
    """Follows the validation: levels out of their limits get more of the next epoch.

    Attributes:
        shares: of the next epoch.
    """

    def __init__(self, params: DataScheduleParams) -> None:
        self.params = params
        self.shares: Shares = {}

    def start(self, planned: Mapping[str, float]) -> None:
        """Begin a phase: its own shares."""
        self.shares = {str(level): float(share) for level, share in planned.items()}

    def update(self, report: EpochReport, planned: Mapping[str, float]) -> list[Event]:
        """Set the shares of the next epoch; an event if they change."""
        if not self.params.enabled:
            return []
        critical = bottlenecks(report.validation, self.params)
        shares = mix(planned, list(critical), self.params)
        if all(math.isclose(share, self.shares[level], abs_tol=1e-9) for level, share in shares.items()):
            return []
        before, self.shares = self.shares, shares
        cause = "; ".join(critical.values()) or "no bottleneck"
        values = {"before": _text(before), "after": _text(shares)}
        return [Event.after_epoch(report, "mix", "data", cause, **values)]

    def state_dict(self) -> dict[str, Any]:
        """The shares."""
        return {"shares": dict(self.shares)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of ``state_dict``."""
        self.shares = {str(level): float(share) for level, share in state["shares"].items()}


def _text(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{level} {share:.0%}" for level, share in shares.items())
