"""Furniture of kitchens, bathrooms and laundry rooms."""

from __future__ import annotations

from vln_heatmap.simulation.houses.furniture.common import Rng, fronts
from vln_heatmap.simulation.houses.meshes import Part, ball, box, cylinder, rod, slab, tub
from vln_heatmap.simulation.houses.palette import Palette
from vln_heatmap.simulation.houses.pieces import Group, Piece, Placed, alone, on_top

_TOP = 0.9  # height of a worktop


def _counter(rng: Rng, door: str, width: float, category: str = "kitchen counter") -> Piece:
    """A base cabinet with a stone worktop."""
    columns = max(1, round(width / 0.5))
    rows = 3 if rng.random() < 0.3 else 1
    parts = [
        box((width, _TOP - 0.14, 0.56), (0, 0.1, -0.02), door),
        box((width, 0.1, 0.5), (0, 0, -0.04), "dark 0"),
        box((width, 0.04, 0.62), (0, _TOP - 0.04, 0), "stone 0"),
    ]
    parts += fronts(
        rng, (width - 0.01, _TOP - 0.16, 0.018), (0, 0.11, 0.26), door, columns=columns, rows=rows
    )
    return Piece(category, tuple(parts), door)


def _sink_unit(rng: Rng, door: str) -> Piece:
    """A base cabinet whose worktop holds a basin and a tap."""
    width = rng.uniform(0.75, 0.95)
    base = _counter(rng, door, width)
    parts = [
        *base.parts,
        tub((width * 0.62, 0.05, 0.42), (0, _TOP - 0.02, 0.03), "steel 0", rim=0.02, floor=0.025),
        *_tap(_TOP, -0.25),
    ]
    return Piece("sink", tuple(parts), "steel 0")


def _tap(y: float, z: float) -> list[Part]:
    return [
        cylinder(0.014, 0.24, (0, y, z), "metal 0", sections=6),
        rod(0.012, (0, y + 0.23, z), (0, y + 0.2, z + 0.15), "metal 0", sections=6),
    ]


def stove(rng: Rng, palette: Palette) -> Piece:
    """An oven with four plates."""
    body = palette.pick(rng, "white", "steel", "dark")
    parts = [
        box((0.6, _TOP - 0.02, 0.6), (0, 0, 0), body),
        box((0.58, 0.02, 0.58), (0, _TOP - 0.02, 0), "black 0"),
        box((0.5, 0.4, 0.02), (0, 0.2, 0.305), "black 0"),
        box((0.46, 0.02, 0.03), (0, 0.64, 0.33), "metal 0"),
    ]
    for sx in (-1, 1):
        for sz in (-1, 1):
            radius = rng.uniform(0.07, 0.1)
            parts.append(cylinder(radius, 0.008, (sx * 0.14, _TOP, sz * 0.14), "dark 0"))
    parts += [ball(0.02, (0.08 * k, 0.77, 0.31), "metal 0", sections=6) for k in (-2, -1, 1, 2)]
    return Piece("stove", tuple(parts), body, ((-0.26, -0.26, 0.26, 0.26, _TOP + 0.008),))


def fridge_piece(rng: Rng, palette: Palette) -> Piece:
    body = palette.pick(rng, "white", "white", "steel", "lacquer")
    width, height, depth = rng.uniform(0.58, 0.7), rng.uniform(1.55, 1.95), rng.uniform(0.6, 0.66)
    split = height * rng.uniform(0.3, 0.68)
    parts = [
        slab((width, height, depth - 0.06), (0, 0, -0.03), body, radius=0.02),
        slab((width, split - 0.03, 0.05), (0, 0.02, depth / 2 - 0.03), body, radius=0.015),
        slab((width, height - split - 0.01, 0.05), (0, split, depth / 2 - 0.03), body, radius=0.015),
    ]
    for y in (split - 0.35, split + 0.05):
        parts.append(
            rod(
                0.012,
                (width * 0.4, y, depth / 2 + 0.02),
                (width * 0.4, y + 0.28, depth / 2 + 0.02),
                "metal 0",
                sections=6,
            )
        )
    return Piece("fridge", tuple(parts), body)


