"""The building itself: floors, ceilings, walls with their openings, skirting, frames, windows, front door.

Invariant: everything is a closed solid; walls reach below the floor and above the ceiling, and neighbouring
solids overlap where nobody looks instead of sharing visible faces, so that there are neither gaps nor two
faces that fight for a pixel.
"""

from __future__ import annotations

import math

import numpy as np

from vln_heatmap.simulation.houses.meshes import Part, ball, box, box_between
from vln_heatmap.simulation.houses.palette import Palette
from vln_heatmap.simulation.houses.pieces import Piece, Placed
from vln_heatmap.simulation.houses.plan import OUTER, SIDE_YAWS, SLAB, WALL, FloorPlan, Opening, Rectangle

_WET = ("bathroom", "laundry room")
_TILED = ("kitchen", "pantry", "conservatory", "workshop")  # rooms whose floor may be tiled
_SOFT = ("bedroom", "guest room", "nursery", "playroom", "dressing room")  # and may have a carpet
_REACH = 0.05  # by how much walls reach into them
_PROUD = 0.015  # by how much skirting and door casings stand out from the wall

Span = tuple[float, float]


def build_structure(rng: np.random.Generator, plan: FloorPlan, palette: Palette) -> list[Placed]:
    """All parts of the building as placed pieces."""
    placed: list[Placed] = []
    finishes = _distinct_finishes(rng, plan, palette) if palette.distinct else None
    for room in range(len(plan.cells)):
        walls, floor = finishes[room] if finishes else _finish(rng, plan.names[room], palette)
        pieces = [
            Piece("floor", tuple(_slab(plan, room, (-SLAB, 0), floor))),
            Piece("ceiling", tuple(_slab(plan, room, (plan.height, plan.height + SLAB), "ceiling 0"))),
        ]
        for side in range(4):
            pieces.append(Piece("wall", tuple(wall_parts(plan, room, side, walls[side]))))
        pieces.append(Piece("skirting", tuple(_skirting(plan, room))))
        placed += [Placed(piece, room=room) for piece in pieces]
    for opening in plan.openings:
        placed += _fill_opening(rng, plan, opening, palette)
    return placed


Finish = tuple[list[str], str]  # materials of a room's four walls and its floor


def _finish(rng: np.random.Generator, name: str, palette: Palette) -> Finish:
    """What a room of some type has on walls and floor; sometimes one wall is set off."""
    if name in _WET or (name == "kitchen" and rng.random() < 0.25):
        return ["wall tile 0"] * 4, "floor tile 0"
    wall = palette.pick(rng, "wall") if rng.random() < 0.6 else "wall 0"
    walls = [wall] * 4
    if rng.random() < 0.3:
        walls[rng.integers(4)] = palette.pick(rng, "wall")
    if name in _TILED and rng.random() < 0.6:
        return walls, "floor tile 0"
    return walls, palette.pick(rng, "floor") if name in _SOFT else "floor 0"


def _distinct_finishes(rng: np.random.Generator, plan: FloorPlan, palette: Palette) -> list[Finish]:
    """Finishes of all rooms of a storey, as different as the palette has them."""
    order = {
        group: [str(n) for n in rng.permutation(palette.groups[group])]
        for group in ("wall", "wall tile", "floor", "floor tile")
    }
    result = []
    for name in plan.names:
        kind = " tile" if name in _WET else ""
        walls = [order["wall" + kind].pop() for _ in range(4)]
        result.append((walls, order["floor" + kind].pop()))
        for group, names in order.items():
            if len(names) < 4:
                names[:0] = [str(n) for n in rng.permutation(palette.groups[group])]
    return result


def _slab(plan: FloorPlan, room: int, up: Span, material: str) -> list[Part]:
    """A room's floor or ceiling, round the hole for the stairs if it has one."""
    x0, z0, x1, z1 = plan.cells[room]
    holed = plan.well is not None and room == 0 and (plan.floor > 0) == (up[0] < 0)
    if not holed or plan.well is None:
        return [box_between((x0, up[0], z0), (x1, up[1], z1), material)]
    a, b, c, d = _into_walls(plan.well.world(plan.well.hole), plan.inner(room))
    around = ((x0, z0, a, z1), (c, z0, x1, z1), (a, z0, c, b), (a, d, c, z1))
    return [box_between((r[0], up[0], r[1]), (r[2], up[1], r[3]), material) for r in around]


