"""The success metrics of a trained model on unseen houses, beside their targets.

Invariant: every number is computed from the answers and the truth that it is handed; what a degenerate answer
gets is said in docs/success_metrics.md and tested.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from vln_heatmap.nodes.evaluation_model import SOURCES
from vln_heatmap.nodes.evaluation_views import Surfaces, ViewAnswer, choose_views
from vln_heatmap.nodes.evaluation_windows import Truth
from vln_heatmap.nodes.memory import peak_memory
from vln_heatmap.nodes.metrics import ranking
from vln_heatmap.nodes.metrics.bootstrap import Statistic, interval, scene_weights, value
from vln_heatmap.nodes.metrics.heatmap import Maps, Targets
from vln_heatmap.nodes.metrics.projection import sampled
from vln_heatmap.nodes.metrics.success import (
    balanced_accuracy,
    balanced_mean,
    best_balanced_cut,
    better_than_either,
    distinctness,
    forced_choice,
    geometric_error,
    order_of_pairs,
)
from vln_heatmap.nodes.metrics.success_goals import goals_table, judged
from vln_heatmap.params import EvaluateParams
from vln_heatmap.reporting.tables import MODEL

_HISTORIES = 40  # of the monitor
Statistics = dict[str, Statistic]


def measure_success(
    evaluation: Any, views: Any, costs: dict[str, float | None], params: EvaluateParams
) -> tuple[dict[str, Any], pd.DataFrame]:
    """All success metrics, beside their targets.

    Args:
        evaluation: ``Evaluation``.
        views: list of ``ViewAnswer``.
        costs: see ``measure_costs``.
        params: bootstrap.

    Returns:
        ``{"success": {metric: {value, ci, rule, target, passed}}, "meta": {"success": {…}}}`` and the same
        numbers as a table.
    """
    weights = scene_weights(len(evaluation.scenes), params.resamples, params.seed)
    cut = best_balanced_cut(*_scored(evaluation.targets["val"], evaluation.maps["val"][MODEL]))
    measured = answer_statistics(evaluation, cut) | view_statistics(evaluation, views, cut)
    fusion, sources = fusion_statistics(evaluation, views)
    measured |= fusion
    numbers = {name: value(statistic, weights.shape[1]) for name, statistic in measured.items()}
    intervals = {name: interval(statistic, weights) for name, statistic in measured.items()}
    section = judged(numbers | costs, intervals)
    about = {
        "threshold": cut,
        "windows_asked_again": len(views),
        "auc": {name: value(statistic, weights.shape[1]) for name, statistic in sources.items()},
    }
    return {"success": section, "meta": {"success": about}}, goals_table(section)


def _scored(targets: Targets, maps: Maps) -> tuple[Any, Any, Any]:
    return maps.scores, targets.mask, targets.known


def answer_statistics(evaluation: Any, cut: float) -> Statistics:
    """What the answers to the test windows themselves are worth; ``cut``: where scores become masks."""
    targets, maps = evaluation.targets["test"], evaluation.maps["test"][MODEL]
    scores, hot, known = _scored(targets, maps)
    where = (targets.scene, len(evaluation.scenes))
    covisible = targets.classes == 0  # [M, h, w]
    asked = known & covisible & targets.referring[:, None, None]
    out: Statistics = {
        "distinctness": distinctness(scores, hot, known, evaluation.window, *where),
        "spatial_accuracy": balanced_accuracy(scores >= cut, hot, known, *where),
        "reasoning_accuracy": forced_choice(scores, hot, asked, *where),
    }
    if maps.classes is not None:
        out["correspondence_accuracy"] = balanced_accuracy(maps.classes == 0, covisible, known, *where)
    return out


def view_statistics(evaluation: Any, views: Sequence[ViewAnswer], cut: float) -> Statistics:
    """What the answers from two views of the same window say together."""
    scenes = len(evaluation.scenes)
    changes, carried = [], []
    for view in views:
        own = own_scores(evaluation, view)
        changes.append(change(view, own))
        shared = np.arange(len(own)) != view.slot
        carried.append(seen_from(view.there, view.beside, own, view.truth, shared))
        carried.append(seen_from(view.back, own, view.beside, view.beside_truth, shared))
    first, second, hot_first, hot_second, known, scene = _stacked(changes)
    there, here, target, seen, place = _stacked(carried)
    error, hot = geometric_error(there, here, target), target > 0.5
    return {
        "temporal_consistency": order_of_pairs(
            (first, second), (hot_first, hot_second), known, scene, scenes
        ),
        "geometric_loss": balanced_mean(error, hot, seen, place, scenes),
        "projection_accuracy": balanced_accuracy(there >= cut, hot, seen, place, scenes),
    }


def fusion_statistics(evaluation: Any, views: Sequence[ViewAnswer]) -> tuple[Statistics, Statistics]:
    """Fusion effectiveness, and what it is made from: the pooled AUC of the same windows with both sources
    (``fused``) and with one silent (``without_<source>``). Nothing for a method without sources."""
    if not all(source in view.alone for view in views for source in SOURCES):
        return {}, {}
    scores = {"fused": np.concatenate([own_scores(evaluation, view) for view in views])}  # [M, h, w]
    for source in SOURCES:
        scores[f"without_{source}"] = np.concatenate([view.alone[source] for view in views])
    hot, known, scene, window = _stacked([_truth(view) for view in views])
    where = (scene, len(evaluation.scenes))
    fused, *rivals = scores.values()
    effect = better_than_either(fused, tuple(rivals), hot, known, window, *where)
    areas: Statistics = {}
    for name, maps in scores.items():
        levels = ranking.to_levels(maps, ranking.level_edges(maps))
        areas[name] = ranking.pooled_auc(levels, hot, known, *where)
    return {"fusion_effectiveness": effect}, areas


def _truth(view: ViewAnswer) -> tuple[Any, ...]:
    """Hot, known [K, h, w], scene and window [K] of the window itself."""
    targets = view.truth.targets
    return targets.mask, targets.known, targets.scene, np.full(len(targets), view.position)


def own_scores(evaluation: Any, view: ViewAnswer) -> Any:
    """The model's ordinary answer to a window that was asked again [K, h, w]."""
    return evaluation.maps["test"][MODEL].scores[evaluation.window == view.position]


