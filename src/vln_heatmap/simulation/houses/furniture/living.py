"""Furniture to sit on, eat at and watch: sofas, chairs, tables, television."""

from __future__ import annotations

import math

from vln_heatmap.simulation.houses.furniture.common import Rng, fronts, legs
from vln_heatmap.simulation.houses.meshes import (
    Part,
    box,
    cylinder,
    loft,
    pillow,
    rod,
    rounded_rectangle,
    slab,
)
from vln_heatmap.simulation.houses.palette import Palette
from vln_heatmap.simulation.houses.pieces import Group, Piece, Placed, Top, alone, on_top


def sofa_piece(rng: Rng, palette: Palette, width: float, category: str = "sofa") -> Piece:
    """A sofa or an armchair of the given width; seat 0.42 m high, open to the front."""
    cloth = palette.pick(rng, "fabric")
    seat_cloth = cloth if rng.random() < 0.7 else palette.pick(rng, "fabric")
    depth, arm, back = rng.uniform(0.8, 0.95), rng.uniform(0.1, 0.24), rng.uniform(0.72, 0.95)
    arm_height, leg = rng.uniform(0.5, 0.66), rng.uniform(0.06, 0.16)
    count = max(1, round((width - 2 * arm) / 0.72))
    cushion = (width - 2 * arm) / count
    parts = [
        slab((width, 0.3 - leg + 0.02, depth), (0, leg, 0), cloth, radius=0.06),
        pillow((width, back - leg, 0.2), (0, leg, -depth / 2 + 0.1), cloth),
        *(
            pillow(
                (arm, arm_height - leg, depth - 0.02), (s * (width - arm) / 2, leg, 0.01), cloth, radius=0.06
            )
            for s in (-1, 1)
        ),
    ]
    for k in range(count):
        x = (k + 0.5) * cushion - (width - 2 * arm) / 2
        parts.append(pillow((cushion - 0.01, 0.14, depth - 0.24), (x, 0.3, 0.1), seat_cloth, radius=0.05))
        tall = max(0.2, back - 0.42)
        parts.append(
            pillow((cushion - 0.02, tall, 0.16), (x, 0.43, -depth / 2 + 0.27), seat_cloth, radius=0.06)
        )
    parts += legs(rng, (width - 0.1, leg, depth - 0.1), palette.pick(rng, "wood", "metal"))
    seat: Top = (arm - width / 2 + 0.06, 0.4 - depth / 2, width / 2 - arm - 0.06, depth / 2 - 0.12, 0.44)
    return Piece(category, tuple(parts), cloth, (seat,))


def flat_cushion(rng: Rng, palette: Palette) -> Piece:
    """A cushion that lies."""
    cloth, size = palette.pick(rng, "fabric", "curtain"), rng.uniform(0.36, 0.46)
    return Piece("cushion", (pillow((size, 0.13, size), (0, 0, 0), cloth, radius=0.08, bulge=0.25),), cloth)


def cushion(rng: Rng, palette: Palette) -> Piece:
    """A square cushion that leans back a little."""
    size = rng.uniform(0.36, 0.46)
    cloth = palette.pick(rng, "fabric", "curtain")
    flat = pillow((size, 0.13, size), (0, -0.065, 0), cloth, radius=0.08, bulge=0.25)
    return Piece("cushion", (flat.rotated("x", 1.15).moved(y=size / 2),), cloth)


def coffee_table(rng: Rng, palette: Palette) -> Piece:
    width, depth, height = rng.uniform(0.75, 1.15), rng.uniform(0.48, 0.65), rng.uniform(0.34, 0.46)
    top, base = palette.pick(rng, "wood", "lacquer", "stone"), palette.pick(rng, "wood", "metal")
    shelves: tuple[Top, ...] = ()
    if rng.random() < 0.35:
        radius = depth * 0.62
        shelves = (_inscribed(radius, height),)
        parts = [
            cylinder(radius, 0.04, (0, height - 0.04, 0), top, sections=20),
            cylinder(radius * 0.6, height - 0.04, (0, 0, 0), base, top=radius * 0.2),
        ]
    else:
        parts = [
            slab((width, 0.04, depth), (0, height - 0.04, 0), top, radius=rng.uniform(0.01, 0.15)),
            *legs(rng, (width, height - 0.04, depth), base),
        ]
        if rng.random() < 0.5:
            parts.append(box((width - 0.16, 0.02, depth - 0.16), (0, 0.12, 0), base))
    return Piece("coffee table", tuple(parts), top, shelves)


def _inscribed(radius: float, height: float) -> Top:
    """The square in a round table's top."""
    half = 0.7 * radius
    return (-half, -half, half, half, height)