def _into_walls(hole: Rectangle, inner: Rectangle) -> Rectangle:
    """The hole, reaching into the walls beside it, so that the slab's edge is not seen there."""
    signs = (-1, -1, 1, 1)
    sides = [h + s * 0.03 * (abs(h - i) < 0.02) for h, i, s in zip(hole, inner, signs, strict=True)]
    return (sides[0], sides[1], sides[2], sides[3])


def wall_range(plan: FloorPlan, room: int, side: int) -> tuple[Span, Span]:
    """Extent of a wall solid along itself and across, in metres.

    Walls along x own the corners, into which the others reach by a centimetre. Across, the solid reaches from
    the inner surface to the wall's middle line, or through the whole thickness where outdoors is behind it.
    """
    x0, z0, x1, z1 = plan.cells[room]
    ix0, iz0, ix1, iz1 = plan.inner(room)
    low = np.min(plan.cells, axis=0)[:2]
    high = np.max(plan.cells, axis=0)[2:]
    along = (x0, x1) if side % 2 == 0 else (iz0 - 0.01, iz1 + 0.01)
    across = (
        (z0 - OUTER * (z0 == low[1]), iz0),
        (ix1, x1 + OUTER * (x1 == high[0])),
        (iz1, z1 + OUTER * (z1 == high[1])),
        (x0 - OUTER * (x0 == low[0]), ix0),
    )[side]
    return along, across


def wall_parts(plan: FloorPlan, room: int, side: int, material: str) -> list[Part]:
    """Boxes of one wall around its openings."""
    (start, end), across = wall_range(plan, room, side)
    bottom, top = -_REACH, plan.height + _REACH
    if plan.floor:
        bottom = _REACH - 2 * SLAB - 0.002  # down to the walls below, which one sees in the stairwell
    parts = []
    for opening in plan.on_side(room, side):
        parts.append(_wall_box(side, (start, opening.start), across, (bottom, top), material))
        span = (opening.start, opening.end)
        if opening.bottom > 0:
            parts.append(_wall_box(side, span, across, (bottom, opening.bottom), material))
        parts.append(_wall_box(side, span, across, (opening.top, top), material))
        start = opening.end
    return [*parts, _wall_box(side, (start, end), across, (bottom, top), material)]


def _wall_box(side: int, along: Span, across: Span, up: Span, material: str) -> Part:
    if side % 2 == 0:
        return box_between((along[0], up[0], across[0]), (along[1], up[1], across[1]), material)
    return box_between((across[0], up[0], along[0]), (across[1], up[1], along[1]), material)


def _skirting(plan: FloorPlan, room: int) -> list[Part]:
    """Boards along the foot of the walls, interrupted by whatever reaches the floor."""
    x0, z0, x1, z1 = plan.inner(room)
    parts = []
    for side in range(4):
        line, into = ((z0, 1), (x1, -1), (z1, -1), (x0, 1))[side]
        start, end = (x0, x1) if side % 2 == 0 else (z0 + _PROUD, z1 - _PROUD)
        across = (min(line, line + into * _PROUD), max(line, line + into * _PROUD))
        for opening in plan.on_side(room, side):
            if opening.bottom == 0:
                edge = 0.04 if opening.kind != "arch" else 0.0
                parts.append(_wall_box(side, (start, opening.start - edge), across, (-0.01, 0.08), "trim 0"))
                start = opening.end + edge
        parts.append(_wall_box(side, (start, end), across, (-0.01, 0.08), "trim 0"))
    return parts


