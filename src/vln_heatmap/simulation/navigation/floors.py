"""Where an upright body can stand: the floor of a scene, cut into stretches that are level but for 0.1 m.

Invariant: one rule decides. A cell of a stretch is open if floor lies at its height and nothing stands between
0.1 m and the agent's height above it; it is free if all cells within the agent's radius are open too, on this
stretch or on one that is at most a climb (0.2 m) higher or lower. So what is lower than 0.1 m is stepped over;
what is up to 0.2 m high and fixed is climbed if the body has room on it, or if it leads on to what it has room
on, as the tread of a staircase does; everything else is an obstacle.

Stretches are searched from the ground storey (y = 0) outwards: what cannot be climbed to is never looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.navigation.plans import clip_to_slab, highest, rasterize

STEP_HEIGHT = 0.1  # metres; what is lower lies on the floor
CLIMB = 0.2  # metres between neighbouring floors that the agent steps up or down
TREAD = 0.25  # metres; the walking height is averaged over this, which makes a ramp of a staircase
FLATNESS = 2e-3  # metres; floors that differ by less have one height, faces that rise by less are flat
LEVEL_NORMAL = 0.7  # |n_y| of faces that count as floor
LEAST_RADIUS = 1.2  # cells; a thinner body would slip between the corners of a slanted wall's cells
NEIGHBOURS = np.ones((3, 3), bool)
SIGHT = 2.0  # metres round a floor in which its clearance is measured
Mask = NDArray[np.bool_]
Window = tuple[slice, slice]


@dataclass(frozen=True)
class Band:
    """Floor between the heights ``low`` and ``high`` (metres) counts as level.

    Attributes:
        level: at this height.
        flat, sloping: which faces count as floor.
    """

    low: float
    level: float
    high: float
    flat: bool = True
    sloping: bool = True


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
    _places: dict[Band, tuple[int, int, int, int]] = field(default_factory=dict)
    _grounds: dict[Band, Mask] = field(default_factory=dict)
    _roomies: dict[Band, Mask] = field(default_factory=dict)
    _opens: dict[Band, Mask] = field(default_factory=dict)
    _rooms: dict[Band, Mask] = field(default_factory=dict)
    _means: dict[tuple[Band, bool], NDArray[np.float64]] = field(default_factory=dict)

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
        floors = []
        for band in sorted(reached, key=lambda band: band.level):
            free = reached[band] & (gaps[band] >= self.radius)
            heights = self._walking_heights(reached, band)
            floors.append(Floor(band.level, free, heights, gaps[band].astype(np.float32)))
        return floors

    def _walking_heights(self, reached: dict[Band, Mask], band: Band) -> NDArray[np.float64]:
        """Mean height [Z, X] of the floors within a climb of a band."""
        near = [other for other in reached if _within_climb(band, other)]
        if len(near) == 1:
            return self._heights(band)
        share = sum(self._mean(other, reached[other]) for other in near)
        total = sum(self._mean(other, reached[other], self._heights(other)) for other in near)
        mean = np.round(total / np.maximum(share, 1e-9), 6)  # so that level is exactly level
        return np.where(reached[band], mean, band.level)

    def _gaps(self, reached: dict[Band, Mask], band: Band) -> NDArray[np.float64]:
        """Metres [Z, X] from each cell of a band to the nearest one that is not open within a climb of it; what
        is farther than ``SIGHT`` from all of its cells counts as not open."""
        joined = np.logical_or.reduce([cells for b, cells in reached.items() if _within_climb(band, b)])
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
            if band.level != 0:
                free = cells & (gaps[band] >= self.radius)
                rest = cells & ~ndimage.binary_propagation(free, NEIGHBOURS, mask=cells)
                if rest.any():
                    found[band] = rest
        return found

    def _reached(self) -> dict[Band, Mask]:
        """Open cells [Z, X] by band of the ground storey and of all that climbs lead to from there."""
        bands = self._bands()
        ground = bands[0]
        reached = {ground: self._open(ground, self._ground(ground))}
        waiting = [ground]
        while waiting:
            here = waiting.pop()
            near = ndimage.binary_dilation(reached[here], NEIGHBOURS)
            for band in bands[1:]:
                if band == here or not _within_climb(band, here) or not near[self._place(band)].any():
                    continue
                if not (near & self._roomy(band, bands)).any():
                    continue
                room = self._with_room(band, bands)
                before = reached.get(band, np.zeros(self.shape, bool))
                start = before | (room & near)
                if (start & ~before).any():
                    reached[band] = ndimage.binary_propagation(start, mask=room)
                    waiting.append(band)
        return reached

    def _bands(self) -> list[Band]:
        """Bands that hold all floor on which the body may find room, first that of the ground.

        One for each height at which there is flat floor, and a stack of them over the heights of slopes.
        """
        corners = self.corners[self._level][..., (0, 2)]  # [L, 3, 2]
        one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        areas = np.abs(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]) / 2  # [L]
        low, high = self._low[self._level, 1], self._high[self._level, 1]
        sloping = self._sloping[self._level]
        beside = (high >= STEP_HEIGHT) | (low < -STEP_HEIGHT)
        bands = [*_flat_bands(low[beside & ~sloping], areas[beside & ~sloping], self._least_area)]
        for start, stop in ((-np.inf, -STEP_HEIGHT), (STEP_HEIGHT, np.inf)):
            bands += _stack(low[sloping], high[sloping], start, stop)
        return [Band(-STEP_HEIGHT, 0.0, STEP_HEIGHT), *bands]

    @property
    def _least_area(self) -> float:
        """Half of the body's disc, m^2: on less, even a tread gives no hold."""
        return float(np.pi * self.radius**2 / 2)

    @cached_property
    def _sloping(self) -> Mask:
        return np.asarray(self._high[:, 1] - self._low[:, 1] > FLATNESS)

    def _faces(self, band: Band) -> Mask:
        """Which triangles [F] are floor of a band."""
        kind = (self._sloping & band.sloping) | (~self._sloping & band.flat)
        return self._level & kind & self._between(band.low, band.high)

    def _place(self, band: Band, margin: float = 0.0) -> Window:
        """The part of the grid round the floor of a band and ``margin`` metres more."""
        if band not in self._places:
            faces = self._faces(band)
            low = (self._low[faces][:, (0, 2)].min(0) - self.origin) / self.agent.cell
            high = (self._high[faces][:, (0, 2)].max(0) - self.origin) / self.agent.cell
            self._places[band] = (*low.astype(int)[::-1].tolist(), *high.astype(int)[::-1].tolist())
        top, left, bottom, right = self._places[band]
        more = round(margin / self.agent.cell)
        return (
            slice(max(top - more, 0), bottom + 1 + more),
            slice(max(left - more, 0), right + 1 + more),
        )

    def _roomy(self, band: Band, bands: list[Band]) -> Mask:
        """The cells [Z, X] with floor in a band that are wide enough for the body, whatever stands on them."""
        if band not in self._roomies:
            grounds = [self._ground(other) for other in (band, *self._above(band, bands))]
            self._roomies[band] = grounds[0] & self._opening(np.logical_or.reduce(grounds))
        return self._roomies[band]

    def _above(self, band: Band, bands: list[Band]) -> list[Band]:
        """The bands up to a climb higher that have floor near that of a band."""
        higher = [b for b in bands if b.level > band.level and _within_climb(b, band)]
        place = self._place(band, 2 * self.radius)
        return [
            b for b in higher if all(_overlap(*sides) for sides in zip(place, self._place(b), strict=True))
        ]

    def _ground(self, band: Band) -> Mask:
        """Cells [Z, X] with floor in a band."""
        if band not in self._grounds:
            polygons = clip_to_slab(self.corners[self._faces(band)], band.low, band.high)
            self._grounds[band] = rasterize(polygons, self.shape, self.origin, self.agent.cell)
        return self._grounds[band]

    def _open(self, band: Band, ground: Mask) -> Mask:
        """Those cells [Z, X] of the ground of a band that have head room."""
        if not ground.any():
            return ground
        if band not in self._opens:
            low, high = band.level + STEP_HEIGHT, band.level + self.agent.height
            chosen = np.flatnonzero(self._between(low, high))
            polygons = clip_to_slab(self.corners[chosen[self._over(ground, chosen)]], low, high)
            obstacles = rasterize(polygons, self.shape, self.origin, self.agent.cell)
            self._opens[band] = ground & ~obstacles
        return self._opens[band]

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

    def _with_room(self, band: Band, bands: list[Band]) -> Mask:
        """Open cells of a band on which the body finds room, counting the bands that are a climb higher.

        That is the opening of the open cells by the body's disc: what remains can be covered with discs. It
        leaves the treads of a staircase, and takes away a sill. Most floors fail for want of size, before
        anything is known of what stands on them. Under the boards of a floor there may be another one: the
        higher counts.
        """
        if band not in self._rooms:
            cells = self._roomy(band, bands)
            if cells.any():
                cells = self._open(band, cells)
                above = self._above(band, bands)
                wide = [cells, *(self._open(b, self._roomy(b, bands)) for b in above)]
                cells = cells & self._opening(np.logical_or.reduce(wide))
                for other in above:
                    if other.level - band.level <= STEP_HEIGHT and cells.any():
                        cells = cells & ~self._with_room(other, bands)
            self._rooms[band] = cells
        return self._rooms[band]

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

    def _mean(self, band: Band, cells: Mask, values: Any = 1.0) -> NDArray[np.float64]:
        """Mean of values [Z, X] that count as 0 but on a band's cells, over a tread-sized square round each."""
        if (band, np.isscalar(values)) not in self._means:
            size = round(TREAD / self.agent.cell) | 1
            spread = ndimage.uniform_filter(np.where(cells, values, 0.0), size, mode="constant")
            self._means[band, np.isscalar(values)] = spread
        return self._means[band, np.isscalar(values)]


