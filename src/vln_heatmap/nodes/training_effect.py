"""Node of the validate stage: from the quality of the data to what a training on it should give.

Invariant: it reads finished runs and changes none; without a tracking server, or with one that knows no run, it
answers with the plan's weights and says so.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import Any

import pandas as pd

from vln_heatmap.nodes.quality.controller import SCORES
from vln_heatmap.nodes.quality.effect import RunOutcome, predict_effect
from vln_heatmap.params import ValidateParams
from vln_heatmap.params.data import EffectParams

logger = logging.getLogger(__name__)


def predict_training_effect(
    validated_index: pd.DataFrame, params: ValidateParams, tracker: Any
) -> dict[str, Any]:
    """Predict what a training on the accepted sequences should give.

    Args:
        validated_index: with ``accepted`` and the columns of the quality scores.
        params: of the stage; ``effect`` matters here.
        tracker: ``Tracker``, which knows where runs are kept.

    Returns:
        See ``predict_effect``.

    Raises:
        ValueError: no sequence is accepted.
    """
    accepted = validated_index[validated_index["accepted"]]
    if accepted.empty:
        raise ValueError("no accepted sequence to predict a training from")
    scores = {name: float(accepted[f"quality_{name}"].mean()) for name in SCORES}
    effect = predict_effect(scores, finished_runs(tracker, params.effect), params.effect)
    source = "fitted to runs" if effect["model"]["fitted"] else f"by the plan ({effect['model']['reason']})"
    logger.info("Quality of the training data: %.3f, %s.", effect["effect"], source)
    for item in effect["adjustments"]:
        logger.info("%s is low: %s.", item["score"], item["advice"])
    return effect


def finished_runs(tracker: Any, params: EffectParams) -> list[RunOutcome]:
    """Outcomes of the finished trainings in the tracker's experiment whose data were validated with scores.

    Of runs that differ in ``params.same`` the largest group is taken. Empty if nothing can be read.
    """
    if not getattr(tracker, "active", False):
        return []
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(tracker.tracking_uri)
        experiment = client.get_run(tracker.run_id).info.experiment_id
        runs = _all_runs(client, experiment)
        saved = {item: run for run in runs for item in run.data.tags.items() if item[0].startswith("saved.")}
        groups: dict[tuple[Any, ...], list[RunOutcome]] = defaultdict(list)
        for run in runs:
            scores = _scores_of(run, saved) if f"saved.{params.model}" in run.data.tags else None
            outcome = scores and _outcome(client, run, scores, params)
            if outcome:
                groups[tuple(run.data.params.get(name) for name in params.same)].append(outcome)
    except (MlflowException, OSError) as error:
        logger.warning("Finished runs cannot be read, the plan's weights are used: %s", error)
        return []
    return max(groups.values(), key=len, default=[])


def _all_runs(client: Any, experiment: str) -> list[Any]:
    """Every finished run of an experiment, page by page."""
    page = client.search_runs([experiment], "attributes.status = 'FINISHED'")
    runs = list(page)
    while page.token:
        page = client.search_runs([experiment], "attributes.status = 'FINISHED'", page_token=page.token)
        runs += page
    return runs


def _scores_of(run: Any, saved: dict[tuple[str, str], Any]) -> tuple[float, ...] | None:
    """Mean scores of the data of a training: from its samples to the validated index to the validation's run."""
    normalized = saved.get(("saved.samples", run.data.tags.get("loaded.samples", "")))
    if normalized is None:
        return None
    validated = saved.get(("saved.validated_index", normalized.data.tags.get("loaded.validated_index", "")))
    metrics = validated.data.metrics if validated is not None else {}
    names = [f"validate/quality/{name}" for name in SCORES]
    return tuple(metrics[name] for name in names) if metrics.keys() >= set(names) else None


def _outcome(client: Any, run: Any, scores: tuple[float, ...], params: EffectParams) -> RunOutcome | None:
    """Best value of the validation metric, and the step from which it was nearly that good."""
    history = client.get_metric_history(run.info.run_id, params.metric)
    if not history:
        return None
    points = sorted((item.step, item.value if params.mode == "max" else -item.value) for item in history)
    best, first = max(value for _, value in points), points[0][1]
    close = first + params.converged * (best - first)
    return RunOutcome(scores, best, float(next(step for step, value in points if value >= close)))