def change(view: ViewAnswer, own: Any) -> tuple[Any, ...]:
    """Scores before and now, hot before and now, known [M, h, w] and scene [M] of the M keyframes other than the
    frame before."""
    then, now, rows = view.before_truth.targets, view.truth.targets, view.fresh
    parts = (view.before, own, then.mask, now.mask, then.known & now.known, now.scene)
    return tuple(part[rows] for part in parts)


def seen_from(surfaces: Surfaces, there: Any, here: Any, truth: Truth, rows: Any) -> tuple[Any, ...]:
    """Scores carried here, own scores, soft target, seen [M, h, w] and scene [M] of the chosen keyframes.

    Args:
        surfaces: where the cells here lie there.
        there, here: scores [K, h, w] of both views.
        truth: here.
        rows: [K] bool, what both have as keyframe.
    """
    carried = sampled(there, surfaces.x, surfaces.y)
    parts = (carried, here, truth.mask, truth.targets.known & surfaces.seen, truth.targets.scene)
    return tuple(part[rows] for part in parts)


def _stacked(parts: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def measure_costs(
    windows: pd.DataFrame, sequences: Any, model: Any, views: Any, params: EvaluateParams
) -> dict[str, float | None]:
    """What the model costs; None where it cannot be told.

    Args:
        windows: see ``draw_windows``.
        sequences: ``SequenceStore``.
        model: ``ModelMethod``, or any method.
        views: list of ``ViewAnswer``: memory is looked at when all is answered.
        params: how many sequences are timed.
    """
    del views
    test = windows[windows["split"] == "test"]
    timed = choose_views(test, params.timed_sequences)
    seconds = [inference_seconds(model, sequences, row) for row in timed.itertuples(index=False)]
    known = [s for s in seconds if s is not None]
    training = getattr(model, "training", {})
    epoch = training.get("epoch_seconds")
    return {
        "epoch_minutes": None if epoch is None else epoch / 60,
        **{f"training_{name}": training.get(name) for name in ("memory_gib", "gpu_memory_gib")},
        "inference_seconds": statistics.median(known) if known else None,
        "monitor_accuracy": monitor_accuracy(),
        **peak_memory(),
    }


def inference_seconds(model: Any, sequences: Any, row: Any) -> float | None:
    """From the frames of a sequence up to the current view, in memory, to heatmaps of their size: choice of
    keyframes, both encoders, model and resizing. None for a method that is no predictor."""
    predict = getattr(getattr(model, "predictor", None), "predict", None)
    if predict is None:
        return None
    stored = sequences[row.sequence_id]
    frames = np.arange(row.current + 1)
    images, poses = stored.rgb(frames), stored.poses[frames]
    start = time.perf_counter()
    predict(images, row.instruction, poses=poses)
    return time.perf_counter() - start


def monitor_accuracy() -> float:
    """The lowest precision or recall of any kind of alert of the training monitor, at its default limits, on
    ``_HISTORIES`` histories with planted faults."""
    from vln_heatmap.nodes.training.monitor import benchmark
    from vln_heatmap.params.monitor import MonitorParams

    return benchmark.monitor_accuracy(range(_HISTORIES), MonitorParams())