def _window(cells: Mask, margin: int = 0) -> Window:
    """The rectangle round the cells of a mask [Z, X] and ``margin`` cells more."""
    rows, columns = np.flatnonzero(cells.any(1)), np.flatnonzero(cells.any(0))
    if len(rows) == 0:
        return np.s_[0:0, 0:0]
    sides = [slice(max(int(i[0]) - margin, 0), int(i[-1]) + 1 + margin) for i in (rows, columns)]
    return sides[0], sides[1]


def _overlap(one: slice, other: slice) -> bool:
    return bool(one.start < other.stop and other.start < one.stop)


def _within_climb(one: Band, other: Band) -> bool:
    return abs(one.level - other.level) <= CLIMB + 1e-6


def _flat_bands(heights: NDArray[np.float64], areas: NDArray[np.float64], least: float) -> Iterator[Band]:
    """A band for each height of flat faces [F] that have at least some area (m^2) in all."""
    order = np.argsort(heights)
    heights, areas = heights[order], areas[order]
    for part in np.split(np.arange(len(heights)), np.flatnonzero(np.diff(heights) > FLATNESS) + 1):
        if areas[part].sum() >= least:
            low, high = float(heights[part[0]]), float(heights[part[-1]])
            yield Band(low, low, high, sloping=False)


def _stack(low: NDArray[np.float64], high: NDArray[np.float64], start: float, stop: float) -> Iterator[Band]:
    """Bands between two heights; a slope is cut into bands of two step heights, with the middle for level."""
    while True:
        left = (high >= start) & (low < stop)
        if not left.any():
            return
        bottom = max(start, float(low[left].min()))
        level = min(bottom + STEP_HEIGHT, float(high[left & (low <= bottom)].max()))
        start = min(level + STEP_HEIGHT, stop)
        yield Band(bottom, level, start, flat=False)
