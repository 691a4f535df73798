"""Geometric consistency: do poses go on smoothly, is depth sound, do neighbouring frames fit together?

Invariant: colours play no part, and neither do the ids, except to tell surfaces apart.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.nodes.quality.footage import Footage
from vln_heatmap.nodes.quality.grades import grade, weakest, worst_value
from vln_heatmap.nodes.quality.measures import depth_noise
from vln_heatmap.nodes.quality.placement import outside_boxes
from vln_heatmap.nodes.quality.reprojection import MIN_POINTS, Agreement
from vln_heatmap.params import QualityParams

#: Metres between the top of a floor's box and the agent's feet up to which it stands on that floor.
_STANDS = 0.03
#: Spread of the height over a floor, relative, within which its pixels tell of one height.
_COHERENT = 0.02
#: Fewest instances of a frame to say that many of them are displaced.
_INSTANCES = 3


class Geometry(NamedTuple):
    """What was measured of a sequence's geometry.

    Attributes:
        jumps: [T - 1], see ``pose_jumps``.
        valid: [N] share of pixels with depth.
        noise: [N], see ``depth_noise``.
        floor: [N], see ``floor_error``.
        outside: N times, see ``outside_boxes``.
        displaced: [N] share of a frame's instances that are mostly outside their boxes; NaN if it shows
            fewer than ``_INSTANCES``.
        agreed: of the P pairs.
        pairs: [P] their grades.
    """

    jumps: NDArray[np.float64]
    valid: NDArray[np.float64]
    noise: NDArray[np.float64]
    floor: NDArray[np.float64]
    outside: list[dict[int, float]]
    displaced: NDArray[np.float64]
    agreed: Agreement
    pairs: NDArray[np.float64]


def measure_geometry(footage: Footage, agreed: Agreement, params: QualityParams) -> Geometry:
    """Measure everything that ``geometric_parts`` grades."""
    jumps = pose_jumps(footage.poses, params)
    pairs = np.fmin(grade(agreed.error, params.depth_error), grade(agreed.inliers, params.depth_inliers))
    pairs[jumps[footage.frames[footage.pairs]] > params.jump[1]] = 0
    outside = outside_boxes(footage, params)
    displaced = [np.mean([v > 0.5 for v in o.values()]) if len(o) >= _INSTANCES else np.nan for o in outside]
    return Geometry(
        jumps,
        (footage.depth > 0).mean(axis=(1, 2)),
        depth_noise(footage.depth, footage.instance, max(1, footage.stride // 2)),
        floor_error(footage),
        outside,
        np.array(displaced),
        agreed,
        pairs,
    )


def geometric_parts(geometry: Geometry, params: QualityParams) -> tuple[dict[str, float], dict[str, Any]]:
    """Grades of pose_jumps, depth_quality and reconstruction, and the worst values measured.

    - pose_jumps: the largest step or turn between any two frames, as a multiple of its limit.
    - depth_quality: of the worst frame, the share of pixels with depth, the roughness of surfaces
      (``depth_noise``), the scale of depth (``floor_error``), and the share of instances that are not where
      their boxes are: many at once are the depth's fault, one alone is a wrong id.
    - reconstruction: of the worst pair of neighbours, the median disagreement and the share of points that
      agree (``Agreement``). A pair with a jump between them has nothing in common: grade 0.
    """
    measured = {
        "depth_valid": (geometry.valid, params.depth_valid),
        "depth_noise": (geometry.noise, params.depth_noise),
        "floor_error": (geometry.floor, params.floor_error),
        "displaced": (geometry.displaced, params.displaced),
        "jump": (geometry.jumps, params.jump),
        "depth_error": (geometry.agreed.error, params.depth_error),
        "depth_inliers": (geometry.agreed.inliers, params.depth_inliers),
    }
    depth = ("depth_valid", "depth_noise", "floor_error", "displaced")
    parts = {
        "pose_jumps": weakest(grade(geometry.jumps, params.jump)),
        "depth_quality": min(weakest(grade(*measured[name])) for name in depth),
        "reconstruction": weakest(geometry.pairs),
    }
    return parts, {name: worst_value(*item) for name, item in measured.items()}


def trusted_frames(footage: Footage, geometry: Geometry, params: QualityParams) -> NDArray[np.bool_]:
    """Frames [N] whose depth and pose are sound: no rough depth, no bad pair, no jump.

    A wrong scale and displaced instances speak against the whole sequence.
    """
    scale = weakest(grade(geometry.floor, params.floor_error))
    if min(scale, weakest(grade(geometry.displaced, params.displaced))) < 1:
        return np.zeros(len(footage.frames), bool)
    trusted = ~(grade(geometry.noise, params.depth_noise) < 1)  # [N]
    bad = footage.pairs[geometry.pairs < 1]
    trusted[bad] = trusted[bad + 1] = False
    return trusted


def pose_jumps(poses: NDArray[np.float64], params: QualityParams) -> NDArray[np.float64]:
    """Step [T - 1] from each camera_to_world [T, 4, 4] to the next, as a multiple of what is allowed.

    The larger of metres / ``jump_metres`` and degrees / ``jump_degrees``; infinite at a pose that is not finite.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        metres = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=-1)  # [T - 1]
        jumps = np.maximum(
            metres / params.jump_metres, rotation_angles(poses[:-1], poses[1:]) / params.jump_degrees
        )
    return np.where(np.isnan(jumps), np.inf, jumps)


def rotation_angles(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angle in degrees [N] by which camera_to_world poses [N, 4, 4] turn into others, in [0, 180]."""
    with np.errstate(invalid="ignore", over="ignore"):
        trace = np.einsum("nij,nij->n", source[:, :3, :3], target[:, :3, :3])  # [N]
        return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def floor_error(footage: Footage) -> NDArray[np.float64]:
    """Relative error [N] of the camera's height over the floor, as the depth of floor pixels tells it.

    It sees a depth that is wrong by a constant factor although depth and poses agree with each other. Only
    floors on which the agent stands somewhere in the sequence count: their surface is as high as its feet. NaN
    where fewer than ``MIN_POINTS`` pixels show one, or where these do not tell of one factor (the middle half
    of them is spread by more than ``_COHERENT``): then something else is wrong.
    """
    feet = np.stack(footage.table["state"].to_list()).astype(np.float64)[:, 1]  # [T]
    heights = {
        key: float(item["box_max"][1])
        for key, item in footage.objects.items()
        if item.get("category") == "floor" and "box_max" in item
    }
    heights = {key: y for key, y in heights.items() if (np.abs(feet - y) < _STANDS).any()}
    poses = footage.poses[footage.frames]  # [N, 4, 4]
    result = np.full(len(poses), np.nan)
    if not heights:
        return result
    ids, points, known = footage.sampled
    surface = np.zeros(max(int(ids.max()), *heights) + 1)
    surface[list(heights)] = list(heights.values())
    floors = np.isin(ids, list(heights)) & known  # [N, n]
    for index in np.flatnonzero(floors.sum(axis=1) >= MIN_POINTS):
        mine = floors[index]
        drop = points[index][mine] @ poses[index, 1, :3]  # [n], height over the camera (negative)
        should = surface[ids[index][mine]] - poses[index, 1, 3]  # [n]
        low, factor, high = np.quantile(drop / should, (0.25, 0.5, 0.75))
        if high - low <= _COHERENT:
            result[index] = abs(factor - 1)
    return result
