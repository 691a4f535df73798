"""Measuring models on looks that training never saw: one table, and one number to choose a checkpoint by.

Invariant: everything but the model's own answers (windows, truth, baselines) is prepared once and is the same for
every model. Thresholds, and the mean map, come from the reference look, whose houses the model never saw either,
and hold for all looks: nobody tunes a threshold in a new place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from vln_heatmap.datasets.frame_features import FeatureStream
from vln_heatmap.nodes.baselines import Method, baselines, mean_maps
from vln_heatmap.nodes.evaluate import Showcase, checked
from vln_heatmap.nodes.evaluation_figures import as_example
from vln_heatmap.nodes.evaluation_windows import (
    Truth,
    Window,
    concatenate_targets,
    read_window,
    window_truth,
)
from vln_heatmap.nodes.features import cache_frames
from vln_heatmap.nodes.metrics.bootstrap import (
    Difference,
    Floats,
    MeanOf,
    Statistic,
    interval,
    scene_weights,
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
from vln_heatmap.nodes.model.keyframes import UniformSampler
from vln_heatmap.nodes.samples import Recording, finetune_rows
from vln_heatmap.nodes.threads import ahead
from vln_heatmap.params import EvaluateParams, GeneralityParams, KeyframeParams, ModelParams
from vln_heatmap.reporting.figures import example_sheet
from vln_heatmap.reporting.generality_figure import generality_plot
from vln_heatmap.reporting.tables import CEILING, MODEL

#: What is told of every method in every look.
MEASURES = ("auc", "auc_within", "auc_oldest", "iou")
#: Name of the row that is the mean over the counted looks.
MEAN = "mean"
#: Windows and measure by which checkpoints are chosen: what recordings can ask, and baselines can answer.
ASKED, SCORE = "everything", "auc"
#: By kind of window, then by measure.
Statistics = dict[str, dict[str, Statistic]]


def look_windows(sequences: Any, params: GeneralityParams, evaluate: EvaluateParams) -> pd.DataFrame:
    """The windows of all looks: rows of a sample index with ``look`` and ``keyframes``.

    Sequences without ids have windows that mean everything alone. The walks of a house are one scene, each
    sequence of a recording is one of its own.

    Args:
        sequences: ``SequenceStore`` of ``film_looks``.
        params: current views of a walk and what is said of them.
        evaluate: number of keyframes, seed.

    Raises:
        ValueError: a look has no window, or there is none of the reference look.
    """
    sampler = UniformSampler(KeyframeParams(count=evaluate.keyframes))
    rows: list[dict[str, Any]] = []
    for key, stored in sequences.items():
        real = "instance" in stored.absent
        scene = key if real else str(stored.metadata["scene"])
        settings = params.samples.model_copy(update={"new_phrases": 0} if real else {})
        look, _, walk = key.partition(".")  # a walk has the same windows in all looks
        recording = Recording(walk, scene, "test", stored.frames, stored.metadata)
        for row in finetune_rows(recording, settings, evaluate.seed):
            keyframes = sampler.sample(np.unique(row["candidates"]), evaluate.keyframes).tolist()
            rows.append({**row, "sequence_id": key, "look": look, "keyframes": keyframes})
    windows = pd.DataFrame(rows)
    if windows.empty or params.reference not in set(windows["look"]):
        raise ValueError(
            f"no walk of the look {params.reference!r} could be filmed: {dict(sequences.skipped)}"
        )
    windows.insert(0, "sample_id", np.arange(len(windows)))
    return windows


def encoder_settings(checkpoint: Any) -> ModelParams:
    """Parameters of a ``Checkpoint``'s model, by which frames are encoded."""
    return ModelParams.model_validate(checkpoint.meta["model"])


def encode_looks(sequences: Any, windows: pd.DataFrame, model: ModelParams) -> FeatureStream:
    """Features of all frames as the model takes them, see ``cache_frames``."""
    return cache_frames(sequences, windows, model)


@dataclass(frozen=True)
class WindowReader:
    """Reads the windows of the looks, and what is true of them.

    Attributes:
        sequences: ``SequenceStore``; features: ``FrameFeatures``.
        groups: channels of the encoder's groups of features.
        scenes: index of each scene.
        params: sizes of the maps.
    """

    sequences: Any
    features: Any
    groups: tuple[int, ...]
    scenes: Mapping[str, int]
    params: EvaluateParams

    def window(self, row: Any) -> Window:
        return read_window(row, self.sequences, self.features, self.groups)

    def pair(self, row: Any) -> tuple[Window, Truth]:
        window = self.window(row)
        return window, window_truth(window, self.scenes[row.scene], self.params)