def book_stack(rng: Rng, palette: Palette) -> Piece:
    """A few books that lie on each other."""
    parts, y = [], 0.0
    for _ in range(int(rng.integers(1, 4))):
        thick = rng.uniform(0.02, 0.045)
        book = box(
            (rng.uniform(0.15, 0.2), thick, rng.uniform(0.2, 0.27)), (0, 0, 0), palette.pick(rng, "books")
        )
        parts.append(book.rotated("y", rng.uniform(-0.4, 0.4)).moved(y=y))
        y += thick
    return Piece("book", tuple(parts))


def vase(rng: Rng, palette: Palette) -> Piece:
    """A turned vase, sometimes with twigs."""
    height, radius = rng.uniform(0.18, 0.34), rng.uniform(0.05, 0.09)
    outline = rounded_rectangle(2 * radius, 2 * radius, radius)
    glaze = palette.pick(rng, "lacquer", "pot", "white")
    scales = (0.6, 1.0, rng.uniform(0.7, 1.0), rng.uniform(0.3, 0.5), 0.55)
    parts = [loft(outline, [height * t for t in (0, 0.3, 0.6, 0.85, 1.0)], scales, (0, 0, 0), glaze)]
    if rng.random() < 0.6:
        for angle in rng.uniform(0, 2 * math.pi, 3):
            tip = (0.1 * math.cos(angle), height + rng.uniform(0.12, 0.25), 0.1 * math.sin(angle))
            parts.append(rod(0.006, (0, height * 0.8, 0), tip, "leaf 0", sections=4))
            parts.append(cylinder(0.02, 0.03, tip, palette.pick(rng, "fabric", "leaf"), sections=5))
    return Piece("vase", tuple(parts), glaze)


def sofa(rng: Rng, palette: Palette) -> Group:
    """A sofa with cushions, and a coffee table before it."""
    body = sofa_piece(rng, palette, rng.uniform(1.5, 2.3))
    width, depth = body.size[0], body.size[2]
    group = [Placed(body)]
    for s in (-1, 1):
        if rng.random() < 0.7:
            yaw = -s * rng.uniform(0.1, 0.5)
            group.append(on_top(cushion(rng, palette), 0.44, s * (width / 2 - 0.45), 0.05, yaw))
    table = coffee_table(rng, palette)
    z = depth / 2 + 0.42 + table.size[2] / 2
    x = rng.uniform(-0.2, 0.2)
    group.append(Placed(table, x, 0.0, z))
    small = (book_stack, vase)[rng.integers(2)]
    if rng.random() < 0.7:
        group.append(on_top(small(rng, palette), table.size[1], x + rng.uniform(-0.15, 0.15), z))
    return tuple(group)


def armchair(rng: Rng, palette: Palette) -> Group:
    return (Placed(sofa_piece(rng, palette, rng.uniform(0.78, 0.95), "armchair")),)


def chair_piece(rng: Rng, palette: Palette, category: str = "chair") -> Piece:
    """A chair with a slatted, solid or upholstered back; faces +z."""
    frame = palette.pick(rng, "wood", "wood", "lacquer", "metal")
    seat = palette.pick(rng, "fabric") if rng.random() < 0.5 else frame
    width, depth, height, top = rng.uniform(0.4, 0.5), rng.uniform(0.4, 0.48), 0.45, rng.uniform(0.8, 1.0)
    parts = legs(rng, (width, height - 0.03, depth), frame, thickness=0.036)
    parts.append(slab((width, 0.05, depth), (0, height - 0.05, 0), seat, radius=rng.uniform(0.01, 0.12)))
    z = -depth / 2 + 0.02
    posts = [box((0.035, top - height, 0.03), (s * (width / 2 - 0.02), height, z), frame) for s in (-1, 1)]
    style = rng.integers(3)
    if style == 0:
        rails = [
            box((width - 0.06, 0.05, 0.022), (0, y, z), frame)
            for y in (height + 0.14, height + 0.26, top - 0.06)
        ]
    elif style == 1:
        rails = [
            box((0.025, top - height - 0.05, 0.02), (x, height, z), frame) for x in (-0.1, -0.03, 0.04, 0.11)
        ]
        rails.append(box((width, 0.07, 0.034), (0, top - 0.07, z), frame))
    else:
        rails = [slab((width - 0.03, (top - height) * 0.7, 0.05), (0, top - (top - height) * 0.72, z), seat)]
    top_: Top = (0.07 - width / 2, 0.09 - depth / 2, width / 2 - 0.07, depth / 2 - 0.05, height)
    return Piece(category, tuple(parts + posts + rails), seat, (top_,))


