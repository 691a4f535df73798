"""Variants trained and measured side by side in the tiny world: once each, fairly, and told as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import synthetic
from box_walks import walk

from vln_heatmap.datasets.frame_features import FeatureStream, FrameFeatureDataset
from vln_heatmap.datasets.trial_store import TrialStore, TrialStoreDataset
from vln_heatmap.nodes import ablate_training
from vln_heatmap.nodes.ablate import compare_variants, draw_ablation, run_variants
from vln_heatmap.nodes.ablate_measures import MEASURES
from vln_heatmap.nodes.features import frame_arrays
from vln_heatmap.nodes.model.encoder2d import make_encoder
from vln_heatmap.params import AblateParams, EvaluateParams, StageParams
from vln_heatmap.reporting.ablation_figure import PANELS

EVALUATE = EvaluateParams(
    windows=4, validation_windows=3, keyframes=2, size=8, sampled=24, resamples=20, workers=1
)
VARIANTS: dict[str, dict[str, Any]] = {
    "reference": {},
    "no_encoder": {"model.encoder.name": "none", "ablate.pretrain_steps": 0},
    "measured_with_fast": {"ablate.sampler": "fast", "ablate.against": "measured_with_fast"},
    "sampler_fast": {
        "model.keyframes.name": "fast",
        "ablate.sampler": "fast",
        "ablate.against": "measured_with_fast",
    },
}
PARAMS = AblateParams.model_validate({"variants": VARIANTS, "seeds": [0, 1], "steps": 2, "pretrain_steps": 1})
Data = dict[str, Any]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Walks of a house to train in, one to validate in and two to test in, with an encoder's own features."""
    walks = synthetic.walks() | {
        f"house_0000{n}_00": walk(f"house_0000{n}_00", a) for n, a in ((2, "flflfrff"), (3, "rfrflfll"))
    }
    encoder = make_encoder(synthetic.PARAMS.encoder)
    dataset = FrameFeatureDataset(filepath=str(tmp_path_factory.mktemp("features")))
    resolution = synthetic.PARAMS.vggt.resolution
    dataset.save(
        FeatureStream(
            "boxes", tuple(walks), lambda ids: ((i, frame_arrays(walks[i], encoder, resolution)) for i in ids)
        )
    )
    samples = synthetic.sample_table(walks)
    samples["split"] = samples["scene"].str[-1].map({"0": "train", "1": "val", "2": "test", "3": "test"})
    return {
        "samples": samples,
        "features": dataset.load(),
        "tokenizer": synthetic.TOKENIZER,
        "statistics": {"state": {"mean": [0.5]}},
        "model": synthetic.PARAMS,
        "pretrain": single_views(),
        "finetune": synthetic.STAGE,
        "evaluate": EVALUATE,
    }


def single_views() -> StageParams:
    """The toy's training, without what single views do not have."""
    content = synthetic.STAGE.model_dump()
    content["train"]["loss"]["weights"] |= {"classes": 0.0}
    return StageParams.model_validate(content)


def run(data: Data, store: TrialStore, params: AblateParams = PARAMS, **changes: Any) -> dict[str, Any]:
    return run_variants(**data | changes, params=params, store=store, tracker=None)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TrialStore:
    return TrialStoreDataset(filepath=str(tmp_path_factory.mktemp("store"))).load()


@pytest.fixture(scope="module")
def runs(data: Data, store: TrialStore) -> dict[str, Any]:
    """All trials; through JSON, as the catalog keeps them."""
    return json.loads(json.dumps(run(data, store), allow_nan=False))


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("this was done before")


def test_every_variant_is_tried_with_every_seed(runs: dict[str, Any]) -> None:
    assert [(t["variant"], t["seed"]) for t in runs["trials"]] == [(v, s) for s in (0, 1) for v in VARIANTS]
    by_name = {t["variant"]: t for t in runs["trials"]}
    assert by_name["no_encoder"]["parameters"] < by_name["reference"]["parameters"]
    assert all(t["seconds"] > 0 and t["milliseconds"] > 0 for t in runs["trials"])
    assert {name: t["steps"] for name, t in by_name.items()} == dict.fromkeys(VARIANTS, 3) | {"no_encoder": 2}
    assert by_name["sampler_fast"]["against"] == "measured_with_fast"
    assert runs["meta"]["scenes"] == 2


def test_trainings_that_would_be_the_same_are_one(runs: dict[str, Any], store: TrialStore) -> None:
    keys = {(t["variant"], t["seed"]): t["training"] for t in runs["trials"]}
    for seed in (0, 1):
        assert keys["measured_with_fast", seed] == keys["reference", seed]
    assert len(set(keys.values())) == 2 * 3
    made = sorted(path.parent.name.split("-")[0] for path in store.folder.glob("*/checkpoint"))
    assert made == ["finetune"] * 6 + ["pretrain"] * 4  # samplers share the training on single views
    assert not list(store.folder.glob("*/training.safetensors"))  # finished ones have no state left


