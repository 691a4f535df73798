"""The whole set of measures on maps whose values are known in closed form."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vln_heatmap.nodes.metrics.bootstrap import scene_weights, summary, value
from vln_heatmap.nodes.metrics.heatmap import (
    Maps,
    Targets,
    Thresholds,
    choose_thresholds,
    concatenate,
    heatmap_statistics,
    older_half,
)
from vln_heatmap.nodes.metrics.saliency import as_distribution

SIDE = 8


def _targets(maps: int = 8, scenes: int = 4, seed: int = 0) -> Targets:
    rng = np.random.default_rng(seed)
    mask = np.zeros((maps, SIDE, SIDE), bool)
    for index in range(1, maps):  # the first map stays empty
        mask[index, : rng.integers(1, SIDE), : rng.integers(1, SIDE)] = True
    distribution = as_distribution(mask.astype(float)) * mask
    return Targets(
        mask=mask,
        distribution=distribution,
        valid=mask.any((1, 2)),
        classes=np.where(mask, 0, 1 + rng.integers(0, 2, mask.shape)).astype(np.uint8),
        known=np.ones_like(mask),
        scene=np.arange(maps) % scenes,
        oldest=np.arange(maps) % 2 == 0,
        referring=np.arange(maps) >= maps // 2,
    )


def _values(targets: Targets, maps: Maps, thresholds: Thresholds, kind: str = "all", scenes: int = 4) -> dict:
    statistics = heatmap_statistics(targets, maps, thresholds, scenes)[kind]
    return {name: value(statistic, scenes) for name, statistic in statistics.items()}


def test_the_truth_is_perfect_in_every_measure():
    targets = _targets()
    truth = Maps(
        targets.mask.astype(np.float32), targets.distribution, targets.valid.astype(float), targets.classes
    )
    values = _values(targets, truth, choose_thresholds(targets, truth))
    assert {k for k, v in values.items() if v == pytest.approx(1)} == {
        *("auc", "auc_oldest", "auc_within", "iou", "iou_oldest", "cc", "sim", "validity_accuracy"),
        *("iou_covisible", "iou_occluded", "iou_outside", "iou_classes"),
    }
    assert values["peak_error"] == 0
    assert values["kld"] == pytest.approx(0, abs=1e-9)


def test_the_opposite_is_wrong_in_every_ranking():
    targets = _targets()
    values = _values(targets, Maps(-targets.mask.astype(np.float32)), Thresholds(0.0, 0.0))
    assert values["auc"] == values["auc_oldest"] == values["auc_within"] == 0
    assert values["iou"] == 0


def test_constant_scores_know_nothing():
    targets = _targets()
    ones = Maps(np.ones(targets.mask.shape, np.float32))
    values = _values(targets, ones, choose_thresholds(targets, ones))
    assert values["auc"] == values["auc_within"] == 0.5
    assert values["iou"] == pytest.approx(targets.mask.mean())
    assert values["cc"] == 0
    assert values["validity_accuracy"] == pytest.approx(7 / 8)
    assert "iou_covisible" not in values


def test_kinds_and_the_oldest_half_are_what_their_pixels_say():
    targets = _targets(maps=16, seed=3)
    scores = np.random.default_rng(1).random(targets.mask.shape).astype(np.float32)
    statistics = heatmap_statistics(targets, Maps(scores), Thresholds(0.5, 0.5), 4)
    for kind, rows in {
        "all": slice(None),
        "everything": ~targets.referring,
        "referring": targets.referring,
    }.items():
        expected = roc_auc_score(targets.mask[rows].ravel(), scores[rows].ravel())
        assert value(statistics[kind]["auc"], 4) == pytest.approx(expected)
    half = targets.select(targets.referring & targets.oldest)
    expected = roc_auc_score(half.mask.ravel(), scores[targets.referring & targets.oldest].ravel())
    assert value(statistics["referring"]["auc_oldest"], 4) == pytest.approx(expected)


def test_pixels_without_depth_do_not_count():
    targets = _targets()
    known = np.ones_like(targets.known)
    known[:, :, SIDE // 2 :] = False
    scores = np.random.default_rng(0).random(targets.mask.shape).astype(np.float32)
    left = replace(
        targets,
        **{
            name: getattr(targets, name)[:, :, : SIDE // 2]
            for name in ("mask", "classes", "known", "distribution")
        },
    )
    holes = _values(
        replace(targets, known=known), Maps(scores, classes=targets.classes), Thresholds(0.5, 0.5)
    )
    cut = _values(left, Maps(scores[:, :, :4], classes=left.classes), Thresholds(0.5, 0.5))
    same = ("auc", "auc_oldest", "auc_within", "iou", "iou_oldest", "iou_covisible", "iou_outside")
    assert {k: holes[k] for k in same} == pytest.approx({k: cut[k] for k in same})


def test_empty_targets_and_missing_kinds_have_defined_values():
    targets = _targets()
    nothing = replace(
        targets,
        mask=targets.mask & False,
        distribution=targets.distribution * 0,
        valid=targets.valid & False,
        referring=targets.referring & False,
    )
    maps = Maps(np.random.default_rng(0).random(targets.mask.shape).astype(np.float32))
    never = Thresholds(2.0, 2.0)
    values = _values(nothing, maps, never)
    assert (values["auc"], values["iou"], values["validity_accuracy"]) == (0.5, 1.0, 1.0)
    assert {values[name] for name in ("auc_within", "peak_error", "kld", "cc", "sim")} == {None}
    assert set(_values(nothing, maps, never, kind="referring").values()) == {None}


def test_all_pixels_without_depth_are_no_data():
    targets = _targets()
    values = _values(
        replace(targets, known=targets.known & False),
        Maps(targets.mask.astype(np.float32)),
        Thresholds(0.5, 0.5),
    )
    assert values["auc"] is None
    assert values["auc_within"] is None
    assert values["iou"] == 1.0


def test_thresholds_come_from_the_validation_maps_alone():
    validation, test = _targets(seed=1), _targets(seed=2)
    scores = np.where(validation.mask, 0.7, 0.2).astype(np.float32)
    thresholds = choose_thresholds(validation, Maps(scores))
    assert thresholds.score == pytest.approx(0.7)
    shifted = Maps(np.where(test.mask, 0.6, 0.2).astype(np.float32))  # right order, below the threshold
    assert _values(test, shifted, thresholds)["iou"] == 0
    assert _values(test, shifted, thresholds)["auc"] == 1


def test_every_interval_holds_its_value_when_scenes_are_alike():
    targets = _targets(maps=8)
    repeated = replace(
        targets, **{f: np.concatenate([getattr(targets, f)] * 3) for f in targets.__dataclass_fields__}
    )
    repeated = replace(repeated, scene=np.repeat(np.arange(3), 8))
    scores = np.tile(np.random.default_rng(0).random(targets.mask.shape), (3, 1, 1))
    statistics = heatmap_statistics(repeated, Maps(scores), Thresholds(0.5, 0.5), 3)
    out = summary(statistics["all"], scene_weights(3, 50, 0))
    for name in statistics["all"]:
        assert out[f"{name}_ci"] == pytest.approx([out[name], out[name]], abs=1e-9)


@pytest.mark.parametrize(
    ("keyframes", "expected"),
    [([3, 9, 20, 31], [1, 1, 0, 0]), ([31, 3, 20], [0, 1, 1]), ([5], [1]), ([], [])],
)
def test_older_half(keyframes, expected):
    assert older_half(np.array(keyframes, int)).tolist() == [bool(e) for e in expected]


def test_concatenate_keeps_what_is_told():
    parts = [Maps(np.zeros((k, 2, 2)), validity=np.zeros(k)) for k in (1, 2)]
    joined = concatenate(parts)
    assert joined.scores.shape == (3, 2, 2)
    assert joined.validity.shape == (3,)
    assert joined.classes is None
    assert joined.distribution is None


def test_no_maps_are_refused():
    targets = _targets().select(np.zeros(8, bool))
    with pytest.raises(ValueError, match="no maps"):
        heatmap_statistics(targets, Maps(np.zeros((0, SIDE, SIDE))), Thresholds(0, 0), 1)
