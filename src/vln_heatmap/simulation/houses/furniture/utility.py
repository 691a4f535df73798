"""Furniture of workshops, store rooms, dressing rooms and conservatories."""

from __future__ import annotations

import math

import numpy as np

from vln_heatmap.simulation.houses.furniture import carried, small
from vln_heatmap.simulation.houses.furniture.common import Rng, legs
from vln_heatmap.simulation.houses.furniture.storage import carton
from vln_heatmap.simulation.houses.meshes import (
    Part,
    ball,
    box,
    cylinder,
    loft,
    pillow,
    rod,
    rounded_rectangle,
    slab,
)
from vln_heatmap.simulation.houses.palette import Palette
from vln_heatmap.simulation.houses.pieces import Group, Piece, PieceBuilder, Placed, Top, alone, on_top


def _shelving(rng: Rng, palette: Palette, stock: tuple[PieceBuilder, ...]) -> Group:
    """Open shelves, and things standing on them."""
    frame = palette.pick(rng, "metal", "wood", "steel")
    width, height, depth = rng.uniform(0.8, 1.2), rng.uniform(1.6, 1.95), 0.42
    posts = [(sx * (width / 2 - 0.02), sz * (depth / 2 - 0.02)) for sx in (-1, 1) for sz in (-1, 1)]
    parts = [box((0.035, height, 0.035), (x, 0, z), frame) for x, z in posts]
    levels = [0.12, *(0.12 + (height - 0.16) * k / 4 for k in (1, 2, 3, 4))]
    parts += [box((width - 0.01, 0.03, depth - 0.01), (0, y, 0), frame) for y in levels]
    things = []
    for y in levels[:-1]:
        x = -width / 2 + 0.05
        while True:
            thing = stock[rng.integers(len(stock))](rng, palette)
            if thing.size[1] > (height - 0.16) / 4 - 0.06 or thing.size[2] > depth:
                thing = small.jar(rng, palette)
            if x + thing.size[0] > width / 2 - 0.05:
                break
            z = -float(thing.box[0][2] + thing.box[1][2]) / 2
            things.append(on_top(thing, y + 0.03, x - float(thing.box[0][0]), z))
            x += float(thing.size[0]) + rng.uniform(0.02, 0.3)
    return (Placed(Piece("shelving", tuple(parts))), *things)


def pantry_shelf(rng: Rng, palette: Palette) -> Group:
    """Shelves with jars, cans, bottles and baskets."""
    return _shelving(
        rng, palette, (small.jar, small.can, small.jar, small.bowl, small.pan, small.bottle, carried.basket)
    )


def storage_shelf(rng: Rng, palette: Palette) -> Group:
    """Shelves with boxes, crates and tools."""
    return _shelving(
        rng, palette, (parcel, parcel, carried.crate, carried.toolbox, carried.basket, carried.bucket)
    )


def parcel(rng: Rng, palette: Palette) -> Piece:
    size = rng.uniform(0.2, 0.36)
    body = box(
        (size, size * rng.uniform(0.6, 0.9), size * rng.uniform(0.7, 1.0)),
        (0, 0, 0),
        palette.pick(rng, "board"),
    )
    return Piece("box", (body,), "board 0")


def box_stack(rng: Rng, palette: Palette) -> Group:
    """Two boxes, one on the other."""
    (low,), top = carton(rng, palette), parcel(rng, palette)
    return (
        low,
        on_top(top, float(low.piece.size[1]), rng.uniform(-0.03, 0.03), 0.0, rng.uniform(-0.15, 0.15)),
    )


