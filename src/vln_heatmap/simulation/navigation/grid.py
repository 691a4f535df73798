"""Standing, stepping, paths and line of sight on the walkable floor of a scene.

Invariant: all of them use one rule: a straight move is possible if every cell that it enters is free and joined
to the one before it. A path that is returned can be walked, and a part of a possible move is possible.

Grid lines lie half a cell off the multiples of the cell size: walls on round coordinates fall on cell centres,
and their distance comes out exact. Arrays are indexed [sheet, row, column] = [sheet, z, x]; points are (x, y, z).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from skimage.graph import MCP_Geometric

from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.navigation.bands import CLIMB
from vln_heatmap.simulation.navigation.floors import Plans
from vln_heatmap.simulation.navigation.lines import crossings, resample, vertical_profile
from vln_heatmap.simulation.navigation.plans import frame
from vln_heatmap.simulation.navigation.sheets import SIDES, Sheets
from vln_heatmap.simulation.scene import Scene
from vln_heatmap.simulation.simulators.base import (
    AgentState,
    NoNavigableFloorError,
    StepResult,
    stop_or_turn,
)

FLOOR_TOLERANCE = 0.5  # metres between a point and the floor below it for the point to count as standing
_ROOM, _PRICE = 0.5, 6.0  # metres from obstacles that are kept if they can be, and what lacking them costs
Points = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class NavigationGrid:
    """Walkable floor: what can be reached from the ground storey on foot, stairs included.

    Attributes:
        sheets: free cells and their heights; one piece, connected by cell sides.
        origin: world (x, z) of the corner of cell [0, 0], metres.
        agent: the body that the grid was made for.
    """

    sheets: Sheets
    origin: tuple[float, float]
    agent: AgentParams

    @staticmethod
    def from_scene(scene: Scene, agent: AgentParams) -> NavigationGrid:
        """Grid of the largest floor that can be walked in one piece and reaches the ground storey (y = 0).

        Args:
            scene: triangles in the world frame, metres.
            agent: height, radius and cell size; a radius below 1.2 cells counts as that.

        Raises:
            NoNavigableFloorError: there is no cell at y = 0 where the agent fits.
            ValueError: the scene is too wide for a grid, as one in millimetres is.
        """
        corners = scene.vertices[scene.faces].astype(np.float64)  # [F, 3, 3]
        origin, shape = frame(scene.name, corners[..., (0, 2)].reshape(-1, 2), agent.cell)
        movable = np.isin(scene.face_instance, [thing.id for thing in scene.instances if thing.movable])
        sheets = Sheets.of(Plans(corners, movable, agent, origin, shape).floors())
        sheets = sheets.only(sheets.largest())
        if not sheets.free.any():
            raise NoNavigableFloorError(
                f"scene {scene.name!r} has no floor at y = 0 where an agent of radius {agent.radius:g} m and "
                f"height {agent.height:g} m can stand"
            )
        return NavigationGrid(sheets, (origin[0], origin[1]), agent)

    @property
    def free(self) -> Mask:
        """[S, Z, X] cells on which the agent's centre can stand; cells at seams are in two sheets."""
        return self.sheets.free

    def random_point(self, rng: np.random.Generator) -> Points:
        """A floor point [3] drawn uniformly (by its place in the plan) from the free area of all storeys."""
        sheet, row, column = self._own_cells[rng.integers(len(self._own_cells))]
        offset = rng.random(2) * 0.998 + 0.001  # not on a cell's border
        plan = np.array(self.origin) + (np.array([column, row]) + offset) * self.agent.cell
        return np.array([plan[0], self._heights(plan)[sheet], plan[1]])

    def points(self) -> Points:
        """Centres [N, 3] of the free cells of all storeys."""
        sheet, row, column = self._own_cells.T
        x, z = self._centres(self._own_cells[:, 1:]).T
        return np.stack([x, self.sheets.heights[sheet, row, column], z], axis=1)

    def sample(self, spacing: float) -> Points:
        """A regular sample [N, 3] of the free area: in each square of ``spacing`` metres that holds free cells,
        the centre of the one that is nearest to the square's middle; floors over each other have squares of
        their own.

        Raises:
            ValueError: the spacing is not a positive number.
        """
        if not 0 < spacing < math.inf:
            raise ValueError(f"spacing must be a positive number of metres, got {spacing}")
        points = self.points()
        corner = np.floor(points[:, (0, 2)] / spacing)  # [N, 2]
        off = np.linalg.norm(points[:, (0, 2)] - (corner + 0.5) * spacing, axis=1)  # [N]
        squares = np.column_stack([self._own_cells[:, 0], corner])
        square = np.unique(squares, axis=0, return_inverse=True)[1].reshape(-1)  # [N]
        order = np.lexsort((off, square))
        return points[order[np.unique(square[order], return_index=True)[1]]]

    def is_navigable(self, position: Points) -> bool:
        """Whether the agent can stand at floor point [3]."""
        return self._place(position) is not None

    def clearance(self, position: Points) -> float:
        """Metres from floor point [3] to the nearest obstacle or end of the floor, but for a cell; 0 where the
        agent cannot stand."""
        place = self._place(position)
        return 0.0 if place is None else float(self.sheets.gaps[place])

    def geodesic_distance(self, start: Points, goal: Points) -> float:
        """Length of ``shortest_path`` in metres; ``math.inf`` if there is none. Symmetric."""
        path = self.shortest_path(start, goal)
        if len(path) == 0:
            return math.inf
        return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())

    def shortest_path(self, start: Points, goal: Points) -> Points:
        """Way points [N, 3] on the floor from start to goal with straight walkable lines between them; N = 0 if
        there is no way.

        A grid path (Dijkstra, eight directions) that is pulled taut by line of sight, from both ends in turn.
        That is the shortest but for the grid, unless two ways round something differ by less than the 8 % that
        eight directions may err: then it can be the longer of the two. Stairs count by their plan when ways are
        chosen, but a path has way points wherever the floor's slope changes, so its length is that of the slope.
        """
        if not (self.is_navigable(start) and self.is_navigable(goal)):
            return np.zeros((0, 3))
        ends = [self._on_floor(np.asarray(point, np.float64)) for point in (start, goal)]
        swap = tuple(ends[1]) < tuple(ends[0])  # the same path both ways, so that distances are symmetric
        path = self._taut_path(*(ends[::-1] if swap else ends))  # [N, 3]
        if not self._is_level:
            path = vertical_profile(path, self._on_surface(resample(path, self.agent.cell)))
        return path[::-1] if swap else path

    def roomy_path(self, start: Points, goal: Points) -> Points:
        """Points [N, 3] on the floor, about a cell apart, of a way from start to goal that keeps away from
        obstacles where there is room; N = 0 if there is no way.

        The shortest way if a metre at the distance g from the nearest obstacle counted as
        1 + 6 (1 - g / 0.5)^2 where g is less than 0.5 metres.
        """
        if not (self.is_navigable(start) and self.is_navigable(goal)):
            return np.zeros((0, 3))
        ends = [self._on_floor(np.asarray(point, np.float64)) for point in (start, goal)]
        way = self._grid_path(ends[0], ends[1], self._roomy_search)
        return np.concatenate([ends[0][None], way, ends[1][None]])

    def step(self, state: AgentState, action: int) -> StepResult:
        """Apply an action; a blocked FORWARD leaves the agent where it was with ``collided`` set.

        FORWARD ends on the floor ``forward_step`` metres away, so that it gets less far in the plan on stairs.

        Raises:
            ValueError: the action is not one of STOP, FORWARD, TURN_LEFT, TURN_RIGHT.
        """
        turned = stop_or_turn(state, action, self.agent.turn_angle)
        if turned is not None:
            return turned
        start = np.asarray(state.position, np.float64)
        if not self.is_navigable(start):
            return StepResult(state, collided=True)
        start = self._on_floor(start)
        target = self._ahead(start, np.array([-math.sin(state.yaw), -math.cos(state.yaw)]))
        if not self._visible(start, target[None])[0]:
            return StepResult(state, collided=True)
        x, y, z = target.tolist()
        return StepResult(AgentState((x, y, z), state.yaw), collided=False)

    def _ahead(self, start: Points, direction: Points) -> Points:
        """The point [3] of the floor a step's length from a floor point in a direction [2] of the plan."""
        length = reach = self.agent.forward_step
        for _ in range(1 if self._is_level else 12):  # halves the error each time on stairs of 45 degrees
            x, z = start[[0, 2]] + reach * direction
            end = self._on_floor(np.array([x, start[1], z]))
            reach = math.sqrt(max(length**2 - (end[1] - start[1]) ** 2, 0.0))
        return end

    @cached_property
    def _own_cells(self) -> NDArray[np.intp]:
        return np.argwhere(self.sheets.own)  # [N, 3]

    @cached_property
    def _is_level(self) -> bool:
        """Whether all floor has one height."""
        return len(np.unique(self.sheets.heights[self.sheets.free])) == 1

    @cached_property
    def _anywhere(self) -> Mask:
        return np.asarray(self.sheets.free.any(0))  # [Z, X]

    def _cells(self, plan: Points) -> NDArray[np.intp]:
        """Cells [..., 2] (row, column) of points [..., 2] (x, z)."""
        return np.floor((plan - self.origin) / self.agent.cell).astype(np.intp)[..., ::-1]

    def _centres(self, cells: NDArray[np.intp]) -> Points:
        """Centres [..., 2] (x, z) of cells [..., 2] (row, column)."""
        return np.asarray((cells[..., ::-1] + 0.5) * self.agent.cell + self.origin, np.float64)

    def _within(self, plan: Points) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns [*] of points [*, 2] (x, z); those outside move to the grid's border, where nothing
        is free."""
        row, column = np.moveaxis(self._cells(plan), -1, 0)
        rows, columns = self.free.shape[1:]
        return row.clip(0, rows - 1), column.clip(0, columns - 1)

    def _look_up(self, mask: Mask, plan: Points) -> Mask:
        """Values [*] or [S, *] of a mask [Z, X] or [S, Z, X] at points [*, 2] (x, z); False outside the grid."""
        row, column = self._within(plan)
        return np.asarray(mask[..., row, column])

    def _place(self, position: Points) -> tuple[int, int, int] | None:
        """Sheet, row and column of the free floor at a floor point [3]: ``_holding`` of one point, without the
        cost of arrays, since films ask for thousands of single points."""
        x, y, z = map(float, position)
        if not math.isfinite(x + y + z):
            return None
        row = math.floor((z - self.origin[1]) / self.agent.cell)
        column = math.floor((x - self.origin[0]) / self.agent.cell)
        sheets, rows, columns = self.free.shape
        if not (0 <= row < rows and 0 <= column < columns):
            return None
        for sheet in range(sheets):
            near = abs(float(self.sheets.heights[sheet, row, column]) - y) <= FLOOR_TOLERANCE
            if near and self.free[sheet, row, column]:
                return sheet, row, column
        return None

    def _holding(self, points: Points) -> Mask:
        """Which sheets have free floor within the tolerance under or over points [*, 3]: [S, *]."""
        row, column = self._within(points[..., (0, 2)])
        near = np.abs(self.sheets.heights[:, row, column] - points[..., 1]) <= FLOOR_TOLERANCE
        return np.asarray(self.free[:, row, column] & near)

    def _heights(self, plan: Points) -> Points:
        """Walking height in each sheet at points [*, 2] (x, z): [S, *]; nan where it is not free.

        Bilinear between cell centres; corners that are not free, or belong to another floor, count as the cell.
        """
        row, column = self._within(plan)
        free = self.free[:, row, column]
        if self._is_level:
            return np.where(free, self._level, np.nan)
        last = np.array(self.free.shape[1:]) - 1
        here = self.sheets.heights[:, row, column]  # [S, *]
        at = (plan - self.origin) / self.agent.cell - 0.5
        low = np.floor(at).astype(np.intp)  # [*, 2] column, row
        share = at - low
        total = np.zeros_like(here)
        for j, i in ((0, 0), (0, 1), (1, 0), (1, 1)):
            r, c = np.clip(low[..., 1] + j, 0, last[0]), np.clip(low[..., 0] + i, 0, last[1])
            value = self.sheets.heights[:, r, c]
            joined = self.free[:, r, c] & (np.abs(value - here) <= CLIMB)
            weight = np.abs(1 - i - share[..., 0]) * np.abs(1 - j - share[..., 1])
            total += weight * np.where(joined, value, here)
        return np.where(free, total, np.nan)

    @cached_property
    def _level(self) -> float:
        return float(self.sheets.heights[self.sheets.free][0])

    def _on_floor(self, point: Points) -> Points:
        """A point [3] with the height of the floor nearest to it; unchanged where there is none."""
        heights = self._heights(point[[0, 2]])  # [S]
        if np.isnan(heights).all():
            return point
        nearest = np.nanargmin(np.abs(heights - point[1]))
        return np.array([point[0], heights[nearest], point[2]])

    def _on_surface(self, path: Points) -> Points:
        """A dense path [N, 3] that starts on the floor, put on the floor all the way; points that are not over
        free cells (they may lie on a blocked cell's corner) are left out."""
        if self._is_level:
            return path[self._look_up(self._anywhere, path[:, (0, 2)])]
        heights = self._heights(path[:, (0, 2)])  # [S, N]
        y, kept = path[0, 1], []
        for i, choices in enumerate(heights.T):
            near = [h for h in choices.tolist() if abs(h - y) <= FLOOR_TOLERANCE]
            if near:
                y = min(near, key=lambda h: abs(h - y))
                kept.append((i, y))
        index, values = np.array(kept).T
        chosen = path[index.astype(np.intp)]
        return np.stack([chosen[:, 0], values, chosen[:, 2]], axis=1)

    def _visible(self, start: Points, ends: Points) -> Mask:
        """Whether straight moves from floor point [3] to floor points [N, 3] are possible: [N].

        All cells that a move enters must be free in one sheet; or in one up to a cell that another sheet has in
        common with it, and in that one from there on.
        """
        cell = self.agent.cell
        begin, plan = start[[0, 2]], ends[:, (0, 2)]
        t = crossings((begin - self.origin) / cell, (plan - self.origin) / cell)  # [N, T] in [0, 1], sorted
        middle = (t[:, 1:] + t[:, :-1])[..., None] / 2  # one point in every cell on the way
        touched = np.diff(t) < 1e-9  # a corner, not a cell
        way = begin + middle * (plan - begin)[:, None]  # [N, T - 1, 2]
        free = self._look_up(self.free, way) | touched  # [S, N, T - 1]
        if len(free) == 1:
            return np.asarray(free[0].all(-1))
        starts, stops = self._holding(start), self._holding(ends)  # [S], [S, N]
        seen = (starts[:, None] & stops & free.all(-1)).any(0)  # [N]
        if not seen.all():
            links = self._look_up(self._links, way) & ~touched  # [S - 1, N, T - 1]
            so_far = np.logical_and.accumulate(free, axis=-1)
            from_there = np.logical_and.accumulate(free[..., ::-1], axis=-1)[..., ::-1]
            for a, b in [(s, s + 1) for s in range(len(links))] + [(s + 1, s) for s in range(len(links))]:
                change = (links[min(a, b)] & so_far[a] & from_there[b]).any(-1)  # [N]
                seen |= starts[a] & stops[b] & change
        return np.asarray(seen)

    @cached_property
    def _links(self) -> Mask:
        return self.sheets.linked()

    def _taut_path(self, start: Points, goal: Points) -> Points:
        """Way points [N, 3] between two floor points, both included."""
        if self._visible(start, goal[None])[0]:
            return np.stack([start, goal])
        path = np.concatenate([start[None], self._grid_path(start, goal, self._search), goal[None]])
        for _ in range(2):  # once from each end
            path = self._pull(self._on_surface(resample(path, self.agent.cell)))[::-1]
        return path

    def _grid_path(self, start: Points, goal: Points, search: MCP_Geometric) -> Points:
        """Cell centres [N, 3] of the cheapest way through cells, eight directions."""
        ends = [
            (2 * int(np.argmax(self._holding(point))), *self._cells(point[[0, 2]]).tolist())
            for point in (start, goal)
        ]
        search.find_costs([ends[0]], [ends[1]])
        plane, row, column = np.array(search.traceback(ends[1])).T
        real = plane % 2 == 0
        sheet, row, column = plane[real] // 2, row[real], column[real]
        x, z = self._centres(np.stack([row, column], axis=1)).T
        return np.stack([x, self.sheets.heights[sheet, row, column], z], axis=1)

    @cached_property
    def _search(self) -> MCP_Geometric:
        """Search for the shortest way."""
        return self._search_with(np.ones(self.free.shape))

    @cached_property
    def _roomy_search(self) -> MCP_Geometric:
        """Search for a way that keeps away from obstacles."""
        lack = np.clip(1 - self.sheets.gaps / _ROOM, 0, 1)
        return self._search_with(1 + _PRICE * lack**2)

    def _search_with(self, costs: Points) -> MCP_Geometric:
        """Search through planes [2S - 1, Z, X]: the sheets, whose cells have costs [S, Z, X], and between two of
        them their common cells, which cost next to nothing."""
        planes = np.zeros((2 * len(self.free) - 1, *self.free.shape[1:]), bool)
        planes[::2], planes[1::2] = self.free, self._links
        offsets = [(0, *side) for side in SIDES] + [(-1, 0, 0), (1, 0, 0)][: 2 * (len(planes) > 1)]
        prices = np.ones(planes.shape)
        prices[::2] = costs
        return MCP_Geometric(np.where(planes, prices, -1.0), offsets=offsets, sampling=(1e-3, 1.0, 1.0))

    def _hopeful(self, start: Points, ends: Points, between: Points) -> Mask:
        """Whether all is free at points [K, N, 2] (x, z) between a floor point [3] and others [N, 3]: [N]."""
        free = self._look_up(self.free, between)  # [S, K, N]
        if len(free) == 1:
            return np.asarray(free[0].all(0))
        first = free[np.argmax(self._holding(start))]  # [K, N], on the sheet of the start
        last = free[np.argmax(self._holding(ends), axis=0), :, np.arange(len(ends))].T  # [K, N], of the ends
        so_far, from_there = np.logical_and.accumulate(first), np.logical_and.accumulate(last[::-1])[::-1]
        return np.asarray(so_far[-1] | from_there[0] | (so_far[:-1] & from_there[1:]).any(0))

    def _pull(self, path: Points) -> Points:
        """Drop the points [N, 3] that a straight walk can skip: always on to the farthest in sight."""
        kept = [0]
        while kept[-1] < len(path) - 1:
            kept.append(self._farthest_in_sight(path, kept[-1]))
        return path[kept]

    def _farthest_in_sight(self, path: Points, here: int) -> int:
        """Index of the last point of a path [N, 3] that can be reached straight from point ``here``."""
        later = path[here + 2 :]  # [M, 3]; the next point can always be reached
        t = np.arange(1, 8)[:, None, None] / 8
        between = (path[here] + t * (later - path[here]))[..., (0, 2)]  # [7, M, 2]
        hopeful = np.flatnonzero(self._hopeful(path[here], later, between))
        for end in range(
            len(hopeful), 0, -8
        ):  # a few at a time, farthest first: mostly the first few suffice
            part = hopeful[max(0, end - 8) : end]
            seen = part[self._visible(path[here], later[part])]
            if len(seen):
                return here + 2 + int(seen[-1])
        return here + 1
