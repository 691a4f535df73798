"""Measuring the trained model and the baselines side by side on houses never seen in training.

Invariant: the model is one method among others. It gets the same windows, is cut at thresholds chosen by the
same rule on the same validation windows, and is measured by the same functions.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from vln_heatmap.nodes.baselines import MeanMaps, Size, baselines, mean_maps
from vln_heatmap.nodes.evaluation_model import ModelMethod, model_method
from vln_heatmap.nodes.evaluation_windows import (
    Truth,
    Window,
    concatenate_targets,
    draw_windows,
    read_window,
    window_truth,
)
from vln_heatmap.nodes.metrics.bootstrap import (
    Difference,
    Floats,
    Statistic,
    interval,
    scene_weights,
    summary,
    value,
)
from vln_heatmap.nodes.metrics.heatmap import (
    KINDS,
    Maps,
    Targets,
    choose_thresholds,
    concatenate,
    heatmap_statistics,
)
from vln_heatmap.nodes.threads import ahead
from vln_heatmap.params import EvaluateParams
from vln_heatmap.reporting.tables import CEILING, MODEL

__all__ = [
    "Evaluation",
    "ModelMethod",
    "ahead",
    "answer_windows",
    "draw_windows",
    "measure",
    "model_method",
    "training_means",
]

_LOG = logging.getLogger(__name__)


def training_means(windows: pd.DataFrame, sequences: Any, features: Any, params: EvaluateParams) -> MeanMaps:
    """Mean target of each keyframe rank over the training windows."""

    def truth(row: Any) -> tuple[Any, Any, Any]:
        known = window_truth(read_window(row, sequences, features), 0, params)
        return known.mask, known.targets.valid, known.shares

    rows = list(windows[windows["split"] == "train"].itertuples(index=False))
    return mean_maps(ahead(truth, rows, workers=params.workers), params.keyframes)


@dataclass(frozen=True)
class Evaluation:
    """All answers and all truths.

    Attributes:
        scenes: names of the test scenes; ``targets["test"].scene`` indexes them.
        targets: truth of the splits "val" and "test".
        maps: by split, by method.
        examples: test windows for the figure sheet, with their truth and the model's answer.
        about: facts for the results' "meta" section.
        window: number of the test window of each map of ``targets["test"]`` [M].
    """

    scenes: tuple[str, ...]
    targets: dict[str, Targets]
    maps: dict[str, dict[str, Maps]]
    examples: tuple[tuple[Window, Truth, Maps], ...]
    about: dict[str, Any]
    window: NDArray[np.int64]


def answer_windows(
    windows: pd.DataFrame, sequences: Any, features: Any, model: Any, means: Any, params: EvaluateParams
) -> Evaluation:
    """Let every method answer every validation and test window.

    Args:
        windows: see ``draw_windows``.
        sequences: ``SequenceStore``.
        features: ``FrameFeatures``.
        model: ``ModelMethod``, or any method with the attributes ``groups`` and ``origin``.
        means: ``MeanMaps``.
    """
    methods = {**baselines(means, sigma=params.sigma), MODEL: model}
    if not model.groups:  # without an encoder there are no features to compare
        del methods["encoder_cosine"]
    test = windows[windows["split"] == "test"]
    showcase = Showcase()
    targets: dict[str, Targets] = {}
    maps: dict[str, dict[str, Maps]] = {}
    for split in ("val", "test"):
        rows = windows[windows["split"] == split]
        truths: list[Targets] = []
        answers: dict[str, list[Maps]] = {name: [] for name in methods}
        for window, truth, answer in _answers(rows, sequences, features, methods, params):
            truths.append(truth.targets)
            for name, part in answer.items():
                answers[name].append(part)
            if split == "test":
                showcase.offer(window, truth, answer[MODEL])
        targets[split] = concatenate_targets(truths)
        maps[split] = {name: concatenate(parts) for name, parts in answers.items()}
        place = np.repeat(np.arange(len(truths)), [len(truth) for truth in truths])
    about = _about(windows, sequences, model, params)
    scenes = tuple(sorted(test["scene"].unique()))
    return Evaluation(scenes, targets, maps, showcase.chosen(params.examples), about, place)


def _answers(
    rows: pd.DataFrame, sequences: Any, features: Any, methods: Mapping[str, Any], params: EvaluateParams
) -> Iterator[tuple[Window, Truth, dict[str, Maps]]]:
    """Windows of one split in order, each with its truth and every method's answer.

    Threads read windows and run the baselines; the model, which has threads of its own, runs in the caller's.
    """
    index = {scene: i for i, scene in enumerate(sorted(rows["scene"].unique()))}
    size = (params.size, params.size)
    seconds: Counter[str] = Counter()

    def ask(name: str, window: Window) -> Maps:
        start = time.perf_counter()
        maps = checked(name, methods[name](window, size), window, size)
        seconds[name] += time.perf_counter() - start  # type: ignore[assignment]
        return maps

    def prepare(row: Any) -> tuple[Window, Truth, dict[str, Maps]]:
        window = read_window(row, sequences, features, methods[MODEL].groups)
        answers = {name: ask(name, window) for name in methods if name != MODEL}
        return window, window_truth(window, index[row.scene], params), answers

    ready = ahead(prepare, list(rows.itertuples(index=False)), workers=params.workers)
    for window, truth, answers in tqdm(ready, "evaluate", total=len(rows), unit="window"):
        yield window, truth, {**answers, MODEL: ask(MODEL, window)}
    costs = ", ".join(f"{name} {1000 * total / len(rows):.1f}" for name, total in seconds.items())
    _LOG.info("Milliseconds a window: %s", costs)


def checked(name: str, maps: Maps, window: Window, size: Size) -> Maps:
    """The answer of method ``name``, if it is one.

    Raises:
        ValueError: maps of another shape, or values that are no numbers.
    """
    if maps.scores.shape != (len(window), *size):
        raise ValueError(f"method {name!r} must give maps {(len(window), *size)}, got {maps.scores.shape}")
    for part in (maps.scores, maps.distribution, maps.validity):
        if part is not None and not np.isfinite(part).all():
            raise ValueError(f"method {name!r} gave values that are no numbers for sample {window.sample_id}")
    return maps


class Showcase:
    """Collects windows for the figure sheet: of each scene and kind, the one whose targets say most.

    The choice looks at the targets alone, never at an answer: maps that are half positive are worth most, empty
    and full ones nothing.
    """

    def __init__(self) -> None:
        self._best: dict[tuple[bool, int], tuple[float, tuple[Window, Truth, Maps]]] = {}

    def offer(self, window: Window, truth: Truth, answer: Maps) -> None:
        share = truth.targets.mask.mean((1, 2))  # [K]
        worth = float((share * (1 - share)).mean())
        key = (bool(window.referred), int(truth.targets.scene[0]))
        if key not in self._best or worth > self._best[key][0]:
            self._best[key] = worth, (window, truth, answer)

    def chosen(self, count: int) -> tuple[tuple[Window, Truth, Maps], ...]:
        """At most ``count``: everything and referring in turn, from as many scenes as possible."""
        kinds = {kind: sorted(scene for k, scene in self._best if k is kind) for kind in (False, True)}
        keys: list[tuple[bool, int]] = []
        while len(keys) < count and any(kinds.values()):
            kind = len(keys) % 2 == 1 if all(kinds.values()) else bool(kinds[True])
            shown = [scene for _, scene in keys]
            scene = min(kinds[kind], key=shown.count)
            kinds[kind].remove(scene)
            keys.append((kind, scene))
        return tuple(self._best[key][1] for key in keys)


def _about(windows: pd.DataFrame, sequences: Any, model: Any, params: EvaluateParams) -> dict[str, Any]:
    test = windows[windows["split"] == "test"]
    return {
        "scenes": int(test["scene"].nunique()),
        "samples": len(test),
        "maps": int(test["keyframes"].map(len).sum()),
        "validation_samples": int((windows["split"] == "val").sum()),
        "seed": params.seed,
        "map_size": [params.size, params.size],
        "keyframes": params.keyframes,
        "data": sequences.version,
        **model.origin,
    }


def measure(
    evaluation: Any, params: EvaluateParams, success: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, Any], pd.DataFrame]:
    """All numbers.

    Args:
        evaluation: ``Evaluation``.
        params: bootstrap.
        success: sections that ``measure_success`` made, to go with these.

    Returns:
        The results twice (for a versioned and a latest file), ``{"heatmap": {method: {measure: value,
        measure_ci: [low, high], …, "everything": {…}, "referring": {…}}}, "meta": {…}}``, and the same numbers
        as a table with columns method, kind, metric, value, low, high.
    """
    scenes = len(evaluation.scenes)
    weights = scene_weights(scenes, params.resamples, params.seed)
    statistics: dict[str, dict[str, dict[str, Statistic]]] = {}
    thresholds: dict[str, float] = {}
    for name, maps in evaluation.maps["test"].items():
        cut = choose_thresholds(evaluation.targets["val"], evaluation.maps["val"][name])
        statistics[name] = heatmap_statistics(evaluation.targets["test"], maps, cut, scenes)
        thresholds[name] = cut.score
    section: dict[str, Any] = {}
    for name, kinds in statistics.items():
        section[name] = {"threshold": thresholds[name], **summary(kinds["all"], weights)}
        section[name] |= {kind: summary(kinds[kind], weights) for kind in KINDS}
    margins = {
        kind: {
            key: _margin({n: s[kind][key] for n, s in statistics.items()}, weights) for key in ("auc", "iou")
        }
        for kind in ("all", *KINDS)
    }
    more = dict(success or {})
    meta = {**evaluation.about, "margin": margins, **more.pop("meta", {})}
    results = {"heatmap": section, **more, "meta": meta}
    return results, results, results_table(section)


def _margin(methods: Mapping[str, Statistic], weights: Floats) -> dict[str, Any]:
    """How far the model is above the best baseline in one measure, with a paired interval over scenes."""
    scenes = weights.shape[1]
    rivals = {name: statistic for name, statistic in methods.items() if name not in (MODEL, CEILING)}
    best = max(rivals, key=lambda name: value(rivals[name], scenes) or 0.0)
    difference = Difference(methods[MODEL], rivals[best])
    return {"over": best, "value": value(difference, scenes), "ci": interval(difference, weights)}


def results_table(section: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Section "heatmap" of the results as one row per method, kind and measure."""
    rows = []
    for method, entry in section.items():
        for kind in ("all", *KINDS):
            numbers = entry if kind == "all" else entry[kind]
            for key in [k for k in numbers if f"{k}_ci" in numbers]:
                low, high = numbers[f"{key}_ci"] or (None, None)
                rows.append((method, kind, key, numbers[key], low, high))
    table = pd.DataFrame(rows, columns=["method", "kind", "metric", "value", "low", "high"])
    return table.astype({"value": "float64", "low": "float64", "high": "float64"})
