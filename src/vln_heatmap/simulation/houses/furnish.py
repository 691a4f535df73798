"""Which furniture goes into which room.

Invariant: everything is placed through a ``Layout``, which keeps rooms passable and things apart.
"""

from __future__ import annotations

import math

import numpy as np

from vln_heatmap.simulation.houses.clutter import ORNAMENTS, scatter
from vln_heatmap.simulation.houses.furniture import BUILDERS, HANGINGS, decor
from vln_heatmap.simulation.houses.layout import Layout, core
from vln_heatmap.simulation.houses.palette import Palette
from vln_heatmap.simulation.houses.pieces import Piece, Placed, overlaps
from vln_heatmap.simulation.houses.plan import SIDE_YAWS, FloorPlan, Opening
from vln_heatmap.simulation.houses.recipes import DECOR, EYE_LEVEL, FALLBACKS, MIDDLES, RECIPES
from vln_heatmap.simulation.houses.stair_parts import stair_pieces
from vln_heatmap.simulation.houses.structure import door_leaf

_BARE = ("laundry room", "kitchen", "pantry", "storage room", "workshop", "gym")  # rooms without rugs


def furnish_room(
    rng: np.random.Generator,
    plan: FloorPlan,
    room: int,
    palette: Palette,
    *,
    share: float,
    clutter: float = 1.0,
) -> list[Placed]:
    """Everything in one room that is not the building.

    Args:
        share: by how much the chances of the recipe are scaled, 0 (empty) to 1.
        clutter: how many small things lie about, as a factor; without any, ornaments are left out too.
    """
    layout = Layout(plan, room, rng, palette)
    if room == 0:
        layout.placed += stair_pieces(rng, plan, palette)
    _dress_windows(layout, share)
    _hang_doors(layout)
    name = plan.names[room]
    for builder, where, chance in RECIPES[name]:
        if rng.random() < chance * share:
            _furnish(layout, builder, where, tidy=clutter == 0)
    pictures = ("poster", "painting") * 3 if palette.distinct else ()
    for k, kind in enumerate((*DECOR[name], *pictures)):
        if rng.random() < max(0.95 - 0.13 * k, 0.6 * palette.distinct) * share:
            piece = HANGINGS[kind](rng, palette)
            middle = MIDDLES.get(kind, EYE_LEVEL) + rng.uniform(-0.08, 0.08)
            layout.hang(piece, middle - piece.size[1] / 2)
    _lay_rug(layout, share)
    _light(layout)
    scatter(layout, clutter * share)
    return layout.placed


def _furnish(layout: Layout, builder: str, where: str, *, tidy: bool) -> None:
    """Place a group whole; else its first piece alone, or what a long group falls back on."""
    group = BUILDERS[builder](layout.rng, layout.palette)
    if tidy:
        group = tuple(g for g in group if g.y == 0 or g.piece.category not in ORNAMENTS)
    if builder not in FALLBACKS:
        if not layout.try_place(group, where) and len(group) > 1:
            layout.try_place(core(group), where)
    elif not layout.try_place(group, where):
        for single in FALLBACKS[builder]:
            _furnish(layout, single, where, tidy=tidy)


def _dress_windows(layout: Layout, share: float) -> None:
    """Curtains beside and radiators below windows."""
    rng = layout.rng
    curtains = rng.random() < 0.65 * share and layout.plan.names[layout.room] not in (
        "bathroom",
        *_BARE,
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


def _curtains(layout: Layout, side: int, opening: Opening, *, length: float) -> None:
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
        clear = [*layout.keep_clear, *layout.blocked, *(p.footprint for p in layout.placed)]
        if not any(overlaps(cloth.footprint, r) for r in clear):
            layout.placed.append(cloth)


def _hang_doors(layout: Layout) -> None:
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


def _open_leaf(layout: Layout, leaf: Piece, side: int, opening: Opening, hinge: int, *, flat: bool) -> Placed:
    width = leaf.size[0]
    jamb = opening.middle + hinge * (opening.width / 2 + 0.04)
    if flat:
        x, z = layout.point(side, jamb + hinge * (0.02 + width / 2), 0.07)
        return Placed(leaf, x, 0.0, z, SIDE_YAWS[side], layout.room)
    x, z = layout.point(side, jamb + hinge * 0.04, 0.03 + width / 2)
    return Placed(leaf, x, 0.0, z, SIDE_YAWS[side] + math.pi / 2, layout.room)


def _leaf_fits(layout: Layout, leaf: Placed, side: int) -> bool:
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


def _lay_rug(layout: Layout, share: float) -> None:
    """A rug near the middle of a dry room."""
    rng, (x0, z0, x1, z1) = layout.rng, layout.open_floor()
    bare = layout.plan.names[layout.room] in _BARE or min(x1 - x0, z1 - z0) < 1.2
    if bare or rng.random() > 0.65 * share:
        return
    limit = (1.0, 0.7) if layout.plan.names[layout.room] == "bathroom" else (2.4, 1.8)
    size = np.minimum(limit, (0.6 * (x1 - x0), 0.6 * (z1 - z0))) * rng.uniform(0.75, 1.0, 2)
    spare = np.maximum(0, (x1 - x0 - size[0], z1 - z0 - size[1])) / 2 - 0.02
    x, z = np.clip(rng.normal(0, 0.15, 2), -spare, spare) + ((x0 + x1) / 2, (z0 + z1) / 2)
    layout.placed.append(Placed(decor.rug(rng, layout.palette, *size), x, 0.0, z, 0.0, layout.room))


def _light(layout: Layout) -> None:
    """One ceiling light, or two in a large room."""
    rng, (x0, z0, x1, z1) = layout.rng, layout.open_floor()
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