@dataclass(frozen=True)
class Looks:
    """Everything that is needed to measure any model with the same encoder.

    Attributes:
        windows: see ``look_windows``; reader: reads them.
        params: sizes of the maps and the bootstrap.
        reference: look of the thresholds; counted: looks of the mean.
        scenes: names of all scenes, those that are drawn together in one tuple; the index of a scene counts
            through all of them.
        targets: truth by look.
        baselines: statistics by method, look, kind and measure.
        examples: the window of each look that says most, with its truth.
    """

    windows: pd.DataFrame
    reader: WindowReader
    params: EvaluateParams
    reference: str
    counted: tuple[str, ...]
    scenes: tuple[tuple[str, ...], ...]
    targets: dict[str, Targets]
    baselines: dict[str, dict[str, Statistics]]
    examples: dict[str, tuple[Window, Truth]]

    def rows(self, look: str) -> list[Any]:
        return list(self.windows[self.windows["look"] == look].itertuples(index=False))

    def weights(self) -> Floats:
        """Bootstrap counts [R, S]: houses are drawn among houses, parts of a recording among its own."""
        drawn = [
            scene_weights(len(group), self.params.resamples, self.params.seed + number)
            for number, group in enumerate(self.scenes)
        ]
        return np.concatenate(drawn, axis=1)


def gather_looks(
    windows: pd.DataFrame,
    sequences: Any,
    features: Any,
    model: ModelParams,
    params: GeneralityParams,
    evaluate: EvaluateParams,
) -> Looks:
    """Truth and baselines of all looks.

    Args:
        windows: see ``look_windows``.
        sequences: ``SequenceStore``.
        features: ``FrameFeatures``.
        model: of which the encoder says which features belong together.
        params: which look is the reference, which are counted.
        evaluate: sizes of the maps.
    """
    from vln_heatmap.nodes.model.encoder2d import make_encoder

    scenes = _scene_groups(windows)
    index = {name: i for i, name in enumerate(name for group in scenes for name in group)}
    reader = WindowReader(sequences, features, make_encoder(model.encoder).groups, index, evaluate)
    names = [str(look) for look in windows["look"].unique()]
    counted = tuple(n for n in names if n not in params.looks or params.looks[n].counted)
    looks = Looks(windows, reader, evaluate, params.reference, counted, scenes, {}, {}, {})
    seen = ahead(reader.pair, looks.rows(params.reference), workers=evaluate.workers)
    means = mean_maps(
        ((truth.mask, truth.targets.valid, truth.shares) for _, truth in seen), evaluate.keyframes
    )
    methods = baselines(means, sigma=evaluate.sigma)
    answers: dict[str, dict[str, Maps]] = {name: {} for name in methods}
    for look in names:
        looks.targets[look], looks.examples[look], maps = _ask_baselines(looks, look, methods)
        for name, part in maps.items():
            answers[name][look] = part
    for name, by_look in answers.items():
        looks.baselines[name] = method_statistics(by_look, looks)
    return looks


def _ask_baselines(
    looks: Looks, look: str, methods: Mapping[str, Method]
) -> tuple[Targets, tuple[Window, Truth], dict[str, Maps]]:
    """Truth of a look, the window that says most, and the answers of all baselines."""
    size = (looks.params.size, looks.params.size)

    def ask(row: Any) -> tuple[Window, Truth, dict[str, Maps]]:
        window, truth = looks.reader.pair(row)
        return window, truth, {n: checked(n, m(window, size), window, size) for n, m in methods.items()}

    truths: list[Targets] = []
    parts: dict[str, list[Maps]] = {name: [] for name in methods}
    showcase, rows = Showcase(), looks.rows(look)
    ready = ahead(ask, rows, workers=looks.params.workers)
    for window, truth, maps in tqdm(ready, f"baselines, {look}", total=len(rows), unit="window"):
        truths.append(truth.targets)
        for name, part in maps.items():
            parts[name].append(part)
        showcase.offer(window, truth, maps[CEILING])
    ((window, truth, _),) = showcase.chosen(1)
    return concatenate_targets(truths), (window, truth), {n: concatenate(maps) for n, maps in parts.items()}


def _scene_groups(windows: pd.DataFrame) -> tuple[tuple[str, ...], ...]:
    """Houses, which all looks share, then the parts of each recording."""
    recorded = windows["scene"] == windows["sequence_id"]
    groups = [windows.loc[~recorded, "scene"]]
    groups += [rows["scene"] for _, rows in windows[recorded].groupby("look", sort=False)]
    return tuple(tuple(sorted(group.unique())) for group in groups)


def method_statistics(maps: Mapping[str, Maps], looks: Looks) -> dict[str, Statistics]:
    """Statistics of one method by look, kind and measure, at the thresholds of the reference look."""
    cut = choose_thresholds(looks.targets[looks.reference], maps[looks.reference])
    scenes = sum(map(len, looks.scenes))
    out: dict[str, Statistics] = {}
    for look, part in maps.items():
        kinds = heatmap_statistics(looks.targets[look], part, cut, scenes)
        out[look] = {kind: {key: kinds[kind][key] for key in MEASURES} for kind in kinds}
    return out


