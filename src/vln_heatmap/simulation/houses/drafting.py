"""Drawing floor plans: where the walls, the stairs, the doors and the windows go.

Invariant: every room of a storey can be reached from every other through openings at least 0.8 m wide, no two
openings of a wall overlap, and storeys share their outer walls and the hall with the stairs, which have free
floor at both ends.
"""

from __future__ import annotations

import numpy as np

from vln_heatmap.params import HouseParams
from vln_heatmap.simulation.houses.naming import name_rooms
from vln_heatmap.simulation.houses.pieces import overlaps
from vln_heatmap.simulation.houses.plan import (
    DOOR_HEIGHT,
    MARGIN,
    SLAB,
    WALL,
    FloorPlan,
    Opening,
    Rectangle,
    wall_line,
)
from vln_heatmap.simulation.houses.stairs import Stairs, place_stairs

_MIN_SIDE = 2.3  # shortest side of a cell
_TRIES = 400
_WIDE = {"conservatory": 1.5, "bathroom": 0.6, "pantry": 0.5, "storage room": 0.5}  # windows against others


def draw_plans(rng: np.random.Generator, params: HouseParams) -> tuple[FloorPlan, ...]:
    """Draw the storeys of a house from the ground up; draws whose rooms are not all connected, or whose
    stairs do not fit, are thrown away.

    Raises:
        ValueError: nothing fits.
    """
    for _ in range(_TRIES):
        plans = _draw_house(rng, params)
        if plans is not None:
            return plans
    raise ValueError(
        f"no floor plan of {params.rooms_min} to {params.rooms_max} rooms fits into a house of "
        f"{params.side_min:g} to {params.side_max:g} m sides; ask for fewer rooms or longer sides"
    )


def _draw_house(rng: np.random.Generator, params: HouseParams) -> tuple[FloorPlan, ...] | None:
    counts = rng.integers(params.rooms_min, params.rooms_max + 1, params.storeys)
    start: list[Rectangle] = [_draw_outline(rng, int(counts.max()), params)]
    hall: list[Rectangle] = []
    rise, stairs = round(params.height + 2 * SLAB, 3), None
    if params.storeys > 1:
        hall, start = _cut_hall(rng, start[0])
        x0, z0, x1, z1 = hall[0]
        inner = (x0 + WALL / 2, z0 + WALL / 2, x1 - WALL / 2, z1 - WALL / 2)
        stairs = place_stairs(rng, inner, rise, params.height)
        if stairs is None:
            return None
    plans = []
    for storey, count in enumerate(counts):
        cells = [*hall, *_split(rng, start, int(count) - len(hall))]
        plan = _draw_storey(rng, cells, storey, rise, stairs, params)
        if plan is None or len(cells) < params.rooms_min:
            return None
        plans.append(plan)
    return tuple(plans)


def _draw_storey(
    rng: np.random.Generator,
    cells: list[Rectangle],
    storey: int,
    rise: float,
    stairs: Stairs | None,
    params: HouseParams,
) -> FloorPlan | None:
    """Doors, names and windows of one storey; None if its rooms are not all connected."""
    taken = [] if stairs is None else [stairs.world(stairs.hole if storey else stairs.footprint)]
    doors = _draw_doors(rng, cells, taken)
    if doors is None:
        return None
    names = name_rooms(rng, cells, storey, params.storeys)
    front = _front_door(rng, cells, names, taken) if storey == 0 else []
    openings = (*doors, *front)
    windows = _draw_windows(rng, cells, names, openings, params.height)
    if storey == 0:
        windows = [w for w in windows if not any(overlaps(_before(w, 0.3), t) for t in taken)]
    return FloorPlan(tuple(cells), tuple(names), params.height, (*openings, *windows), storey * rise, stairs)


def _draw_outline(rng: np.random.Generator, count: int, params: HouseParams) -> Rectangle:
    """A rectangle of about 10 to 18 square metres a room."""
    area, aspect = count * rng.uniform(11.0, 19.0), rng.uniform(0.7, 1.4)
    width, depth = np.clip(
        (np.sqrt(area * aspect), np.sqrt(area / aspect)), params.side_min, params.side_max
    ).round(2)
    return (0.0, 0.0, float(width), float(depth))