def kettle(rng: Rng, palette: Palette) -> Piece:
    paint = palette.pick(rng, "steel", "lacquer", "white")
    parts = (
        cylinder(0.08, 0.17, (0, 0, 0), paint, top=0.06),
        cylinder(0.03, 0.03, (0, 0.17, 0), "dark 0", sections=8),
        box((0.02, 0.14, 0.03), (0.1, 0.03, 0), "dark 0"),
    )
    return Piece("kettle", parts, paint)


def microwave(rng: Rng, palette: Palette) -> Piece:
    body = palette.pick(rng, "white", "steel", "dark")
    parts = (
        box((0.48, 0.28, 0.34), (0, 0, 0), body),
        box((0.32, 0.22, 0.01), (-0.06, 0.03, 0.173), "black 0"),
        cylinder(0.025, 0.02, (0, 0, 0), "metal 0", sections=8)
        .rotated("x", 1.5707963)
        .moved(0.18, 0.1, 0.165),
    )
    return Piece("microwave", parts, body)


def kitchen_row(rng: Rng, palette: Palette) -> Group:
    """Counters, stove, sink and fridge in a row along one wall, with hanging cabinets."""
    door = palette.pick(rng, "wood", "lacquer", "white")
    pieces = [_sink_unit(rng, door), stove(rng, palette), _counter(rng, door, rng.uniform(0.5, 1.1))]
    pieces = [pieces[k] for k in rng.permutation(len(pieces))]
    pieces.insert(int(rng.choice([0, len(pieces)])), fridge_piece(rng, palette))
    total = sum(p.size[0] + 0.01 for p in pieces)
    group, x = [], -total / 2
    for piece in pieces:
        width = piece.size[0]
        back = -0.31 - float(piece.box[0][2])
        group.append(Placed(piece, x + width / 2 + 0.005, 0.0, back))
        if piece.category == "kitchen counter":
            thing = (kettle, microwave)[rng.integers(2)](rng, palette)
            group.append(on_top(thing, _TOP, x + width / 2, -0.05))
        x += width + 0.01
    return tuple(group)


def counter(rng: Rng, palette: Palette) -> Group:
    """A single counter with a kettle or microwave on it."""
    body = _counter(rng, palette.pick(rng, "wood", "lacquer", "white"), rng.uniform(0.8, 1.5))
    thing = (kettle, microwave)[rng.integers(2)](rng, palette)
    return (Placed(body), on_top(thing, _TOP, rng.uniform(-0.2, 0.2), 0.0))


def kitchen_sink(rng: Rng, palette: Palette) -> Group:
    return (Placed(_sink_unit(rng, palette.pick(rng, "wood", "lacquer", "white"))),)


def kitchen_stove(rng: Rng, palette: Palette) -> Group:
    return (Placed(stove(rng, palette)),)


def fridge(rng: Rng, palette: Palette) -> Group:
    return (Placed(fridge_piece(rng, palette)),)


def toilet(rng: Rng, _palette: Palette) -> Group:
    height = rng.uniform(0.38, 0.44)
    parts = [
        slab((0.26, height - 0.08, 0.5), (0, 0, 0.02), "white 0", radius=0.12),
        tub((0.38, 0.12, 0.5), (0, height - 0.12, 0.06), "white 0", rim=0.05, floor=0.04),
        box((0.4, 0.36, 0.18), (0, height - 0.02, -0.26), "white 0"),
        box((0.42, 0.03, 0.2), (0, height + 0.34, -0.26), "white 0"),
        slab((0.37, 0.42, 0.03), (0, height + 0.01, -0.15), "white 0", radius=0.012),
        box((0.08, 0.015, 0.04), (0, height + 0.37, -0.26), "metal 0"),
    ]
    return alone("toilet", parts, "white 0")


def bathtub(rng: Rng, palette: Palette) -> Group:
    width, height = rng.uniform(1.4, 1.7), rng.uniform(0.52, 0.6)
    parts = [
        tub((width, height, 0.74), (0, 0, 0), "white 0", rim=0.06, floor=0.14),
        *(p.rotated("y", 1.5707963).moved(x=-width / 2 + 0.3) for p in _tap(height - 0.01, -0.27)),
    ]
    if rng.random() < 0.4:
        parts.append(
            box((width - 0.1, height - 0.12, 0.02), (0, 0.02, 0.37), palette.pick(rng, "wood", "wall tile"))
        )
    return alone("bathtub", parts, "white 0")


