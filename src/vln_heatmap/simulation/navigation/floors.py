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
LEVEL_NORMAL = 0.7  # |n_y| of faces that count as floor
LEAST_RADIUS = 1.2  # cells; a thinner body would slip between the corners of a slanted wall's cells
NEIGHBOURS = np.ones((3, 3), bool)
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Band:
    """Floor between the heights ``low`` and ``high`` counts as level, at height ``level`` (metres)."""

    low: float
    level: float
    high: float


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
    _grounds: dict[Band, Mask] = field(default_factory=dict)
    _rooms: dict[Band, Mask] = field(default_factory=dict)

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
        while useless := self._without_centre(reached):
            reached = {
                band: cells & ~useless[band] if band in useless else cells for band, cells in reached.items()
            }
        bands = sorted(reached, key=lambda band: band.level)
        shares = {band: self._mean(reached[band]) for band in bands}
        sums = {band: self._mean(np.where(reached[band], self._heights(band), 0.0)) for band in bands}
        floors = []
        for band in bands:
            gaps = self._gaps(reached, band)
            free = reached[band] & (gaps >= self.radius)
            near = [other for other in bands if _within_climb(band, other)]
            share = np.maximum(sum(shares[other] for other in near), 1e-9)
            mean = np.round(sum(sums[other] for other in near) / share, 6)  # so that level is exactly level
            heights = np.where(free, mean, band.level)
            floors.append(Floor(band.level, free, heights, gaps.astype(np.float32)))
        return floors

    def _gaps(self, reached: dict[Band, Mask], band: Band) -> NDArray[np.float64]:
        """Metres [Z, X] from each cell to the nearest one that is not open within a climb of a band."""
        joined = [cells for other, cells in reached.items() if _within_climb(band, other)]
        return np.asarray(ndimage.distance_transform_edt(np.logical_or.reduce(joined)) * self.agent.cell)

    def _without_centre(self, reached: dict[Band, Mask]) -> dict[Band, Mask]:
        """Pieces [Z, X] of the bands beside the ground's on which the agent's centre finds no place."""
        found = {}
        for band, cells in reached.items():
            if band.level != 0:
                free = cells & (self._gaps(reached, band) >= self.radius)
                rest = cells & ~ndimage.binary_propagation(free, NEIGHBOURS, mask=cells)
                if rest.any():
                    found[band] = rest
        return found

    def _reached(self) -> dict[Band, Mask]:
        """Open cells [Z, X] by band of the ground storey and of all that climbs lead to from there."""
        bands = list(_bands(self._low[self._level, 1], self._high[self._level, 1]))
        ground = next(band for band in bands if band.level == 0)
        reached = {ground: self._open(ground, self._ground(ground))}
        waiting = [ground]
        while waiting:
            here = waiting.pop()
            for band in bands:
                if band in (here, ground) or not _within_climb(band, here):
                    continue
                above = [b for b in bands if b.level > band.level and _within_climb(b, band)]
                room = self._with_room(band, above)
                before = reached.get(band, np.zeros(self.shape, bool))
                start = before | (room & ndimage.binary_dilation(reached[here], NEIGHBOURS))
                after = ndimage.binary_propagation(start, mask=room) if start.any() else start
                if after.sum() > before.sum():
                    reached[band] = after
                    waiting.append(band)
        return reached

    def _ground(self, band: Band) -> Mask:
        """Cells [Z, X] with floor in a band."""
        if band not in self._grounds:
            level = self.corners[self._level & self._between(band.low, band.high)]
            polygons = clip_to_slab(level, band.low, band.high)
            self._grounds[band] = rasterize(polygons, self.shape, self.origin, self.agent.cell)
        return self._grounds[band]

    def _open(self, band: Band, ground: Mask) -> Mask:
        """Those cells [Z, X] of the ground of a band that have head room."""
        low, high = band.level + STEP_HEIGHT, band.level + self.agent.height
        chosen = np.flatnonzero(self._between(low, high))
        polygons = clip_to_slab(self.corners[chosen[self._over(ground, chosen)]], low, high)
        return ground & ~rasterize(polygons, self.shape, self.origin, self.agent.cell)

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

    def _with_room(self, band: Band, above: list[Band]) -> Mask:
        """Open cells of a band on which the body finds room, counting the bands that are a climb higher.

        That is the opening of the open cells by the body's disc: what remains can be covered with discs. It
        leaves the treads of a staircase, and takes away a sill. Most floors fail for want of size, before
        anything is known of what stands on them.
        """
        if band not in self._rooms:
            grounds = [self._ground(other) for other in (band, *above)]
            wide = [g & self._opening(np.logical_or.reduce(grounds)) for g in grounds]
            if wide[0].any():
                cells = [self._open(b, w) for b, w in zip((band, *above), wide, strict=True)]
                self._rooms[band] = cells[0] & self._opening(np.logical_or.reduce(cells))
            else:
                self._rooms[band] = wide[0]
        return self._rooms[band]

    def _opening(self, cells: Mask) -> Mask:
        """What discs of the body's radius within a mask [Z, X] can cover."""
        core = ndimage.distance_transform_edt(cells) * self.agent.cell >= self.radius
        if not core.any():
            return core
        return np.asarray(ndimage.distance_transform_edt(~core) * self.agent.cell <= self.radius)

    def _heights(self, band: Band) -> NDArray[np.float64]:
        """Height [Z, X] of the floor in a band: its level, or that of a slope where nothing else is."""
        chosen = self._level & self._between(band.low, band.high)
        slope = chosen & (self._high[:, 1] - self._low[:, 1] > 1e-3)
        if not slope.any():
            return np.full(self.shape, band.level)
        origin, cell = self.origin, self.agent.cell
        flat = rasterize(self.corners[chosen & ~slope][..., (0, 2)], self.shape, origin, cell)
        heights = highest(self.corners[slope], self.shape, origin, cell).clip(band.low, band.high)
        return np.where(flat | np.isnan(heights), band.level, heights)

    def _mean(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Mean of values [Z, X] over a square as long as a tread round each cell."""
        size = round(TREAD / self.agent.cell) | 1
        return np.asarray(ndimage.uniform_filter(values.astype(np.float64), size, mode="constant"))


def _within_climb(one: Band, other: Band) -> bool:
    return abs(one.level - other.level) <= CLIMB + 1e-6


def _bands(low: NDArray[np.float64], high: NDArray[np.float64]) -> Iterator[Band]:
    """Bands, upwards, that hold all level faces with least and greatest heights [F]: the ground's and others.

    Each begins at the lowest face that the one below it does not hold, and has that face's height.
    """
    yield from _stack(low, high, -np.inf, -STEP_HEIGHT)
    yield Band(-STEP_HEIGHT, 0.0, STEP_HEIGHT)
    yield from _stack(low, high, STEP_HEIGHT, np.inf)


def _stack(low: NDArray[np.float64], high: NDArray[np.float64], start: float, stop: float) -> Iterator[Band]:
    """Bands between two heights; a slope is cut into bands of two step heights, with the middle for level."""
    while True:
        left = (high >= start) & (low < stop)
        if not left.any():
            return
        bottom = max(start, float(low[left].min()))
        level = min(bottom + STEP_HEIGHT, float(high[left & (low <= bottom)].max()))
        start = min(level + STEP_HEIGHT, stop)
        yield Band(bottom, level, start)
