"""Spatial coverage: how much of the place is seen, from how many view points, with what matters in it?

Invariant: a sequence is measured against what its length and its scenario ask for: a camera that only turns
need not walk, and one that watches a thing need not see the rest of the house.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.projection import transform
from vln_heatmap.nodes.quality.footage import Footage
from vln_heatmap.params import QualityParams

#: The building itself; it counts as something to be seen only where there is nothing else.
_BUILDING = frozenset({"wall", "floor", "ceiling", "skirting", "door frame", "window frame"})


def coverage_parts(footage: Footage, params: QualityParams) -> tuple[dict[str, float], dict[str, Any]]:
    """Grades of space, viewpoints and key_regions, and what was measured.

    - space: voxels of ``voxel`` metres seen in the sequence, as a multiple of those of a frame, against
      ``1 + claim * growth * (T - 1) / 31``, at most that of a walk of 32 frames.
    - viewpoints: different cells of ``voxel`` metres and 15 degrees that the camera was in, against
      ``1 + claim * viewpoints * (T - 1)``.
    - key_regions: share of the things that the scenario is about (its ``focus``) that are seen well in at least
      a tenth of the frames; without a focus, different things seen well at all, against ``things``.

    ``claim`` is what the scenario or trajectory asks for of an ordinary walk, see ``QualityParams.claims``.
    """
    steps = len(footage.table) - 1
    claim = claimed_coverage(footage.metadata, params)
    growth = seen_growth(footage, params)
    wanted = 1 + claim * params.growth * min(steps / 31, 1)
    places = viewpoints(footage.poses, params.voxel)
    wanted_places = 1 + claim * params.viewpoints * steps
    parts = {
        "space": _share(growth - 1, wanted - 1),
        "viewpoints": _share(places - 1, wanted_places - 1),
        "key_regions": key_regions(footage, params),
    }
    return parts, {"growth": growth, "viewpoint_cells": places, "claim": claim}


def claimed_coverage(metadata: dict[str, Any], params: QualityParams) -> float:
    """Share of an ordinary walk's coverage that the sequence's scenario, else its trajectory, asks for."""
    names = (metadata.get("scenario") or {}).get("name"), metadata.get("trajectory")
    return next((params.claims[name] for name in names if name in params.claims), 1.0)


def seen_growth(footage: Footage, params: QualityParams) -> float:
    """Voxels with a visible surface in any frame over those in the mean frame; NaN if nothing has depth.

    What moves is left out: it fills voxels as it goes.
    """
    poses = footage.poses[footage.frames]  # [N, 4, 4]
    ids, local, known = footage.sampled
    finite = np.isfinite(np.linalg.norm(poses.reshape(-1, 16), axis=1))  # [N]
    seen = known & finite[:, None] & ~np.isin(ids, list(footage.motions))  # [N, n]
    points = transform(local, np.nan_to_num(poses))  # [N, n, 3]
    cells = np.floor(points / params.voxel).astype(np.int64)[seen]  # [M, 3]
    if not len(cells):
        return float("nan")
    frame = np.nonzero(seen)[0]  # [M]
    key = ((cells - cells.min(axis=0)) * [1 << 40, 1 << 20, 1]).sum(axis=1)  # [M]
    _, voxel = np.unique(key, return_inverse=True)  # [M]
    by_frame = np.unique(frame * (voxel.max() + 1) + voxel)
    return float((voxel.max() + 1) * len(np.unique(frame)) / len(by_frame))


def viewpoints(poses: NDArray[np.float64], size: float) -> int:
    """Number of different cells of ``size`` metres and 15 degrees that camera_to_world poses [T, 4, 4] are in."""
    finite = poses[np.isfinite(poses).all(axis=(1, 2))]
    forward = finite[:, :3, 2]  # [T, 3]
    angles = np.degrees([np.arctan2(forward[:, 0], forward[:, 2]), np.arcsin(np.clip(forward[:, 1], -1, 1))])
    cells = np.concatenate([finite[:, :3, 3] / size, angles.T / 15], axis=1)  # [T, 5]
    return len(np.unique(np.round(cells), axis=0))


def key_regions(footage: Footage, params: QualityParams) -> float:
    """See ``coverage_parts``."""
    table, camera = footage.table, footage.camera
    least = params.clear_share * camera.width * camera.height  # pixels
    counts: dict[int, int] = {}  # frames in which an instance is seen well
    for ids, pixels in zip(table["visible_ids"], table["visible_pixels"], strict=True):
        for key in np.asarray(ids)[np.asarray(pixels) >= least].tolist():
            counts[key] = counts.get(key, 0) + 1
    focus = (footage.metadata.get("scenario") or {}).get("focus") or ()
    if len(focus):
        return float(np.mean([counts.get(int(key), 0) >= len(table) / 10 for key in focus]))
    kinds = {key: item.get("category") for key, item in footage.objects.items()}
    things = {key for key, kind in kinds.items() if kind not in _BUILDING} or set(kinds)
    wanted = min(params.things, len(things))
    found = sum(key in things or key not in kinds for key in counts)
    return _share(found, wanted)


def _share(value: float, wanted: float) -> float:
    return 1.0 if wanted <= 0 or np.isnan(value) else float(np.clip(value / wanted, 0, 1))
