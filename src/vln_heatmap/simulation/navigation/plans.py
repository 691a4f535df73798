"""Floor plans of triangles on a grid of square cells.

Invariant: a cell counts as covered if a polygon covers its centre or an edge of the polygon crosses it, so that
no wall is too thin to be seen. Arrays are indexed [row, column] = [z, x].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_CELLS = 50_000_000  # 350 x 350 m in cells of 0.05 m


def frame(name: str, points: NDArray[np.float64], cell: float) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Origin (x, z) and shape of a grid that holds points [N, 2] with at least a cell to spare all round."""
    low, high = points.min(0), points.max(0)
    origin = (np.floor(low / cell) - 1.5) * cell
    columns, rows = (np.ceil((high - origin) / cell).astype(int) + 2).tolist()
    if rows * columns > MAX_CELLS:
        width, depth = (high - low).tolist()
        raise ValueError(
            f"scene {name!r} spans {width:g} x {depth:g} m, too far for cells of {cell:g} m: "
            "scenes are in metres"
        )
    return origin, (rows, columns)


def clip_to_slab(triangles: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Floor plan of the parts of triangles [F, 3, 3] with low <= y <= high: convex polygons [G, 6, 2] (x, z).

    Each edge is cut to its part in the slab; the ends of these parts, in order, are the polygon. Corners that
    are fewer than six repeat. Triangles outside the slab are left out.
    """
    y = triangles[..., 1]
    triangles = triangles[(y.max(1) >= low) & (y.min(1) <= high)]
    start, end = triangles, np.roll(triangles, -1, axis=1)  # [G, 3, 3] three edges
    rise = end[..., 1] - start[..., 1]  # [G, 3]
    safe = np.where(rise == 0, 1.0, rise)
    cuts = np.stack([(low - start[..., 1]) / safe, (high - start[..., 1]) / safe], axis=-1)  # [G, 3, 2]
    level_inside = (start[..., 1] >= low) & (start[..., 1] <= high)
    enter = np.where(rise == 0, np.where(level_inside, 0.0, 2.0), np.maximum(cuts.min(-1), 0.0))
    leave = np.where(rise == 0, 1.0, np.minimum(cuts.max(-1), 1.0))
    valid = np.repeat(enter <= leave, 2, axis=1)  # [G, 6]
    t = np.stack([enter, leave], axis=-1)[..., None]  # [G, 3, 2, 1]
    points = start[:, :, None] + t * (end - start)[:, :, None]  # [G, 3, 2, 3]
    points = points.reshape(-1, 6, 3)[..., (0, 2)]
    last_valid = np.maximum.accumulate(np.where(valid, np.arange(6), -1), axis=1)  # [G, 6]
    last_valid = np.where(last_valid < 0, last_valid[:, -1:], last_valid)
    keep = valid.any(1)
    return np.take_along_axis(points, last_valid[..., None], axis=1)[keep]


def rasterize(
    polygons: NDArray[np.float64], shape: tuple[int, int], origin: NDArray[np.float64], cell: float
) -> NDArray[np.bool_]:
    """Cells [rows, columns] that convex polygons [G, N, 2] (x, z) cover or that their edges cross.

    All polygons must lie inside the grid. Interiors are filled by winding number: each edge adds +-1 to the
    cells right of it, and all polygons are turned the same way round, so that a sum above 0 is inside.
    """
    result = np.zeros(shape, bool)
    if len(polygons) == 0:
        return result
    points = (polygons - origin) / cell  # [G, N, 2] in cells
    left, top = np.floor(points.min((0, 1))).astype(int).tolist()
    right, bottom = (np.floor(points.max((0, 1))).astype(int) + 1).tolist()
    result[top:bottom, left:right] = _filled(points - (left, top), (bottom - top, right - left))
    return result


def _filled(points: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """``rasterize`` for polygons [G, N, 2] (column, row) in cells."""
    ends = np.roll(points, -1, axis=1)
    area = (points[..., 0] * ends[..., 1] - points[..., 1] * ends[..., 0]).sum(1)  # [G]
    turned = np.where(area[:, None, None] > 0, 1.0, -1.0)
    start, end = points.reshape(-1, 2), ends.reshape(-1, 2)  # [E, 2]
    filled = _winding(start, end, np.broadcast_to(turned[..., 0], points.shape[:2]).reshape(-1), shape) > 0
    steps = np.ceil(2 * np.abs(end - start).max(1)).astype(int) + 1  # [E], two samples a cell or more
    edge, k = ranges(steps)
    samples = start[edge] + (end - start)[edge] * (k / np.maximum(steps[edge] - 1, 1))[:, None]
    column, row = np.floor(samples).astype(np.intp).T
    filled[row, column] = True
    return filled


def highest(
    triangles: NDArray[np.float64], shape: tuple[int, int], origin: NDArray[np.float64], cell: float
) -> NDArray[np.float64]:
    """Height y [rows, columns] of the highest of triangles [F, 3, 3] at the cell centres, nan without one.

    All triangles must lie inside the grid, and none may be upright.
    """
    plan = (triangles[..., (0, 2)] - origin) / cell - 0.5  # [F, 3, 2], cell centres at whole numbers
    low = np.ceil(plan.min(1)).astype(np.intp)  # [F, 2]
    columns, rows = np.maximum(np.floor(plan.max(1)).astype(np.intp) + 1 - low, 0).T
    face, k = ranges(rows * columns)
    at = low[face] + np.stack([k % columns[face], k // columns[face]], axis=1)  # [P, 2] column, row
    start, one, other = plan[:, 0], plan[:, 1] - plan[:, 0], plan[:, 2] - plan[:, 0]
    area = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]  # [F]
    way = at - start[face]
    u = (way[:, 0] * other[face, 1] - way[:, 1] * other[face, 0]) / area[face]
    v = (one[face, 0] * way[:, 1] - one[face, 1] * way[:, 0]) / area[face]
    inside = (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9)
    y = triangles[..., 1]
    height = y[face, 0] + u * (y[face, 1] - y[face, 0]) + v * (y[face, 2] - y[face, 0])
    result = np.full(shape, -np.inf)
    np.maximum.at(result, (at[inside, 1], at[inside, 0]), height[inside])
    return np.where(np.isfinite(result), result, np.nan)


def _winding(
    start: NDArray[np.float64], end: NDArray[np.float64], sign: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Sum of winding numbers at the cell centres [rows, columns] of signed edges [E, 2], in cells."""
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.ceil(low - 0.5).astype(int)  # rows whose centre line low <= row + 0.5 < high crosses the edge
    count = np.ceil(high - 0.5).astype(int) - first
    edge, k = ranges(count)
    row = first[edge] + k
    t = (row + 0.5 - start[edge, 1]) / (end[edge, 1] - start[edge, 1])
    column = np.ceil(start[edge, 0] + t * (end[edge, 0] - start[edge, 0]) - 0.5).astype(int)
    change = np.zeros((shape[0], shape[1] + 1))
    np.add.at(change, (row, column), sign[edge] * np.sign(end[edge, 1] - start[edge, 1]) * -1)
    return np.cumsum(change, axis=1)[:, :-1]


def ranges(counts: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For counts [N], the pairs (i, 0), ..., (i, counts[i] - 1) of all i as two flat arrays."""
    index = np.repeat(np.arange(len(counts)), counts)
    return index, np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
