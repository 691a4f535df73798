"""The judge of a recorded sequence: five scores, an overall one, a verdict and what to do.

Invariant: a fault in one property lowers that property's score and leaves the others as they were.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from vln_heatmap.nodes.quality.annotation import annotation_parts
from vln_heatmap.nodes.quality.coverage import coverage_parts
from vln_heatmap.nodes.quality.footage import Footage, look_at
from vln_heatmap.nodes.quality.geometric import geometric_parts, measure_geometry, trusted_frames
from vln_heatmap.nodes.quality.grades import weighted
from vln_heatmap.nodes.quality.reprojection import Agreement, agreement
from vln_heatmap.nodes.quality.smoothness import change, smoothness_parts
from vln_heatmap.nodes.quality.visual import visual_parts
from vln_heatmap.params import QualityParams

#: The five scores, in the order of their weights.
SCORES = ("geometric", "visual", "coverage", "smoothness", "annotation")
#: Shares of the parts of a score; a score that is not here is that of its weakest part.
WEIGHTS = {
    "geometric": {"pose_jumps": 0.3, "depth_quality": 0.4, "reconstruction": 0.3},
    "coverage": {"space": 0.4, "viewpoints": 0.3, "key_regions": 0.3},
}
_ADVICE = {
    "pose_jumps": "the pose jumps: move and turn in smaller steps",
    "depth_quality": "depth is missing, rough or wrong in scale: check the depth sensor",
    "reconstruction": "depth and poses of neighbouring frames contradict each other: check their time stamps",
    "sharpness": "images are blurred: move more slowly or shorten the exposure",
    "exposure": "images are too dark, too bright or clipped: adjust light or exposure",
    "entropy": "images show next to nothing: point the camera at something",
    "space": "little of the place is seen: walk farther or look around",
    "viewpoints": "the camera hardly leaves its place: vary position and heading",
    "key_regions": "what the sequence is about is hardly seen: bring it into view",
    "image_flow": "images freeze while the camera moves: check the camera",
    "clock": "time steps are uneven: check the time stamps",
    "steadiness": "the camera shakes: smooth its path",
    "known": "an instance is missing from the metadata: list all objects",
    "described": "objects lack a category or a box: complete the metadata",
    "labelled": "pixels have no instance id: label them",
    "counted": "the frame table does not count what the id images show: make it anew",
    "placed": "an instance is seen where it is not: check the ids",
    "referred": "an instruction is empty or means nothing that exists: make the instructions anew",
}


@dataclass(frozen=True)
class QualityReport:
    """Scores in [0, 1] and what follows from them.

    Attributes:
        geometric, visual, coverage, smoothness, annotation: the five scores.
        overall: their weighted mean.
        details: ``parts`` (grades of the parts of each score) and ``measured`` (worst values), by score.
        passed: every score and the overall one reach their limits, and no part is 0: what fails entirely is
            not made good by others.
        recommendation: "keep", or "re-collect: " and why.
    """

    geometric: float
    visual: float
    coverage: float
    smoothness: float
    annotation: float
    overall: float
    details: dict[str, Any]
    passed: bool
    recommendation: str

    def summary(self) -> dict[str, Any]:
        """Plain JSON: scores to four digits, the verdict, and the grades of all parts."""
        numbers = {name: round(getattr(self, name), 4) for name in (*SCORES, "overall")}
        parts = {
            name: round(grade, 4) for part in self.details["parts"].values() for name, grade in part.items()
        }
        return {**numbers, "passed": self.passed, "recommendation": self.recommendation, "parts": parts}


class QualityController:
    """Assesses sequences by one set of limits.

    Args:
        params: limits and weights.
    """

    def __init__(self, params: QualityParams) -> None:
        self.params = params

    def assess(self, sequence: Any, *, scene_ids: Collection[int] | None = None) -> QualityReport:
        """Score a ``Sequence`` or a ``StoredSequence``.

        Args:
            sequence: recorded walk of at least one frame.
            scene_ids: ids of all instances of the scene, if they are known: each must be in the metadata.

        Raises:
            ValueError, KeyError: content that is not what its columns promise.
        """
        footage = look_at(sequence, self.params)
        return self.assess_footage(footage, self.agreement(footage), scene_ids=scene_ids)

    def agreement(self, footage: Footage) -> Agreement:
        """How depth and poses of the footage's pairs of neighbouring frames agree."""
        return agreement(
            footage.depth,
            footage.instance,
            footage.poses[footage.frames],
            {key: motion[footage.frames] for key, motion in footage.motions.items()},
            footage.pairs,
            footage.camera,
            stride=footage.stride,
            tolerance=self.params.tolerance,
        )

    def assess_footage(
        self, footage: Footage, agreed: Agreement, *, scene_ids: Collection[int] | None = None
    ) -> QualityReport:
        """As ``assess``, of images that have been read and compared already."""
        params = self.params
        geometry = measure_geometry(footage, agreed, params)
        changes = change(footage, agreed, params)
        trusted = trusted_frames(footage, geometry, params)
        found = {
            "geometric": geometric_parts(geometry, params),
            "visual": visual_parts(footage, agreed, changes, params),
            "coverage": coverage_parts(footage, params),
            "smoothness": smoothness_parts(footage, changes, params),
            "annotation": annotation_parts(footage, geometry.outside, trusted, scene_ids, params),
        }
        parts = {name: grades for name, (grades, _) in found.items()}
        scores = {
            name: weighted(grades, WEIGHTS[name]) if name in WEIGHTS else min(grades.values())
            for name, grades in parts.items()
        }
        overall = weighted(scores, dict(zip(SCORES, params.weights, strict=True)))
        passed = overall >= params.overall_limit and not _failed(scores, parts, params)
        return QualityReport(
            **scores,
            overall=overall,
            details={"parts": parts, "measured": {name: values for name, (_, values) in found.items()}},
            passed=passed,
            recommendation="keep" if passed else f"re-collect: {_advice(scores, parts, params)}",
        )


def _failed(scores: dict[str, float], parts: dict[str, dict[str, float]], params: QualityParams) -> list[str]:
    """The scores that are below their limit or have a part of 0."""
    return [name for name in SCORES if scores[name] < params.score_limit or min(parts[name].values()) == 0]


def _advice(scores: dict[str, float], parts: dict[str, dict[str, float]], params: QualityParams) -> str:
    """What to do about the weakest part of every score that failed, else of the lowest score."""
    failed = _failed(scores, parts, params) or [min(scores, key=lambda name: scores[name])]
    weak = [min(parts[name].items(), key=lambda item: item[1]) for name in failed]
    return "; ".join(f"{_ADVICE[name]} ({name} {grade:.2f})" for name, grade in weak)
