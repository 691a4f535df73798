"""What each part of the model and of the training is worth: variants side by side, made by one command.

Invariant: every variant has the same data, cached features, budget and seeds, and is measured on the same
windows by the functions of evaluate. A trial that was finished is never trained or measured again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from vln_heatmap.nodes.ablate_features import features_for
from vln_heatmap.nodes.ablate_measures import (
    MEASURES,
    Exam,
    chosen_keyframes,
    examined,
    make_exam,
    unpack,
)
from vln_heatmap.nodes.ablate_training import Material, trained
from vln_heatmap.nodes.ablate_variants import Trial, make_trials
from vln_heatmap.nodes.evaluate import ModelMethod
from vln_heatmap.nodes.evaluation_windows import draw_windows
from vln_heatmap.nodes.metrics.bootstrap import (
    Difference,
    Floats,
    MeanOf,
    Statistic,
    interval,
    scene_weights,
    summary,
    value,
)
from vln_heatmap.nodes.metrics.heatmap import KINDS
from vln_heatmap.params import AblateParams, EvaluateParams, KeyframeParams, ModelParams, StageParams
from vln_heatmap.reporting.ablation_figure import ablation_plot
from vln_heatmap.reporting.tables import measured_on

#: Measures whose difference to what a variant is compared with is told.
COMPARED = ("auc", "auc_oldest", "auc_within", "iou")


def run_variants(
    samples: pd.DataFrame,
    features: Any,
    tokenizer: dict[str, Any],
    statistics: dict[str, Any],
    model: ModelParams,
    pretrain: StageParams,
    finetune: StageParams,
    evaluate: EvaluateParams,
    params: AblateParams,
    store: Any,
    tracker: Any,
) -> dict[str, Any]:
    """Train and measure every variant with every seed, as far as that is not done yet.

    Args:
        samples: the sample index.
        features: ``FrameFeatures`` that were made for ``model``.
        tokenizer: content of tokenizer.json.
        statistics: of states and actions.
        model, pretrain, finetune: what the variants override.
        evaluate: windows and maps.
        params: variants, budget, seeds.
        store: ``TrialStore``.
        tracker: ``Tracker``; curves are called ``<variant>/seed_<seed>/<stage>/…``.

    Returns:
        ``{"trials": [{"variant", "changes", "against", "seed", "training", "parameters", "steps",
        "seconds", "step_seconds", "milliseconds", "threshold", "statistics"}, …], "meta": {…}}``.

    Raises:
        ValueError: a variant that names what does not exist, or needs features that are not cached.
    """
    trials = make_trials(params, model, pretrain, finetune)
    own_features = {trial.variant: features_for(trial.model, features, model) for trial in trials}
    desk = _Desk(samples, features, evaluate)
    records = []
    for trial in tqdm(trials, "ablate", unit="trial"):
        own = own_features[trial.variant]
        chosen = desk.samples_for(trial.model.keyframes)
        material = Material(samples, chosen, own, tokenizer, statistics)
        key, checkpoint = trained(trial, material, store, tracker)
        noted = f"measure-{key.partition('-')[2]}-{desk.key(trial)}"
        record = store.record(noted)
        if record is None:
            record = _measured(trial, desk.exam_for(trial), checkpoint, own, evaluate)
            store.note(noted, record)
        records.append(
            {
                "variant": trial.variant,
                "changes": dict(trial.changes),
                "against": trial.settings.against or params.reference,
                "seed": trial.seed,
                "training": key,
                **record,
            }
        )
        if tracker:
            _report(tracker, records[-1], trial)
    return {"trials": records, "meta": desk.about(params)}


class _Desk:
    """What trials share: samples with a sampler's choices, and windows with their truth, each made once."""

    def __init__(self, samples: pd.DataFrame, features: Any, params: EvaluateParams) -> None:
        self.samples, self.features, self.params = samples, features, params
        windows = draw_windows(samples, params)
        self.windows = windows[windows["split"] != "train"]
        self._samples: dict[str, pd.DataFrame] = {}
        self._exams: dict[str, Exam] = {}

    def samples_for(self, keyframes: KeyframeParams) -> pd.DataFrame:
        """The sample index; with a column of chosen keyframes, where the sampler looks at what frames show."""
        if keyframes.name == "uniform":
            return self.samples
        key = keyframes.model_dump_json()
        if key not in self._samples:
            rows = self.samples[self.samples["task"] == "finetune"]
            rows = rows[rows["split"].isin(("train", "val"))]
            chosen = chosen_keyframes(rows, self.features, keyframes, keyframes.count)
            column = pd.Series(chosen, rows.index, dtype=object).reindex(self.samples.index)
            self._samples[key] = self.samples.assign(keyframes=column)
        return self._samples[key]

    def sampler_for(self, trial: Trial) -> KeyframeParams:
        """The sampler of the windows that a trial is measured on."""
        return trial.model.keyframes.model_copy(update={"name": trial.settings.sampler})

    def exam_for(self, trial: Trial) -> Exam:
        """The windows that a trial is measured on, with their truth."""
        sampler = self.sampler_for(trial)
        key = sampler.model_dump_json()
        if key not in self._exams:
            windows = self.windows
            if sampler.name != "uniform":  # those of draw_windows are
                chosen = chosen_keyframes(windows, self.features, sampler, self.params.keyframes)
                windows = windows.assign(keyframes=[list(frames) for frames in chosen])
            self._exams[key] = make_exam(windows, self.features, self.params)
        return self._exams[key]

    def key(self, trial: Trial) -> str:
        """Names everything that a measurement depends on beside the model."""
        from vln_heatmap.nodes.training.state import digest

        windows = self.windows.astype(str).to_csv(index=False)
        irrelevant = {"resamples", "workers", "examples", "training_windows"}
        settings = self.params.model_dump(mode="json", exclude=irrelevant)
        sampler = self.sampler_for(trial).model_dump(mode="json", exclude={"count"})
        return digest(windows, self.features.fingerprint, settings, sampler, MEASURES)[:16]

    def about(self, params: AblateParams) -> dict[str, Any]:
        """Facts for the results' section "meta"."""
        test = self.windows[self.windows["split"] == "test"]
        budget = params.model_dump(mode="json", include={"steps", "pretrain_steps", "seeds", "reference"})
        return {
            "scenes": int(test["scene"].nunique()),
            "samples": len(test),
            "maps": int(test["keyframes"].map(len).sum()),
            "validation_samples": len(self.windows) - len(test),
            "map_size": [self.params.size, self.params.size],
            "keyframes": self.params.keyframes,
            "training_samples": int((self.samples["split"] == "train").sum()),
            **budget,
        }


