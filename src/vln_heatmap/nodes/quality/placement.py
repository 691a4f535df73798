"""Are things seen where their boxes say they are?

Invariant: a point belongs to the box of its own instance, taken back to where it rests if it is moved. So the
check joins depth, pose, ids and metadata; which of them is wrong is for others to tell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import invert_pose
from vln_heatmap.geometry.projection import transform
from vln_heatmap.nodes.quality.footage import Footage
from vln_heatmap.params import QualityParams

#: Fewest compared pixels of an instance in a frame to say anything about it.
_PIXELS = 8


def outside_boxes(footage: Footage, params: QualityParams) -> list[dict[int, float]]:
    """Share of its points that lie outside its box, for every instance with a box that a frame shows: N dicts.

    Boxes are widened by ``box_margin`` metres and 1 % of the depth. Frames without a finite pose show nothing.
    """
    boxes = {
        key: (item["box_min"], item["box_max"])
        for key, item in footage.objects.items()
        if item.get("box_min") and item.get("box_max")
    }
    ids, local, known = footage.sampled
    top = max(int(ids.max(initial=0)), *boxes, 0) + 1
    bounds = np.full((top, 2, 3), np.nan)
    for key, box in boxes.items():
        bounds[key] = box
    result: list[dict[int, float]] = []
    for index, frame in enumerate(footage.frames):
        boxed = known[index] & ~np.isnan(bounds[ids[index], 0, 0])  # [n]
        mine, here = ids[index][boxed], local[index][boxed]  # [m], [m, 3]
        points = _at_rest(footage, int(frame), mine, transform(here, footage.poses[frame]))
        margin = (params.box_margin + 0.01 * here[:, 2])[:, None]  # [m, 1]
        out = (points < bounds[mine, 0] - margin) | (points > bounds[mine, 1] + margin)  # [m, 3]
        total = np.bincount(mine, minlength=top)
        share = np.bincount(mine, out.any(axis=1), minlength=top) / np.maximum(total, 1)  # [top]
        shown = np.flatnonzero(total >= _PIXELS).tolist() if np.isfinite(footage.poses[frame]).all() else []
        result.append({key: float(share[key]) for key in shown})
    return result


def _at_rest(
    footage: Footage, frame: int, ids: NDArray[np.integer], points: NDArray[np.floating]
) -> NDArray[np.floating]:
    """World points [n, 3] of a frame, those of moved instances taken back to where these rest."""
    for key, motion in footage.motions.items():
        mine = ids == key
        points[mine] = transform(points[mine], invert_pose(motion[frame]))
    return points