def _cut_hall(rng: np.random.Generator, outline: Rectangle) -> tuple[list[Rectangle], list[Rectangle]]:
    """The cell of the stairs, cut from a strip at one side or through the middle, and all other cells."""
    axis = int(rng.integers(2))
    extent, depth = outline[2 + axis], outline[3 - axis]
    width = round(float(rng.uniform(_MIN_SIDE, min(3.1, extent - _MIN_SIDE))), 2)
    places = [0.0, round(extent - width, 2)]
    if extent - width >= 2 * _MIN_SIDE:
        places.append(round(float(rng.uniform(_MIN_SIDE, extent - width - _MIN_SIDE)), 2))
    low = places[rng.integers(len(places))]
    high = low + width if low + width < extent - 0.01 else extent
    length = round(float(rng.uniform(4.0, 7.2)), 2)
    split = depth - length >= _MIN_SIDE
    cut = length if split else depth
    bands = (
        [(0.0, cut), (cut, depth)]
        if rng.random() < 0.5 or not split
        else [(depth - cut, depth), (0.0, depth - cut)]
    )
    strips = [
        (low, *bands[0], high),
        (low, *bands[1], high),
        (0.0, 0.0, depth, low),
        (high, 0.0, depth, extent),
    ]
    cells = [
        (a, start, b, end) if axis == 0 else (start, a, end, b)
        for a, start, end, b in strips
        if b - a > 0.01 and end - start > 0.01
    ]
    return cells[:1], cells[1:]


def _split(rng: np.random.Generator, start: list[Rectangle], count: int) -> list[Rectangle]:
    """Split rectangles into ``count`` cells or fewer, the largest first."""
    cells = list(start)
    while len(cells) < count:
        cells.sort(key=lambda c: (c[0] - c[2]) * (c[3] - c[1]))
        x0, z0, x1, z1 = cells[0]
        w, d = x1 - x0, z1 - z0
        along_x = w > d if abs(w - d) > 0.8 else rng.random() < 0.5
        length = w if along_x else d
        if length < 2 * _MIN_SIDE:
            break
        cut = round(float(np.clip(rng.uniform(0.36, 0.64) * length, _MIN_SIDE, length - _MIN_SIDE)), 2)
        if along_x:
            cells[:1] = [(x0, z0, x0 + cut, z1), (x0 + cut, z0, x1, z1)]
        else:
            cells[:1] = [(x0, z0, x1, z0 + cut), (x0, z0 + cut, x1, z1)]
    return cells


def _before(opening: Opening, depth: float) -> Rectangle:
    """The floor on both sides of an opening."""
    low, high = opening.line - WALL / 2 - depth, opening.line + WALL / 2 + depth
    if opening.axis == 0:
        return (opening.start - 0.05, low, opening.end + 0.05, high)
    return (low, opening.start - 0.05, high, opening.end + 0.05)


def _shared_walls(cells: list[Rectangle]) -> list[tuple[int, int, int, float, float, float]]:
    """(lower room, upper room, axis, line, start, end) of every wall between two rooms."""
    walls = []
    for i, a in enumerate(cells):
        for j, b in enumerate(cells):
            for axis in (0, 1):
                start, end = max(a[axis], b[axis]), min(a[axis + 2], b[axis + 2])
                if a[3 - axis] == b[1 - axis] and end - start > 0:
                    walls.append((i, j, axis, b[1 - axis], start, end))
    return walls


def _draw_doors(
    rng: np.random.Generator, cells: list[Rectangle], taken: list[Rectangle]
) -> list[Opening] | None:
    """Doors along a random spanning tree of the rooms and a few more, clear of what is taken; None if the
    tree does not span."""
    walls = [w for w in _shared_walls(cells) if w[5] - w[4] > 0.95 + 2 * MARGIN + WALL]
    group = list(range(len(cells)))
    doors: list[Opening] = []
    for k in rng.permutation(len(walls)):
        i, j = walls[k][:2]
        if group[i] == group[j] and rng.random() > 0.25:
            continue
        door = _draw_door(rng, walls[k], taken)
        if door is not None:
            group = [group[i] if g == group[j] else g for g in group]
            doors.append(door)
    return doors if len(set(group)) == 1 else None


def _draw_door(
    rng: np.random.Generator, wall: tuple[int, int, int, float, float, float], taken: list[Rectangle]
) -> Opening | None:
    """A door or an arch somewhere in a wall between two rooms."""
    i, j, axis, line, start, end = wall
    for _ in range(6):
        room = end - start - 2 * MARGIN - WALL
        arch = room > 1.6 and rng.random() < 0.2
        width = rng.uniform(1.2, min(1.9, room)) if arch else rng.uniform(0.84, 0.95)
        first = start + MARGIN + WALL / 2 + rng.uniform(0, room - width)
        top = DOOR_HEIGHT + (0.1 if arch else 0.0)
        kind = "arch" if arch else "door"
        door = Opening(kind, axis, line, first, first + width, 0.0, top, (i, j))
        if not any(overlaps(_before(door, 0.85), t) for t in taken):
            return door
    return None


def _outer_walls(cells: list[Rectangle]) -> list[tuple[int, int, int, float, float, float]]:
    """(room, side, axis, line, start, end) of every wall to the outdoors."""
    low = np.min(cells, axis=0)[:2]
    high = np.max(cells, axis=0)[2:]
    walls = []
    for room, cell in enumerate(cells):
        for side in range(4):
            axis, line, upper = wall_line(cell, side)
            if line == (low if upper else high)[1 - axis]:
                walls.append((room, side, axis, line, cell[axis], cell[axis + 2]))
    return walls


def _outdoor(
    kind: str, side: int, room: int, axis: int, line: float, span: tuple[float, float, float, float]
) -> Opening:
    rooms = (-1, room) if side in (0, 3) else (room, -1)
    return Opening(kind, axis, line, *span, rooms)


def _front_door(
    rng: np.random.Generator, cells: list[Rectangle], names: list[str], taken: list[Rectangle]
) -> list[Opening]:
    """One closed door to the outdoors, from the hall, the living room or the kitchen where it fits."""
    walls = [w for w in _outer_walls(cells) if names[w[0]] in ("hall", "living room", "kitchen")]
    if not walls or rng.random() < 0.25:
        return []
    room, side, axis, line, start, end = walls[rng.integers(len(walls))]
    first = rng.uniform(start + MARGIN + WALL, end - MARGIN - WALL - 0.95)
    door = _outdoor("front", side, room, axis, line, (first, first + 0.95, 0.0, DOOR_HEIGHT))
    return [] if any(overlaps(_before(door, 0.85), t) for t in taken) else [door]


def _draw_windows(
    rng: np.random.Generator,
    cells: list[Rectangle],
    names: list[str],
    doors: tuple[Opening, ...],
    height: float,
) -> list[Opening]:
    """Up to two windows a wall to the outdoors, clear of the front door; every outer room has one."""
    windows: list[Opening] = []
    walls = _outer_walls(cells)
    for index, (room, side, axis, line, start, end) in enumerate(walls):
        later = any(w[0] == room for w in walls[index + 1 :])
        has = any(room in w.rooms for w in windows)
        if rng.random() < 0.35 and (later or has) and names[room] != "conservatory":
            continue
        taken = [(d.start, d.end) for d in doors if d.axis == axis and d.line == line and room in d.rooms]
        count = 2 if end - start > 4.2 and rng.random() < 0.5 else 1
        for k in range(count):
            low = start + (end - start) * k / count + WALL + 0.3
            high = start + (end - start) * (k + 1) / count - WALL - 0.3
            width = min(rng.uniform(0.9, 2.0) * _WIDE.get(names[room], 1.0), high - low)
            first = low + rng.random() * (high - width - low)
            bottom, top = _window_heights(rng, names[room], height)
            if all(first + width + 0.25 < a or first - 0.25 > b for a, b in taken):
                span = (first, first + width, bottom, top)
                windows.append(_outdoor("window", side, room, axis, line, span))
    return windows


def _window_heights(rng: np.random.Generator, name: str, height: float) -> tuple[float, float]:
    top = rng.uniform(2.0, min(2.25, height - 0.2))
    if name == "bathroom":
        return rng.uniform(1.35, 1.5), top
    if name == "conservatory" or (name == "living room" and rng.random() < 0.35):
        return 0.12, top
    return rng.uniform(0.8, 1.05), top