def workbench(rng: Rng, palette: Palette) -> Group:
    """A heavy bench with a vice, and tools on a board behind it."""
    wood, width = palette.pick(rng, "wood"), rng.uniform(1.3, 1.8)
    parts = [
        box((width, 0.07, 0.6), (0, 0.83, 0), wood),
        box((width - 0.2, 0.03, 0.5), (0, 0.22, 0), wood),
        *legs(rng, (width, 0.83, 0.58), wood, thickness=0.09, inset=0.01),
        box((width, 0.7, 0.03), (0, 0.9, -0.3), palette.pick(rng, "board", "wood")),
        box((0.14, 0.12, 0.1), (width / 2 - 0.2, 0.82, 0.33), "steel 0"),
        rod(0.01, (width / 2 - 0.3, 0.87, 0.4), (width / 2 - 0.1, 0.87, 0.4), "metal 0", sections=5),
    ]
    for x in np.arange(-width / 2 + 0.15, width / 2 - 0.1, 0.16):
        length = rng.uniform(0.14, 0.3)
        parts.append(
            box((0.03, length, 0.02), (x, 1.45 - length, -0.275), palette.pick(rng, "steel", "metal"))
        )
        parts.append(
            box(
                (rng.uniform(0.04, 0.11), 0.05, 0.03),
                (x, 1.45, -0.27),
                palette.pick(rng, "toy", "wood", "dark"),
            )
        )
    return _with_top("workbench", parts, wood, (-width / 2, -0.25, width / 2, 0.28, 0.9))


def _with_top(category: str, parts: list[Part], main: str, top: Top) -> Group:
    """A single piece that things can stand on at a height inside its box."""
    return (Placed(Piece(category, tuple(parts), main, (top,))),)


def ladder(rng: Rng, palette: Palette) -> Group:
    """A step ladder, set up."""
    metal, height = palette.pick(rng, "steel", "wood", "toy"), rng.uniform(1.2, 1.7)
    spread = 0.32 * height
    parts = []
    for s in (-1, 1):
        parts.append(rod(0.02, (s * 0.24, 0, spread), (s * 0.17, height, 0.0), metal, sections=6))
        parts.append(rod(0.015, (s * 0.22, 0, -spread), (s * 0.17, height, 0.0), metal, sections=6))
    count = int(height / 0.28)
    for k in range(1, count + 1):
        t = k / (count + 0.3)
        parts.append(box((0.46 - 0.12 * t, 0.025, 0.09), (0, t * height, spread * (1 - t)), metal))
    return alone(
        "ladder",
        [*parts, box((0.4, 0.04, 0.14), (0, height - 0.02, 0), palette.pick(rng, "toy", "dark"))],
        metal,
    )


def clothes_rack(rng: Rng, palette: Palette) -> Group:
    """A rail on two feet with coats and dresses."""
    metal, width = palette.pick(rng, "metal", "wood"), rng.uniform(0.9, 1.4)
    parts = [rod(0.015, (-width / 2, 1.55, 0), (width / 2, 1.55, 0), metal)]
    for s in (-1, 1):
        parts.append(rod(0.015, (s * (width / 2 - 0.03), 0.03, 0), (s * (width / 2 - 0.03), 1.55, 0), metal))
        parts.append(box((0.04, 0.03, 0.44), (s * (width / 2 - 0.03), 0, 0), metal))
    for x in np.arange(-width / 2 + 0.14, width / 2 - 0.1, 0.11):
        if rng.random() < 0.85:
            low = rng.uniform(0.45, 0.9)
            cloth = palette.pick(rng, "fabric", "dark", "linen", "toy")
            parts.append(
                loft(
                    rounded_rectangle(0.08, 0.42, 0.04),
                    (low, 1.2, 1.42, 1.5),
                    (1.1, 0.9, 0.9, 0.2),
                    (x, 0, 0),
                    cloth,
                )
            )
    return alone("clothes rack", parts)


def floor_mirror(rng: Rng, palette: Palette) -> Group:
    """A tall mirror on a foot."""
    width, height, wood = (
        rng.uniform(0.4, 0.6),
        rng.uniform(1.4, 1.7),
        palette.pick(rng, "wood", "metal", "white"),
    )
    pane = [
        box((width, height, 0.03), (0, 0, 0), wood),
        box((width - 0.07, height - 0.07, 0.006), (0, 0.035, 0.017), "mirror 0", "front"),
    ]
    feet = [
        rod(0.016, (s * width * 0.4, height * 0.7, -0.1), (s * width * 0.4, 0.0, -0.42), wood, sections=6)
        for s in (-1, 1)
    ]
    return alone("floor mirror", [*(p.rotated("x", -0.12).moved(y=0.01) for p in pane), *feet], wood)


