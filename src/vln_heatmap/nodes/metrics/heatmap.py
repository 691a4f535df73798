"""What a set of heatmaps is worth: from maps and targets to statistics over scenes.

Invariant: every method, trained or not, is measured by the same functions on the same windows, with its
thresholds chosen on the validation split; nothing reported was fitted on the houses it is measured on.

Definitions (a *map* is one keyframe of one window; pixels without depth never count):

- ``auc``: area under the ROC curve over the pooled pixels of all maps, target binarised at 0.5.
- ``auc_within``: mean over the maps with 3 to 97 % positive pixels of the area within the map.
- ``iou``: pooled intersection over union at the validation threshold; 1 if both masks are empty.
- ``*_oldest``: the same over the older half of each window's keyframes (the larger half of an odd number).
- ``peak_error``: see ``saliency.peak_error``, mean over maps with a positive pixel.
- ``kld``, ``cc``, ``sim``: of the distributions, mean over the maps whose target is valid.
- ``validity_accuracy``: share of maps for which "anything there at all" is answered rightly.
- ``iou_covisible``, ``iou_occluded``, ``iou_outside``: pooled, per class; ``iou_classes``: their mean.

A measure without any map that it applies to is None, never NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.nodes.metrics import ranking, saliency
from vln_heatmap.nodes.metrics.bootstrap import MeanOf, Ratio, Statistic

Floats = NDArray[Any]
Bools = NDArray[np.bool_]
CLASSES = ("covisible", "occluded", "outside")
#: Share of positive pixels of the maps that ``auc_within`` looks at.
WITHIN = (0.03, 0.97)
KINDS = ("everything", "referring")


@dataclass(frozen=True)
class Targets:
    """The truth of M maps.

    Attributes:
        mask: [M, h, w] bool, target binarised at 0.5.
        distribution: [M, h, w], sums to 1, or all 0 where not valid.
        valid: [M] bool, anything to be seen.
        classes: [M, h, w] uint8, 0 co-visible, 1 occluded, 2 outside (whatever the instruction says).
        known: [M, h, w] bool, false where the current view has no depth.
        scene: [M] int, index of the scene.
        oldest: [M] bool, of the older half of its window's keyframes.
        referring: [M] bool, the instruction names instances (else it means everything).
    """

    mask: Bools
    distribution: Floats
    valid: Bools
    classes: NDArray[np.uint8]
    known: Bools
    scene: NDArray[np.int64]
    oldest: Bools
    referring: Bools

    def __len__(self) -> int:
        return len(self.mask)

    def select(self, rows: Bools) -> Targets:
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})


@dataclass(frozen=True)
class Maps:
    """What one method says about M maps.

    Attributes:
        scores: [M, h, w] any finite numbers, more = more likely in the target.
        distribution: [M, h, w] sums to 1; None: made from the scores.
        validity: [M] more = more likely that anything is there; None: the highest score of the map.
        classes: [M, h, w] uint8; None if the method tells no classes.
    """

    scores: Floats
    distribution: Floats | None = None
    validity: Floats | None = None
    classes: NDArray[np.uint8] | None = None

    @property
    def validity_scores(self) -> Floats:
        return self.scores.max((1, 2)) if self.validity is None else self.validity


@dataclass(frozen=True)
class Thresholds:
    """Where a method's scores and validity are cut, chosen on the validation split."""

    score: float
    validity: float


def concatenate(parts: Sequence[Maps]) -> Maps:
    """Maps of one method over several windows as one; all parts must tell the same things."""
    columns = {f.name: [getattr(part, f.name) for part in parts] for f in fields(Maps)}
    joined: dict[str, Any] = {k: None if v[0] is None else np.concatenate(v) for k, v in columns.items()}
    return Maps(**joined)


