"""How often each training sample should be drawn, so that the levels of the spatial losses get their shares.

Invariant: weights depend on which levels a sample serves and on its prior weight alone; nothing is left out, and
where no level has a share the weights are the prior ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

_ROUNDS = 3000
_SETTLED = 1e-10  # change of the logarithm of a weight
_MOST = 1e12  # the way to shares that cannot be would end at weights of 0


def level_weights(
    levels: Sequence[Sequence[str]],
    shares: Mapping[str, float],
    *,
    prior: ArrayLike | None = None,
    most: float = np.inf,
) -> NDArray[np.float64]:
    """Weights by which samples serve each level in its share.

    Raking (iterative proportional fitting, Deming and Stephan 1940), all levels at once (SMART, Byrne 1993):
    every round multiplies a sample's weight by the geometric mean, over the levels, of wanted / present share of
    its side of the level (served or not). If weights exist that give all shares, the result is the nearest of
    them to the prior in Kullback-Leibler divergence; if not, the one whose shares are nearest to the wanted.

    Args:
        levels: names of the levels that each of N samples serves; one may serve several, or none.
        shares: wanted share of the samples by level, in [0, 1]; 0 and 1 ask for nothing, and so does the share
            of a level that all samples serve, or none.
        prior: [N] weights to start from, >= 0 and not all 0; None = equal.
        most: greatest ratio of a sample's correction to the mean correction, and of the mean to it; shares that
            would take more are missed.

    Returns:
        [N] weights with mean 1.
    """
    start = np.ones(len(levels)) if prior is None else np.asarray(prior, np.float64)  # [N]
    patterns = sorted({tuple(sorted(set(names))) for names in levels})
    row = {pattern: k for k, pattern in enumerate(patterns)}
    pattern_of = np.array([row[tuple(sorted(set(names)))] for names in levels])  # [N]
    mass = np.bincount(pattern_of, start, len(patterns)).astype(np.float64)  # [P]
    served = np.array([[name in pattern for name in shares] for pattern in patterns], float)  # [P, L]
    present = mass @ served / mass.sum()  # [L]
    wanted = np.array(list(shares.values()))  # [L]
    binds = (wanted > 0) & (wanted < 1) & (present > 0) & (present < 1)
    factors = _rake(mass, served[:, binds], wanted[binds], most)  # [P]
    weights = start * factors[pattern_of]
    return weights / weights.mean()


def _rake(
    mass: NDArray[np.float64], served: NDArray[np.float64], wanted: NDArray[np.float64], most: float
) -> NDArray[np.float64]:
    """Corrections [P] of patterns of mass [P] that serve levels [P, L] (0 or 1) wanted in shares [L]."""
    factors = np.ones(len(mass))
    for _ in range(_ROUNDS if len(wanted) else 0):
        share = (mass * factors) @ served / (mass @ factors)  # [L]
        step = served @ np.log(wanted / share) + (1 - served) @ np.log((1 - wanted) / (1 - share))
        after = _limited(mass / mass.sum(), factors * np.exp(step / len(wanted)), min(most, _MOST))
        settled = np.abs(np.log(after / factors)).max() < _SETTLED
        factors = after
        if settled:
            break
    return factors


def _limited(mass: NDArray[np.float64], factors: NDArray[np.float64], most: float) -> NDArray[np.float64]:
    """Factors [P] scaled to a mean of 1 over the mass [P] (its sum is 1), where none may pass ``most`` or its
    inverse: one scale for all of them, so that what the limits cut off is spread over the others."""
    plain = factors / (mass @ factors)
    if plain.max() <= most and plain.min() >= 1 / most:
        return plain

    def excess(scale: float) -> float:
        return float(mass @ np.clip(plain * math.exp(scale), 1 / most, most)) - 1

    widest = math.log(most) - math.log(plain.min())  # from here on all are at the upper limit
    lowest = -math.log(most) - math.log(plain.max())
    return np.clip(plain * math.exp(brentq(excess, lowest, widest)), 1 / most, most)


def achieved_shares(
    levels: Sequence[Sequence[str]], weights: ArrayLike, names: Sequence[str]
) -> dict[str, float]:
    """Expected share of the drawn samples that serve each level."""
    weights = np.asarray(weights, np.float64)
    return {
        name: float(sum(w for w, own in zip(weights, levels, strict=True) if name in own) / weights.sum())
        for name in names
    }
