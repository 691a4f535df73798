"""Furniture to keep things in, work at and sleep on."""

from __future__ import annotations

import math

from vln_heatmap.simulation.houses.furniture.common import Rng, fronts, lamp_shade, legs, shelf_row
from vln_heatmap.simulation.houses.furniture.living import book_stack, chair_piece, cushion, vase
from vln_heatmap.simulation.houses.meshes import Part, box, cylinder, pillow, rod, slab
from vln_heatmap.simulation.houses.palette import Palette
from vln_heatmap.simulation.houses.pieces import Group, Piece, Placed, Top, alone, on_top


def bed(rng: Rng, palette: Palette) -> Group:
    """A bed with its head at the wall, a cushion, and a nightstand with a lamp at one or both sides."""
    width, length = rng.choice([0.95, 1.4, 1.6, 1.75]) + rng.uniform(-0.05, 0.05), rng.uniform(1.95, 2.1)
    rail = rng.uniform(0.22, 0.34)
    group = [Placed(_bed_piece(rng, palette, width, length, rail))]
    if rng.random() < 0.4:
        x, z, yaw = rng.uniform(-0.2, 0.2), -length / 2 + 0.65, rng.uniform(-0.3, 0.3)
        group.append(on_top(cushion(rng, palette), rail + 0.24, x, z, yaw))
    stand = nightstand(rng, palette)
    for s in (-1, 1):
        if rng.random() < 0.75:
            x, z = s * (width / 2 + stand.size[0] / 2 + 0.07), (stand.size[2] - length) / 2
            group.append(Placed(stand, x, 0.0, z))
            group.append(on_top(table_lamp(rng, palette), stand.size[1], x, z))
    return tuple(group)


def _bed_piece(rng: Rng, palette: Palette, width: float, length: float, rail: float) -> Piece:
    """Frame up to ``rail`` metres, headboard, mattress, blanket and pillows."""
    frame, cover = palette.pick(rng, "wood", "lacquer", "fabric"), palette.pick(rng, "fabric")
    head, reach = -length / 2 + 0.03, length * rng.uniform(0.55, 0.72)
    parts = [
        box((width, rail - 0.08, length - 0.06), (0, 0.08, 0.03), frame),
        slab((width, rng.uniform(0.75, 1.2), 0.06), (0, 0, head), frame, radius=0.02),
        pillow((width - 0.06, 0.2, length - 0.12), (0, rail, 0.03), "linen 0", radius=0.06, bulge=0.03),
        pillow((width + 0.02, 0.13, reach), (0, rail + 0.1, length * 0.17), cover, bulge=0.04),
        *legs(rng, (width, 0.09, length - 0.1), frame, thickness=0.06),
    ]
    count = 1 if width < 1.2 else 2
    size = (min(0.62, width / count - 0.06), 0.12, 0.38)
    for k in range(count):
        x = (k + 0.5) * width / count - width / 2
        parts.append(pillow(size, (x, rail + 0.19, head + 0.28), "linen 0"))
    half, middle = 0.42 * reach, length * 0.17
    top: Top = (0.08 - width / 2, middle - half, width / 2 - 0.08, middle + half, rail + 0.23)
    return Piece("bed", tuple(parts), cover, (top,))


def nightstand(rng: Rng, palette: Palette) -> Piece:
    body = palette.pick(rng, "wood", "lacquer", "white")
    width, height, depth = rng.uniform(0.38, 0.5), rng.uniform(0.42, 0.58), rng.uniform(0.34, 0.42)
    parts = [box((width, height - 0.12, depth), (0, 0.12, 0), body)]
    parts += legs(rng, (width, 0.13, depth), body, thickness=0.035)
    rows = int(rng.integers(1, 3))
    parts += fronts(
        rng, (width - 0.03, height - 0.16, 0.016), (0, 0.14, depth / 2), body, columns=1, rows=rows
    )
    return Piece("nightstand", tuple(parts), body)


def table_lamp(rng: Rng, palette: Palette) -> Piece:
    foot, height = palette.pick(rng, "metal", "wood", "lacquer", "pot"), rng.uniform(0.2, 0.32)
    parts = [
        cylinder(0.07, 0.02, (0, 0, 0), foot),
        cylinder(rng.uniform(0.015, 0.05), height, (0, 0.02, 0), foot, top=0.012),
        lamp_shade(rng, (0, height * 0.85, 0), radius=rng.uniform(0.1, 0.15), height=rng.uniform(0.14, 0.2)),
    ]
    return Piece("table lamp", tuple(parts))