def _measured(
    trial: Trial, exam: Exam, checkpoint: Any, features: Any, params: EvaluateParams
) -> dict[str, Any]:
    from vln_heatmap.nodes.model.predictor import HeatmapPredictor

    predictor = HeatmapPredictor.from_checkpoint(checkpoint.path, placement=trial.model.placement)
    model, odometry = predictor.model, trial.model.head.odometry
    method = ModelMethod(predictor, model.groups, {}, odometry=odometry)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        **checkpoint.meta["trial"],
        **examined(exam, method, features, params),
    }


def _report(tracker: Any, record: Mapping[str, Any], trial: Trial) -> None:
    """The trial's own numbers, as soon as they are there."""
    curves = tracker.under(f"{trial.name}/test")
    for key in COMPARED:
        statistic = unpack(record["statistics"]["all"][key])
        found = value(statistic, _scenes(record))
        if found is not None:
            curves.log_metrics({key: found}, 0)
    curves.flush()


def _scenes(record: Mapping[str, Any]) -> int:
    return len(record["statistics"]["all"]["auc"]["auc"]["positives"])


def compare_variants(
    runs: Mapping[str, Any], evaluate: EvaluateParams
) -> tuple[dict[str, Any], pd.DataFrame]:
    """All numbers: each variant's mean over its seeds, and its difference to what it is compared with.

    Args:
        runs: see ``run_variants``.
        evaluate: bootstrap.

    Returns:
        ``{"variants": {name: {"changes", "parameters", "steps", "seconds", "step_seconds", "milliseconds",
        measure: value, measure_ci: [low, high], …, "everything": {…}, "referring": {…}, "seeds": {measure:
        [value, …]}, "difference": {"against": name, measure: value, measure_ci: […], "everything": {…},
        "referring": {…}}}}, "meta": {…}}``, and the same as a table with columns variant, kind, metric, value,
        low, high, difference, difference_low, difference_high. Intervals are over scenes; a variant has no
        difference to itself.
    """
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for record in runs["trials"]:
        by_name.setdefault(record["variant"], []).append(record)
    weights = scene_weights(_scenes(runs["trials"][0]), evaluate.resamples, evaluate.seed)
    means = {name: _means(records) for name, records in by_name.items()}
    variants = {}
    for name, records in by_name.items():
        against = records[0]["against"]
        section = _section(records, means[name], weights)
        if against != name:
            section["difference"] = {
                "against": against,
                **_differences(means[name], means[against], weights),
            }
        variants[name] = section
    return {"variants": variants, "meta": dict(runs["meta"])}, variants_table(variants)


