"""Floor plans: rooms, what they are for, and the openings between them.

Invariant: the rooms tile one rectangle, every room can be reached from every other through openings at least
0.8 m wide, and no two openings of a wall overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vln_heatmap.params import HouseParams

Rectangle = tuple[float, float, float, float]  # x0, z0, x1, z1 in metres

WALL = 0.12  # thickness of an inner wall; a room's inner rectangle is its cell less half of it
OUTER = 0.14  # by how much outer walls are thicker
DOOR_HEIGHT = 2.05
MARGIN = 0.22  # least wall between an opening and a corner of the room
MIN_SIDE = 2.3  # shortest side of a cell

#: Sides of a rectangle: 0 is -z, 1 is +x, 2 is +z, 3 is -x; yaw that turns a piece's front into the room.
SIDE_YAWS = (0.0, -np.pi / 2, np.pi, np.pi / 2)


@dataclass(frozen=True)
class Opening:
    """A hole in a wall: a "door" (with a frame), an "arch" (without) or a "window".

    Attributes:
        axis: 0 if the wall runs along x, 1 if along z.
        line: where the wall's middle line lies on the other axis.
        start, end: extent along the axis; bottom, top: extent in height; all in metres.
        rooms: the rooms on the lower and the upper side of the line, -1 for outdoors.
    """

    kind: str
    axis: int
    line: float
    start: float
    end: float
    bottom: float
    top: float
    rooms: tuple[int, int]

    @property
    def width(self) -> float:
        return self.end - self.start

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


@dataclass(frozen=True)
class FloorPlan:
    """Cells (wall middle to wall middle), room names, ceiling height and openings."""

    cells: tuple[Rectangle, ...]
    names: tuple[str, ...]
    height: float
    openings: tuple[Opening, ...]

    def inner(self, room: int) -> Rectangle:
        """The floor of a room between its walls."""
        x0, z0, x1, z1 = self.cells[room]
        return (x0 + WALL / 2, z0 + WALL / 2, x1 - WALL / 2, z1 - WALL / 2)

    def on_side(self, room: int, side: int) -> list[Opening]:
        """Openings in one wall of a room, in order along it."""
        axis, line, upper = wall_line(self.cells[room], side)
        found = [o for o in self.openings if o.axis == axis and o.line == line and o.rooms[upper] == room]
        return sorted(found, key=lambda o: o.start)


def wall_line(cell: Rectangle, side: int) -> tuple[int, float, int]:
    """(axis the wall runs along, its line, 1 if the room is on the line's upper side else 0)."""
    return side % 2, (cell[1], cell[2], cell[3], cell[0])[side], int(side in (0, 3))


def draw_plan(rng: np.random.Generator, params: HouseParams) -> FloorPlan:
    """Draw a floor plan; draws whose rooms are not all connected are thrown away."""
    for _ in range(200):
        count = int(rng.integers(params.rooms_min, params.rooms_max + 1))
        cells = _draw_cells(rng, count, params)
        doors = _draw_doors(rng, cells)
        if doors is not None and len(cells) >= params.rooms_min:
            names = _name_rooms(rng, cells)
            openings = (*doors, *_front_door(rng, cells, names, doors))
            windows = _draw_windows(rng, cells, names, openings, params.height)
            return FloorPlan(tuple(cells), tuple(names), params.height, (*openings, *windows))
    raise ValueError(
        f"no floor plan of {params.rooms_min} to {params.rooms_max} rooms fits into a house of "
        f"{params.side_min:g} to {params.side_max:g} m sides; ask for fewer rooms or longer sides"
    )


def _draw_cells(rng: np.random.Generator, count: int, params: HouseParams) -> list[Rectangle]:
    """Split a rectangle of about 10 to 18 square metres a room, the largest cell first."""
    area, aspect = count * rng.uniform(11.0, 19.0), rng.uniform(0.7, 1.4)
    width, depth = np.clip(
        (np.sqrt(area * aspect), np.sqrt(area / aspect)), params.side_min, params.side_max
    ).round(2)
    cells: list[Rectangle] = [(0.0, 0.0, float(width), float(depth))]
    while len(cells) < count:
        cells.sort(key=lambda c: (c[0] - c[2]) * (c[3] - c[1]))
        x0, z0, x1, z1 = cells[0]
        w, d = x1 - x0, z1 - z0
        along_x = w > d if abs(w - d) > 0.8 else rng.random() < 0.5
        length = w if along_x else d
        if length < 2 * MIN_SIDE:
            break
        cut = round(float(np.clip(rng.uniform(0.36, 0.64) * length, MIN_SIDE, length - MIN_SIDE)), 2)
        if along_x:
            cells[:1] = [(x0, z0, x0 + cut, z1), (x0 + cut, z0, x1, z1)]
        else:
            cells[:1] = [(x0, z0, x1, z0 + cut), (x0, z0 + cut, x1, z1)]
    return cells


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


def _draw_doors(rng: np.random.Generator, cells: list[Rectangle]) -> list[Opening] | None:
    """Doors along a random spanning tree of the rooms and a few more; None if the tree does not span."""
    walls = [w for w in _shared_walls(cells) if w[5] - w[4] > 0.95 + 2 * MARGIN + WALL]
    group = list(range(len(cells)))
    doors: list[Opening] = []
    for k in rng.permutation(len(walls)):
        i, j, axis, line, start, end = walls[k]
        if group[i] == group[j] and rng.random() > 0.25:
            continue
        group = [group[i] if g == group[j] else g for g in group]
        room = end - start - 2 * MARGIN - WALL
        arch = room > 1.6 and rng.random() < 0.2
        width = rng.uniform(1.2, min(1.9, room)) if arch else rng.uniform(0.84, 0.95)
        first = start + MARGIN + WALL / 2 + rng.uniform(0, room - width)
        top = DOOR_HEIGHT + (0.1 if arch else 0.0)
        doors.append(Opening("arch" if arch else "door", axis, line, first, first + width, 0.0, top, (i, j)))
    return doors if len(set(group)) == 1 else None


_KINDS = {
    2: (["living room", "bedroom"],),
    3: (["living room", "bedroom", "kitchen"], ["living room", "bedroom", "bathroom"]),
    4: (["living room", "bedroom", "kitchen", "bathroom"],),
}
_MORE = ("office", "dining room", "bedroom", "hall", "laundry room")


def _name_rooms(rng: np.random.Generator, cells: list[Rectangle]) -> list[str]:
    """Room types: the living room is the largest, bathroom and laundry room the smallest."""
    bases = _KINDS[min(len(cells), 4)]
    names = list(bases[rng.integers(len(bases))])
    extra = rng.permutation(_MORE)[: max(0, len(cells) - 4)]
    names += [str(e) for e in extra]
    names += ["bedroom"] * (len(cells) - len(names))
    weight = {"living room": -1.0, "bathroom": 2.0, "laundry room": 1.6}
    names.sort(key=lambda name: weight.get(name, rng.uniform(0, 1)))
    order = np.argsort([(c[0] - c[2]) * (c[3] - c[1]) for c in cells], kind="stable")
    result = [""] * len(cells)
    for name, index in zip(names, order, strict=True):
        result[index] = name
    return result


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
    rng: np.random.Generator, cells: list[Rectangle], names: list[str], doors: list[Opening]
) -> list[Opening]:
    """One closed door to the outdoors, from the hall or the living room where it fits."""
    walls = [w for w in _outer_walls(cells) if names[w[0]] in ("hall", "living room", "kitchen")]
    if not walls or rng.random() < 0.25:
        return []
    room, side, axis, line, start, end = walls[rng.integers(len(walls))]
    first = rng.uniform(start + MARGIN + WALL, end - MARGIN - WALL - 0.95)
    return [_outdoor("front", side, room, axis, line, (first, first + 0.95, 0.0, DOOR_HEIGHT))]


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
        if rng.random() < 0.35 and (later or has):
            continue
        taken = [(d.start, d.end) for d in doors if d.axis == axis and d.line == line and room in d.rooms]
        count = 2 if end - start > 4.2 and rng.random() < 0.5 else 1
        for k in range(count):
            low = start + (end - start) * k / count + WALL + 0.3
            high = start + (end - start) * (k + 1) / count - WALL - 0.3
            width = min(rng.uniform(0.9, 2.0) * (0.6 if names[room] == "bathroom" else 1.0), high - low)
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
    if name == "living room" and rng.random() < 0.35:
        return 0.12, top
    return rng.uniform(0.8, 1.05), top