def wardrobe(rng: Rng, palette: Palette) -> Group:
    body = palette.pick(rng, "wood", "white", "lacquer")
    door = body if rng.random() < 0.5 else palette.pick(rng, "wood", "lacquer", "white")
    width, height, depth = rng.uniform(0.9, 1.8), rng.uniform(1.85, 2.2), rng.uniform(0.52, 0.62)
    parts = [
        box((width, height - 0.06, depth), (0, 0.06, 0), body),
        box((width - 0.06, 0.08, depth - 0.06), (0, 0, 0), "dark 0"),
    ]
    columns = max(2, round(width / 0.5))
    drawers = 0.45 if rng.random() < 0.4 else 0.0
    if drawers:
        parts += fronts(
            rng, (width - 0.03, drawers, 0.018), (0, 0.08, depth / 2), door, columns=columns, rows=2
        )
    size = (width - 0.03, height - 0.12 - drawers, 0.018)
    parts += fronts(rng, size, (0, 0.08 + drawers, depth / 2), door, columns=columns, rows=1)
    if rng.random() < 0.5:
        parts.append(box((width + 0.04, 0.04, depth + 0.03), (0, height, 0.015), body))
    return alone("wardrobe", parts, door)


def dresser(rng: Rng, palette: Palette) -> Group:
    """A chest of drawers with something on it."""
    body = palette.pick(rng, "wood", "lacquer", "white")
    drawer = body if rng.random() < 0.6 else palette.pick(rng, "wood", "lacquer")
    width, height, depth = rng.uniform(0.8, 1.4), rng.uniform(0.72, 1.0), rng.uniform(0.4, 0.5)
    parts = [
        box((width, height - 0.14, depth), (0, 0.1, 0), body),
        box((width + 0.03, 0.04, depth + 0.03), (0, height - 0.04, 0.015), body),
    ]
    parts += legs(rng, (width, 0.11, depth), body)
    columns, rows = int(rng.integers(1, 3)), int(rng.integers(3, 5))
    parts += fronts(
        rng, (width - 0.04, height - 0.18, 0.016), (0, 0.12, depth / 2), drawer, columns=columns, rows=rows
    )
    group = [Placed(Piece("dresser", tuple(parts), drawer))]
    for s in (-1, 1):
        if rng.random() < 0.6:
            thing = (vase, table_lamp, book_stack)[rng.integers(3)](rng, palette)
            group.append(on_top(thing, height, s * width * rng.uniform(0.15, 0.35), 0.0))
    return tuple(group)


def bookshelf(rng: Rng, palette: Palette) -> Group:
    """Open shelves with blocks of books and a few ornaments."""
    frame = palette.pick(rng, "wood", "wood", "white", "lacquer")
    width, height, depth = rng.uniform(0.65, 1.25), rng.uniform(1.2, 2.1), rng.uniform(0.26, 0.34)
    parts = [box((0.025, height, depth), (s * (width / 2 - 0.0125), 0, 0), frame) for s in (-1, 1)]
    parts.append(box((width - 0.03, height - 0.02, 0.012), (0, 0.01, -depth / 2 + 0.008), frame))
    count = max(3, round(height / rng.uniform(0.3, 0.42)))
    step = (height - 0.05) / count
    for k in range(count + 1):
        parts.append(
            box((width - 0.04, 0.025, depth - 0.01), (0, 0.02 + k * step - 0.01 * (k == count), 0), frame)
        )
        if k < count and rng.random() < 0.88:
            start = (-width / 2 + 0.03, 0.045 + k * step, depth / 2)
            parts += shelf_row(rng, palette, width - 0.06, start, height=step - 0.05, depth=depth - 0.03)
    return alone("bookshelf", parts, frame)


def office_chair(rng: Rng, palette: Palette) -> Piece:
    """A swivel chair on a five-pointed foot."""
    cloth = palette.pick(rng, "fabric", "dark", "lacquer")
    parts: list[Part] = [
        pillow((0.48, 0.09, 0.46), (0, 0.43, 0), cloth, radius=0.1),
        pillow((0.44, 0.52, 0.08), (0, 0.54, -0.22), cloth, radius=0.03),
        cylinder(0.03, 0.36, (0, 0.08, 0), "metal 0", sections=8),
        box((0.06, 0.2, 0.02), (0, 0.45, -0.25), "dark 0"),
    ]
    for k in range(5):
        angle = 2 * math.pi * k / 5 + 0.3
        tip = (0.27 * math.cos(angle), 0.05, 0.27 * math.sin(angle))
        parts.append(rod(0.02, (0, 0.09, 0), tip, "metal 0", sections=5))
        parts.append(cylinder(0.028, 0.05, (tip[0], 0, tip[2]), "dark 0", sections=6))
    return Piece("office chair", tuple(parts), cloth)


def monitor(rng: Rng, _palette: Palette) -> Piece:
    width = rng.uniform(0.45, 0.65)
    parts = (
        box((0.22, 0.015, 0.16), (0, 0, 0), "dark 0"),
        box((0.04, 0.14, 0.03), (0, 0.015, -0.02), "dark 0"),
        box((width, 0.34, 0.03), (0, 0.12, 0), "black 0"),
        box((width - 0.03, 0.31, 0.01), (0, 0.135, 0.0155), "screen 0", "front"),
        box((0.4, 0.015, 0.13), (0, 0, 0.2), "dark 0"),
    )
    return Piece("monitor", parts, "black 0")


def desk(rng: Rng, palette: Palette) -> Group:
    """A desk with a chair that faces it."""
    top, base = (
        palette.pick(rng, "wood", "wood", "lacquer", "white"),
        palette.pick(rng, "wood", "metal", "white"),
    )
    width, depth, height = rng.uniform(1.0, 1.5), rng.uniform(0.55, 0.7), rng.uniform(0.72, 0.76)
    parts = [
        box((width, 0.03, depth), (0, height - 0.03, 0), top),
        *legs(rng, (width, height - 0.03, depth), base),
    ]
    if rng.random() < 0.6:
        x = (width / 2 - 0.24) * rng.choice([-1, 1])
        parts.append(box((0.38, height - 0.13, depth - 0.06), (x, 0.1, 0), base))
        parts += fronts(
            rng, (0.36, height - 0.15, 0.016), (x, 0.11, depth / 2 - 0.03), base, columns=1, rows=3
        )
    group = [Placed(Piece("desk", tuple(parts), top))]
    seat = office_chair(rng, palette) if rng.random() < 0.6 else chair_piece(rng, palette)
    side = rng.choice([-1, 1])
    group.append(on_top(monitor(rng, palette), height, -side * rng.uniform(0.1, 0.15), -depth / 2 + 0.16))
    turn = math.pi + rng.uniform(-0.5, 0.5)
    group.append(Placed(seat, rng.uniform(-0.08, 0.08), 0.0, depth / 2 + 0.37, turn))
    if rng.random() < 0.6:
        thing = (table_lamp, book_stack, vase)[rng.integers(3)](rng, palette)
        group.append(on_top(thing, height, side * (width / 2 - 0.15), -depth / 2 + 0.18))
    return tuple(group)


def carton(rng: Rng, _palette: Palette) -> Group:
    """A box of cardboard."""
    size = rng.uniform(0.3, 0.5)
    body = box((size, size * rng.uniform(0.6, 0.9), size * rng.uniform(0.75, 1.0)), (0, 0, 0), "board 0")
    return alone("box", [body], "board 0")


def shoe_rack(rng: Rng, palette: Palette) -> Group:
    """Two low shelves with shoes."""
    wood = palette.pick(rng, "wood", "white", "metal")
    width, depth = rng.uniform(0.6, 0.9), 0.28
    parts = [box((0.025, 0.5, depth), (s * (width / 2 - 0.0125), 0, 0), wood) for s in (-1, 1)]
    for y in (0.08, 0.28, 0.475):
        parts.append(box((width - 0.04, 0.02, depth), (0, y, 0), wood))
    for y in (0.1, 0.3):
        for x in (-0.28, 0.0, 0.24):
            shoe = palette.pick(rng, "dark", "lacquer", "board", "fabric")
            parts += [
                pillow((0.08, 0.08, 0.24), (x * width / 0.8 + dx, y, 0), shoe, radius=0.03)
                for dx in (-0.045, 0.045)
            ]
    return alone("shoe rack", parts, wood)
