"""Where an upright body can walk, and the shortest way there, on a grid over the ground storey.

Invariant: one rule decides everything. A cell is free if floor lies under it and the body's cylinder, centred
on the cell, touches nothing between step height and the agent's height; a straight move is possible if every
cell that it enters is free. Stepping, paths and line of sight use this same rule: a path that is returned can
be walked, and a part of a possible move is possible.

Grid lines lie half a cell off the multiples of the cell size: walls on round coordinates fall on cell centres,
and their distance comes out exact. Arrays are indexed [row, column] = [z, x].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.graph import MCP_Geometric

from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.scene import Scene
from vln_heatmap.simulation.simulators.base import (
    FORWARD,
    STOP,
    TURN_LEFT,
    TURN_RIGHT,
    AgentState,
    NoNavigableFloorError,
    StepResult,
)

STEP_HEIGHT = 0.1  # metres; what is lower can be stepped over
FLOOR_TOLERANCE = 0.5  # metres between a point and the floor below it for the point to count as standing
LEVEL_NORMAL = 0.7  # |n_y| of faces that count as floor
MAX_CELLS = 50_000_000  # 350 x 350 m in cells of 0.05 m
LEAST_RADIUS = 1.2  # cells; a thinner body would slip between the corners of a slanted wall's cells


@dataclass(frozen=True)
class NavigationGrid:
    """Walkable floor of one storey.

    Attributes:
        free: [Z, X] bool, cells on which the agent's centre can stand: one piece, connected by cell sides.
        origin: world (x, z) of the corner of cell [0, 0], metres.
        floor: height y of the floor, metres.
        agent: the body that the grid was made for.
        gaps: [Z, X] metres from each cell's centre to the nearest cell that is no floor or holds an obstacle.
    """

    free: NDArray[np.bool_]
    origin: tuple[float, float]
    floor: float
    agent: AgentParams
    gaps: NDArray[np.float32]

    @staticmethod
    def from_scene(scene: Scene, agent: AgentParams) -> NavigationGrid:
        """Grid of a scene's ground storey (floor at y = 0): the largest floor that can be walked in one piece.

        Args:
            scene: triangles in the world frame, metres.
            agent: height, radius and cell size; a radius below 1.2 cells counts as that.

        Raises:
            NoNavigableFloorError: there is no cell where the agent fits.
            ValueError: the scene is too wide for a grid, as one in millimetres is.
        """
        cell = agent.cell
        corners = scene.vertices[scene.faces].astype(np.float64)  # [F, 3, 3]
        origin, shape = _frame(scene.name, corners[..., (0, 2)].reshape(-1, 2), cell)
        obstacles = rasterize(clip_to_slab(corners, STEP_HEIGHT, agent.height), shape, origin, cell)
        level = corners[_is_level(corners)]
        ground = rasterize(clip_to_slab(level, -STEP_HEIGHT, STEP_HEIGHT), shape, origin, cell)
        clearance = ndimage.distance_transform_edt(ground & ~obstacles) * cell  # [Z, X] metres
        free = _largest_component(clearance >= max(agent.radius, LEAST_RADIUS * cell) - 1e-9)
        if not free.any():
            raise NoNavigableFloorError(
                f"scene {scene.name!r} has no floor at y = 0 where an agent of radius {agent.radius:g} m and "
                f"height {agent.height:g} m can stand"
            )
        return NavigationGrid(free, (origin[0], origin[1]), 0.0, agent, clearance.astype(np.float32))

    def random_point(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """A floor point [3] drawn uniformly from the free area."""
        row, column = self._free_cells[rng.integers(len(self._free_cells))]
        offset = rng.random(2) * 0.998 + 0.001  # not on a cell's border
        x, z = np.array(self.origin) + (np.array([column, row]) + offset) * self.agent.cell
        return np.array([x, self.floor, z])

    def is_navigable(self, position: NDArray[np.float64]) -> bool:
        """Whether the agent can stand at floor point [3]."""
        x, y, z = np.asarray(position, np.float64)
        standing = math.isfinite(x + z) and abs(y - self.floor) <= FLOOR_TOLERANCE
        return standing and bool(self._is_free(np.array([x, z])))

    def clearance(self, position: NDArray[np.float64]) -> float:
        """Metres from floor point [3] to the nearest obstacle or end of the floor, but for a cell; 0 where the
        agent cannot stand."""
        if not self.is_navigable(position):
            return 0.0
        row, column = self._cells(np.asarray(position, np.float64)[[0, 2]])
        return float(self.gaps[row, column])

    def points(self) -> NDArray[np.float64]:
        """Centres [N, 3] of the free cells."""
        x, z = self._centres(self._free_cells).T
        return np.stack([x, np.full(len(x), self.floor), z], axis=1)

    def sample(self, spacing: float) -> NDArray[np.float64]:
        """A regular sample [N, 3] of the free area: in each square of ``spacing`` metres that holds free cells,
        the centre of the one that is nearest to the square's middle.

        Raises:
            ValueError: the spacing is not a positive number.
        """
        if not 0 < spacing < math.inf:
            raise ValueError(f"spacing must be a positive number of metres, got {spacing}")
        points = self.points()
        squares, square = np.unique(
            np.floor(points[:, (0, 2)] / spacing).astype(np.int64), axis=0, return_inverse=True
        )
        off = np.linalg.norm(points[:, (0, 2)] - (squares[square.reshape(-1)] + 0.5) * spacing, axis=1)  # [N]
        order = np.lexsort((off, square.reshape(-1)))
        return points[order[np.unique(square.reshape(-1)[order], return_index=True)[1]]]

    def geodesic_distance(self, start: NDArray[np.float64], goal: NDArray[np.float64]) -> float:
        """Length of ``shortest_path`` in metres; ``math.inf`` if there is none. Symmetric."""
        path = self.shortest_path(start, goal)
        if len(path) == 0:
            return math.inf
        return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())

    def shortest_path(self, start: NDArray[np.float64], goal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Way points [N, 3] from start to goal with straight walkable lines between them; N = 0 if none.

        A grid path (Dijkstra, eight directions) that is pulled taut by line of sight, from both ends in turn.
        That is the shortest but for the grid, unless two ways round something differ by less than the 8 % that
        eight directions may err: then it can be the longer of the two.
        """
        if not (self.is_navigable(start) and self.is_navigable(goal)):
            return np.zeros((0, 3))
        ends = [np.asarray(start, np.float64)[[0, 2]], np.asarray(goal, np.float64)[[0, 2]]]
        swap = tuple(ends[1]) < tuple(ends[0])  # the same path both ways, so that distances are symmetric
        path = self._taut_path(*(ends[::-1] if swap else ends))  # [N, 2]
        path = path[::-1] if swap else path
        return np.stack([path[:, 0], np.full(len(path), self.floor), path[:, 1]], axis=1)

    def step(self, state: AgentState, action: int) -> StepResult:
        """Apply an action; a blocked FORWARD leaves the agent where it was with ``collided`` set.

        Raises:
            ValueError: the action is not one of STOP, FORWARD, TURN_LEFT, TURN_RIGHT.
        """
        if action == STOP:
            return StepResult(state, collided=False)
        if action in (TURN_LEFT, TURN_RIGHT):
            turn = math.radians(self.agent.turn_angle) * (1 if action == TURN_LEFT else -1)
            return StepResult(AgentState(state.position, _wrap(state.yaw + turn)), collided=False)
        if action != FORWARD:
            raise ValueError(f"action must be 0 (stop), 1 (forward), 2 (left) or 3 (right), got {action}")
        x, y, z = state.position
        move = self.agent.forward_step
        target = (x - move * math.sin(state.yaw), z - move * math.cos(state.yaw))
        if not self._visible(np.array([x, z]), np.array([target]))[0]:
            return StepResult(state, collided=True)
        return StepResult(AgentState((target[0], y, target[1]), state.yaw), collided=False)

    @cached_property
    def _free_cells(self) -> NDArray[np.intp]:
        return np.argwhere(self.free)  # [N, 2]

    def _cells(self, points: NDArray[np.float64]) -> NDArray[np.intp]:
        """Cells [N, 2] (row, column) of points [N, 2] (x, z)."""
        return np.floor((points - self.origin) / self.agent.cell).astype(np.intp)[..., ::-1]

    def _centres(self, cells: NDArray[np.intp]) -> NDArray[np.float64]:
        """Centres [N, 2] (x, z) of cells [N, 2] (row, column)."""
        return np.asarray((cells[..., ::-1] + 0.5) * self.agent.cell + self.origin, np.float64)

    def _inside(self, cells: NDArray[np.intp]) -> NDArray[np.bool_]:
        return np.asarray(((cells >= 0) & (cells < self.free.shape)).all(-1))

    def _is_free(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether points [..., 2] (x, z) lie in free cells."""
        cells = self._cells(points)
        clipped = np.clip(cells, 0, np.array(self.free.shape) - 1)
        return np.asarray(self._inside(cells) & self.free[clipped[..., 0], clipped[..., 1]])

    def _visible(self, start: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether straight moves from point [2] to points [N, 2] (x, z) enter free cells only: [N]."""
        cell = self.agent.cell
        t = _crossings((start - self.origin) / cell, (ends - self.origin) / cell)  # [N, S] in [0, 1], sorted
        middle = (t[:, 1:] + t[:, :-1])[..., None] / 2  # one point in every cell on the way
        touched = np.diff(t) < 1e-9  # a corner, not a cell
        return np.asarray((self._is_free(start + middle * (ends - start)[:, None]) | touched).all(axis=1))

    def _taut_path(self, start: NDArray[np.float64], goal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Way points [N, 2] (x, z) between two navigable points, both included."""
        if self._visible(start, goal[None])[0]:
            return np.stack([start, goal])
        first, last = (tuple(int(i) for i in self._cells(point[None])[0]) for point in (start, goal))
        search = MCP_Geometric(np.where(self.free, 1.0, -1.0), fully_connected=True)
        search.find_costs([first], [last])
        middle = self._centres(np.array(search.traceback(last)))  # [M, 2]
        path = np.concatenate([start[None], middle, goal[None]])
        for _ in range(2):  # once from each end
            points = _resample(path, self.agent.cell)
            path = self._pull(points[self._is_free(points)])[
                ::-1
            ]  # a point may lie on a blocked cell's corner
        return path

    def _pull(self, path: NDArray[np.float64]) -> NDArray[np.float64]:
        """Drop the points [N, 2] that a straight walk can skip: always on to the farthest in sight."""
        kept = [0]
        while kept[-1] < len(path) - 1:
            kept.append(self._farthest_in_sight(path, kept[-1]))
        return path[kept]

    def _farthest_in_sight(self, path: NDArray[np.float64], here: int) -> int:
        """Index of the last point of a path [N, 2] that can be reached straight from point ``here``."""
        later = path[here + 2 :]  # [M, 2]; the next point can always be reached
        t = np.arange(1, 8)[:, None, None] / 8
        hopeful = np.flatnonzero(self._is_free(path[here] + t * (later - path[here])).all(axis=0))
        for end in range(
            len(hopeful), 0, -8
        ):  # a few at a time, farthest first: mostly the first few suffice
            part = hopeful[max(0, end - 8) : end]
            seen = part[self._visible(path[here], later[part])]
            if len(seen):
                return here + 2 + int(seen[-1])
        return here + 1


def _frame(
    name: str, points: NDArray[np.float64], cell: float
) -> tuple[NDArray[np.float64], tuple[int, int]]:
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
    points = (polygons - origin) / cell  # [G, N, 2] in cells
    ends = np.roll(points, -1, axis=1)
    area = (points[..., 0] * ends[..., 1] - points[..., 1] * ends[..., 0]).sum(1)  # [G]
    turned = np.where(area[:, None, None] > 0, 1.0, -1.0)
    start, end = points.reshape(-1, 2), ends.reshape(-1, 2)  # [E, 2]
    filled = _winding(start, end, np.broadcast_to(turned[..., 0], points.shape[:2]).reshape(-1), shape) > 0
    steps = np.ceil(2 * np.abs(end - start).max(1)).astype(int) + 1  # [E], two samples a cell or more
    edge, k = _ranges(steps)
    samples = start[edge] + (end - start)[edge] * (k / np.maximum(steps[edge] - 1, 1))[:, None]
    column, row = np.floor(samples).astype(np.intp).T
    filled[row, column] = True
    return filled


def _winding(
    start: NDArray[np.float64], end: NDArray[np.float64], sign: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Sum of winding numbers at the cell centres [rows, columns] of signed edges [E, 2], in cells."""
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.ceil(low - 0.5).astype(int)  # rows whose centre line low <= row + 0.5 < high crosses the edge
    count = np.ceil(high - 0.5).astype(int) - first
    edge, k = _ranges(count)
    row = first[edge] + k
    t = (row + 0.5 - start[edge, 1]) / (end[edge, 1] - start[edge, 1])
    column = np.ceil(start[edge, 0] + t * (end[edge, 0] - start[edge, 0]) - 0.5).astype(int)
    change = np.zeros((shape[0], shape[1] + 1))
    np.add.at(change, (row, column), sign[edge] * np.sign(end[edge, 1] - start[edge, 1]) * -1)
    return np.cumsum(change, axis=1)[:, :-1]


def _ranges(counts: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For counts [N], the pairs (i, 0), ..., (i, counts[i] - 1) of all i as two flat arrays."""
    index = np.repeat(np.arange(len(counts)), counts)
    return index, np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)


def _is_level(corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])  # [F, 3]
    return np.abs(cross[:, 1]) > LEVEL_NORMAL * np.linalg.norm(cross, axis=1)


def _largest_component(free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest set of cells that are connected by their sides."""
    labels, count = ndimage.label(free)
    if count == 0:
        return free
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


def _crossings(start: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where lines from point [2] to points [N, 2] cross grid lines (whole numbers): shares t [N, S] of the way.

    Sorted, with 0 and 1 included; lines with fewer crossings than the others repeat 1.
    """
    way = ends - start  # [N, 2]
    count = int(np.abs(np.floor(ends) - np.floor(start)).max())
    lines = np.floor(np.minimum(start, ends))[:, None] + np.arange(1, count + 1)[:, None]  # [N, count, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (lines - start) / way[:, None]  # [N, count, 2], nan or inf where nothing is crossed
    t = np.where((t > 0) & (t < 1), t, 1.0).reshape(len(ends), -1)
    return np.sort(np.concatenate([np.zeros((len(ends), 1)), t, np.ones((len(ends), 1))], axis=1), axis=1)


def _resample(path: NDArray[np.float64], spacing: float) -> NDArray[np.float64]:
    """The polyline [N, 2] with extra points, so that neighbours are at most ``spacing`` apart."""
    lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)  # [N - 1]
    segment, k = _ranges(np.maximum(np.ceil(lengths / spacing), 1).astype(int))
    counts = np.maximum(np.ceil(lengths / spacing), 1)[segment]
    points = path[segment] + (path[segment + 1] - path[segment]) * (k / counts)[:, None]
    return np.concatenate([points, path[-1:]])


def _wrap(angle: float) -> float:
    """The same angle in [-pi, pi)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi
