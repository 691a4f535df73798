"""From the quality of data to what training gives: known lines are found, too little is said to be so."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import Metric

from vln_heatmap.datasets.tracker import Tracker
from vln_heatmap.nodes.quality.controller import SCORES
from vln_heatmap.nodes.quality.effect import RunOutcome, fit_effect, predict_effect
from vln_heatmap.nodes.training_effect import finished_runs, predict_training_effect
from vln_heatmap.params import ValidateParams
from vln_heatmap.params.data import EffectParams

PARAMS = EffectParams()
TRUE = np.array([0.3, 0.0, 0.2, 0.05, 0.1])


def runs(count: int, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.5, 1.0, (count, 5))
    return scores, 0.2 + scores @ TRUE + rng.normal(0, noise, count)


def test_coefficients_are_found_from_runs() -> None:
    scores, outcomes = runs(40)
    model = fit_effect(scores, outcomes, EffectParams(ridge=1e-6))
    assert model.fitted
    np.testing.assert_allclose(model.coefficients, TRUE, atol=1e-4)
    assert model.intercept == pytest.approx(0.2, abs=1e-4)
    assert model.predict([1.0] * 5) == pytest.approx(0.85, abs=1e-4)
    assert model.error < 1e-4


def test_with_a_strong_ridge_only_the_slope_of_the_plan_is_learned() -> None:
    rng = np.random.default_rng(1)
    scores = rng.uniform(0.5, 1.0, (30, 5))
    weights = np.array(PARAMS.weights)
    model = fit_effect(scores, 0.1 + 0.7 * scores @ weights, EffectParams(ridge=1e6))
    np.testing.assert_allclose(model.coefficients, 0.7 * weights, rtol=1e-4)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), noise=st.floats(0, 2))
def test_quality_never_hurts(seed: int, noise: float) -> None:
    scores, outcomes = runs(9, noise, seed)
    model = fit_effect(scores, -outcomes if seed % 2 else outcomes, PARAMS)
    assert min(model.coefficients) >= 0
    assert np.isfinite([*model.coefficients, model.intercept, model.error]).all()


def test_too_few_runs_and_runs_alike_leave_the_weights_of_the_plan() -> None:
    few = fit_effect(*runs(7), PARAMS)
    assert not few.fitted
    assert few.coefficients == pytest.approx(PARAMS.weights)
    assert few.reason == "7 finished runs with known data, a fit needs 8"
    alike = fit_effect(np.ones((9, 5)), np.arange(9.0), PARAMS)
    assert not alike.fitted
    assert "data of all 9 runs are alike" in alike.reason


def test_prediction_without_runs_is_the_weighted_quality() -> None:
    scores = dict(zip(SCORES, (0.8, 1.0, 0.5, 1.0, 0.95), strict=True))
    effect = predict_effect(scores, [], PARAMS)
    assert effect["effect"] == pytest.approx(0.25 * 0.8 + 0.2 + 0.2 * 0.5 + 0.15 + 0.2 * 0.95)
    assert effect["converges"]
    assert effect["relative_steps"] == pytest.approx(1 / effect["effect"], rel=1e-3)
    assert effect["metric"] is effect["steps"] is None
    assert [(item["score"], item["gain"]) for item in effect["adjustments"]] == [
        ("coverage", 0.1),
        ("geometric", 0.05),
    ]
    assert "coverage_optimisation" in effect["adjustments"][0]["advice"]
    assert json.loads(json.dumps(effect, allow_nan=False)) == effect


def test_prediction_from_runs_gives_metric_and_steps() -> None:
    """Steps halve for each tenth of coverage."""
    scores, _ = runs(30)
    outcomes = [
        RunOutcome(tuple(row), 0.5 + 0.4 * row[2], 1000 * 2 ** (-10 * (row[2] - 0.5))) for row in scores
    ]
    effect = predict_effect(
        dict(zip(SCORES, [1, 1, 0.9, 1, 1], strict=True)), outcomes, EffectParams(ridge=1e-6)
    )
    assert effect["model"]["fitted"]
    assert effect["metric"] == pytest.approx(0.86, abs=1e-3)
    assert effect["steps"] == pytest.approx(1000 / 16, rel=0.02)
    assert effect["relative_steps"] == pytest.approx(2, rel=0.02)
    assert effect["adjustments"] == []  # 0.9 is what is aimed at
    assert effect["model"]["coefficients"]["coverage"] == pytest.approx(0.4, abs=1e-3)


# --- runs in MLflow ---------------------------------------------------------------------------------------


@pytest.fixture
def client(tmp_path: Path, empty_tracking_db: Path) -> MlflowClient:
    import shutil

    shutil.copy(empty_tracking_db, tmp_path / "mlflow.db")
    return MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")


def logged(
    client: MlflowClient, tags: dict[str, str], metrics: dict[str, Any], *, preset: str = "tiny"
) -> str:
    run = client.create_run("0", tags=tags).info.run_id
    client.log_param(run, "model.preset", preset)
    points = [
        Metric(name, float(value), 0, 10 * step)
        for name, values in metrics.items()
        for step, value in enumerate(np.atleast_1d(values))
    ]
    client.log_batch(run, metrics=points)
    client.set_terminated(run)
    return run


def trained(client: MlflowClient, number: int, scores: np.ndarray, **options: Any) -> None:
    """The three runs that a training leaves if every stage is run on its own."""
    v = f"v{number}"
    quality = {f"validate/quality/{name}": value for name, value in zip(SCORES, scores, strict=True)}
    logged(client, {"saved.validated_index": v}, quality)
    logged(client, {"loaded.validated_index": v, "saved.samples": v}, {})
    curve = [0.5, 0.6, 0.5 + 0.4 * scores[2], 0.55]
    logged(client, {"loaded.samples": v, "saved.finetuned_model": v}, {"val/auc": curve}, **options)


def tracker_of(client: MlflowClient) -> Tracker:
    return Tracker(client.tracking_uri, client.create_run("0").info.run_id)


def index(coverage: float) -> pd.DataFrame:
    columns = {f"quality_{name}": [1.0, 0.2] for name in SCORES} | {"quality_coverage": [coverage, 0.2]}
    return pd.DataFrame({"id": ["a", "b"], "accepted": [True, False], **columns})


def test_runs_are_read_with_the_quality_of_their_data(client: MlflowClient) -> None:
    scores, _ = runs(9)
    for number, row in enumerate(scores):
        trained(client, number, row)
    trained(client, 50, scores[0], preset="full")  # another model: not comparable
    logged(client, {"loaded.samples": "unknown", "saved.finetuned_model": "x"}, {"val/auc": 0.9})
    logged(client, {"saved.finetuned_model": "y", "loaded.samples": "v3"}, {})  # without a metric
    found = finished_runs(tracker_of(client), PARAMS)
    assert len(found) == 9
    by_scores = {run.scores: run for run in found}
    for row in scores:
        run = by_scores[tuple(row)]
        assert run.metric == pytest.approx(0.5 + 0.4 * row[2])
        assert run.steps == 20.0
    params = ValidateParams(frames={}, sequences={}, effect={"ridge": 1e-6})
    effect = predict_training_effect(index(0.7), params, tracker_of(client))
    assert effect["model"]["fitted"]
    assert effect["model"]["runs"] == 9
    assert effect["metric"] == pytest.approx(0.78, abs=0.01)
    assert effect["adjustments"][0]["score"] == "coverage"
    assert effect["scores"]["visual"] == 1.0  # of accepted sequences only


def test_without_runs_or_server_the_plan_stands(
    client: MlflowClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    params = ValidateParams(frames={}, sequences={})
    for tracker in (Tracker(), tracker_of(client)):
        effect = predict_training_effect(index(1.0), params, tracker)
        assert effect["effect"] == 1.0
        assert effect["model"]["reason"].startswith("0 finished runs")
    lost = Tracker(client.tracking_uri, "no-such-run")
    assert finished_runs(lost, PARAMS) == []
    assert "cannot be read" in caplog.text
    assert finished_runs(SimpleNamespace(), PARAMS) == []


def test_nothing_accepted_is_an_error() -> None:
    with pytest.raises(ValueError, match="no accepted sequence"):
        predict_training_effect(
            index(1.0).assign(accepted=False), ValidateParams(frames={}, sequences={}), Tracker()
        )
