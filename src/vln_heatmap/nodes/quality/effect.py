"""What the quality of the data does to a training: the plan's weights, or coefficients fitted to finished runs.

Invariant: quality never hurts: coefficients are at least 0. With too few runs, or runs whose data are alike, the
fit would be of noise; then the plan's weights stand, and the answer says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.nodes.quality.controller import SCORES
from vln_heatmap.params.data import EffectParams

#: What to change if a score is low.
ADJUSTMENTS = {
    "geometric": "collect again what fails, and give the geometric losses less weight until then",
    "visual": "augment colours less, and collect again what is dark or blurred",
    "coverage": "collect more with coverage_optimisation and viewpoint_diversity",
    "smoothness": "choose keyframes farther apart, and collect more with temporal_coherence",
    "annotation": "train longer on everything before phrases, and repair metadata and instructions",
}


@dataclass(frozen=True)
class RunOutcome:
    """A finished training: mean scores of its data [5], its final validation metric (more is better), and the
    steps that it took to come close to it."""

    scores: tuple[float, ...]
    metric: float
    steps: float


@dataclass(frozen=True)
class EffectModel:
    """A line from the five scores to an outcome.

    Attributes:
        intercept: outcome of data with scores of 0 (meaningless where not fitted).
        coefficients: [5] gain of the outcome for each score, >= 0.
        fitted: whether they come from runs; else they are the plan's weights.
        runs: how many runs there were.
        reason: why they are not fitted, "" if they are.
        error: root mean square of leave-one-out errors, NaN if not fitted.
    """

    intercept: float
    coefficients: tuple[float, ...]
    fitted: bool
    runs: int
    reason: str
    error: float

    def predict(self, scores: Sequence[float]) -> float:
        """The outcome of data with these five scores."""
        return self.intercept + float(np.dot(self.coefficients, scores))


def fit_effect(
    scores: NDArray[np.float64], outcomes: NDArray[np.float64], params: EffectParams
) -> EffectModel:
    """Fit coefficients to runs, or say why not.

    Args:
        scores: [R, 5] mean scores of the data of each run.
        outcomes: [R], more is better.
        params: ``min_runs`` and ``min_spread`` that a fit needs, ``ridge``.
    """
    weights, runs = np.array(params.weights) / sum(params.weights), len(outcomes)
    spread = float((scores @ weights).std()) if runs else 0.0
    reason = ""
    if runs < params.min_runs:
        reason = f"{runs} finished runs with known data, a fit needs {params.min_runs}"
    elif spread < params.min_spread:
        reason = f"the data of all {runs} runs are alike (quality spreads by {spread:.2g})"
    if reason:
        return EffectModel(0.0, tuple(weights.tolist()), False, runs, reason, float("nan"))
    intercept, coefficients = _ridge(scores, outcomes, weights, params.ridge)
    return EffectModel(
        intercept, tuple(coefficients.tolist()), True, runs, "", _left_out(scores, outcomes, weights, params)
    )


def _ridge(
    scores: NDArray[np.float64], outcomes: NDArray[np.float64], weights: NDArray[np.float64], ridge: float
) -> tuple[float, NDArray[np.float64]]:
    """Intercept and coefficients [5] >= 0 of the least squares that lean towards the plan's weights.

    Minimises |y - a - S b|² + ridge * var(q) * R * |b - s w|² over b >= 0, where q = S w is the planned quality
    and s >= 0 its own least-squares slope: with a large ridge only the slope is learned.
    """
    from scipy.optimize import nnls

    centred, target = scores - scores.mean(axis=0), outcomes - outcomes.mean()
    quality = centred @ weights  # [R]
    slope = max(0.0, float(quality @ target) / float(quality @ quality))
    strength = np.sqrt(ridge * float(quality @ quality))
    matrix = np.concatenate([centred, strength * np.eye(len(weights))])  # [R + 5, 5]
    coefficients, _ = nnls(matrix, np.concatenate([target, strength * slope * weights]))
    return float(outcomes.mean() - scores.mean(axis=0) @ coefficients), coefficients


def _left_out(
    scores: NDArray[np.float64],
    outcomes: NDArray[np.float64],
    weights: NDArray[np.float64],
    params: EffectParams,
) -> float:
    """Root mean square of the errors of predicting each run from all others."""
    errors = []
    for run in range(len(outcomes)):
        others = np.arange(len(outcomes)) != run
        if (scores[others] @ weights).std() == 0:
            continue
        intercept, coefficients = _ridge(scores[others], outcomes[others], weights, params.ridge)
        errors.append(outcomes[run] - intercept - scores[run] @ coefficients)
    return float(np.sqrt(np.mean(np.square(errors)))) if errors else float("nan")


def predict_effect(
    scores: Mapping[str, float], outcomes: Sequence[RunOutcome], params: EffectParams
) -> dict[str, Any]:
    """What training on data with these mean scores should give, and what would help most.

    Returns:
        JSON: ``effect`` (the plan's weighted quality, 0 to 1), ``scores``, ``metric`` and ``steps`` (predicted
        where fitted, else null; ``model`` says how), ``relative_steps`` (against perfect data; 1 / effect where
        not fitted), ``converges`` (effect at least ``converging``) and ``adjustments`` (score, advice and the
        gain of raising it to 1, largest gain first) for the scores below ``aim``.
    """
    table = np.array([run.scores for run in outcomes]).reshape(-1, len(SCORES))  # [R, 5]
    metric = fit_effect(table, np.array([run.metric for run in outcomes]), params)
    # fewer steps are better, and quality changes them by a factor
    speed = fit_effect(table, -np.log([max(run.steps, 1.0) for run in outcomes]), params)
    values = [float(scores[name]) for name in SCORES]
    weights = np.array(params.weights) / sum(params.weights)
    effect, best = float(np.dot(weights, values)), [1.0] * len(values)
    relative = np.exp(speed.predict(best) - speed.predict(values)) if speed.fitted else 1 / max(effect, 1e-3)
    gains = np.array(metric.coefficients) * (1 - np.array(values))  # [5]
    order = [number for number in np.argsort(-gains, kind="stable") if values[number] < params.aim]
    return {
        "effect": round(effect, 4),
        "converges": effect >= params.converging,
        "relative_steps": round(float(relative), 4),
        "metric": round(metric.predict(values), 4) if metric.fitted else None,
        "steps": round(float(np.exp(-speed.predict(values)))) if speed.fitted else None,
        "scores": dict(zip(SCORES, (round(value, 4) for value in values), strict=True)),
        "model": _described(metric),
        "adjustments": [
            {
                "score": SCORES[number],
                "gain": round(float(gains[number]), 4),
                "advice": ADJUSTMENTS[SCORES[number]],
            }
            for number in order
        ],
    }


def _described(model: EffectModel) -> dict[str, Any]:
    facts = asdict(model)
    facts["coefficients"] = {
        name: round(value, 4) for name, value in zip(SCORES, model.coefficients, strict=True)
    }
    facts["error"] = round(model.error, 4) if model.fitted and np.isfinite(model.error) else None
    return facts | {"intercept": round(model.intercept, 4) if model.fitted else None}
