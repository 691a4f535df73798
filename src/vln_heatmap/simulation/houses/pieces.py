"""Pieces: what one instance of the scene is made of, and where it stands.

Invariant: a piece is built once in its local frame (see ``meshes``) and only ever turned about the vertical
axis and moved, so that its footprint is a rectangle at quarter turns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.houses.meshes import Part, extent
from vln_heatmap.simulation.houses.palette import Palette
from vln_heatmap.simulation.houses.plan import Rectangle

#: Where small things may stand on a piece: x0, z0, x1, z1 and height y in its frame.
Top = tuple[float, float, float, float, float]
#: Pieces that are level on top, all over.
_LEVEL = frozenset({
    "bench", "bookshelf", "coffee table", "desk", "dining table", "dresser", "fridge", "kitchen counter",
    "nightstand", "play table", "tv stand", "wardrobe", "washing machine",
})  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """One thing in its local frame.

    Attributes:
        category: what it is.
        parts: its meshes.
        main: the material that a person would name its colour by; "" if none.
        shelves: where things may stand on it, if not all over its top.
    """

    category: str
    parts: tuple[Part, ...]
    main: str = ""
    shelves: tuple[Top, ...] = ()

    @cached_property
    def box(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return extent(self.parts)

    @property
    def tops(self) -> tuple[Top, ...]:
        """Where small things may stand on it."""
        if self.shelves or self.category not in _LEVEL:
            return self.shelves
        low, high = (corner.tolist() for corner in self.box)
        return ((low[0] + 0.03, low[2] + 0.03, high[0] - 0.03, high[2] - 0.03, high[1]),)

    @property
    def size(self) -> NDArray[np.float64]:
        """Width, height and depth [3]."""
        low, high = self.box
        return high - low


@dataclass(frozen=True)
class Placed:
    """A piece at a position (x, y, z) and yaw, in its group's frame or (room >= 0) in the world."""

    piece: Piece
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    yaw: float = 0.0
    room: int = -1

    def into(self, x: float, z: float, yaw: float, room: int) -> Placed:
        """The same thing after its group was turned by ``yaw`` and moved to (x, z) of a room."""
        c, s = math.cos(yaw), math.sin(yaw)
        return replace(
            self,
            x=x + c * self.x + s * self.z,
            z=z - s * self.x + c * self.z,
            yaw=self.yaw + yaw,
            room=room,
        )

    @cached_property
    def footprint(self) -> Rectangle:
        """Axis-aligned rectangle around the piece."""
        low, high = self.piece.box
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        corners = [(c * x + s * z, -s * x + c * z) for x in (low[0], high[0]) for z in (low[2], high[2])]
        xs, zs = [self.x + p[0] for p in corners], [self.z + p[1] for p in corners]
        return (min(xs), min(zs), max(xs), max(zs))

    @property
    def bottom(self) -> float:
        return self.y + float(self.piece.box[0][1])

    @property
    def top(self) -> float:
        return self.y + float(self.piece.box[1][1])

    @property
    def solid(self) -> bool:
        """Whether it stands in the way of the agent and of other furniture."""
        return self.bottom < 0.3 and self.top > 0.05


Group = tuple[Placed, ...]
Builder = Callable[[np.random.Generator, Palette], Group]
PieceBuilder = Callable[[np.random.Generator, Palette], Piece]


def alone(category: str, parts: list[Part], main: str = "") -> Group:
    """A group of one piece at its origin."""
    return (Placed(Piece(category, tuple(parts), main)),)


def on_top(piece: Piece, support: float, x: float = 0.0, z: float = 0.0, yaw: float = 0.0) -> Placed:
    """A piece that stands on something ``support`` metres high."""
    return Placed(piece, x, support, z, yaw)


def overlaps(a: Rectangle, b: Rectangle, gap: float = 0.0) -> bool:
    """Whether two rectangles come closer than ``gap``."""
    return a[0] < b[2] + gap and b[0] < a[2] + gap and a[1] < b[3] + gap and b[1] < a[3] + gap
