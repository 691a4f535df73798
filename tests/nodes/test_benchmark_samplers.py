"""The comparison of samplers in a world in closed form: a camera that passes a wall."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from evaluation_world import DEPTH, FRAMES, GROUPS, SIDE, STEP, PaintedWalk, painted_world

from vln_heatmap.nodes.baselines import geometry
from vln_heatmap.nodes.benchmark_samplers import (
    OF_CHOICE,
    OF_HEATMAPS,
    answer_choices,
    choose_keyframes,
    draw_samplers,
    measure_samplers,
)
from vln_heatmap.nodes.evaluate import answer_windows, measure, training_means
from vln_heatmap.nodes.evaluation_windows import draw_windows
from vln_heatmap.nodes.model.keyframes.truth import true_geometry
from vln_heatmap.params import EvaluateParams, ModelParams, SamplerBenchmarkParams
from vln_heatmap.reporting.sampler_figure import PANELS
from vln_heatmap.reporting.tables import MODEL

EVALUATE = EvaluateParams(
    windows=8,
    validation_windows=6,
    training_windows=6,
    keyframes=2,
    size=14,
    sampled=SIDE,
    sigma=0,
    resamples=50,
)
PARAMS = SamplerBenchmarkParams(windows=8, validation_windows=6, pixels=SIDE, voxel=0.02)


class Oracle:
    """A model that knows the geometry."""

    groups, origin = GROUPS, {"checkpoint": "2026-01-01", "preset": "oracle"}

    def __call__(self, window: Any, size: Any) -> Any:
        return geometry(window, size, sigma=0)


@pytest.fixture(scope="module")
def choices() -> Any:
    world, samples = painted_world()
    return choose_keyframes(samples, world, ModelParams(), EVALUATE, PARAMS)


@pytest.fixture(scope="module")
def measured(choices: Any) -> tuple[Any, Any]:
    world, _ = painted_world()
    return measure_samplers(answer_choices(choices, world, world, Oracle(), EVALUATE), EVALUATE, PARAMS)


def test_true_points_lie_on_the_wall() -> None:
    frames = np.array([0, 3])
    points, poses = true_geometry(PaintedWalk(0), frames, 7)
    assert points.shape == (2, 7, 7, 3)
    assert np.ptp(points[..., 2]) < 1e-5
    assert abs(points[0, 0, 0, 2]) == pytest.approx(DEPTH)
    np.testing.assert_allclose(np.linalg.norm(points[1] - points[0], axis=-1), 3 * STEP, rtol=1e-5)
    np.testing.assert_allclose(poses, PaintedWalk(0).poses[frames])


def test_pixels_without_depth_give_no_point() -> None:
    walk = PaintedWalk(0)
    walk.arrays["depth"][2, :10] = 0
    points, _ = true_geometry(walk, np.arange(FRAMES), SIDE)
    assert np.isnan(points[2, :10]).all()
    assert np.isfinite(points).all(-1).sum() == FRAMES * SIDE**2 - 10 * SIDE


def test_every_sampler_chooses_as_many_of_the_same_candidates(choices: Any) -> None:
    assert set(choices["split"]) == {"val", "test"}
    for _, rows in choices.groupby("sample_id"):
        assert rows["sampler"].tolist() == list(PARAMS.samplers)
        for row in rows.itertuples():
            assert len(row.keyframes) == 2
            assert set(row.keyframes) <= set(row.candidates)


def test_coverage_and_redundancy_are_those_of_strips_on_a_wall(choices: Any) -> None:
    """T frames see 56 + 8 (T - 1) columns; two that are d frames apart cover 56 + 8 d of them."""
    for row in choices.itertuples():
        apart = min(8 * (row.keyframes[1] - row.keyframes[0]), SIDE)
        whole = SIDE + 8 * (len(row.candidates) - 1)
        assert row.coverage == pytest.approx((SIDE + apart) / whole, abs=0.06)
        assert row.redundancy == pytest.approx((SIDE - apart) / (SIDE + apart), abs=0.06)
        if row.sampler in {"fast", "quality", "space_aware"}:  # the two ends: no two frames are farther apart
            assert row.keyframes == [row.candidates[0], row.candidates[-1]]


def test_the_model_on_uniform_keyframes_is_the_model_of_evaluate(measured: tuple[Any, Any]) -> None:
    world, samples = painted_world()
    windows = draw_windows(samples, EVALUATE)
    means = training_means(windows, world, world, EVALUATE)
    plain, _, _ = measure(answer_windows(windows, world, world, Oracle(), means, EVALUATE), EVALUATE)
    uniform = measured[0]["samplers"]["uniform"]
    for key in OF_HEATMAPS:
        assert uniform[key] == plain["heatmap"][MODEL][key]
        assert uniform[f"{key}_ci"] == plain["heatmap"][MODEL][f"{key}_ci"]


def test_margins_are_differences_and_the_table_tells_the_same(measured: tuple[Any, Any]) -> None:
    results, table = measured
    section = results["samplers"]
    assert list(section) == list(PARAMS.samplers)
    assert "over_uniform" not in section["uniform"]
    for name, numbers in section.items():
        for key in (*OF_CHOICE, *OF_HEATMAPS):
            (row,) = table[(table["sampler"] == name) & (table["metric"] == key)].itertuples()
            assert row.value == numbers[key]
            assert numbers[f"{key}_ci"] == [row.low, row.high]
            assert row.low <= row.high
            if name != "uniform":
                difference = numbers[key] - section["uniform"][key]
                assert numbers["over_uniform"][key] == pytest.approx(difference)
    assert section["space_aware"]["over_uniform"]["coverage_ci"][0] > 0  # in every house
    assert section["space_aware"]["over_uniform"]["redundancy_ci"][1] < 0
    assert results["meta"]["voxel"] == PARAMS.voxel


def test_the_newest_candidate_saw_most_of_the_current_view(choices: Any) -> None:
    """All but the eight columns that have come in since, if the newest keyframe is the frame before."""
    world, _ = painted_world()
    answers = answer_choices(choices, world, world, Oracle(), EVALUATE)
    for row in answers.choices.itertuples():
        columns = SIDE - 8 * (row.current - max(row.keyframes))
        assert row.view_seen == pytest.approx(columns / SIDE, abs=0.08)


def test_the_figure_shows_every_measure_and_leaves_gaps(measured: tuple[Any, Any]) -> None:
    results, _ = measured
    figure = draw_samplers(results)
    assert len(figure.axes) == len(PANELS)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(PARAMS.samplers)
    assert [len(axes.lines) for axes in figure.axes] == [2 * len(PARAMS.samplers)] * len(PANELS)
    alone = {"fast": {**results["samplers"]["fast"], "auc": None, "coverage_ci": None}}
    gaps = draw_samplers({**results, "samplers": alone})
    assert [len(axes.lines) for axes in gaps.axes] == [1, 2, 2, 0, 2, 2]
