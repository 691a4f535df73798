"""Which samples a phase prefers: the easy ones first, and those that the model still gets wrong.

Plain functions of tables and reported losses, without torch and without state. Invariant: what they return is a
distribution over the samples; a sample of weight 0 is never given any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.params.techniques import EasyToHardParams, HardNegativeParams, technique_params

Weights = NDArray[np.float64]
#: (samples, last loss by row number, settings, progress of the phase in [0, 1]) -> weights [len(samples)].
SampleWeights = Callable[[pd.DataFrame, Mapping[int, float], Any, float], Weights]


def hard_negatives(
    samples: pd.DataFrame,
    sample_losses: Mapping[int, float],
    settings: HardNegativeParams,
    progress: float,
) -> Weights:
    """A share of the epoch from the samples with the largest losses, the rest as before.

    (1 - share) w + share h, where w are the samples' own weights and h is w on the hardest ``top`` of the samples
    of known loss and 0 elsewhere, both as distributions. Without known losses w itself. In the spirit of
    Shrivastava et al., "Training region-based object detectors with online hard example mining", CVPR 2016, over
    samples instead of regions.
    """
    own = distribution(samples["weight"])
    known = {row: loss for row, loss in sample_losses.items() if own[row] > 0 and np.isfinite(loss)}
    if not known:
        return own
    hardest = sorted(known, key=lambda row: (-known[row], row))[: max(1, round(settings.top * len(known)))]
    hard = np.zeros_like(own)
    hard[hardest] = own[hardest]
    return (1 - settings.share) * own + settings.share * distribution(hard)


def easy_to_hard(
    samples: pd.DataFrame,
    sample_losses: Mapping[int, float],
    settings: EasyToHardParams,
    progress: float,
) -> Weights:
    """The samples' own weights on the easiest of them, 0 on the others; all from ``until`` on.

    Sample i takes part while the weight of all that are easier than it is less than the competence of the phase.
    Source: Platanios et al., "Competence-based curriculum learning", NAACL 2019, arXiv:1903.09848.
    """
    own = distribution(samples["weight"])
    order = np.argsort(difficulty(samples, settings), kind="stable")
    easier = np.empty_like(own)
    easier[order] = np.concatenate([[0.0], np.cumsum(own[order])[:-1]])  # weight of what is easier
    return distribution(np.where(easier < competence(progress, settings), own, 0.0))


def competence(progress: float, settings: EasyToHardParams) -> float:
    """Share of the samples that take part at a progress in [0, 1] of the phase.

    min(1, (start^p + (1 - start^p) progress / until)^(1/p)), p = ``power``: Platanios et al., eq. 7.
    """
    base = settings.start**settings.power
    done = min(1.0, progress / settings.until)
    return 1.0 if done == 1.0 else float((base + (1 - base) * done) ** (1 / settings.power))


def difficulty(samples: pd.DataFrame, settings: EasyToHardParams) -> NDArray[np.float64]:
    """Difficulty of every sample in [0, 1], from what the tables say: [len(samples)].

    The weighted mean of the ranks, each in [0, 1], of
    - overlap: how little the current view shows of what its candidates show (column ``overlap`` in [0, 1], where
      normalize gave one);
    - language: the instruction's level (0 everything, 1 simple, 2 compound, 3 multi-step), then the number of
      things that look like the one that is meant (column ``distractors``, where there is one);
    - span: how far the candidates reach from the current view, in frames.
    """
    alike = _column(samples, "distractors")
    facts = {
        "overlap": -_column(samples, "overlap"),
        "language": _column(samples, "level") + alike / (1 + alike),  # a level outweighs any number of them
        "span": _span(samples),
    }
    weights = {name: getattr(settings, name) for name in facts}
    return sum(weights[name] * _rank(fact) for name, fact in facts.items()) / sum(weights.values())


def _column(samples: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """A column of numbers, 0 where it is missing."""
    return samples[name].to_numpy(np.float64) if name in samples else np.zeros(len(samples))


def _span(samples: pd.DataFrame) -> NDArray[np.float64]:
    rows = zip(samples["current"], samples["candidates"], strict=True)
    return np.array(
        [max((abs(current - c) for c in candidates), default=0) for current, candidates in rows], float
    )


def _rank(fact: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the samples that are smaller, equals alike: 0 for the smallest, at most 1."""
    smaller = np.searchsorted(np.sort(fact), fact, side="left")
    return smaller / max(1, len(fact) - 1)


def distribution(weights: Any) -> Weights:
    """Weights that sum to 1.

    Raises:
        ValueError: some are negative or not finite, or all are 0.
    """
    weights = np.asarray(weights, np.float64)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError("sample weights must be finite, not negative and not all 0")
    return weights / weights.sum()


#: Techniques that choose samples, by name, in the order in which they act.
SAMPLING: dict[str, SampleWeights] = {"easy_to_hard": easy_to_hard, "hard_negatives": hard_negatives}


def sample_weights(
    samples: pd.DataFrame,
    sample_losses: Mapping[int, float],
    techniques: Mapping[str, Any],
    progress: float,
) -> Weights | None:
    """Relative frequencies of the samples in the next epoch, sum 1; None if no technique chooses samples.

    Args:
        samples: the sample index; its column ``weight`` is where the techniques begin (the mix of a scheduler
            goes in there: ``samples.assign(weight=mix)``).
        sample_losses: last loss by row number (position in ``samples``) of the samples that were seen.
        techniques: settings by name, all of the phase.
        progress: of the phase, in [0, 1].

    Raises:
        ValueError: an unknown name or setting, a progress out of range.
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must be in [0, 1], got {progress}")
    chosen = {name: s for name, s in technique_params(techniques).items() if name in SAMPLING}
    for name, settings in chosen.items():
        samples = samples.assign(weight=SAMPLING[name](samples, sample_losses, settings, progress))
    return samples["weight"].to_numpy(np.float64) if chosen else None
