"""Comparing keyframe samplers: what space their choices cover, and what the trained model makes of them.

Invariant: all samplers choose the same number of frames from the same candidates of the same windows, and are
given the simulator's truth (points from depth and pose, and the poses). The model is one and the same; its
thresholds are chosen for each sampler by the rule of evaluate, on the validation windows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from vln_heatmap.nodes.evaluate import checked
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
    Ratio,
    Statistic,
    interval,
    scene_weights,
    summary,
    value,
)
from vln_heatmap.nodes.metrics.heatmap import (
    Maps,
    Targets,
    choose_thresholds,
    concatenate,
    heatmap_statistics,
)
from vln_heatmap.nodes.model.keyframes import KeyframeSampler, make_sampler
from vln_heatmap.nodes.model.keyframes.truth import true_geometry
from vln_heatmap.nodes.model.keyframes.voxels import coverage, cubes, redundancy
from vln_heatmap.nodes.threads import ahead
from vln_heatmap.params import EvaluateParams, ModelParams, SamplerBenchmarkParams
from vln_heatmap.reporting.sampler_figure import sampler_plot

#: What is told of a choice without any model, and with the model's heatmaps.
OF_CHOICE = ("coverage", "redundancy", "view_seen", "milliseconds")
OF_HEATMAPS = ("auc", "auc_oldest", "auc_within", "iou")
_REFERENCE = "uniform"


def choose_keyframes(
    samples: pd.DataFrame,
    features: Any,
    model: ModelParams,
    evaluate: EvaluateParams,
    params: SamplerBenchmarkParams,
) -> pd.DataFrame:
    """What every sampler chooses in every window.

    Args:
        samples: the sample index.
        features: ``FrameFeatures``, of which depth and poses are read.
        model: of which the settings of the samplers matter (``model.keyframes`` but for name and count).
        evaluate: number of keyframes and seed of the windows.
        params: windows, samplers, voxels.

    Returns:
        The windows of the splits "val" and "test" as ``draw_windows`` gives them, one row a sampler, with its
        ``keyframes``, their ``coverage`` and ``redundancy``, and the ``milliseconds`` that the choice took.
    """
    counts = {"windows": params.windows, "validation_windows": params.validation_windows}
    windows = draw_windows(samples, evaluate.model_copy(update={**counts, "training_windows": 1}))
    windows = windows[windows["split"] != "train"]
    settings = {n: model.keyframes.model_copy(update={"name": n}) for n in params.samplers}
    samplers = {name: make_sampler(setting) for name, setting in settings.items()}
    rows = []
    for row in tqdm(windows.itertuples(index=False), "choose", total=len(windows), unit="window"):
        candidates = np.unique(row.candidates)
        points, poses = true_geometry(features[row.sequence_id], candidates, params.pixels)
        seen = cubes(points, params.voxel)  # [T, voxels]
        for name, sampler in samplers.items():
            chosen = _choice(sampler, candidates, evaluate.keyframes, seen, points=points, poses=poses)
            rows.append({**row._asdict(), "sampler": name, **chosen})
    return pd.DataFrame(rows)


def _choice(
    sampler: KeyframeSampler, candidates: NDArray[np.int64], k: int, seen: NDArray[np.bool_], **geometry: Any
) -> dict[str, Any]:
    """The keyframes that a sampler chooses, and what they are worth in voxels ``seen`` [T, U]."""
    start = time.perf_counter()
    keyframes = sampler.sample(candidates, k, **geometry)
    seconds = time.perf_counter() - start
    places = np.searchsorted(candidates, keyframes)
    return {
        "keyframes": keyframes.tolist(),
        "coverage": coverage(seen, places),
        "redundancy": redundancy(seen, places),
        "milliseconds": 1000 * seconds,
    }


@dataclass(frozen=True)
class SamplerAnswers:
    """What the model says of every sampler's keyframes, and what is true.

    Attributes:
        scenes: names of the test scenes; ``targets["test"][…].scene`` indexes them.
        targets, maps: by split, by sampler.
        choices: the test rows of ``choose_keyframes`` with ``view_seen``, the share of the current view's cells
            that any of the keyframes saw.
        about: facts for the results' "meta" section.
    """

    scenes: tuple[str, ...]
    targets: dict[str, dict[str, Targets]]
    maps: dict[str, dict[str, Maps]]
    choices: pd.DataFrame
    about: dict[str, Any]


def answer_choices(
    choices: pd.DataFrame, sequences: Any, features: Any, model: Any, params: EvaluateParams
) -> SamplerAnswers:
    """Let the model draw the heatmaps of every sampler's keyframes.

    Args:
        choices: see ``choose_keyframes``.
        sequences: ``SequenceStore``.
        features: ``FrameFeatures``.
        model: ``ModelMethod``, or any method with the attributes ``groups`` and ``origin``.
        params: targets and maps.
    """
    targets: dict[str, dict[str, Targets]] = {"val": {}, "test": {}}
    maps: dict[str, dict[str, Maps]] = {"val": {}, "test": {}}
    parts = []
    for (split, name), rows in choices.groupby(["split", "sampler"], sort=False):
        answered = list(_answers(rows, f"{name} {split}", sequences, features, model, params))
        truths = [truth.targets for truth, _ in answered]
        targets[split][name] = concatenate_targets(truths)
        maps[split][name] = concatenate([answer for _, answer in answered])
        parts.append(rows.assign(view_seen=[_view_seen(truth) for truth in truths]))
    told = pd.concat(parts)
    test = told[told["split"] == "test"]
    about = {
        "scenes": int(test["scene"].nunique()),
        "samples": int(test["sample_id"].nunique()),
        "seed": params.seed,
        "keyframes": params.keyframes,
        "candidates": float(test["candidates"].map(len).mean()),
        "data": sequences.version,
        **model.origin,
    }
    return SamplerAnswers(tuple(sorted(test["scene"].unique())), targets, maps, test, about)


def _answers(
    rows: pd.DataFrame, title: str, sequences: Any, features: Any, model: Any, params: EvaluateParams
) -> Iterator[tuple[Truth, Maps]]:
    """Truth and the model's answer of the windows of one split with one sampler's keyframes."""
    index = {scene: i for i, scene in enumerate(sorted(rows["scene"].unique()))}
    size = (params.size, params.size)

    def prepare(row: Any) -> tuple[Window, Truth]:
        window = read_window(row, sequences, features, model.groups)
        return window, window_truth(window, index[row.scene], params)

    ready = ahead(prepare, list(rows.itertuples(index=False)), workers=params.workers)
    for window, truth in tqdm(ready, title, total=len(rows), unit="window"):
        yield truth, checked(title, model(window, size), window, size)


def _view_seen(targets: Targets) -> float:
    """Share of the cells of the current view of one window that any keyframe saw; 1 if it has no depth."""
    known = targets.known[0]  # [h, w]
    return float((targets.classes == 0).any(0)[known].mean()) if known.any() else 1.0


def measure_samplers(
    answers: Any, evaluate: EvaluateParams, params: SamplerBenchmarkParams
) -> tuple[dict[str, Any], pd.DataFrame]:
    """All numbers.

    Args:
        answers: ``SamplerAnswers``.
        evaluate: seed and number of resamples.
        params: is repeated in the results.

    Returns:
        ``{"samplers": {name: {measure: value, measure_ci: [low, high], …, "over_uniform": {measure: value,
        measure_ci: …}}}, "meta": {…}}`` and the same as a table with columns sampler, metric, value, low, high.
    """
    weights = scene_weights(len(answers.scenes), evaluate.resamples, evaluate.seed)
    statistics = {name: _statistics(answers, name) for name in answers.maps["test"]}
    section: dict[str, Any] = {}
    for name, measures in statistics.items():
        section[name] = summary(measures, weights)
        if name != _REFERENCE and _REFERENCE in statistics:
            section[name]["over_uniform"] = _margins(measures, statistics[_REFERENCE], weights)
    settings = params.model_dump(mode="json", include={"voxel", "pixels"})
    return {"samplers": section, "meta": {**answers.about, **settings}}, samplers_table(section)


def _statistics(answers: SamplerAnswers, name: str) -> dict[str, Statistic]:
    """All measures of one sampler as statistics over scenes."""
    scenes = len(answers.scenes)
    rows = answers.choices[answers.choices["sampler"] == name]
    scene = np.searchsorted(answers.scenes, rows["scene"])
    counts = np.bincount(scene, minlength=scenes).astype(np.float64)
    out: dict[str, Statistic] = {}
    for key in OF_CHOICE:
        out[key] = Ratio(np.bincount(scene, rows[key], minlength=scenes).astype(np.float64), counts)
    cut = choose_thresholds(answers.targets["val"][name], answers.maps["val"][name])
    heatmaps = heatmap_statistics(answers.targets["test"][name], answers.maps["test"][name], cut, scenes)
    return out | {key: heatmaps["all"][key] for key in OF_HEATMAPS}


def _margins(
    measures: Mapping[str, Statistic], reference: Mapping[str, Statistic], weights: Floats
) -> dict[str, Any]:
    """How far a sampler is above ``uniform``, with paired intervals over scenes."""
    out: dict[str, Any] = {}
    for key, statistic in measures.items():
        difference = Difference(statistic, reference[key])
        out |= {key: value(difference, weights.shape[1]), f"{key}_ci": interval(difference, weights)}
    return out


def samplers_table(section: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Section "samplers" of the results as one row per sampler and measure."""
    rows = []
    for name, numbers in section.items():
        for key in (*OF_CHOICE, *OF_HEATMAPS):
            low, high = numbers[f"{key}_ci"] or (None, None)
            rows.append((name, key, numbers[key], low, high))
    table = pd.DataFrame(rows, columns=["sampler", "metric", "value", "low", "high"])
    return table.astype({"value": "float64", "low": "float64", "high": "float64"})


def draw_samplers(results: Mapping[str, Any]) -> Any:
    """All samplers with their intervals, from the results."""
    about = results["meta"]
    title = (
        f"{about['keyframes']} keyframes of {about['candidates']:.0f} frames on average, "
        f"{about['samples']} windows of {about['scenes']} unseen houses"
    )
    return sampler_plot(results["samplers"], title=title)