def _means(records: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Statistic]]:
    """By kind and measure, the mean over seeds."""
    records = list(records)
    return {
        kind: {
            key: MeanOf(tuple(unpack(record["statistics"][kind][key]) for record in records))
            for key in MEASURES
        }
        for kind in ("all", *KINDS)
    }


def _section(
    records: list[Mapping[str, Any]], means: Mapping[str, Mapping[str, Statistic]], weights: Floats
) -> dict[str, Any]:
    """Everything that is told of one variant but its difference."""
    scenes = weights.shape[1]
    each = {
        key: [value(unpack(record["statistics"]["all"][key]), scenes) for record in records]
        for key in COMPARED
    }
    return {
        "changes": dict(records[0]["changes"]),
        "parameters": records[0]["parameters"],
        "steps": records[0]["steps"],
        "seconds": float(np.mean([record["seconds"] for record in records])),
        "step_seconds": float(np.median([record["step_seconds"] for record in records])),
        "milliseconds": float(np.mean([record["milliseconds"] for record in records])),
        **summary(means["all"], weights),
        **{kind: summary(means[kind], weights) for kind in KINDS},
        "seeds": each,
    }


def _differences(
    own: Mapping[str, Mapping[str, Statistic]], other: Mapping[str, Mapping[str, Statistic]], weights: Floats
) -> dict[str, Any]:
    """Paired differences over the same drawn scenes, of all windows and by kind."""
    found: dict[str, Any] = {}
    for kind in own:
        numbers: dict[str, Any] = {}
        for key in COMPARED:
            difference = Difference(own[kind][key], other[kind][key])
            numbers[key] = value(difference, weights.shape[1])
            numbers[f"{key}_ci"] = interval(difference, weights)
        found |= numbers if kind == "all" else {kind: numbers}
    return found


def variants_table(variants: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Section "variants" of the results as one row per variant, kind and measure."""
    rows = []
    for name, entry in variants.items():
        margins = entry.get("difference") or {}
        for kind in ("all", *KINDS):
            numbers = entry if kind == "all" else entry[kind]
            apart = margins if kind == "all" else margins.get(kind, {})
            for key in MEASURES:
                spread = numbers[f"{key}_ci"] or (None, None)
                margin = apart.get(f"{key}_ci") or (None, None)
                rows.append((name, kind, key, numbers[key], *spread, apart.get(key), *margin))
    numeric = ["value", "low", "high", "difference", "difference_low", "difference_high"]
    table = pd.DataFrame(rows, columns=["variant", "kind", "metric", *numeric])
    return table.astype(dict.fromkeys(numeric, "float64"))


def draw_ablation(results: Mapping[str, Any]) -> Any:
    """All variants with their intervals and differences, from the results."""
    about = results["meta"]
    seeds = f"{len(about['seeds'])} seeds" if len(about["seeds"]) > 1 else "one seed"
    title = f"What each part is worth: {measured_on(about)}, {seeds}"
    return ablation_plot(results["variants"], reference=about["reference"], title=title)