def _fill_opening(
    rng: np.random.Generator, plan: FloorPlan, opening: Opening, palette: Palette
) -> list[Placed]:
    """Frame, pane and closed door of an opening."""
    if opening.kind == "arch":
        return []
    if opening.kind == "door":
        frame = Piece("door frame", tuple(_casing(opening, WALL)))
        return [_at_line(frame, opening, opening.line, 0.0, opening.rooms[0])]
    upper = opening.rooms[0] == -1  # the room lies on the upper side, so its wall is side 0 or 3
    room = opening.rooms[1] if upper else opening.rooms[0]
    yaw = SIDE_YAWS[{(0, True): 0, (1, False): 1, (0, False): 2, (1, True): 3}[opening.axis, upper]]
    surface = opening.line + (WALL / 2 if upper else -WALL / 2)
    if opening.kind == "front":
        pieces = [Piece("door frame", tuple(_casing(opening, 0.08, z=-0.04)))]
        leaf = door_leaf(
            rng, palette, opening.width - 0.03, opening.top
        )  # closed: its edges lie in the frame
        pieces.append(Piece("door", tuple(p.moved(y=-0.012, z=-0.035) for p in leaf.parts), leaf.main))
    else:
        pieces = list(_window(rng, opening, palette))
    return [_at_line(piece, opening, surface, yaw, room) for piece in pieces]


def _at_line(piece: Piece, opening: Opening, line: float, yaw: float, room: int) -> Placed:
    """A piece in the middle of an opening; yaw 0 on a wall along z means that it faces +x."""
    if opening.kind == "door":
        yaw = math.pi / 2 if opening.axis else 0.0
    x, z = (line, opening.middle) if opening.axis else (opening.middle, line)
    return Placed(piece, x, 0.0, z, yaw, room)


def _casing(opening: Opening, thickness: float, z: float = 0.0) -> list[Part]:
    """Two jambs and a lintel that line an opening and stand out from the wall on both sides."""
    depth, half, top = thickness + 2 * _PROUD, opening.width / 2, opening.top
    jambs = [box((0.065, top - 0.025, depth), (s * (half + 0.0125), 0, z), "trim 0") for s in (-1, 1)]
    return [*jambs, box((2 * half + 0.09, 0.065, depth), (0, top - 0.025, z), "trim 0")]


def door_leaf(rng: np.random.Generator, palette: Palette, width: float, height: float) -> Piece:
    """A panelled door of 4 cm with a handle on both sides; stands in the x-y plane around z = 0."""
    paint = palette.pick(rng, "wood", "lacquer", "white", "trim")
    parts = [box((width, height - 0.01, 0.04), (0, 0.01, 0), paint)]
    rows = int(rng.integers(1, 4))
    for k in range(rows):
        tall = (height - 0.2) / rows - 0.08
        parts.append(box((width - 0.26, tall, 0.052), (0, 0.14 + k * (tall + 0.08), 0), paint))
    parts += [ball(0.025, (0.5 * width - 0.07, 1.0, s * 0.04), "metal 0", sections=8) for s in (-1, 1)]
    return Piece("door", tuple(parts), paint)


def _window(rng: np.random.Generator, opening: Opening, palette: Palette) -> tuple[Piece, Piece]:
    """Frame with mullions and sill board, and the pane with what is seen through it."""
    width, height, y, z = opening.width, opening.top - opening.bottom, opening.bottom, -0.13
    bars = [box((0.06, height, 0.06), (s * (width / 2 - 0.02), y, z), "trim 0") for s in (-1, 1)]
    bars += [box((width, 0.06, 0.06), (0, at, z), "trim 0") for at in (y - 0.01, y + height - 0.05)]
    columns = max(1, round(width / 0.75))
    for k in range(1, columns):
        bars.append(
            box((0.045, height - 0.06, 0.05), (k * width / columns - width / 2, y + 0.03, z), "trim 0")
        )
    if rng.random() < 0.4:
        bars.append(box((width - 0.06, 0.035, 0.045), (0, y + height * rng.uniform(0.55, 0.7), z), "trim 0"))
    bars.append(box((width + 0.08, 0.03, 0.2), (0, y - 0.022, -0.06), "trim 0"))
    pane = box(
        (width + 0.04, height + 0.04, 0.01), (0, y - 0.02, z - 0.02), palette.pick(rng, "view"), "front"
    )
    return Piece("window frame", tuple(bars)), Piece("window", (pane,))
