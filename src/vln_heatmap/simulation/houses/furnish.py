"""Which furniture goes into which room, and where.

Invariant: solid things never overlap each other, walls or the space before doors; nothing tall stands before
a window; and all doors of a room stay connected for a body of 0.24 m radius.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from vln_heatmap.simulation.houses.furniture import BUILDERS, decor
from vln_heatmap.simulation.houses.palette import Palette
from vln_heatmap.simulation.houses.pieces import Group, Piece, Placed, overlaps
from vln_heatmap.simulation.houses.plan import SIDE_YAWS, FloorPlan, Opening, Rectangle
from vln_heatmap.simulation.houses.structure import door_leaf

_BODY = 0.24  # radius for which rooms stay passable, metres
_CELL = 0.1  # grid of the passability check, metres
_GAP = 0.03  # between furniture and walls or other furniture, metres
_TRIES = 24

#: What a room holds: (builder, where it goes, chance), the most important first.
RECIPES: dict[str, tuple[tuple[str, str, float], ...]] = {
    "living room": (
        ("sofa", "wall", 1.0), ("tv set", "wall", 0.85), ("bookshelf", "wall", 0.8), ("armchair", "free", 0.75),
        ("plant", "corner", 0.8), ("lamp", "corner", 0.7), ("dining set", "free", 0.3), ("dresser", "wall", 0.4),
        ("armchair", "free", 0.4), ("side table", "corner", 0.4), ("plant", "corner", 0.4), ("bookshelf", "wall", 0.3),
    ),
    "bedroom": (
        ("bed", "wall", 1.0), ("wardrobe", "wall", 0.9), ("dresser", "wall", 0.6), ("desk", "wall", 0.35),
        ("armchair", "corner", 0.3), ("chair", "wall", 0.4), ("plant", "corner", 0.4), ("lamp", "corner", 0.4),
        ("bookshelf", "wall", 0.3), ("laundry basket", "corner", 0.3), ("box", "free", 0.25),
    ),
    "kitchen": (
        ("kitchen row", "wall", 1.0), ("dining set", "free", 0.7), ("counter", "wall", 0.5), ("bin", "corner", 0.7),
        ("stool", "free", 0.5), ("stool", "wall", 0.3), ("plant", "corner", 0.3), ("box", "corner", 0.2),
    ),
    "bathroom": (
        ("toilet", "wall", 1.0), ("washbasin", "wall", 1.0), ("bathtub", "wall", 0.6), ("shower", "corner", 0.5),
        ("washing machine", "wall", 0.4), ("laundry basket", "corner", 0.5), ("bin", "corner", 0.6), ("stool", "free", 0.25),
    ),
    "office": (
        ("desk", "wall", 1.0), ("bookshelf", "wall", 0.95), ("bookshelf", "wall", 0.7), ("armchair", "corner", 0.5),
        ("desk", "wall", 0.3), ("lamp", "corner", 0.6), ("plant", "corner", 0.6), ("box", "free", 0.5), ("bin", "corner", 0.5),
        ("dresser", "wall", 0.4), ("box", "corner", 0.3),
    ),
    "dining room": (
        ("dining set", "free", 1.0), ("dresser", "wall", 0.8), ("bookshelf", "wall", 0.5), ("plant", "corner", 0.7),
        ("side table", "corner", 0.5), ("lamp", "corner", 0.4), ("bench", "wall", 0.3), ("chair", "wall", 0.4),
    ),
    "hall": (
        ("shoe rack", "wall", 0.8), ("bench", "wall", 0.7), ("dresser", "wall", 0.4), ("plant", "corner", 0.6),
        ("side table", "corner", 0.4), ("box", "corner", 0.3), ("lamp", "corner", 0.3), ("bookshelf", "wall", 0.3),
    ),
    "laundry room": (
        ("washing machine", "wall", 1.0), ("washing machine", "wall", 0.4), ("laundry basket", "wall", 0.9),
        ("counter", "wall", 0.6), ("wardrobe", "wall", 0.5), ("box", "corner", 0.6), ("stool", "free", 0.4), ("bin", "corner", 0.5),
    ),
}  # fmt: skip

#: What hangs on a room's walls, most likely first.
DECOR: dict[str, tuple[str, ...]] = {
    "living room": ("painting", "painting", "clock", "shelf", "painting", "mirror"),
    "bedroom": ("painting", "mirror", "painting", "shelf"),
    "kitchen": ("cabinet", "clock", "cabinet", "painting", "shelf"),
    "bathroom": ("mirror", "towel", "cabinet", "towel"),
    "office": ("painting", "clock", "shelf", "painting", "shelf"),
    "dining room": ("painting", "painting", "mirror", "clock"),
    "hall": ("coat rack", "mirror", "painting", "painting"),
    "laundry room": ("cabinet", "shelf", "clock"),
}
_DECOR_BUILDERS = {
    "painting": decor.painting,
    "mirror": decor.mirror,
    "clock": decor.clock,
    "shelf": decor.wall_shelf,
    "cabinet": decor.cabinet,
    "towel": decor.towel,
    "coat rack": decor.coat_rack,
}


@dataclass
class _Layout:
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
        solids = [p.footprint for p in self.placed if p.solid]
        for item in group:
            a = item.footprint
            if a[0] < x0 + 0.015 or a[1] < z0 + 0.015 or a[2] > x1 - 0.015 or a[3] > z1 - 0.015:
                return False
            if item.solid and any(overlaps(a, b) for b in self.keep_clear):
                return False
            if item.solid and any(overlaps(a, b, _GAP) for b in solids):
                return False
            if self.covers_window(item):
                return False
        return self.passable(solids + [g.footprint for g in group if g.solid])

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
        for a in solids:
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
        """Put a group somewhere; without its companions if there is no room for them."""
        for option in (group, _core(group)) if len(group) > 1 else (group,):
            for _ in range(_TRIES):
                candidate = self.candidate(option, where)
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

    def hang(self, piece: Piece, bottom: float, side: int | None = None) -> bool:
        """Hang a piece on a wall at a height."""
        width, height, _ = piece.size
        for _ in range(12):
            s = int(self.rng.integers(4)) if side is None else side
            low, high = self.length(s)
            along = self.rng.uniform(low, high)
            if self.wall_free(s, along - width / 2, along + width / 2, bottom, bottom + height):
                x, z = self.point(s, along, 0.002)
                self.placed.append(
                    Placed(piece, x, bottom - float(piece.box[0][1]), z, SIDE_YAWS[s], self.room)
                )
                return True
        return False


def _core(group: Group) -> Group:
    """The first piece of a group and what stands on it."""
    main = group[0].footprint
    return (group[0], *(g for g in group[1:] if g.y > 0 and overlaps((g.x, g.z, g.x, g.z), main)))


def furnish_room(
    rng: np.random.Generator, plan: FloorPlan, room: int, palette: Palette, *, share: float
) -> list[Placed]:
    """Everything in one room that is not the building.

    Args:
        share: by how much the chances of the recipe are scaled, 0 (empty) to 1.
    """
    layout = _Layout(plan, room, rng, palette)
    _dress_windows(layout, share)
    _hang_doors(layout)
    name = plan.names[room]
    for builder, where, chance in RECIPES[name]:
        if rng.random() < chance * share:
            layout.try_place(BUILDERS[builder](rng, palette), where)
    for k, kind in enumerate(DECOR[name]):
        if rng.random() < (0.95 - 0.13 * k) * share:
            piece = _DECOR_BUILDERS[kind](rng, palette)
            middle = {"cabinet": 1.8, "clock": 1.85, "towel": 1.1, "coat rack": 1.3}.get(kind, 1.5)
            layout.hang(piece, middle + rng.uniform(-0.08, 0.08) - piece.size[1] / 2)
    _lay_rug(layout, share)
    _light(layout)
    return layout.placed


def _dress_windows(layout: _Layout, share: float) -> None:
    """Curtains beside and radiators below windows."""
    rng = layout.rng
    curtains = rng.random() < 0.65 * share and layout.plan.names[layout.room] not in (
        "bathroom",
        "laundry room",
    )
    for side in range(4):
        for o in layout.sides[side]:
            if o.kind != "window":
                continue
            if o.bottom > 0.7 and rng.random() < 0.5 * share:
                piece = decor.radiator(rng, min(o.width, 1.2))
                x, z = layout.point(side, o.middle, 0.02)
                radiator = Placed(piece, x, 0.1, z, SIDE_YAWS[side], layout.room)
                if layout.fits((radiator,)):
                    layout.placed.append(radiator)
            if curtains:
                _curtains(layout, side, o, length=rng.random())


def _curtains(layout: _Layout, side: int, opening: Opening, *, length: float) -> None:
    """A curtain at each side of a window, where the wall has room for it."""
    width, top = float(layout.rng.uniform(0.2, 0.32)), min(opening.top + 0.12, layout.plan.height - 0.05)
    bottom = 0.03 if length < 0.6 or opening.bottom < 0.5 else opening.bottom - 0.12
    low, high = layout.length(side)
    for edge in (opening.start - width / 2 + 0.06, opening.end + width / 2 - 0.06):
        start, end = edge - width / 2, edge + width / 2
        near_door = any(
            o.kind != "window" and o.start - 0.1 < end and start < o.end + 0.1 for o in layout.sides[side]
        )
        if start < low + 0.02 or end > high - 0.02 or near_door:
            continue
        x, z = layout.point(side, edge, 0.0)
        cloth = Placed(
            decor.curtain(layout.rng, width, top - bottom), x, bottom, z, SIDE_YAWS[side], layout.room
        )
        clear = layout.keep_clear + [p.footprint for p in layout.placed]
        if not any(overlaps(cloth.footprint, r) for r in clear):
            layout.placed.append(cloth)


def _hang_doors(layout: _Layout) -> None:
    """Some doors have a leaf, open, flat against the wall or at a right angle to it."""
    rng = layout.rng
    for side in range(4):
        for o in layout.sides[side]:
            mine = o.rooms.index(layout.room) == 0  # leaves belong to the lower room, so that no door has two
            if o.kind != "door" or not mine or rng.random() > 0.6:
                continue
            leaf = door_leaf(rng, layout.palette, o.width - 0.06, o.top - 0.05)
            hinge = int(rng.choice([-1, 1]))
            for angle in rng.permutation([0, 1]):
                placed = _open_leaf(layout, leaf, side, o, hinge, flat=bool(angle))
                if _leaf_fits(layout, placed, side):
                    layout.placed.append(placed)
                    break


def _open_leaf(
    layout: _Layout, leaf: Piece, side: int, opening: Opening, hinge: int, *, flat: bool
) -> Placed:
    width = leaf.size[0]
    jamb = opening.middle + hinge * (opening.width / 2 + 0.04)
    if flat:
        x, z = layout.point(side, jamb + hinge * (0.02 + width / 2), 0.07)
        return Placed(leaf, x, 0.0, z, SIDE_YAWS[side], layout.room)
    x, z = layout.point(side, jamb + hinge * 0.04, 0.03 + width / 2)
    return Placed(leaf, x, 0.0, z, SIDE_YAWS[side] + math.pi / 2, layout.room)


def _leaf_fits(layout: _Layout, leaf: Placed, side: int) -> bool:
    """As ``fits``, but the space before its own door may be touched."""
    own = [o for o in layout.sides[side] if o.kind == "door"]
    before = layout.keep_clear
    layout.keep_clear = [
        r for r in before if not any(r == layout.strip(side, o.start - 0.05, o.end + 0.05, 0.8) for o in own)
    ]
    passages = [layout.strip(side, o.start, o.end, 0.8) for o in layout.sides[side] if o.kind != "window"]
    try:
        return layout.fits((leaf,)) and not any(overlaps(leaf.footprint, p) for p in passages)
    finally:
        layout.keep_clear = before


def _lay_rug(layout: _Layout, share: float) -> None:
    """A rug near the middle of a dry room."""
    rng, (x0, z0, x1, z1) = layout.rng, layout.inner
    if layout.plan.names[layout.room] in ("laundry room", "kitchen") or rng.random() > 0.65 * share:
        return
    limit = (1.0, 0.7) if layout.plan.names[layout.room] == "bathroom" else (2.4, 1.8)
    size = np.minimum(limit, (0.6 * (x1 - x0), 0.6 * (z1 - z0))) * rng.uniform(0.75, 1.0, 2)
    x, z = rng.normal(((x0 + x1) / 2, (z0 + z1) / 2), 0.15)
    layout.placed.append(Placed(decor.rug(rng, layout.palette, *size), x, 0.0, z, 0.0, layout.room))


def _light(layout: _Layout) -> None:
    """One ceiling light, or two in a large room."""
    rng, (x0, z0, x1, z1) = layout.rng, layout.inner
    lamp = decor.ceiling_light(rng, layout.palette)
    count = 2 if (x1 - x0) * (z1 - z0) > 17 and rng.random() < 0.7 else 1
    for k in range(count):
        share = (k + 0.5) / count
        x, z = (x0 + x1) / 2, (z0 + z1) / 2
        if x1 - x0 > z1 - z0:
            x = x0 + share * (x1 - x0)
        else:
            z = z0 + share * (z1 - z0)
        x, z = (x, z) + rng.uniform(-0.25, 0.25, 2)
        layout.placed.append(Placed(lamp, x, layout.plan.height, z, 0.0, layout.room))