def test_a_second_run_does_nothing_and_says_the_same(
    data: Data, runs: dict[str, Any], store: TrialStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pretrain", "finetune", "untrained"):
        monkeypatch.setattr(ablate_training, name, refuse)
    monkeypatch.setattr("vln_heatmap.nodes.ablate.examined", refuse)
    assert run(data, store) == runs
    more = AblateParams.model_validate(
        PARAMS.model_dump() | {"variants": {**VARIANTS, "odometry": {"model.head.odometry": True}}}
    )
    with pytest.raises(AssertionError, match="done before"):  # what is new has to be trained
        run(data, store, more)


def test_other_windows_are_measured_with_the_same_trainings(
    data: Data, runs: dict[str, Any], store: TrialStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pretrain", "finetune", "untrained"):
        monkeypatch.setattr(ablate_training, name, refuse)
    fewer = EVALUATE.model_copy(update={"windows": 2, "resamples": 30})
    only = AblateParams.model_validate(PARAMS.model_dump() | {"variants": {"reference": {}}, "seeds": [1]})
    (trial,) = run(data, store, only, evaluate=fewer)["trials"]
    first = next(t for t in runs["trials"] if (t["variant"], t["seed"]) == ("reference", 1))
    assert trial["training"] == first["training"]
    assert trial["statistics"] != first["statistics"]


def test_an_interrupted_trial_goes_on_where_it_was(
    data: Data, runs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when pretraining is stored and finetuning is not: only the second is done again."""
    fresh = TrialStore(tmp_path)
    only = AblateParams.model_validate(PARAMS.model_dump() | {"variants": {"reference": {}}, "seeds": [0]})
    with monkeypatch.context() as patch:
        patch.setattr(ablate_training, "finetune", refuse)
        with pytest.raises(AssertionError):
            run(data, fresh, only)
    monkeypatch.setattr(ablate_training, "pretrain", refuse)
    (trial,) = run(data, fresh, only)["trials"]
    first = runs["trials"][0]
    assert trial["training"] == first["training"]
    assert trial["statistics"] == first["statistics"]


def test_the_training_of_another_sampler_is_given_its_keyframes(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, pd.DataFrame] = {}

    def watched(samples: pd.DataFrame, *_: Any) -> Any:
        given["samples"] = samples
        raise KeyboardInterrupt

    monkeypatch.setattr(ablate_training, "finetune", watched)
    fast = {"reference": {"model.keyframes.name": "fast", "ablate.pretrain_steps": 0}}
    with pytest.raises(KeyboardInterrupt):
        run(data, TrialStore(tmp_path), AblateParams.model_validate(PARAMS.model_dump() | {"variants": fast}))
    rows = given["samples"]
    used = rows[(rows["task"] == "finetune") & (rows["split"] != "test")]
    assert used["keyframes"].map(len).eq(3).all()
    assert all(set(row.keyframes) <= set(row.candidates) for row in used.itertuples())
    assert rows.drop(columns="keyframes").equals(data["samples"])


def test_differences_are_those_of_the_means_and_paired(runs: dict[str, Any]) -> None:
    results, table = compare_variants(runs, EVALUATE)
    variants = results["variants"]
    assert list(variants) == list(VARIANTS)
    assert "difference" not in variants["reference"] | variants["measured_with_fast"]
    for name, against in (("no_encoder", "reference"), ("sampler_fast", "measured_with_fast")):
        margin = variants[name]["difference"]
        assert margin["against"] == against
        for kind in ("all", "everything", "referring"):
            own, other, apart = (
                v if kind == "all" else v[kind] for v in (variants[name], variants[against], margin)
            )
            assert apart["auc"] == pytest.approx(own["auc"] - other["auc"])
    for entry in variants.values():
        assert entry["auc"] == pytest.approx(sum(entry["seeds"]["auc"]) / 2)
        assert len(set(entry["seeds"]["auc"])) == 2
    assert len(table) == len(VARIANTS) * 3 * len(MEASURES)
    (row,) = table.query("variant == 'no_encoder' and kind == 'referring' and metric == 'iou'").itertuples()
    assert row.value == variants["no_encoder"]["referring"]["iou"]
    assert row.difference == variants["no_encoder"]["difference"]["referring"]["iou"]
    assert table.query("variant == 'reference'")["difference"].isna().all()
    json.dumps(results, allow_nan=False)


def test_a_variant_that_changes_nothing_differs_by_nothing(runs: dict[str, Any]) -> None:
    same = {**runs, "trials": [*runs["trials"], *copies(runs, "reference", "twin")]}
    margin = compare_variants(same, EVALUATE)[0]["variants"]["twin"]["difference"]
    assert margin["auc"] == 0
    assert margin["auc_ci"] == [0, 0]


def copies(runs: dict[str, Any], variant: str, name: str) -> list[dict[str, Any]]:
    return [{**trial, "variant": name} for trial in runs["trials"] if trial["variant"] == variant]


def test_the_figure_shows_every_variant_and_leaves_gaps(runs: dict[str, Any]) -> None:
    results, _ = compare_variants(runs, EVALUATE)
    figure = draw_ablation(results)
    assert len(figure.axes) == len(PANELS)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [name.replace("_", " ") for name in VARIANTS]
    lines = [len(axes.lines) for axes in figure.axes]
    assert lines == [4 * 3, 2 * 3 + 1, 4 * 3, 2 * 3 + 1]  # seeds, interval, value; the zero line
    assert "2 houses never seen in training, 2 seeds" in figure.get_suptitle()
