"""Where an upright body can stand: the floor of a scene, cut into stretches that are level but for 0.1 m.

Invariant: one rule decides. A cell of a stretch is open if floor lies at its height and nothing stands between
0.1 m and the agent's height above it; it is free if all cells within the agent's radius are open too, on this
stretch or on one that is at most a climb (0.2 m) higher or lower. So what is lower than 0.1 m is stepped over;
what is up to 0.2 m high and fixed is climbed if the body has room on it, or if it leads on to what it has room
on, as the tread of a staircase does; everything else is an obstacle.

Stretches are searched from the ground storey (y = 0) outwards: what cannot be climbed to is never looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.navigation.bands import (
    FLATNESS,
    GROUND,
    STEP_HEIGHT,
    Band,
    flat_bands,
    sloping_bands,
)
from vln_heatmap.simulation.navigation.plans import clip_to_slab, highest, rasterize

TREAD = 0.25  # metres; the walking height is averaged over this, which makes a ramp of a staircase
LEVEL_NORMAL = 0.7  # |n_y| of faces that count as floor
LEAST_RADIUS = 1.2  # cells; a thinner body would slip between the corners of a slanted wall's cells
NEIGHBOURS = np.ones((3, 3), bool)
SIGHT = 2.0  # metres round a floor in which its clearance is measured
Mask = NDArray[np.bool_]
Window = tuple[slice, slice]
T = TypeVar("T")


@dataclass(frozen=True)
class Floor:
    """The free part of a stretch of floor.

    Attributes:
        level: its height before averaging, metres.
        free: [Z, X] cells on which the agent's centre can stand.
        heights: [Z, X] walking height y, metres: the mean of the floors under a square of a tread's length.
        gaps: [Z, X] metres from each cell's centre to the nearest cell that is not open.
    """

    level: float
    free: Mask
    heights: NDArray[np.float64]
    gaps: NDArray[np.float32]


def _once(method: Callable[[Plans, Band], T]) -> Callable[[Plans, Band], T]:
    """A method of ``Plans`` that works out each band once, and only if it is asked for."""

    @wraps(method)
    def answer(self: Plans, band: Band) -> T:
        key = (method.__name__, band)
        if key not in self._known:
            self._known[key] = method(self, band)
        return self._known[key]

    return answer


@dataclass(frozen=True)
class Plans:
    """The open cells of a scene by band, each computed once and only if it is asked for.

    Attributes:
        corners: [F, 3, 3] all triangles, world metres.
        movable: [F] which of them are of things that a person could carry off: those are never climbed.
        agent: the body.
        origin: world (x, z) of the corner of cell [0, 0].
        shape: number of rows and columns.
    """

    corners: NDArray[np.float64]
    movable: Mask
    agent: AgentParams
    origin: NDArray[np.float64]
    shape: tuple[int, int]
    _known: dict[tuple[str, Band], Any] = field(default_factory=dict)

    @property
    def radius(self) -> float:
        """How far the body keeps from what is not open, metres."""
        return max(self.agent.radius, LEAST_RADIUS * self.agent.cell) - 1e-9

    @cached_property
    def _low(self) -> NDArray[np.float64]:
        return np.minimum(np.minimum(self.corners[:, 0], self.corners[:, 1]), self.corners[:, 2])  # [F, 3]

    @cached_property
    def _high(self) -> NDArray[np.float64]:
        return np.maximum(np.maximum(self.corners[:, 0], self.corners[:, 1]), self.corners[:, 2])  # [F, 3]

    @cached_property
    def _level(self) -> Mask:
        """Which triangles [F] are floor: level, fixed and seen from above, or any level ones on the ground (there
        a sheet will do that is the wrong way round)."""
        cross = np.cross(self.corners[:, 1] - self.corners[:, 0], self.corners[:, 2] - self.corners[:, 0])
        level = np.abs(cross[:, 1]) > LEVEL_NORMAL * np.linalg.norm(cross, axis=1)
        ground = (self._low[:, 1] >= -STEP_HEIGHT) & (self._high[:, 1] <= STEP_HEIGHT)
        return np.asarray(level & (((cross[:, 1] > 0) & ~self.movable) | ground))

    def floors(self) -> list[Floor]:
        """All stretches of floor that are joined to the ground storey by climbs, upwards."""
        reached = self._reached()
        gaps = {band: self._gaps(reached, band) for band in reached}
        while useless := self._without_centre(reached, gaps):
            reached |= {band: reached[band] & ~cells for band, cells in useless.items()}
            gaps = {band: self._gaps(reached, band) for band in reached}
        heights = self._walking_heights(reached)
        floors = []
        for band in sorted(reached, key=lambda band: band.level):
            free = reached[band] & (gaps[band] >= self.radius)
            floors.append(Floor(band.level, free, heights[band], gaps[band].astype(np.float32)))
        return floors

    def _walking_heights(self, reached: dict[Band, Mask]) -> dict[Band, NDArray[np.float64]]:
        """Mean height [Z, X] of the floors within a climb of each band, under a tread-sized square."""
        if len(reached) == 1:
            return {band: self._heights(band) for band in reached}
        size = round(TREAD / self.agent.cell) | 1
        cells, sums = (
            {b: ndimage.uniform_filter(values, size, mode="constant") for b, values in maps.items()}
            for maps in (
                {b: mask.astype(float) for b, mask in reached.items()},
                {b: np.where(mask, self._heights(b), 0.0) for b, mask in reached.items()},
            )
        )
        result = {}
        for band, mask in reached.items():
            near = [other for other in reached if band.within_climb(other)]
            mean = sum(sums[b] for b in near) / np.maximum(sum(cells[b] for b in near), 1e-9)
            result[band] = np.where(mask, np.round(mean, 6), band.level)  # level is exactly level
        return result

    def _gaps(self, reached: dict[Band, Mask], band: Band) -> NDArray[np.float64]:
        """Metres [Z, X] from each cell of a band to the nearest one that is not open within a climb of it; what
        is farther than ``SIGHT`` from all of its cells counts as not open."""
        joined = np.logical_or.reduce([cells for b, cells in reached.items() if band.within_climb(b)])
        window = _window(reached[band], round(SIGHT / self.agent.cell))
        gaps = np.zeros(self.shape)
        near = ndimage.distance_transform_edt(np.pad(joined[window], 1))
        gaps[window] = near[1:-1, 1:-1] * self.agent.cell
        return gaps

    def _without_centre(
        self, reached: dict[Band, Mask], gaps: dict[Band, NDArray[np.float64]]
    ) -> dict[Band, Mask]:
        """Pieces [Z, X] of the bands beside the ground's on which the agent's centre finds no place."""
        found = {}
        for band, cells in reached.items():
            if band != GROUND:
                free = cells & (gaps[band] >= self.radius)
                rest = cells & ~ndimage.binary_propagation(free, NEIGHBOURS, mask=cells)
                if rest.any():
                    found[band] = rest
        return found

    def _reached(self) -> dict[Band, Mask]:
        """Open cells [Z, X] by band of the ground storey and of all that climbs lead to from there."""
        reached = {GROUND: self._open(GROUND)}
        waiting = [GROUND]
        while waiting:
            here = waiting.pop()
            near = ndimage.binary_dilation(reached[here], NEIGHBOURS)
            for band in self._bands:
                if band == here or not band.within_climb(here) or not near[self._place(band)].any():
                    continue
                if not (near & self._roomy(band)).any():
                    continue
                before = reached.get(band, np.zeros(self.shape, bool))
                start = before | (near & self._room(band))
                if (start & ~before).any():
                    reached[band] = ndimage.binary_propagation(start, mask=self._room(band))
                    waiting.append(band)
        return reached

    @cached_property
    def _bands(self) -> list[Band]:
        """Bands, beside the ground's, that hold all floor on which the body may find room.

        One for each height at which there is flat floor, and a stack of them over the heights of slopes.
        """
        corners = self.corners[self._level][..., (0, 2)]  # [L, 3, 2]
        one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        areas = np.abs(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]) / 2  # [L]
        low, high = self._low[self._level, 1], self._high[self._level, 1]
        sloping = self._sloping[self._level]
        flat = ~sloping & ((high >= STEP_HEIGHT) | (low < -STEP_HEIGHT))
        least = np.pi * self.radius**2 / 2  # half of the body's disc: on less, even a tread gives no hold
        below = sloping_bands(low[sloping], high[sloping], -np.inf, -STEP_HEIGHT)
        above = sloping_bands(low[sloping], high[sloping], STEP_HEIGHT, np.inf)
        return [*flat_bands(low[flat], areas[flat], least), *below, *above]

    @cached_property
    def _sloping(self) -> Mask:
        return np.asarray(self._high[:, 1] - self._low[:, 1] > FLATNESS)

    def _faces(self, band: Band) -> Mask:
        """Which triangles [F] are floor of a band."""
        kind = (self._sloping & band.sloping) | (~self._sloping & band.flat)
        return self._level & kind & self._between(band.low, band.high)

    @_once
    def _place(self, band: Band) -> Window:
        """The rectangle of cells round the floor of a band."""
        faces = self._faces(band)
        corners = (self._low[faces][:, (2, 0)].min(0), self._high[faces][:, (2, 0)].max(0))
        (top, left), (bottom, right) = (
            ((at - self.origin[::-1]) / self.agent.cell).astype(int).tolist() for at in corners
        )
        return slice(top, bottom + 1), slice(left, right + 1)

    @_once
    def _above(self, band: Band) -> list[Band]:
        """The bands up to a climb higher whose floor comes closer than the body's diameter to that of a band."""
        margin = round(2 * self.radius / self.agent.cell)
        return [
            other
            for other in (GROUND, *self._bands)
            if other.level - band.level > 0
            and band.within_climb(other)
            and all(
                one.start < two.stop + margin and two.start < one.stop + margin
                for one, two in zip(self._place(band), self._place(other), strict=True)
            )
        ]

    @_once
    def _ground(self, band: Band) -> Mask:
        """Cells [Z, X] with floor in a band."""
        polygons = clip_to_slab(self.corners[self._faces(band)], band.low, band.high)
        return rasterize(polygons, self.shape, self.origin, self.agent.cell)

    @_once
    def _roomy(self, band: Band) -> Mask:
        """The cells [Z, X] with floor in a band that are wide enough for the body, whatever stands on them."""
        wide = [self._ground(other) for other in (band, *self._above(band))]
        return self._ground(band) & self._opening(np.logical_or.reduce(wide))

    @_once
    def _open(self, band: Band) -> Mask:
        """The cells [Z, X] with floor in a band that have head room, and width if it is not the ground."""
        floor = self._ground(band) if band == GROUND else self._roomy(band)
        if not floor.any():
            return floor
        low, high = band.level + STEP_HEIGHT, band.level + self.agent.height
        chosen = np.flatnonzero(self._between(low, high))
        polygons = clip_to_slab(self.corners[chosen[self._over(floor, chosen)]], low, high)
        return floor & ~rasterize(polygons, self.shape, self.origin, self.agent.cell)

    def _between(self, low: float, high: float) -> Mask:
        """Which triangles [F] reach between two heights."""
        return (self._high[:, 1] >= low) & (self._low[:, 1] <= high)

    def _over(self, cells: Mask, chosen: NDArray[np.intp]) -> Mask:
        """Which of some triangles [C] have a rectangle round their plan that holds cells of a mask [Z, X]."""
        total = np.pad(cells.cumsum(0).cumsum(1), ((1, 0), (1, 0)))  # [Z + 1, X + 1]
        plans = [corner[chosen][:, (0, 2)] for corner in (self._low, self._high)]  # [C, 2] each
        (x0, z0), (x1, z1) = (((p - self.origin) / self.agent.cell).astype(np.intp).T for p in plans)
        x1, z1 = x1 + 1, z1 + 1
        return np.asarray(total[z1, x1] - total[z0, x1] - total[z1, x0] + total[z0, x0] > 0)

    @_once
    def _room(self, band: Band) -> Mask:
        """Open cells of a band on which the body finds room, counting the bands that are a climb higher.

        That is the opening of the open cells by the body's disc: what remains can be covered with discs. It
        leaves the treads of a staircase, and takes away a sill. Under the boards of a floor there may be another
        one: the higher counts.
        """
        cells = self._open(band)
        if not cells.any():
            return cells
        above = self._above(band)
        cells = cells & self._opening(np.logical_or.reduce([cells, *(self._open(b) for b in above)]))
        for other in above:
            if other.level - band.level <= STEP_HEIGHT and cells.any():
                cells = cells & ~self._room(other)
        return cells

    def _opening(self, cells: Mask) -> Mask:
        """What discs of the body's radius within a mask [Z, X] can cover."""
        result = np.zeros_like(cells)
        if cells.any():
            window = _window(cells)
            core = ndimage.distance_transform_edt(np.pad(cells[window], 1)) * self.agent.cell >= self.radius
            if core.any():
                near = ndimage.distance_transform_edt(~core) * self.agent.cell <= self.radius
                result[window] = near[1:-1, 1:-1]
        return result

    @_once
    def _heights(self, band: Band) -> NDArray[np.float64]:
        """Height [Z, X] of the floor in a band: its level, or that of a slope where nothing else is."""
        chosen = self._faces(band)
        slope = chosen & self._sloping
        if not slope.any():
            return np.full(self.shape, band.level)
        origin, cell = self.origin, self.agent.cell
        flat = rasterize(self.corners[chosen & ~slope][..., (0, 2)], self.shape, origin, cell)
        heights = highest(self.corners[slope], self.shape, origin, cell).clip(band.low, band.high)
        return np.where(flat | np.isnan(heights), band.level, heights)


def _window(cells: Mask, margin: int = 0) -> Window:
    """The rectangle round the cells of a mask [Z, X] and ``margin`` cells more."""
    rows, columns = np.flatnonzero(cells.any(1)), np.flatnonzero(cells.any(0))
    if len(rows) == 0:
        return np.s_[0:0, 0:0]
    sides = [slice(max(int(i[0]) - margin, 0), int(i[-1]) + 1 + margin) for i in (rows, columns)]
    return sides[0], sides[1]


def _overlap(one: slice, other: slice) -> bool:
    return bool(one.start < other.stop and other.start < one.stop)
