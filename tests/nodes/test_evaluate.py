"""The evaluate stage with methods whose answers are known."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from evaluation_world import GROUPS, SIDE, painted_world
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from vln_heatmap.datasets import ResultsDataset
from vln_heatmap.nodes.baselines import baselines, geometry
from vln_heatmap.nodes.evaluate import (
    ModelMethod,
    Showcase,
    ahead,
    answer_windows,
    checked,
    measure,
    training_means,
)
from vln_heatmap.nodes.evaluation_windows import draw_windows, read_window, window_truth
from vln_heatmap.nodes.metrics.heatmap import Maps
from vln_heatmap.params import EvaluateParams
from vln_heatmap.pipelines.evaluate import create_pipeline

PARAMS = EvaluateParams(
    windows=8,
    validation_windows=6,
    training_windows=6,
    keyframes=3,
    size=14,
    sampled=SIDE,
    sigma=0,
    resamples=50,
    examples=3,
)


class Oracle:
    """A model that knows the geometry."""

    def __init__(self):
        self.groups, self.origin = GROUPS, {"checkpoint": "2026-01-01", "preset": "oracle"}

    def __call__(self, window, size):
        return geometry(window, size, sigma=0)


@pytest.fixture(scope="module")
def evaluation():
    world, samples = painted_world()
    windows = draw_windows(samples, PARAMS)
    means = training_means(windows, world, world, PARAMS)
    return answer_windows(windows, world, world, Oracle(), means, PARAMS)


@pytest.fixture(scope="module")
def results(evaluation):
    return measure(evaluation, PARAMS)[0]


def test_all_methods_answer_the_same_maps(evaluation):
    assert evaluation.scenes == tuple(f"house_{i:05d}" for i in range(4))
    assert len(evaluation.targets["test"]) == 8 * 3
    assert len(evaluation.targets["val"]) == 6 * 3
    assert set(evaluation.maps["test"]) == {"model", *baselines(None, sigma=0)}
    for maps in evaluation.maps["test"].values():
        assert maps.scores.shape == (24, 14, 14)


def test_who_knows_the_truth_is_perfect(results):
    for name in ("model", "geometry"):
        entry = results["heatmap"][name]
        assert entry["auc"] == entry["auc_within"] == entry["iou"] == entry["validity_accuracy"] == 1
        assert entry["auc_ci"] == [1, 1]
        assert entry["iou_covisible"] == entry["iou_outside"] == 1
        assert entry["everything"]["auc"] == entry["referring"]["auc"] == 1


def test_who_knows_nothing_is_at_chance(results, evaluation):
    entry = results["heatmap"]["all_ones"]
    assert entry["auc"] == 0.5
    assert entry["iou"] == pytest.approx(evaluation.targets["test"].mask.mean())


def test_found_again_without_language_is_better_where_everything_is_meant(results):
    entry = results["heatmap"]["encoder_cosine"]
    assert entry["everything"]["auc"] > 0.99
    assert entry["referring"]["auc"] < 0.9


@pytest.mark.parametrize("kind", ["all", "everything", "referring"])
def test_the_margin_is_over_the_best_competitor(results, kind):
    methods, margin = results["heatmap"], results["meta"]["margin"][kind]["auc"]
    methods = {name: m if kind == "all" else m[kind] for name, m in methods.items()}
    rivals = {name: m["auc"] for name, m in methods.items() if name not in ("model", "geometry")}
    assert margin["over"] == max(rivals, key=rivals.get)
    assert margin["value"] == pytest.approx(methods["model"]["auc"] - max(rivals.values()))
    assert margin["ci"][0] <= margin["value"] <= margin["ci"][1]


def test_results_are_strict_json_and_say_what_was_measured(results):
    stored = json.loads(json.dumps(results, allow_nan=False))
    assert stored["meta"] | {"margin": None} == {
        "scenes": 4,
        "samples": 8,
        "maps": 24,
        "validation_samples": 6,
        "seed": 0,
        "map_size": [14, 14],
        "keyframes": 3,
        "data": "painted",
        "checkpoint": "2026-01-01",
        "preset": "oracle",
        "margin": None,
    }
    assert set(stored["heatmap"]["sift_ransac"]) >= {"auc", "auc_oldest", "kld", "cc", "sim", "peak_error"}


def test_the_table_holds_the_same_numbers(evaluation):
    results, _, table = measure(evaluation, PARAMS)
    row = table.query("method == 'patch_colour' and kind == 'referring' and metric == 'iou'").iloc[0]
    entry = results["heatmap"]["patch_colour"]["referring"]
    assert [row["value"], row["low"], row["high"]] == [entry["iou"], *entry["iou_ci"]]
    assert not table.duplicated(["method", "kind", "metric"]).any()


def test_the_same_evaluation_gives_the_same_numbers(evaluation, results):
    assert measure(evaluation, PARAMS)[0] == results


def test_pipeline_writes_beside_what_other_stages_wrote(tmp_path):
    world, samples = painted_world()
    latest = ResultsDataset(filepath=str(tmp_path / "results.json"))
    latest.save({"navigation": {"sr": 0.5}})
    given = {"samples": samples, "sequences": world, "frame_features": world, "params:evaluate": PARAMS}
    given["model_method"] = Oracle()
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in given.items()})
    for name in ("mean_maps", "evaluation_answers", "figure_sheet", "method_figure"):
        catalog[name] = MemoryDataset(copy_mode="assign")
    catalog["results_latest"] = latest
    pipeline = create_pipeline()
    SequentialRunner().run(pipeline - pipeline.only_nodes("model_method"), catalog)
    stored = latest.load()
    assert stored["navigation"] == {"sr": 0.5}
    assert stored["heatmap"]["model"]["auc"] == 1
    for name in ("figure_sheet", "method_figure"):
        catalog.load(name).savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def test_a_model_becomes_a_method_on_the_evaluation_grid():
    torch = pytest.importorskip("torch")
    seen = {}

    def run(inputs, features, instruction):
        seen["asked"] = (inputs.shape, features.shape, instruction)
        logits = torch.linspace(-4, 4, 7).repeat(1, 1, 3, 7, 1)  # [1, 1, 3, 7, 7], rises to the right
        classes = torch.stack([logits, 0 * logits, -logits], dim=3)  # [1, 1, 3, 3, 7, 7]
        return SimpleNamespace(
            mask_logits=logits,
            distribution_logits=logits,
            validity_logits=torch.zeros(1, 1, 3),
            class_logits=classes,
        )

    world, samples = painted_world()
    row = next(draw_windows(samples, PARAMS).itertuples(index=False))
    window = read_window(row, world, world, GROUPS)
    maps = ModelMethod(SimpleNamespace(run=run), GROUPS, {})(window, (14, 14))
    assert seen["asked"] == (window.inputs.shape, window.features.shape, window.instruction)
    assert maps.scores.shape == maps.classes.shape == maps.distribution.shape == (3, 14, 14)
    assert (np.diff(maps.scores, axis=2) >= 0).all()
    assert maps.scores.min() == pytest.approx(1 / (1 + np.exp(4)), rel=1e-4)
    assert maps.classes[0, 0].tolist() == [2] * 7 + [0] * 7
    assert maps.validity.tolist() == [0.5] * 3


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (Maps(np.full((3, 14, 14), np.nan)), "no numbers"),
        (Maps(np.zeros((3, 14, 14)), validity=np.array([0, np.inf, 0])), "no numbers"),
        (Maps(np.zeros((3, 7, 7))), r"must give maps \(3, 14, 14\)"),
    ],
)
def test_answers_that_are_none_are_refused_by_name(maps, message):
    world, samples = painted_world(8)
    window = read_window(next(draw_windows(samples, PARAMS).itertuples(index=False)), world, world)
    with pytest.raises(ValueError, match=f"'broken'.*{message}"):
        checked("broken", maps, window, (14, 14))


def test_ahead_keeps_order_and_does_not_run_away():
    taken = []

    def items():
        for item in range(20):
            taken.append(item)
            yield item

    results = ahead(lambda item: item, items(), workers=2)
    assert next(results) == 0
    assert len(taken) == 5  # the one given out, and two a worker
    assert list(results) == list(range(1, 20))


def test_errors_of_threads_reach_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda x: 1 // x, [1, 0, 1], workers=2))


def test_showcase_prefers_telling_targets_and_many_scenes():
    world, samples = painted_world()
    showcase, windows = Showcase(), draw_windows(samples, PARAMS.model_copy(update={"windows": 24}))
    shares = {}
    for row in windows[windows["split"] == "test"].itertuples(index=False):
        window = read_window(row, world, world)
        truth = window_truth(window, int(row.scene[-1]), PARAMS)
        share = truth.targets.mask.mean((1, 2))
        shares[window.sample_id] = (share * (1 - share)).mean()
        showcase.offer(window, truth, Maps(truth.mask))
    chosen = [window for window, *_ in showcase.chosen(4)]
    assert len({window.scene for window in chosen}) == 4
    assert sorted(bool(window.referred) for window in chosen) == [False, False, True, True]
    for window in chosen:
        rivals = windows[(windows["scene"] == window.scene) & (windows["instruction"] == window.instruction)]
        assert shares[window.sample_id] == max(shares[i] for i in rivals["sample_id"])
    assert len(showcase.chosen(100)) == 8