def stool_piece(rng: Rng, palette: Palette) -> Piece:
    seat, base = palette.pick(rng, "wood", "lacquer", "fabric"), palette.pick(rng, "wood", "metal")
    height, radius = rng.uniform(0.42, 0.68), rng.uniform(0.15, 0.19)
    parts = [cylinder(radius, 0.05, (0, height - 0.05, 0), seat, sections=16)]
    parts += legs(rng, (2 * radius - 0.04, height - 0.05, 2 * radius - 0.04), base, thickness=0.032)
    ring = 0.3 * height
    parts.append(box((2 * radius - 0.12, 0.02, 0.02), (0, ring, radius - 0.07), base))
    return Piece("stool", tuple(parts), seat, (_inscribed(radius, height),))


def stool(rng: Rng, palette: Palette) -> Group:
    return (Placed(stool_piece(rng, palette)),)


def chair(rng: Rng, palette: Palette) -> Group:
    return (Placed(chair_piece(rng, palette)),)


def dining_set(rng: Rng, palette: Palette) -> Group:
    """A table with two to six chairs of one make around it."""
    top, base = palette.pick(rng, "wood", "wood", "lacquer"), palette.pick(rng, "wood", "metal")
    width, depth, height = rng.uniform(0.9, 1.7), rng.uniform(0.75, 0.95), rng.uniform(0.72, 0.77)
    shelves: tuple[Top, ...] = ()
    if rng.random() < 0.35:
        width = depth = rng.uniform(0.85, 1.15)
        shelves = (_inscribed(width / 2, height),)
        parts: list[Part] = [
            cylinder(width / 2, 0.04, (0, height - 0.04, 0), top, sections=24),
            cylinder(0.06, height - 0.04, (0, 0, 0), base),
            cylinder(0.3, 0.05, (0, 0, 0), base, top=0.1, sections=16),
        ]
    else:
        parts = [
            slab((width, 0.04, depth), (0, height - 0.04, 0), top, radius=rng.uniform(0.005, 0.1)),
            box((width - 0.16, 0.07, depth - 0.16), (0, height - 0.11, 0), base),
            *legs(rng, (width, height - 0.04, depth), base, thickness=0.07),
        ]
    group = [Placed(Piece("dining table", tuple(parts), top, shelves))]
    seat = chair_piece(rng, palette)
    reach = seat.size[2] / 2 - 0.1
    spots = [(x, s) for s in (-1, 1) for x in ((-width / 4, width / 4) if width > 1.25 else (0.0,))]
    for x, s in spots:
        if rng.random() < 0.85:
            group.append(
                Placed(
                    seat, x, 0.0, s * (depth / 2 + reach + rng.uniform(0.0, 0.1) + 0.12), math.pi * (s > 0)
                )
            )
    if rng.random() < 0.7:
        group.append(on_top(vase(rng, palette), height, rng.uniform(-0.2, 0.2), rng.uniform(-0.1, 0.1)))
    return tuple(group)


def tv_set(rng: Rng, palette: Palette) -> Group:
    """A television on a low stand."""
    width, depth, height = rng.uniform(1.2, 1.7), rng.uniform(0.36, 0.46), rng.uniform(0.4, 0.6)
    body = palette.pick(rng, "wood", "lacquer", "white")
    door = body if rng.random() < 0.5 else palette.pick(rng, "wood", "lacquer")
    parts = [
        box((width, height - 0.08, depth), (0, 0.08, 0), body),
        box((width - 0.1, 0.1, depth - 0.1), (0, 0, 0), "dark 0"),
    ]
    parts += fronts(rng, (width - 0.04, height - 0.14, 0.016), (0, 0.1, depth / 2), door, columns=3, rows=1)
    stand = Piece("tv stand", tuple(parts), body)
    size = min(rng.uniform(0.9, 1.3), width)
    tall = size * 0.58
    tv = Piece(
        "tv",
        (
            box((0.4, 0.02, 0.2), (0, 0, 0), "black 0"),
            box((0.06, 0.08, 0.05), (0, 0.02, 0), "black 0"),
            box((size, tall, 0.04), (0, 0.08, 0), "black 0"),
            box((size - 0.04, tall - 0.04, 0.01), (0, 0.1, 0.0205), "screen 0", "front"),
        ),
        "black 0",
    )
    return (Placed(stand), on_top(tv, height, 0.0, -0.05))


def bench(rng: Rng, palette: Palette) -> Group:
    """A plain bench, as in a hall."""
    wood = palette.pick(rng, "wood", "lacquer")
    width, height = rng.uniform(0.8, 1.2), rng.uniform(0.42, 0.48)
    parts = [slab((width, 0.05, 0.34), (0, height - 0.05, 0), wood, radius=0.02)]
    parts += legs(rng, (width, height - 0.05, 0.34), wood, thickness=0.06)
    return alone("bench", parts, wood)