def ironing_board(rng: Rng, palette: Palette) -> Group:
    cloth = palette.pick(rng, "fabric", "curtain")
    top = slab((1.25, 0.04, 0.36), (0, 0.86, 0), cloth, radius=0.14)
    feet = [
        rod(0.014, (s * 0.4, 0.86, z), (-s * 0.42, 0.0, z), "metal 0", sections=6)
        for s in (-1, 1)
        for z in (-0.1, 0.1)
    ]
    board = Piece("ironing board", (top, *feet), cloth)
    return (Placed(board), on_top(_iron(rng, palette), 0.9, rng.uniform(-0.2, 0.3), 0.0))


def _iron(rng: Rng, palette: Palette) -> Piece:
    body = palette.pick(rng, "toy", "white", "dark")
    sole = loft(rounded_rectangle(0.25, 0.11, 0.05), (0, 0.02, 0.07), (1, 1, 0.6), (0, 0, 0), body)
    grip = [
        box((0.15, 0.022, 0.03), (0, 0.11, 0), "dark 0"),
        box((0.022, 0.06, 0.03), (-0.06, 0.06, 0), "dark 0"),
    ]
    return Piece("iron", (sole, *grip), body)


def planter(rng: Rng, palette: Palette) -> Group:
    """A trough with a row of bushes."""
    pot, width = palette.pick(rng, "pot", "wood", "white"), rng.uniform(0.7, 1.1)
    parts = [
        box((width, 0.34, 0.32), (0, 0, 0), pot),
        box((width - 0.06, 0.01, 0.26), (0, 0.34, 0), "dark 0"),
    ]
    for x in np.arange(-width / 2 + 0.15, width / 2 - 0.1, 0.2):
        for _ in range(2):
            at = (x + rng.uniform(-0.04, 0.04), 0.42 + rng.uniform(0, 0.25), rng.uniform(-0.05, 0.05))
            parts.append(ball(rng.uniform(0.1, 0.15), at, "leaf 0", squash=rng.uniform(0.8, 1.3), sections=8))
    return alone("planter", parts, pot)


def garden_seat(rng: Rng, palette: Palette) -> Group:
    """Two cane chairs at a small round table."""
    cane, top = palette.pick(rng, "wood", "white", "metal"), palette.pick(rng, "stone", "wood", "white")
    table = [
        cylinder(0.34, 0.03, (0, 0.69, 0), top, sections=20),
        cylinder(0.03, 0.69, (0, 0, 0), cane, sections=8),
        cylinder(0.22, 0.03, (0, 0, 0), cane, sections=14),
    ]
    seat = [
        pillow((0.56, 0.1, 0.54), (0, 0.36, 0), palette.pick(rng, "fabric", "curtain")),
        slab((0.58, 0.06, 0.56), (0, 0.32, 0), cane, radius=0.15),
        slab((0.58, 0.5, 0.05), (0, 0.36, -0.26), cane, radius=0.02),
        *(box((0.05, 0.26, 0.5), (s * 0.28, 0.36, 0), cane) for s in (-1, 1)),
        *legs(rng, (0.54, 0.33, 0.52), cane),
    ]
    chair = Piece("armchair", tuple(seat), cane, ((-0.2, -0.18, 0.2, 0.2, 0.46),))
    return (
        Placed(Piece("side table", tuple(table), top)),
        Placed(chair, -0.72, 0.0, 0.05, math.pi / 2),
        Placed(chair, 0.72, 0.0, 0.05, -math.pi / 2),
    )


def suitcase(rng: Rng, palette: Palette) -> Group:
    return (Placed(carried.suitcase(rng, palette)),)
