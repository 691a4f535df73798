"""What is kept of a model's answers is enough to get every number of evaluate from it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from evaluation_world import GROUPS, SIDE, PaintedWorld, painted_world

from vln_heatmap.nodes.ablate_measures import (
    MEASURES,
    chosen_keyframes,
    examined,
    make_exam,
    pack,
    unpack,
)
from vln_heatmap.nodes.baselines import encoder_cosine, geometry
from vln_heatmap.nodes.evaluate import answer_windows, draw_windows, measure, training_means
from vln_heatmap.nodes.evaluation_windows import cached_window, read_window, window_truth
from vln_heatmap.nodes.metrics.bootstrap import MeanOf, PooledAuc, Ratio, scene_weights, summary
from vln_heatmap.nodes.model.keyframes import make_sampler
from vln_heatmap.params import EvaluateParams, KeyframeParams
from vln_heatmap.reporting.tables import MODEL

PARAMS = EvaluateParams(
    windows=8,
    validation_windows=6,
    training_windows=6,
    keyframes=2,
    size=14,
    sampled=SIDE,
    sigma=0,
    resamples=50,
)


class Oracle:
    """A method that is right or, without poses, nearly so."""

    groups, origin = GROUPS, {"checkpoint": "2026-01-01", "preset": "oracle"}

    def __call__(self, window: Any, size: Any) -> Any:
        known = geometry(window, size, sigma=0)
        plain = encoder_cosine(window, size)
        return type(known)(plain.scores, known.distribution, known.validity, known.classes)


@pytest.fixture(scope="module")
def world() -> tuple[PaintedWorld, Any]:
    return painted_world()


def test_the_numbers_are_those_of_evaluate(world: tuple[PaintedWorld, Any]) -> None:
    walks, samples = world
    windows = draw_windows(samples, PARAMS)
    means = training_means(windows, walks, walks, PARAMS)
    expected = measure(answer_windows(windows, walks, walks, Oracle(), means, PARAMS), PARAMS)[0]["heatmap"][
        MODEL
    ]
    exam = make_exam(windows, walks, PARAMS)
    found = json.loads(json.dumps(examined(exam, Oracle(), walks, PARAMS)))
    weights = scene_weights(len(exam.scenes), PARAMS.resamples, PARAMS.seed)
    assert found["threshold"] == expected["threshold"]
    assert found["milliseconds"] > 0
    for kind, packed in found["statistics"].items():
        assert list(packed) == list(MEASURES)
        numbers = summary({key: unpack(one) for key, one in packed.items()}, weights)
        assert numbers == {key: (expected if kind == "all" else expected[kind])[key] for key in numbers}


def test_a_model_without_encoder_is_evaluated_without_the_encoder_s_baseline(
    world: tuple[PaintedWorld, Any],
) -> None:
    class Bare(Oracle):
        groups = ()

        def __call__(self, window: Any, size: Any) -> Any:
            return geometry(window, size, sigma=0)

    walks, samples = world
    windows = draw_windows(samples, PARAMS)
    means = training_means(windows, walks, walks, PARAMS)
    bare, whole = (
        set(answer_windows(windows, walks, walks, model, means, PARAMS).maps["test"])
        for model in (Bare(), Oracle())
    )
    assert whole - bare == {"encoder_cosine"}


def test_windows_are_opened_without_their_pictures(world: tuple[PaintedWorld, Any]) -> None:
    walks, samples = world
    for row in draw_windows(samples, PARAMS).itertuples(index=False):
        quick, whole = cached_window(row, walks, GROUPS), read_window(row, walks, walks, GROUPS)
        assert quick.rgb.size == 0 < whole.rgb.size
        for name, value in vars(whole).items():
            if name != "rgb":
                np.testing.assert_equal(getattr(quick, name), value)
        truths = [window_truth(window, 0, PARAMS).targets for window in (quick, whole)]
        np.testing.assert_equal(vars(truths[0]), vars(truths[1]))


def test_statistics_survive_packing_with_all_that_is_undefined() -> None:
    rng = np.random.default_rng(0)
    shares = rng.random((2, 4))
    statistics = [
        Ratio(shares[0], shares[1]),
        Ratio(np.zeros(4), np.zeros(4), empty=1.0, samples=np.array([1.0, 0, 2, 0])),
        PooledAuc(rng.random((4, 4)), shares[0], shares[1]),
    ]
    weights = np.vstack([scene_weights(4, 20, 0), np.eye(4)])
    for statistic in (*statistics, MeanOf(tuple(statistics))):
        packed = json.loads(json.dumps(pack(statistic), allow_nan=False))
        np.testing.assert_array_equal(unpack(packed).values(weights), statistic.values(weights))
    with pytest.raises(TypeError, match="object cannot be packed"):
        pack(object())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["uniform", "fast", "space_aware"])
def test_samplers_choose_of_a_row_s_candidates_by_the_simulator_s_truth(
    world: tuple[PaintedWorld, Any], name: Any
) -> None:
    walks, samples = world
    params = KeyframeParams(name=name)
    for candidates, chosen in zip(
        samples["candidates"], chosen_keyframes(samples, walks, params, 3), strict=True
    ):
        assert len(chosen) == min(3, len(candidates))
        assert set(chosen) <= set(candidates)
        if name == "fast" and candidates:
            poses = walks[samples["sequence_id"][0]].poses[candidates]  # all walks move alike
            assert list(chosen) == make_sampler(params).sample(candidates, 3, poses=poses).tolist()
