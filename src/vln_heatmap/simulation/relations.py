"""Spatial relations between things, decided by geometry or left open.

Invariant: a relation answers YES or NO only where nobody would argue, else UNSURE; whoever builds a phrase on
it drops the phrase if any thing that it could mean is UNSURE.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from vln_heatmap.simulation.scene import Instance

YES, UNSURE, NO = 1, 0, -1

#: What belongs to the rooms on both sides of it.
SHARED = frozenset({"door", "stairs"})


@dataclass(frozen=True)
class Thing:
    """An instance as a viewer meets it.

    Attributes:
        instance: what it is and where (world box).
        pixels: how many pixels show it (in one frame, or at most in any frame of a sequence).
        u, v: mean column / W and row / H of its pixels; depth: median z-depth, metres. None in the scope of a
            sequence, where there is no single view.
    """

    instance: Instance
    pixels: int
    u: float | None = None
    v: float | None = None
    depth: float | None = None

    @property
    def id(self) -> int:
        return self.instance.id


Relation = Callable[[Thing, Thing], int]


def left_of(a: Thing, b: Thing) -> int:
    """Seen from the camera: YES from 8 % of the image width on, NO on the other side."""
    return _threshold(_seen(b.u) - _seen(a.u), yes=0.08, no=0.0)


def right_of(a: Thing, b: Thing) -> int:
    """The mirror image of ``left_of``."""
    return left_of(b, a)


def in_front_of(a: Thing, b: Thing) -> int:
    """Nearer to the camera by 0.4 m or more, in about the same columns."""
    nearer = _threshold(_seen(b.depth) - _seen(a.depth), yes=0.4, no=0.0)
    aligned = _threshold(-abs(_seen(b.u) - _seen(a.u)), yes=-0.15, no=-0.3)
    return min(nearer, aligned)


def behind(a: Thing, b: Thing) -> int:
    """Farther from the camera by 0.4 m or more, in about the same columns."""
    return in_front_of(b, a)


def next_to(a: Thing, b: Thing) -> int:
    """Boxes within 0.4 m of each other sideways, at overlapping heights; NO from 0.8 m or in another room."""
    if a.instance.room != b.instance.room and not {a.instance.category, b.instance.category} & SHARED:
        return NO
    near = _threshold(-box_gap(a.instance, b.instance), yes=-0.4, no=-0.8)
    level = _overlap(a.instance, b.instance, axis=1) > 0.1 and a.instance.room == b.instance.room
    return min(near, YES if level else UNSURE)


def in_room(a: Thing, room: int) -> int:
    """Whether a thing is in a room, by index; UNSURE if that is not known, and of doors and stairs."""
    if a.instance.room < 0 or a.instance.category in SHARED:
        return UNSURE
    return YES if a.instance.room == room else NO


def on(a: Thing, b: Thing) -> int:
    """Standing on it: the foot of a is at the top of b, its centre over b's box.

    NO if beside or under it, on the floor that it stands on, or 0.3 m above it.
    """
    foot, top = a.instance.box_min[1], b.instance.box_max[1]
    lower = a.instance.box_max[1] <= b.instance.box_min[1] + 0.05 or (_not_over(a, b) and foot <= top - 0.15)
    if box_gap(a.instance, b.instance) > 0.02 or lower or foot >= top + 0.3:
        return NO
    return YES if _over(a, b) and abs(foot - top) <= 0.05 else UNSURE


def above(a: Thing, b: Thing) -> int:
    """Over it with 0.1 m of air or more, its centre over b's box.

    NO 0.3 m beside it, on the same floor, or lower than its top.
    """
    clear = a.instance.box_min[1] - b.instance.box_max[1]
    low = a.instance.box_max[1] <= b.instance.box_max[1]
    if box_gap(a.instance, b.instance) >= 0.3 or _not_over(a, b) or low:
        return NO
    sure = clear >= 0.1 and _over(a, b) and a.instance.room == b.instance.room
    return YES if sure else UNSURE


def below(a: Thing, b: Thing) -> int:
    """b is above it."""
    return above(b, a)


def inside(a: Thing, b: Thing) -> int:
    """The box of a lies in the box of b, to 2 cm; NO if they do not meet."""
    shared = [_overlap(a.instance, b.instance, axis=axis) for axis in range(3)]
    within = [
        a.instance.box_min[i] >= b.instance.box_min[i] - 0.02
        and a.instance.box_max[i] <= b.instance.box_max[i] + 0.02
        for i in range(3)
    ]
    return NO if min(shared) <= 0.0 else YES if all(within) else UNSURE


def between(a: Thing, b: Thing, c: Thing) -> int:
    """Whether a is between b and c, in the floor plan.

    YES: its centre lies 5 cm or more inside the convex hull of the two others' footprints, clear of both of them,
    at a height that both have too. NO: its footprint is clear of the hull, or it is in a room that neither is in.
    """
    rooms = {b.instance.room, c.instance.room}
    if len(rooms) > 1 or -1 in rooms:
        return UNSURE
    if a.instance.room not in rooms and a.instance.room >= 0:
        return NO
    pair, planes = _span(b.instance, c.instance)
    own = _footprint(a.instance)  # [4, 2]
    outside = own @ planes[:, :2].T + planes[:, 2]  # [4, F] metres outside of each side
    apart = (own.min(0) >= pair.max(0)) | (own.max(0) <= pair.min(0))  # [2]
    if (outside.min(0) >= 0.0).any() or apart.any():
        return NO
    centred = (planes[:, :2] @ own.mean(0) + planes[:, 2]).max() <= -0.05
    free = min(box_gap(a.instance, x) for x in (b.instance, c.instance)) >= 0.02
    level = min(_overlap(a.instance, x, axis=1) for x in (b.instance, c.instance)) > 0.0
    return YES if centred and free and level and a.instance.room in rooms else UNSURE


#: Relations of one view, and those that hold from everywhere; by the words for them.
VIEW_RELATIONS: Mapping[str, Relation] = {
    "left of": left_of,
    "right of": right_of,
    "in front of": in_front_of,
    "behind": behind,
}
WORLD_RELATIONS: Mapping[str, Relation] = {"next to": next_to, "on": on}


def box_gap(a: Instance, b: Instance) -> float:
    """Horizontal distance in metres between two boxes, 0 if one is over the other."""
    return math.hypot(*(max(0.0, -_overlap(a, b, axis=axis)) for axis in (0, 2)))


def box_distance(a: Instance, b: Instance) -> float:
    """Shortest distance in metres between two boxes, 0 if they meet."""
    return math.hypot(*(max(0.0, -_overlap(a, b, axis=axis)) for axis in range(3)))


def nearest_point(instance: Instance, point: NDArray[np.float64]) -> NDArray[np.float64]:
    """The point [3] of the instance's box that is nearest to ``point`` [3], metres."""
    return np.clip(point, instance.box_min, instance.box_max)


def _not_over(a: Thing, b: Thing) -> bool:
    """Whether a stands on the floor that b stands on, or is under it."""
    return a.instance.box_min[1] <= b.instance.box_min[1] + 0.05


def _over(a: Thing, b: Thing) -> bool:
    """Whether the centre of a is over (or under) the box of b."""
    centre = a.instance.centre
    return all(b.instance.box_min[i] <= centre[i] <= b.instance.box_max[i] for i in (0, 2))


@lru_cache(maxsize=256)
def _span(a: Instance, b: Instance) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners [8, 2] of two footprints, and the sides [F, 3] of their convex hull: outward normal and offset."""
    corners = np.concatenate([_footprint(a), _footprint(b)])
    return corners, ConvexHull(corners).equations


def _footprint(instance: Instance) -> NDArray[np.float64]:
    """Corners [4, 2] (x, z) of the box from above, a millimetre larger, so that none is flat."""
    (x0, _, z0), (x1, _, z1) = np.subtract(instance.box_min, 1e-3), np.add(instance.box_max, 1e-3)
    return np.array([(x0, z0), (x0, z1), (x1, z1), (x1, z0)])


def _overlap(a: Instance, b: Instance, *, axis: int) -> float:
    """Length in metres that two boxes share along an axis; negative = the gap between them."""
    return min(a.box_max[axis], b.box_max[axis]) - max(a.box_min[axis], b.box_min[axis])


def _threshold(value: float, *, yes: float, no: float) -> int:
    return YES if value >= yes else NO if value <= no else UNSURE


def _seen(value: float | None) -> float:
    if value is None:
        raise ValueError("a relation of the view needs things seen in one frame, got a whole sequence")
    return value