def shower(rng: Rng, palette: Palette) -> Group:
    """A tray with a tiled screen on one side, a rail and a head."""
    size, side = rng.uniform(0.8, 0.95), rng.choice([-1, 1])
    parts = [
        tub((size, 0.1, size), (0, 0, 0), "white 0", rim=0.05, floor=0.06),
        box((0.06, 1.95, size), (side * (size / 2 - 0.03), 0, 0), palette.pick(rng, "wall tile")),
        rod(0.012, (0, 1.0, -size / 2 + 0.05), (0, 2.0, -size / 2 + 0.05), "metal 0"),
        rod(0.012, (0, 2.0, -size / 2 + 0.05), (0, 2.0, -size / 2 + 0.3), "metal 0"),
        cylinder(0.05, 0.04, (0, 1.96, -size / 2 + 0.3), "metal 0", top=0.09),
    ]
    return alone("shower", parts, "white 0")


def washbasin(rng: Rng, palette: Palette) -> Group:
    """A sink on a cabinet or a pedestal."""
    width, depth = rng.uniform(0.5, 0.8), rng.uniform(0.42, 0.48)
    door = palette.pick(rng, "wood", "lacquer", "white")
    if rng.random() < 0.6:
        parts = [box((width - 0.04, 0.62, depth - 0.06), (0, 0.12, -0.02), door)]
        parts += fronts(
            rng, (width - 0.06, 0.58, 0.016), (0, 0.14, depth / 2 - 0.05), door, columns=2, rows=1
        )
        parts.append(box((width - 0.1, 0.12, depth - 0.12), (0, 0, -0.03), "dark 0"))
    else:
        parts = [cylinder(0.13, 0.74, (0, 0, -0.05), "white 0", top=0.09)]
    parts += [
        tub((width, 0.14, depth), (0, 0.73, 0), "white 0", rim=0.05, floor=0.05),
        *_tap(0.86, -depth / 2 + 0.035),
    ]
    return alone("sink", parts, "white 0")


def washing_machine(rng: Rng, palette: Palette) -> Group:
    body = palette.pick(rng, "white", "white", "steel")
    drum = (
        cylinder(0.2, 0.03, (0, 0, 0), "metal 0", sections=20).rotated("x", 1.5707963).moved(0, 0.45, 0.285)
    )
    glass = (
        cylinder(0.15, 0.03, (0, 0, 0), "black 0", sections=20).rotated("x", 1.5707963).moved(0, 0.45, 0.3)
    )
    parts = [
        slab((0.6, 0.86, 0.58), (0, 0, 0), body, radius=0.02),
        drum,
        glass,
        box((0.16, 0.07, 0.01), (-0.18, 0.75, 0.293), "dark 0"),
        ball(0.03, (0.12, 0.785, 0.29), "metal 0", sections=8),
    ]
    return alone("washing machine", parts, body)


def bin_(rng: Rng, palette: Palette) -> Group:
    """A bin, round or square."""
    body, height, radius = (
        palette.pick(rng, "steel", "lacquer", "dark"),
        rng.uniform(0.28, 0.6),
        rng.uniform(0.12, 0.17),
    )
    if rng.random() < 0.6:
        parts = [cylinder(radius * 0.85, height, (0, 0, 0), body, top=radius, sections=16)]
        parts.append(cylinder(radius, 0.03, (0, height, 0), "dark 0", top=radius * 0.8, sections=16))
    else:
        parts = [tub((radius * 2, height, radius * 1.7), (0, 0, 0), body, rim=0.015, floor=0.03)]
    return alone("bin", parts, body)


def laundry_basket(rng: Rng, palette: Palette) -> Group:
    """An open basket with cloths in it."""
    body, height = palette.pick(rng, "wood", "board", "white"), rng.uniform(0.4, 0.6)
    cloths = [
        ball(0.12, (x, height - 0.08, z), palette.pick(rng, "fabric", "linen"), squash=0.7)
        for x, z in ((-0.06, 0.03), (0.07, -0.04))
    ]
    return alone(
        "laundry basket", [tub((0.46, height, 0.38), (0, 0, 0), body, rim=0.02, floor=0.05), *cloths], body
    )
