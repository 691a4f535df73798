"""Annotation completeness: is everything that is seen described, and is what is described right?

Invariant: only ids, tables and metadata are judged. Where depth or poses of a frame are not to be trusted, it
says nothing about its ids.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import invert_pose
from vln_heatmap.geometry.projection import transform, unproject
from vln_heatmap.nodes.quality.footage import Footage
from vln_heatmap.nodes.quality.grades import grade, weakest, worst_value
from vln_heatmap.params import QualityParams

_KEYS = ("category", "box_min", "box_max")
#: Fewest compared pixels of an instance in a frame to say that it is not where its box is.
_PIXELS = 8


def annotation_parts(
    footage: Footage, trusted: NDArray[np.bool_], scene_ids: Collection[int] | None, params: QualityParams
) -> tuple[dict[str, float], dict[str, Any]]:
    """Grades of known, described, labelled, counted, placed and referred, and what was found.

    - known: 0 if an id in an image, the tables or the scene (``scene_ids``) has no object in the metadata.
    - described: share of the objects that have a category and a box.
    - labelled: of the worst frame, the share of pixels with depth that have an id.
    - counted: of the worst frame, the share of pixels on which image and ``visible_*`` columns differ.
    - placed: of the worst instance in a frame, the share of its points outside its box (``misplaced``).
    - referred: 0 if an instruction has no text or means an instance that is not there.

    Args:
        trusted: [N] frames whose depth and pose are sound.
    """
    found = [np.unique(image) for image in footage.instance]
    seen = {int(key) for ids in [*found, *footage.table["visible_ids"]] for key in ids} - {0}
    unknown = sorted((seen | {int(key) for key in scene_ids or ()}) - footage.objects.keys())
    items = footage.objects.values()
    described = np.mean([all(item.get(key) for key in _KEYS) for item in items]) if items else 0.0
    depth = footage.depth > 0
    labelled = (depth & (footage.instance > 0)).sum(axis=(1, 2)) / np.maximum(depth.sum(axis=(1, 2)), 1)
    labelled = np.where(depth.any(axis=(1, 2)), labelled, np.nan)  # [N]
    table = footage.table.iloc[footage.frames]
    rows = zip(footage.instance, table["visible_ids"], table["visible_pixels"], strict=True)
    counted = [visible_error(*row) for row in rows]
    outside = misplaced(footage, trusted, params)
    parts = {
        "known": float(not unknown),
        "described": float(grade(described, (0.9, 1.0))),
        "labelled": weakest(grade(labelled, params.labelled)),
        "counted": weakest(grade(counted, params.miscounted)),
        "placed": weakest(grade(list(outside.values()), params.misplaced)),
        "referred": float(not bad_references(footage)),
    }
    worst = {
        "unknown_ids": unknown[:10],
        "labelled_share": worst_value(labelled, params.labelled),
        "visible_error": worst_value(counted, params.miscounted),
        "misplaced_id": max(outside, key=lambda key: outside[key], default=0),
    }
    return parts, worst


def visible_error(instance: NDArray[np.int32], ids: Collection[int], pixels: Collection[int]) -> float:
    """Share of pixels of an id image [H, W] on which it disagrees with the frame table's counts."""
    found, counts = np.unique(instance[instance > 0], return_counts=True)
    difference = dict(zip(found.tolist(), counts.tolist(), strict=True))
    for key, count in zip(ids, pixels, strict=True):
        difference[int(key)] = difference.get(int(key), 0) - int(count)
    return sum(map(abs, difference.values())) / instance.size


def misplaced(footage: Footage, trusted: NDArray[np.bool_], params: QualityParams) -> dict[int, float]:
    """Share of an instance's points that lie outside its box, by id: that of its worst trusted frame.

    Points of a moved instance are taken back to where it rests. Boxes are widened by ``box_margin`` metres
    and by 1 % of the depth. An instance without a box, or with too few pixels in a frame, is left out.
    """
    boxes = {
        key: np.array([item["box_min"], item["box_max"]], np.float64)
        for key, item in footage.objects.items()
        if item.get("box_min") and item.get("box_max")
    }
    if not boxes:
        return {}
    stride = footage.stride(params.samples)
    every = np.s_[:, stride // 2 :: stride, stride // 2 :: stride]
    ids, depth = footage.instance[every], footage.depth[every]  # [N, h, w]
    top = max(int(ids.max()), *boxes) + 1
    bounds = np.broadcast_to(np.array([[-np.inf], [np.inf]]), (top, 2, 3)).copy()  # [top, 2, 3]
    bounds[list(boxes)] = list(boxes.values())
    local = unproject(footage.depth, footage.camera)[every]  # [N, h, w, 3]
    result: dict[int, float] = {}
    for index in np.flatnonzero(trusted):
        sound = depth[index] > 0
        mine, here, frame = ids[index][sound], local[index][sound], footage.frames[index]  # [n], [n, 3]
        points = transform(here, footage.poses[frame])  # [n, 3]
        for key, motion in footage.motions.items():
            chosen = mine == key
            points[chosen] = transform(points[chosen], invert_pose(motion[frame]))
        margin = (params.box_margin + 0.01 * here[:, 2])[:, None]  # [n, 1]
        lower, upper = bounds[mine, 0] - margin, bounds[mine, 1] + margin  # [n, 3] each
        out = ((points < lower) | (points > upper)).any(axis=1)  # [n]
        total = np.bincount(mine, minlength=top)
        share = np.bincount(mine, out, minlength=top) / np.maximum(total, 1)  # [top]
        for key in np.flatnonzero((total >= _PIXELS) & (share > 0)).tolist():
            result[key] = max(result.get(key, 0.0), float(share[key]))
    return result


def bad_references(footage: Footage) -> list[str]:
    """Texts of the instructions that mean an instance which no object is, or that are empty."""
    known = footage.objects.keys()
    return [
        str(item.get("text", ""))
        for item in footage.metadata.get("instructions", ())
        if not str(item.get("text", "")).strip() or not {int(key) for key in item["instances"]} <= known
    ]
