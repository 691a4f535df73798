"""Success metrics through the whole evaluation: who knows the truth passes, who knows nothing passes nothing."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from evaluation_world import DEPTH, GROUPS, SHIFT, SIDE, painted_world

from vln_heatmap.nodes import evaluate
from vln_heatmap.nodes.baselines import geometry
from vln_heatmap.nodes.evaluate import answer_windows, draw_windows
from vln_heatmap.nodes.evaluate_success import measure_costs, measure_success, monitor_accuracy
from vln_heatmap.nodes.evaluation_model import ModelMethod
from vln_heatmap.nodes.evaluation_views import answer_views, choose_views, picked, surfaces
from vln_heatmap.nodes.evaluation_windows import read_window
from vln_heatmap.nodes.metrics.heatmap import Maps
from vln_heatmap.params import EvaluateParams

PARAMS = EvaluateParams(
    windows=16,
    validation_windows=6,
    training_windows=1,
    keyframes=4,
    size=14,
    sampled=SIDE,
    sigma=0,
    resamples=20,
    success_windows=8,
    timed_sequences=1,
)
QUALITY = (
    "distinctness",
    "spatial_accuracy",
    "temporal_consistency",
    "geometric_loss",
    "correspondence_accuracy",
    "reasoning_accuracy",
    "projection_accuracy",
)


class Method:
    """Answers all windows alike: by a function of the shape of the maps and a generator."""

    def __init__(self, function: Any) -> None:
        self.function, self.groups, self.origin = function, GROUPS, {"preset": "test"}
        self.rng = np.random.default_rng(0)

    def __call__(self, window: Any, size: Any) -> Maps:
        scores = self.function((len(window), *size), self.rng)
        return Maps(scores, classes=(self.function(scores.shape, self.rng) < 0.5).astype(np.uint8))

    def without(self, source: str, window: Any, size: Any) -> Maps:
        return self(window, size)


class Oracle(Method):
    """Knows depth, poses and ids; without one of its sources it does not know what is referred to."""

    def __init__(self) -> None:
        super().__init__(None)

    def __call__(self, window: Any, size: Any) -> Maps:
        return geometry(window, size, sigma=0)

    def without(self, source: str, window: Any, size: Any) -> Maps:
        return Maps(np.flip(self(window, size).scores, 2))


def one_hot(shape: tuple[int, ...], _: Any) -> np.ndarray:
    maps = np.zeros(shape)
    maps[:, shape[1] // 2, shape[2] // 2] = 1
    return maps


DEGENERATE = {
    "noise": lambda shape, rng: rng.random(shape),
    "faint noise": lambda shape, rng: 0.5 + 0.01 * rng.random(shape),
    "constant": lambda shape, _: np.full(shape, 0.5),
    "all ones": lambda shape, _: np.ones(shape),
    "all zeros": lambda shape, _: np.zeros(shape),
    "one hot": one_hot,
}


def success(method: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(evaluate, "baselines", lambda *_, **__: {})
    world, samples = painted_world(8)
    windows = draw_windows(samples, PARAMS)
    evaluation = answer_windows(windows, world, world, method, None, PARAMS)
    views = answer_views(windows, world, world, method, PARAMS)
    return measure_success(evaluation, views, {}, PARAMS)[0]


def test_who_knows_the_truth_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    section = success(Oracle(), monkeypatch)["success"]
    for name in QUALITY:
        assert section[name]["value"] == pytest.approx(float(name != "geometric_loss"), abs=1e-6), name
        assert section[name]["passed"] is True
    assert section["fusion_effectiveness"]["value"] > 0.9
    assert section["inference_seconds"]["passed"] is None


@pytest.mark.parametrize("name", DEGENERATE)
def test_who_knows_nothing_passes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    section = success(Method(DEGENERATE[name]), monkeypatch)["success"]
    for metric in (*QUALITY, "fusion_effectiveness"):
        assert section[metric]["passed"] is False, metric
        if metric == "geometric_loss":
            assert section[metric]["value"] > 0.15
        else:
            assert section[metric]["value"] < 0.62, metric


def test_the_section_names_what_it_was_made_from(monkeypatch: pytest.MonkeyPatch) -> None:
    about = success(Oracle(), monkeypatch)["meta"]["success"]
    assert about["windows_asked_again"] == 8
    assert about["auc"]["fused"] == 1
    assert about["auc"]["without_geometry"] == about["auc"]["without_semantics"] < 0.9


def test_a_method_without_sources_has_no_fusion_to_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = SimpleNamespace(groups=GROUPS, origin={})
    method = type("Plain", (), {"__call__": lambda _, w, size: geometry(w, size, sigma=0)})()
    method.__dict__.update(vars(plain))
    results = success(method, monkeypatch)
    assert results["success"]["fusion_effectiveness"]["value"] is None
    assert results["meta"]["success"]["auc"] == {}


# --- other views ------------------------------------------------------------------------------------------


def window(**changes: Any) -> Any:
    world, samples = painted_world(8)
    row = next(draw_windows(samples, PARAMS).itertuples(index=False))
    return read_window(row._replace(**changes), world, world)


def test_the_windows_asked_again_are_spread_evenly() -> None:
    windows = draw_windows(painted_world(8)[1], PARAMS)
    test = windows[windows["split"] == "test"]
    chosen = choose_views(test, 8)
    assert len(chosen) == 8
    assert chosen["scene"].nunique() == test["scene"].nunique()
    assert test.iloc[chosen["position"]]["sample_id"].tolist() == chosen["sample_id"].tolist()
    assert len(choose_views(test, 1000)) == len(test)


def test_picked_frames_keep_their_arrays() -> None:
    given = window(keyframes=[0, 2, 3], current=4)
    swapped = picked(given, np.array([3, 1, 2, 0]))
    assert swapped.frames.tolist() == [4, 2, 3, 0]
    assert swapped.current == 0
    np.testing.assert_array_equal(swapped.rgb[0], given.rgb[3])
    np.testing.assert_array_equal(swapped.poses[3], given.poses[0])


def test_cells_lie_in_another_view_where_the_wall_has_moved() -> None:
    given = window(keyframes=[0, 2, 3], current=4)
    found = surfaces(given, 3, 1, 14)  # frame 4 in frame 2: two steps of SHIFT pixels
    cells = 2 * SHIFT * 14 / SIDE
    columns = np.arange(14) + 0.5
    np.testing.assert_allclose(
        found.x, np.tile(columns + cells, (14, 1)), atol=0.3
    )  # pixels nearest to centres
    np.testing.assert_array_equal(found.seen, np.tile(columns + cells < 14, (14, 1)))


def test_what_moved_between_the_views_is_not_compared() -> None:
    given = window(keyframes=[0, 2, 3], current=4)
    still = np.tile(np.eye(4), (4, 1, 1))
    away = still.copy()
    away[3, 2, 3] = -DEPTH / 10
    seen = surfaces(replace(given, motions={1: away, 2: still}), 3, 1, 14).seen
    moved = given.instance[3][2::4, 2::4] == 1
    assert not seen[moved].any()
    np.testing.assert_array_equal(seen[~moved], surfaces(given, 3, 1, 14).seen[~moved])


# --- costs ------------------------------------------------------------------------------------------------


def test_costs_are_measured_where_they_can_be() -> None:
    world, samples = painted_world(8)
    windows = draw_windows(samples, PARAMS)
    seen: list[Any] = []
    predictor = SimpleNamespace(predict=lambda *args, **more: seen.append((args, more)))
    model = ModelMethod(predictor, GROUPS, {}, training={"epoch_seconds": 90.0})
    costs = measure_costs(windows, world, model, [], PARAMS)
    assert costs["epoch_minutes"] == 1.5
    assert costs["inference_seconds"] >= 0
    (images, _), more = seen[0]
    assert len(images) == len(more["poses"]) > 1  # all frames up to the current view
    assert 0.01 < costs["memory_gib"] < 1000
    assert measure_costs(windows, world, Oracle(), [], PARAMS)["inference_seconds"] is None


def test_the_monitor_is_judged_by_its_own_benchmark() -> None:
    assert 0.5 < monitor_accuracy() <= 1
