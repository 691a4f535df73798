"""Annotation completeness: is everything that is seen described, and is what is described right?

Invariant: only ids, tables and metadata are judged. Where depth or poses of a frame are not to be trusted, it
says nothing about its ids.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.nodes.quality.footage import Footage
from vln_heatmap.nodes.quality.grades import grade, weakest, worst_value
from vln_heatmap.params import QualityParams

_KEYS = ("category", "box_min", "box_max")


def annotation_parts(
    footage: Footage,
    outside: list[dict[int, float]],
    trusted: NDArray[np.bool_],
    scene_ids: Collection[int] | None,
    params: QualityParams,
) -> tuple[dict[str, float], dict[str, Any]]:
    """Grades of known, described, labelled, counted, placed and referred, and what was found.

    - known: 0 if an id in an image, the tables or the scene (``scene_ids``) has no object in the metadata.
    - described: share of the objects that have a category and a box.
    - labelled: of the worst frame, the share of pixels with depth that have an id.
    - counted: of the worst frame, the share of pixels on which image and ``visible_*`` columns differ.
    - placed: of the worst instance in a frame, the share of its points outside its box (``outside_boxes``).
    - referred: 0 if an instruction has no text or means an instance that is not there.

    Args:
        outside: N times, see ``outside_boxes``.
        trusted: [N] frames whose depth and pose are sound.
    """
    shown = np.flatnonzero(np.bincount(footage.instance.ravel()))  # ids
    seen = {int(key) for ids in [shown, *footage.table["visible_ids"]] for key in ids} - {0}
    unknown = sorted((seen | {int(key) for key in scene_ids or ()}) - footage.objects.keys())
    items = footage.objects.values()
    described = np.mean([all(item.get(key) for key in _KEYS) for item in items]) if items else 0.0
    depth = footage.depth > 0
    labelled = (depth & (footage.instance > 0)).sum(axis=(1, 2)) / np.maximum(depth.sum(axis=(1, 2)), 1)
    labelled = np.where(depth.any(axis=(1, 2)), labelled, np.nan)  # [N]
    table = footage.table.iloc[footage.frames]
    rows = zip(footage.instance, table["visible_ids"], table["visible_pixels"], strict=True)
    counted = [visible_error(*row) for row in rows]
    placed = [
        item for shares, sound in zip(outside, trusted, strict=True) if sound for item in shares.items()
    ]
    parts = {
        "known": float(not unknown),
        "described": float(grade(described, (0.9, 1.0))),
        "labelled": weakest(grade(labelled, params.labelled)),
        "counted": weakest(grade(counted, params.miscounted)),
        "placed": weakest(grade([share for _, share in placed], params.misplaced)),
        "referred": float(not bad_references(footage)),
    }
    worst = {
        "unknown_ids": unknown[:10],
        "labelled_share": worst_value(labelled, params.labelled),
        "visible_error": worst_value(counted, params.miscounted),
        "misplaced": max((share for _, share in placed), default=float("nan")),
        "misplaced_id": max((item[::-1] for item in placed if item[1] > 0), default=(0.0, 0))[1],
    }
    return parts, worst


def visible_error(instance: NDArray[np.int32], ids: Collection[int], pixels: Collection[int]) -> float:
    """Share of pixels of an id image [H, W] on which it disagrees with the frame table's counts."""
    keys, counts = np.array(list(ids), np.int64), np.array(list(pixels), np.float64)
    top = max(int(instance.max(initial=0)), int(keys.max(initial=0))) + 1
    found = np.bincount(instance.ravel(), minlength=top)  # [top]
    found[0] = 0
    return float(np.abs(found - np.bincount(keys, counts, minlength=top)).sum()) / instance.size


def bad_references(footage: Footage) -> list[str]:
    """Texts of the instructions that mean an instance which no object is, or that are empty."""
    known = footage.objects.keys()
    return [
        str(item.get("text", ""))
        for item in footage.metadata.get("instructions", ())
        if not str(item.get("text", "")).strip() or not {int(key) for key in item["instances"]} <= known
    ]