def older_half(keyframes: NDArray[np.integer]) -> Bools:
    """Which keyframes [K] are of the older half (by frame index; the larger half of an odd number)."""
    age_rank = np.argsort(np.argsort(keyframes, kind="stable"), kind="stable")  # [K] 0 = oldest
    return age_rank < -(-len(keyframes) // 2)


def choose_thresholds(targets: Targets, maps: Maps) -> Thresholds:
    """Thresholds of best pooled IoU and best validity accuracy on these (validation) maps."""
    score, _ = ranking.best_threshold(maps.scores, targets.mask, targets.known)
    return Thresholds(score, ranking.best_cut(maps.validity_scores, targets.valid))


def heatmap_statistics(
    targets: Targets, maps: Maps, thresholds: Thresholds, scenes: int
) -> dict[str, dict[str, Statistic]]:
    """Statistics over scenes of one method: by kind ("all", "everything", "referring"), then by measure."""
    if len(targets) == 0:
        raise ValueError("there are no maps to measure")
    terms = _map_terms(targets, maps, thresholds)
    levels = ranking.to_levels(maps.scores, ranking.level_edges(maps.scores))  # [M, h, w]
    subsets = {
        "all": np.ones(len(targets), dtype=bool),
        "everything": ~targets.referring,
        "referring": targets.referring,
    }
    return {kind: _of_subset(targets, levels, terms, rows, scenes) for kind, rows in subsets.items()}


@dataclass(frozen=True)
class _Term:
    """A measure as a ratio of sums over maps: each map's share [M], and the value of nothing to divide by."""

    numerator: Floats
    denominator: Floats
    empty: float = float("nan")

    def ratio(self, scene: NDArray[np.int64], rows: Bools, scenes: int) -> Ratio:
        def per_scene(values: Floats) -> NDArray[np.float64]:
            return np.bincount(scene[rows], values[rows], minlength=scenes).astype(np.float64)

        present = per_scene(np.ones(len(scene)))
        return Ratio(per_scene(self.numerator), per_scene(self.denominator), self.empty, present)


def _of_subset(
    targets: Targets, levels: NDArray[np.int64], terms: dict[str, _Term], rows: Bools, scenes: int
) -> dict[str, Statistic]:
    """All measures over the maps ``rows`` [M]."""
    out: dict[str, Statistic] = {}
    for name, where in {"auc": rows, "auc_oldest": rows & targets.oldest}.items():
        chosen = (levels[where], targets.mask[where], targets.known[where], targets.scene[where])
        out[name] = ranking.pooled_auc(*chosen, scenes)
    for name, term in terms.items():
        out[name] = term.ratio(targets.scene, rows, scenes)
    out["iou_oldest"] = terms["iou"].ratio(targets.scene, rows & targets.oldest, scenes)
    if "iou_covisible" in out:
        out["iou_classes"] = MeanOf(tuple(out[f"iou_{name}"] for name in CLASSES))
    return out


def _map_terms(targets: Targets, maps: Maps, thresholds: Thresholds) -> dict[str, _Term]:
    """Each map's share in every measure but the pooled AUC."""
    known = targets.known
    count = len(targets)
    share = (targets.mask & known).sum((1, 2)) / np.maximum(known.sum((1, 2)), 1)  # [M]
    within = np.asarray((share >= WITHIN[0]) & (share <= WITHIN[1]), dtype=np.float64)
    within_auc = ranking.map_auc(*(a.reshape(count, -1) for a in (maps.scores, targets.mask, known)))
    predicted = (maps.scores >= thresholds.score) & known
    right = (maps.validity_scores >= thresholds.validity) == targets.valid
    terms = {
        "auc_within": _Term(within_auc * within, within),
        "iou": _iou(predicted, targets.mask & known),
        "validity_accuracy": _Term(np.asarray(right, dtype=np.float64), np.ones(count)),
    }
    terms |= _distribution_terms(targets, maps)
    if maps.classes is not None:
        for index, name in enumerate(CLASSES):
            terms[f"iou_{name}"] = _iou((maps.classes == index) & known, (targets.classes == index) & known)
    return terms


def _distribution_terms(targets: Targets, maps: Maps) -> dict[str, _Term]:
    predicted = saliency.as_distribution(maps.scores if maps.distribution is None else maps.distribution)
    truth = targets.distribution.astype(np.float64)
    valid = np.asarray(targets.valid, dtype=np.float64)
    positive = np.asarray(targets.mask.any((1, 2)), dtype=np.float64)
    error = saliency.peak_error(saliency.distance_to(targets.mask), predicted)
    return {
        "peak_error": _Term(error * positive, positive),
        "kld": _Term(saliency.kl_divergence(truth, predicted) * valid, valid),
        "cc": _Term(saliency.correlation(truth, predicted) * valid, valid),
        "sim": _Term(saliency.similarity(truth, predicted) * valid, valid),
    }


def _iou(predicted: Bools, truth: Bools) -> _Term:
    both = (predicted & truth).sum((1, 2), keepdims=True)[:, 0, 0]  # [M]
    either = (predicted | truth).sum((1, 2), keepdims=True)[:, 0, 0]  # [M]
    return _Term(both, either, empty=1.0)
