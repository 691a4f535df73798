"""Stairs between two storeys: where their steps and the hole above them are.

Invariant: risers are at most 0.18 m, treads at least 0.25 m and flights 0.95 m wide; where the ceiling would be
less than 2.1 m above a step there is a hole in it; below the steps everything is solid.

Own frame: the foot of the first flight looks to +z, the middle of the whole footprint is the origin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from vln_heatmap.simulation.houses.plan import SIDE_YAWS, Rectangle

WIDTH = 1.0  # of a flight, railing included
ACCESS = 0.95  # depth of the free floor before the first and after the last step
HEADROOM = 2.1
_RISER = 0.178  # highest
_GAP = 0.08  # between the flights of a half turn
_FLUSH = 0.004  # between stairs and the walls they lean on
_PASSAGE = 0.85  # least width of the floor beside a straight flight


@dataclass(frozen=True)
class Step:
    """One tread: where it lies in the stairs' frame, its height, and the z direction from which one steps on
    it (0 for a landing)."""

    rectangle: Rectangle
    height: float
    front: int


@dataclass(frozen=True)
class Stairs:
    """Stairs in a hall; rectangles are in their own frame.

    Attributes:
        steps: from the bottom.
        footprint, hole: what they cover below, and the hole in the ceiling above.
        entry, arrival: free floor before the first step, and after the last on the upper storey.
        rise: from floor to floor, metres.
        inner: x of the railing between two flights, None for a straight flight.
        x, z, side: where the origin lies in the house, and the side of the hall to which the first flight
            climbs.
    """

    steps: tuple[Step, ...]
    footprint: Rectangle
    hole: Rectangle
    entry: Rectangle
    arrival: Rectangle
    rise: float
    inner: float | None = None
    x: float = 0.0
    z: float = 0.0
    side: int = 0

    def world(self, rectangle: Rectangle) -> Rectangle:
        """A rectangle of the stairs' frame in the house."""
        c, s = round(math.cos(SIDE_YAWS[self.side])), round(math.sin(SIDE_YAWS[self.side]))
        corners = [(x, z) for x in rectangle[::2] for z in rectangle[1::2]]
        xs, zs = [c * x + s * z for x, z in corners], [c * z - s * x for x, z in corners]
        return (self.x + min(xs), self.z + min(zs), self.x + max(xs), self.z + max(zs))


def straight(rise: float, ceiling: float, going: float) -> Stairs:
    """One flight."""
    count = math.ceil(rise / _RISER)
    riser, length, half = rise / count, (count - 1) * going, WIDTH / 2
    steps = tuple(
        Step((-half, length / 2 - k * going, half, length / 2 - (k - 1) * going), k * riser, 1)
        for k in range(1, count)
    )
    low = next(s for s in steps if s.height > ceiling - HEADROOM)
    return Stairs(
        steps=steps,
        footprint=(-half, -length / 2, half, length / 2),
        hole=(-half, -length / 2, half, min(low.rectangle[3] + going, length / 2)),
        entry=(-half, length / 2, half, length / 2 + ACCESS),
        arrival=(-half, -length / 2 - ACCESS, half, -length / 2),
        rise=rise,
    )


def half_turn(rise: float, going: float, mirror: int) -> Stairs:
    """Two flights side by side with a landing halfway; the first climbs on the side of x to which ``mirror``
    (1 or -1) points."""
    half = math.ceil(rise / _RISER / 2)
    riser, flight = rise / (2 * half), (half - 1) * going
    width, length = 2 * WIDTH + _GAP, flight + WIDTH
    start, turn = length / 2, -length / 2 + WIDTH
    first, second = (sorted((s * _GAP / 2, s * width / 2)) for s in (mirror, -mirror))
    steps = [
        Step((first[0], start - k * going, first[1], start - (k - 1) * going), k * riser, 1)
        for k in range(1, half)
    ]
    steps.append(Step((-width / 2, -length / 2, width / 2, turn), half * riser, 0))
    steps += [
        Step((second[0], turn + (k - 1) * going, second[1], turn + k * going), (half + k) * riser, -1)
        for k in range(1, half)
    ]
    whole = (-width / 2, -length / 2, width / 2, length / 2)
    return Stairs(
        steps=tuple(steps),
        footprint=whole,
        hole=whole,
        entry=(first[0], start, first[1], start + ACCESS),
        arrival=(second[0], start, second[1], start + ACCESS),
        rise=rise,
        inner=-mirror * _GAP / 2,
    )


def place_stairs(rng: np.random.Generator, hall: Rectangle, rise: float, ceiling: float) -> Stairs | None:
    """Stairs of a random shape along the walls of a hall, None if none fit.

    Args:
        hall: inner rectangle of the room, the same on both storeys.
        rise, ceiling: height of the upper storey's floor, and of the lower one's ceiling, metres.
    """
    going = float(rng.uniform(0.25, 0.28))
    shapes = [straight(rise, ceiling, going), half_turn(rise, going, 1), half_turn(rise, going, -1)]
    for k in rng.permutation(len(shapes)):
        for side in rng.permutation(4):
            found = _along_walls(rng, shapes[k], int(side), hall)
            if found is not None:
                return found
    return None


def _along_walls(rng: np.random.Generator, shape: Stairs, side: int, hall: Rectangle) -> Stairs | None:
    """The stairs climbing to one side of a hall, if they fit."""
    turned = _at(shape, 0.0, 0.0, side)
    claims = np.array([turned.world(r) for r in (shape.footprint, shape.entry, shape.arrival)])
    low = np.array(hall[:2]) - claims[:, :2].min(axis=0) + _FLUSH
    high = np.array(hall[2:]) - claims[:, 2:].max(axis=0) - _FLUSH
    across, along = side % 2, 1 - side % 2
    narrow = shape.inner is None and high[across] - low[across] < _PASSAGE
    if (low > high).any() or narrow:
        return None
    shift = np.zeros(2)
    shift[across] = (low, high)[rng.integers(2)][across]
    if shape.inner is None:
        shift[along] = rng.uniform(low[along], high[along])
    else:
        shift[along] = (low if side in (0, 3) else high)[along]
    return _at(shape, float(shift[0]), float(shift[1]), side)


def _at(shape: Stairs, x: float, z: float, side: int) -> Stairs:
    return replace(shape, x=x, z=z, side=side)


def open_edges(stairs: Stairs, rectangle: Rectangle, hall: Rectangle) -> dict[str, bool]:
    """Which edges "-x", "-z", "+x", "+z" of a rectangle of the stairs' frame no wall of the hall closes."""
    result = {}
    x0, z0, x1, z1 = rectangle
    edges = {"-x": (x0, z0, x0, z1), "-z": (x0, z0, x1, z0), "+x": (x1, z0, x1, z1), "+z": (x0, z1, x1, z1)}
    for name, edge in edges.items():
        world = stairs.world(edge)
        gaps = [abs(world[k] - hall[k]) + abs(world[(k + 2) % 4] - hall[k]) for k in range(4)]
        result[name] = min(gaps) > 0.1
    return result
