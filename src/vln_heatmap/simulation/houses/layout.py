"""One room while it is being filled: what stands where, and what may still go where.

Invariant: solid things never overlap each other, walls or the space before doors; nothing tall stands before
a window; and all doors and stairs of a room stay connected for a body of 0.24 m radius.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from vln_heatmap.simulation.houses.palette import Palette
from vln_heatmap.simulation.houses.pieces import Group, Piece, Placed, overlaps
from vln_heatmap.simulation.houses.plan import SIDE_YAWS, FloorPlan, Rectangle

_BODY = 0.24  # radius for which rooms stay passable, metres
_CELL = 0.1  # grid of the passability check, metres
_GAP = 0.03  # between furniture and walls or other furniture, metres
_TRIES = 24


@dataclass
class Layout:
    """A room while it is being filled."""

    plan: FloorPlan
    room: int
    rng: np.random.Generator
    palette: Palette
    placed: list[Placed] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inner = self.plan.inner(self.room)
        self.sides = [self.plan.on_side(self.room, side) for side in range(4)]
        doors = [(side, o) for side in range(4) for o in self.sides[side] if o.kind != "window"]
        self.keep_clear = [self.strip(side, o.start - 0.05, o.end + 0.05, 0.8) for side, o in doors]
        self.seeds = [self.point(side, o.middle, 0.35) for side, o in doors]
        self.blocked = self.plan.blocked(self.room)
        if self.blocked and self.plan.well is not None:
            stairs = self.plan.well
            ends = stairs.world(stairs.arrival if self.plan.floor else stairs.entry)
            self.keep_clear.append(ends)
            self.seeds.append(((ends[0] + ends[2]) / 2, (ends[1] + ends[3]) / 2))

    def length(self, side: int) -> tuple[float, float]:
        """Start and end of a wall's inner surface."""
        x0, z0, x1, z1 = self.inner
        return (x0, x1) if side % 2 == 0 else (z0, z1)

    def point(self, side: int, along: float, depth: float) -> tuple[float, float]:
        """Floor point (x, z) at a distance from a wall."""
        x0, z0, x1, z1 = self.inner
        return ((along, z0 + depth), (x1 - depth, along), (along, z1 - depth), (x0 + depth, along))[side]

    def strip(self, side: int, start: float, end: float, depth: float) -> Rectangle:
        """Rectangle along a wall."""
        a, b = self.point(side, start, 0.0), self.point(side, end, depth)
        return (min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1]))

    def against(self, group: Group, side: int, along: float) -> Group:
        """The group turned with its back to a wall, its origin at ``along``."""
        back = min(g.footprint[1] for g in group)
        x, z = self.point(side, along, 0.02 - back)
        return tuple(g.into(x, z, SIDE_YAWS[side], self.room) for g in group)

    def fits(self, group: Group) -> bool:
        """Whether the invariant would hold with this group."""
        x0, z0, x1, z1 = self.inner
        for item in group:
            a = item.footprint
            if a[0] < x0 + 0.015 or a[1] < z0 + 0.015 or a[2] > x1 - 0.015 or a[3] > z1 - 0.015:
                return False
            if item.solid and any(overlaps(a, b) for b in self.keep_clear):
                return False
            if any(overlaps(a, b, _GAP) for b in self.blocked):
                return False
            if any(
                overlaps(a, p.footprint, _GAP) and p.bottom < item.top and item.bottom < p.top
                for p in self.placed
            ):
                return False
            if self.covers_window(item):
                return False
        return self.passable([p.footprint for p in (*self.placed, *group) if p.solid])

    def open_floor(self) -> Rectangle:
        """The largest rectangle of the floor that has no stairs in it."""
        x0, z0, x1, z1 = self.inner
        if not self.blocked:
            return self.inner
        a, b, c, d = self.blocked[0]
        beside = ((x0, z0, a, z1), (c, z0, x1, z1), (x0, z0, x1, b), (x0, d, x1, z1))
        return max(beside, key=lambda r: max(0.0, r[2] - r[0]) * max(0.0, r[3] - r[1]))

    def covers_window(self, item: Placed) -> bool:
        return any(
            o.kind == "window"
            and item.top > o.bottom + 0.12
            and overlaps(item.footprint, self.strip(s, o.start, o.end, 0.35))
            for s in range(4)
            for o in self.sides[s]
        )

    def passable(self, solids: list[Rectangle]) -> bool:
        """Whether a body can walk between all doors, and has a third of the floor to walk on."""
        x0, z0, x1, z1 = self.inner
        x, z = np.arange(x0 + _CELL / 2, x1, _CELL), np.arange(z0 + _CELL / 2, z1, _CELL)
        free = np.zeros((len(z), len(x)), dtype=bool)
        free[np.ix_((z > z0 + _BODY) & (z < z1 - _BODY), (x > x0 + _BODY) & (x < x1 - _BODY))] = True
        for a in (*solids, *self.blocked):
            columns = np.searchsorted(x, (a[0] - _BODY, a[2] + _BODY))
            rows = np.searchsorted(z, (a[1] - _BODY, a[3] + _BODY))
            free[slice(*rows), slice(*columns)] = False
        label, _ = ndimage.label(free)
        seeds = {int(label[int((p[1] - z0) / _CELL), int((p[0] - x0) / _CELL)]) for p in self.seeds}
        if not seeds:
            return bool(free.any())
        area = (label == min(seeds)).sum() * _CELL**2
        return len(seeds) == 1 and 0 not in seeds and area > 0.18 * (x1 - x0) * (z1 - z0)

    def try_place(self, group: Group, where: str) -> bool:
        """Put a group somewhere of a kind ("wall", "corner" or "free"), if a place is found."""
        for _ in range(_TRIES):
            candidate = self.candidate(group, where)
            if candidate is not None and self.fits(candidate):
                self.placed += candidate
                return True
        return False

    def candidate(self, group: Group, where: str) -> Group | None:
        """A random place of a kind: at a "wall", in a "corner" or "free" in the room."""
        x0, z0, x1, z1 = self.inner
        if where == "free":
            yaw = self.rng.integers(4) * math.pi / 2 + self.rng.normal(0, 0.25) * (len(group) == 1)
            x, z = self.rng.uniform((x0 + 0.3, z0 + 0.3), (x1 - 0.3, z1 - 0.3))
            return tuple(g.into(x, z, yaw, self.room) for g in group)
        side = int(self.rng.integers(4))
        turned = [g.into(0.0, 0.0, SIDE_YAWS[side], self.room).footprint for g in group]
        axis = side % 2
        before, after = -min(t[axis] for t in turned) + 0.02, max(t[axis + 2] for t in turned) + 0.02
        start, end = self.length(side)
        room = end - start - before - after
        if room < 0:
            return None
        share = self.rng.random() if where == "wall" else float(self.rng.integers(2))
        return self.against(group, side, start + before + share * room)

    def wall_free(self, side: int, start: float, end: float, bottom: float, top: float) -> bool:
        """Whether a rectangle on a wall is clear of openings and of what stands or hangs before it."""
        low, high = self.length(side)
        if start < low + 0.05 or end > high - 0.05:
            return False
        if any(
            o.start - 0.1 < end and start < o.end + 0.1 and bottom < o.top + 0.1 and top > o.bottom - 0.1
            for o in self.sides[side]
        ):
            return False
        strip = self.strip(side, start - 0.04, end + 0.04, 0.35)
        return not any(
            overlaps(p.footprint, strip) and p.top > bottom - 0.05 and p.bottom < top + 0.05
            for p in self.placed
        )

    def hang(self, piece: Piece, bottom: float) -> bool:
        """Hang a piece on a wall at a height, if a place is found."""
        width, height, depth = piece.size
        for _ in range(12):
            s = int(self.rng.integers(4))
            low, high = self.length(s)
            along = self.rng.uniform(low, high)
            if not self.wall_free(s, along - width / 2, along + width / 2, bottom, bottom + height):
                continue
            x, z = self.point(s, along, 0.002)
            item = Placed(piece, x, bottom - float(piece.box[0][1]), z, SIDE_YAWS[s], self.room)
            if depth < 0.1 or not any(overlaps(item.footprint, passage) for passage in self.keep_clear):
                self.placed.append(item)
                return True
        return False


def core(group: Group) -> Group:
    """The first piece of a group and what stands on it."""
    main = group[0].footprint
    return (group[0], *(g for g in group[1:] if g.y > 0 and overlaps((g.x, g.z, g.x, g.z), main)))
