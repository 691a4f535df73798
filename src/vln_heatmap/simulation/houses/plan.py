"""Floor plans: rooms, what they are for, and the openings between them.

Invariant: a plan is one storey in its own heights, floor at 0; its rooms tile one rectangle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vln_heatmap.simulation.houses.stairs import Stairs

Rectangle = tuple[float, float, float, float]  # x0, z0, x1, z1 in metres

WALL = 0.12  # thickness of an inner wall; a room's inner rectangle is its cell less half of it
OUTER = 0.14  # by how much outer walls are thicker
DOOR_HEIGHT = 2.05
MARGIN = 0.22  # least wall between an opening and a corner of the room
SLAB = 0.1  # thickness of a floor, and of a ceiling

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
    """One storey.

    Attributes:
        cells: rooms, from wall middle to wall middle.
        names: what they are for.
        height: from floor to ceiling, metres.
        openings: in its walls.
        floor: height of the floor above the ground storey's, metres.
        well: the stairs that start or end here, always in the first room.
    """

    cells: tuple[Rectangle, ...]
    names: tuple[str, ...]
    height: float
    openings: tuple[Opening, ...]
    floor: float = 0.0
    well: Stairs | None = None

    def blocked(self, room: int) -> tuple[Rectangle, ...]:
        """Floor of a room that is stairs, or that they have taken away."""
        if self.well is None or room != 0:
            return ()
        return (self.well.world(self.well.hole if self.floor else self.well.footprint),)

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
