"""The windows of a comparison with their truth, and what each model's answers to them are worth.

Invariant: windows are those of ``evaluate``; a truth is worked out once a sampler and is the same for every
model, and what is kept of the answers are each house's shares of the measures, so that differences of models
can be drawn over houses later.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from vln_heatmap.nodes.evaluate import ahead, checked
from vln_heatmap.nodes.evaluation_windows import cached_window, concatenate_targets, window_truth
from vln_heatmap.nodes.metrics.bootstrap import MeanOf, PooledAuc, Ratio, Statistic
from vln_heatmap.nodes.metrics.heatmap import (
    Maps,
    Targets,
    choose_thresholds,
    concatenate,
    heatmap_statistics,
)
from vln_heatmap.nodes.model.keyframes import make_sampler
from vln_heatmap.nodes.model.keyframes.truth import true_geometry
from vln_heatmap.params import EvaluateParams, KeyframeParams

#: What is kept of every answer.
MEASURES = (
    "auc",
    "auc_oldest",
    "auc_within",
    "iou",
    "peak_error",
    "cc",
    "validity_accuracy",
    "iou_classes",
)
#: Points along the longer side of a frame that samplers are given, at most.
SAMPLER_PIXELS = 56


def chosen_keyframes(
    rows: pd.DataFrame, features: Any, params: KeyframeParams, count: int
) -> list[tuple[int, ...]]:
    """What a sampler chooses of the candidates of every row, given the simulator's truth; () without candidates.

    Args:
        rows: of the sample index.
        features: ``FrameFeatures``.
        params: of the sampler, whose own count is not looked at.
        count: keyframes.
    """
    sampler = make_sampler(params)
    known: dict[tuple[str, tuple[int, ...]], tuple[int, ...]] = {}

    def choose(sequence: str, candidates: tuple[int, ...]) -> tuple[int, ...]:
        if not candidates:
            return ()
        frames = np.array(candidates)
        given: dict[str, Any] = {}
        if sampler.needs:
            points, poses = true_geometry(features[sequence], frames, SAMPLER_PIXELS)
            given = {"points": points, "poses": poses}
        return tuple(sampler.sample(frames, count, **given).tolist())

    keys = [
        (row.sequence_id, tuple(np.unique(np.asarray(row.candidates, dtype=np.int64)).tolist()))
        for row in rows.itertuples(index=False)
    ]
    for key in tqdm(dict.fromkeys(keys), f"{params.name} keyframes", unit="window", leave=False):
        known[key] = choose(*key)
    return [known[key] for key in keys]


@dataclass(frozen=True)
class Exam:
    """Windows of the splits "val" and "test".

    Attributes:
        rows: by split, see ``draw_windows``.
        targets: by split; ``scene`` indexes the split's scenes in alphabetical order.
        scenes: of the test split.
    """

    rows: dict[str, list[Any]]
    targets: dict[str, Targets]
    scenes: tuple[str, ...]


def make_exam(windows: pd.DataFrame, features: Any, params: EvaluateParams) -> Exam:
    """Work out the truth of every window."""
    rows: dict[str, list[Any]] = {}
    targets: dict[str, Targets] = {}
    for split in ("val", "test"):
        table = windows[windows["split"] == split]
        index = {scene: i for i, scene in enumerate(sorted(table["scene"].unique()))}
        rows[split] = list(table.itertuples(index=False))

        def truth(row: Any, index: Mapping[str, int] = index) -> Targets:
            return window_truth(cached_window(row, features), index[row.scene], params).targets

        ready = ahead(truth, rows[split], workers=params.workers)
        targets[split] = concatenate_targets(
            list(tqdm(ready, f"truth {split}", total=len(table), leave=False))
        )
    return Exam(rows, targets, tuple(sorted({row.scene for row in rows["test"]})))


def examined(exam: Exam, model: Any, features: Any, params: EvaluateParams) -> dict[str, Any]:
    """What a model's answers are worth.

    Args:
        exam: the windows.
        model: ``ModelMethod``.
        features: as the model takes them.
        params: size of the maps.

    Returns:
        ``milliseconds`` of an answer, ``threshold`` chosen on the validation windows, and the packed
        ``statistics`` over test scenes by kind and measure.
    """
    size, seconds = (params.size, params.size), 0.0
    maps: dict[str, Maps] = {}
    for split, rows in exam.rows.items():
        ready = ahead(lambda row: cached_window(row, features, model.groups), rows, workers=params.workers)
        answers = []
        for window in tqdm(ready, f"measure {split}", total=len(rows), unit="window", leave=False):
            start = time.perf_counter()
            answers.append(checked("the variant", model(window, size), window, size))
            seconds += time.perf_counter() - start
        maps[split] = concatenate(answers)
    cut = choose_thresholds(exam.targets["val"], maps["val"])
    found = heatmap_statistics(exam.targets["test"], maps["test"], cut, len(exam.scenes))
    return {
        "milliseconds": 1000 * seconds / sum(map(len, exam.rows.values())),
        "threshold": cut.score,
        "statistics": {kind: {key: pack(s[key]) for key in MEASURES} for kind, s in found.items()},
    }


def pack(statistic: Statistic) -> dict[str, Any]:
    """A statistic as JSON can hold it.

    Raises:
        TypeError: of a kind that is not known here.
    """
    if isinstance(statistic, MeanOf):
        return {"mean": [pack(part) for part in statistic.parts]}
    if isinstance(statistic, PooledAuc):
        return {"auc": {name: array.tolist() for name, array in vars(statistic).items()}}
    if isinstance(statistic, Ratio):
        samples = None if statistic.samples is None else statistic.samples.tolist()
        empty = None if math.isnan(statistic.empty) else statistic.empty
        shares = [statistic.numerator.tolist(), statistic.denominator.tolist()]
        return {"ratio": {"shares": shares, "empty": empty, "samples": samples}}
    raise TypeError(f"a {type(statistic).__name__} cannot be packed")


def unpack(packed: Mapping[str, Any]) -> Statistic:
    """Inverse of ``pack``."""
    if "mean" in packed:
        return MeanOf(tuple(unpack(part) for part in packed["mean"]))
    if "auc" in packed:
        return PooledAuc(**{name: _floats(values) for name, values in packed["auc"].items()})
    content = packed["ratio"]
    numerator, denominator = map(_floats, content["shares"])
    empty = float("nan") if content["empty"] is None else content["empty"]
    samples = None if content["samples"] is None else _floats(content["samples"])
    return Ratio(numerator, denominator, empty, samples)


def _floats(values: Any) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)
