"""Parts that several kinds of furniture have: legs, doors with handles, rows of books, lamps."""

from __future__ import annotations

import numpy as np

from vln_heatmap.simulation.houses.meshes import (
    Part,
    Point,
    ball,
    box,
    cylinder,
    loft,
    rod,
    rounded_rectangle,
)
from vln_heatmap.simulation.houses.palette import Palette

Rng = np.random.Generator

GLAZE = ("lacquer", "white", "toy", "pot")  # what vessels are made of
CLOTH = ("fabric", "linen", "toy")


def legs(
    rng: Rng, size: Point, material: str, *, thickness: float = 0.045, inset: float = 0.03
) -> list[Part]:
    """Four legs below a board of this width, height and depth: square, round, tapered or splayed."""
    width, height, depth = size
    style = rng.integers(4)
    parts = []
    for sx in (-1, 1):
        for sz in (-1, 1):
            x, z = sx * (width / 2 - inset - thickness / 2), sz * (depth / 2 - inset - thickness / 2)
            if style == 0:
                parts.append(box((thickness, height, thickness), (x, 0, z), material))
            elif style == 3:
                foot = (x + sx * inset * 0.7, 0.0, z + sz * inset * 0.7)
                parts.append(rod(thickness / 2.4, foot, (x - sx * 0.03, height, z - sz * 0.03), material))
            else:
                top = thickness / 2 * (1.0 if style == 1 else 1.5)
                parts.append(cylinder(thickness / 2, height, (x, 0, z), material, top=top, sections=8))
    return parts


def fronts(rng: Rng, size: Point, at: Point, material: str, *, columns: int, rows: int) -> list[Part]:
    """Doors or drawers on a cabinet's front plane, each with a handle.

    Args:
        size: width and height that the fronts fill, and their thickness.
        at: bottom centre of the front plane, from where the fronts stand out.
    """
    width, height = size[0] / columns, size[1] / rows
    knob = rng.random() < 0.5
    parts = []
    for i in range(columns):
        for j in range(rows):
            x, y = at[0] + (i + 0.5) * width - size[0] / 2, at[1] + j * height
            z = at[2] + size[2] / 2
            parts.append(box((width - 0.012, height - 0.012, size[2]), (x, y + 0.006, z), material))
            side = 0.0 if rows > 1 else (0.38 * width if i % 2 == 0 else -0.38 * width)
            handle: Point = (x + side, y + height * 0.5, z + size[2] / 2 + 0.012)
            if knob:
                parts.append(ball(0.016, handle, "metal 0", sections=6))
            elif rows > 1:
                parts.append(box((min(0.16, 0.5 * width), 0.014, 0.024), handle, "metal 0"))
            else:
                parts.append(box((0.014, 0.16, 0.024), (handle[0], handle[1] - 0.08, handle[2]), "metal 0"))
    return parts


def shelf_row(
    rng: Rng, palette: Palette, width: float, at: Point, *, height: float, depth: float
) -> list[Part]:
    """Books along a shelf, in blocks of differing height with gaps; at is the row's left front bottom."""
    parts, x = [], 0.02
    while x < width - 0.08:
        block = min(rng.uniform(0.08, 0.34), width - x - 0.02)
        if rng.random() < 0.8:
            tall = height * rng.uniform(0.6, 0.93)
            deep = depth * rng.uniform(0.7, 0.9)
            place = (at[0] + x + block / 2, at[1], at[2] - depth * 0.06 - deep / 2)
            parts.append(box((block, tall, deep), place, palette.pick(rng, "books")))
        x += block + rng.uniform(0.0, 0.05)
    return parts


def lamp_shade(rng: Rng, at: Point, *, radius: float, height: float) -> Part:
    """A drum or a cone."""
    top = radius * (0.55 if rng.random() < 0.5 else 0.92)
    return cylinder(radius, height, at, "shade 0", top=top, sections=16)


def hollow(radius: float, height: float, material: str, *, foot: float = 0.7, at: Point = (0, 0, 0)) -> Part:
    """A round vessel, open on top."""
    rim = 1 - 0.12
    outline = rounded_rectangle(2 * radius, 2 * radius, radius)
    return loft(outline, (0, height, height, 0.15 * height), (foot, 1, rim, foot * rim), at, material)
