"""Shift a plan's sequences between scenarios so that every level of the spatial losses gets its share.

Invariant: the sequences of a part stay those of the part; a plan that serves every level is left as it is.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)
Key = TypeVar("Key", bound=Hashable)


def meet_levels(
    wanted: Mapping[Key, int],
    part: Mapping[Key, str],
    served: Mapping[Key, Iterable[str]],
    shares: Mapping[str, float],
) -> dict[Key, int]:
    """Counts as near to the wanted ones as the levels allow.

    Among all whole counts that keep the sum of each part and reach every level, those whose greatest relative
    change is least, then those that change the fewest sequences (a small integer programme).

    Args:
        wanted: sequences by what they show.
        part: the part of the plan to which each belongs.
        served: the levels that each serves.
        shares: least share of all sequences, in [0, 1], by level; rounded down to whole sequences.

    Raises:
        ValueError: no counts reach every level; the message has the numbers.
    """
    total = sum(wanted.values())
    needed = {level: math.floor(share * total + 1e-9) for level, share in shares.items()}
    have = {level: sum(n for key, n in wanted.items() if level in served[key]) for level in shares}
    short = {level: needed[level] - have[level] for level in shares if have[level] < needed[level]}
    if not short:
        return dict(wanted)
    _check_each(wanted, part, served, needed)
    found = _solve(wanted, part, served, needed)
    if found is None:
        numbers = ", ".join(f"{level} {count} (has {have[level]})" for level, count in needed.items())
        raise ValueError(
            f"no weights of the plan reach all levels at once; of {total} sequences they need {numbers}. "
            "Lower a share, let a level count more scenarios, or raise the count of a part that serves several"
        )
    moved = sum(abs(found[key] - wanted[key]) for key in wanted) // 2
    logger.info("Plan: %d of %d sequences shifted between scenarios for the levels %s", moved, total, short)
    return found


def _check_each(
    wanted: Mapping[Key, int],
    part: Mapping[Key, str],
    served: Mapping[Key, Iterable[str]],
    needed: Mapping[str, int],
) -> None:
    """Refuse a level that is out of reach even if everything that serves it took the whole of its part."""
    sizes: dict[str, int] = {}
    for key, count in wanted.items():
        sizes[part[key]] = sizes.get(part[key], 0) + count
    for level, count in needed.items():
        serving = sorted({part[key] for key in wanted if level in served[key]})
        most = sum(sizes[name] for name in serving)
        if most < count:
            raise ValueError(
                f"level {level!r} needs {count} of {sum(sizes.values())} sequences, but scenarios that serve it "
                f"are only in the parts {serving}, which have {most} together: lower levels.{level}.share, name "
                f"more scenarios or strategies there, or raise the counts of these parts"
            )


def _solve(
    wanted: Mapping[Key, int],
    part: Mapping[Key, str],
    served: Mapping[Key, Iterable[str]],
    needed: Mapping[str, int],
) -> dict[Key, int] | None:
    """The counts n by integer programming, with their changes d and the greatest relative change t."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    keys, size = list(wanted), len(wanted)
    target = np.array([wanted[key] for key in keys], float)  # [K]
    unit, none = np.eye(size), np.zeros((size, 1))
    parts = sorted(set(part.values()))
    inside = _indicator([[part[key] == name for key in keys] for name in parts], size)
    serves = _indicator([[level in served[key] for key in keys] for level in needed], size)
    constraints = [
        LinearConstraint(np.hstack([inside, 0 * inside, np.zeros((len(parts), 1))]), *[inside @ target] * 2),
        LinearConstraint(
            np.hstack([serves, 0 * serves, np.zeros((len(needed), 1))]), list(needed.values()), np.inf
        ),
        LinearConstraint(np.hstack([unit, -unit, none]), -np.inf, target),  # n - d <= wanted
        LinearConstraint(np.hstack([unit, unit, none]), target, np.inf),  # n + d >= wanted
        LinearConstraint(np.hstack([0 * unit, unit, -np.maximum(target, 1)[:, None]]), -np.inf, 0),
    ]
    cost = np.concatenate([np.zeros(size), np.full(size, 1 / (1 + target.sum())), [float(size)]])
    kinds = np.concatenate([np.ones(size), np.zeros(size + 1)])
    result = milp(cost, integrality=kinds, bounds=Bounds(0, np.inf), constraints=constraints)
    if result.x is None:
        return None
    return {key: round(count) for key, count in zip(keys, result.x[:size], strict=True)}


def _indicator(rows: list[list[bool]], size: int) -> NDArray[np.float64]:
    return np.array(rows, float).reshape(-1, size)