def answer_looks(model: Any, looks: Looks) -> dict[str, Maps]:
    """What a model (``ModelMethod``, or any method) says of the windows of each look."""
    size = (looks.params.size, looks.params.size)
    answers: dict[str, Maps] = {}
    for look in looks.targets:
        rows = looks.rows(look)
        ready = ahead(looks.reader.window, rows, workers=looks.params.workers)
        windows = tqdm(ready, f"model, {look}", total=len(rows), unit="window")
        answers[look] = concatenate([checked(MODEL, model(w, size), w, size) for w in windows])
    return answers


def measure_looks(model: Any, looks: Any) -> tuple[dict[str, Any], pd.DataFrame]:
    """All numbers of a model and the baselines.

    Args:
        model: ``ModelMethod``, or any method with the attribute ``origin``; its encoder is that of ``looks``.
        looks: ``Looks``.

    Returns:
        ``{"score": mean AUC over the counted looks, "score_all": the same with referring windows, "margin":
        {"over": best baseline, "value", "ci"}, "mean": {method: {measure: value, measure_ci: [low, high], …}},
        "looks": {look: {method: {…}}}, "meta": {…}}``, all but ``score_all`` over the windows that ask for
        everything; and a table with columns look, counted, method, kind, metric, value, low, high.
    """
    methods = {**looks.baselines, MODEL: method_statistics(answer_looks(model, looks), looks)}
    table = _table(methods, looks)
    kinds = {
        kind: {str(look): _section(rows) for look, rows in part.groupby("look", sort=False)}
        for kind, part in table.groupby("kind")
    }
    sections = kinds[ASKED]
    mean = sections.pop(MEAN)
    meta = {
        "data": looks.reader.sequences.version,
        "reference": looks.reference,
        "counted": list(looks.counted),
        "windows": {look: len(looks.rows(look)) for look in looks.targets},
        "scenes": {look: len(np.unique(looks.targets[look].scene)) for look in looks.targets},
        **looks.params.model_dump(include={"seed", "keyframes", "size"}),
        **getattr(model, "origin", {}),
    }
    scores = {"score": mean[MODEL][SCORE], "score_all": kinds["all"][MEAN][MODEL][SCORE]}
    margin = _margin(methods, looks)
    return {**scores, "margin": margin, "mean": mean, "looks": sections, "meta": meta}, table


def _table(methods: Mapping[str, Mapping[str, Statistics]], looks: Looks) -> pd.DataFrame:
    """One row a look, method, kind and measure, then those of the mean over the counted looks."""
    weights, rows = looks.weights(), []
    several = {look: len(np.unique(targets.scene)) > 1 for look, targets in looks.targets.items()}
    for look in (*looks.targets, MEAN):
        for name, by_look in methods.items():
            for kind in ("all", *KINDS):
                for key in MEASURES:
                    statistic = _mean(by_look, kind, key, looks) if look == MEAN else by_look[look][kind][key]
                    low, high = (several.get(look, True) and interval(statistic, weights)) or (None, None)
                    counted = look in looks.counted
                    rows.append(
                        (look, counted, name, kind, key, value(statistic, weights.shape[1]), low, high)
                    )
    columns = ["look", "counted", "method", "kind", "metric", "value", "low", "high"]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({"value": "float64", "low": "float64", "high": "float64"})


def _mean(by_look: Mapping[str, Statistics], kind: str, key: str, looks: Looks) -> Statistic:
    return MeanOf(tuple(by_look[look][kind][key] for look in looks.counted))


def _margin(methods: Mapping[str, Mapping[str, Statistics]], looks: Looks) -> dict[str, Any]:
    """How far the model's mean is above that of the best baseline, with a paired interval."""
    weights = looks.weights()
    means = {name: _mean(by_look, ASKED, SCORE, looks) for name, by_look in methods.items()}
    rivals = {n: value(s, weights.shape[1]) or 0.0 for n, s in means.items() if n not in (MODEL, CEILING)}
    best = max(rivals, key=lambda name: rivals[name])
    difference = Difference(means[MODEL], means[best])
    return {
        "over": best,
        "value": value(difference, weights.shape[1]),
        "ci": interval(difference, weights),
    }


def _section(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Rows of one look as ``{method: {measure: value, measure_ci: [low, high] or None}}``."""
    section: dict[str, dict[str, Any]] = {}
    for row in rows.itertuples(index=False):
        known = np.isfinite([row.low, row.high]).all()
        section.setdefault(row.method, {}).update(
            {
                row.metric: float(row.value) if np.isfinite(row.value) else None,
                f"{row.metric}_ci": [float(row.low), float(row.high)] if known else None,
            }
        )
    return section


def draw_looks(results: Mapping[str, Any]) -> Any:
    """All looks and methods with their intervals, from the results."""
    return generality_plot(results)


def draw_look_examples(model: Any, looks: Any) -> Any:
    """Sheet with one window of each look and what the model makes of it."""
    size = (looks.params.size, looks.params.size)
    examples = []
    for window, truth in looks.examples.values():
        examples.append(as_example(window, truth, checked(MODEL, model(window, size), window, size)))
    return example_sheet(examples, title="Looks that training never saw")
