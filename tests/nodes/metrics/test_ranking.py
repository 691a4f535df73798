"""Ranking measures against scikit-learn and against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score, roc_auc_score

from vln_heatmap.nodes.metrics import ranking
from vln_heatmap.nodes.metrics.bootstrap import value


def _maps(seed: int, *, maps: int = 6, side: int = 5, distinct: int = 0) -> tuple:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(maps, side, side)).astype(np.float32)
    if distinct:
        scores = rng.integers(0, distinct, scores.shape).astype(np.float32)
    labels = rng.random(scores.shape) < 0.3
    known = rng.random(scores.shape) < 0.9
    return scores, labels, known


def _pooled(scores, labels, known, scene, scenes, count=ranking.LEVELS):
    levels = ranking.to_levels(scores, ranking.level_edges(scores, count))
    return ranking.pooled_auc(levels, labels, known, scene, scenes)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), distinct=st.sampled_from([0, 2, 3, 17]), scenes=st.integers(1, 4))
def test_pooled_auc_equals_sklearn(seed, distinct, scenes):
    scores, labels, known = _maps(seed, distinct=distinct)
    scene = np.arange(len(scores)) % scenes
    expected = roc_auc_score(labels[known], scores[known])
    assert value(_pooled(scores, labels, known, scene, scenes), scenes) == pytest.approx(expected, abs=1e-12)


def test_pooled_auc_of_more_scores_than_levels_is_within_its_bound():
    rng = np.random.default_rng(0)
    labels = rng.random((4, 100, 100)) < 0.3
    scores = rng.normal(size=labels.shape) + labels
    known = np.ones_like(labels)
    area = value(_pooled(scores, labels, known, np.zeros(4, int), 1, count=64), 1)
    assert area == pytest.approx(roc_auc_score(labels.ravel(), scores.ravel()), abs=0.5 / 64)


def test_pooled_auc_of_repeated_scenes_is_that_of_repeated_pixels():
    scores, labels, known = _maps(3, maps=3)
    statistic = _pooled(scores, labels, known, np.arange(3), 3)
    drawn = np.array([0, 0, 2])
    expected = roc_auc_score(labels[drawn][known[drawn]], scores[drawn][known[drawn]])
    assert statistic.values(np.array([[2.0, 0.0, 1.0]]))[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("positive", [True, False])
def test_pooled_auc_of_one_class_is_one_half(positive):
    scores, labels, known = _maps(0)
    statistic = _pooled(scores, np.full_like(labels, positive), known, np.zeros(len(scores), int), 1)
    assert value(statistic, 1) == 0.5


def test_pooled_auc_of_constant_scores_is_one_half():
    scores, labels, known = _maps(0, distinct=1)
    assert value(_pooled(scores, labels, known, np.zeros(len(scores), int), 1), 1) == 0.5


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), distinct=st.sampled_from([0, 2, 5]))
def test_map_auc_equals_sklearn_in_each_map(seed, distinct):
    scores, labels, known = (a.reshape(6, -1) for a in _maps(seed, distinct=distinct))
    labels[:, 0], labels[:, 1], known[:, :2] = True, False, True  # both classes in each
    expected = [roc_auc_score(labels[i][known[i]], scores[i][known[i]]) for i in range(6)]
    np.testing.assert_allclose(ranking.map_auc(scores, labels, known), expected, atol=1e-12)


def test_map_auc_without_both_classes_is_one_half():
    scores, labels, known = (a.reshape(6, -1) for a in _maps(1))
    labels[0], labels[1], known[2] = True, False, False
    assert ranking.map_auc(scores, labels, known)[:3].tolist() == [0.5, 0.5, 0.5]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), distinct=st.sampled_from([0, 2, 9]))
def test_best_threshold_is_the_best_of_all(seed, distinct):
    scores, labels, known = _maps(seed, distinct=distinct)
    threshold, iou = ranking.best_threshold(scores, labels, known)
    every = [jaccard_score(labels[known], scores[known] >= cut) for cut in np.unique(scores[known])]
    assert iou == pytest.approx(max(every))
    assert jaccard_score(labels[known], scores[known] >= threshold) == pytest.approx(iou)


def test_best_threshold_without_positives_predicts_as_little_as_possible():
    scores, labels, known = _maps(2)
    assert ranking.best_threshold(scores, labels & False, known)[0] == scores[known].max()


def test_best_cut_separates_what_can_be_separated():
    scores = np.array([0.1, 0.4, 0.6, 0.9])
    assert ranking.best_cut(scores, scores > 0.5) == 0.6
    assert ranking.best_cut(scores, np.ones(4, bool)) <= 0.1
    assert ranking.best_cut(scores, np.zeros(4, bool)) == np.inf


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_refused(bad):
    scores = _maps(0)[0]
    scores[0, 0, 0] = bad
    with pytest.raises(ValueError, match="must be finite"):
        ranking.level_edges(scores)


def test_no_scores_are_refused():
    with pytest.raises(ValueError, match="no scores"):
        ranking.level_edges(np.zeros((0, 3, 3)))
