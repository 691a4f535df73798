"""Furniture of rooms for children, music and sport."""

from __future__ import annotations

import math

from vln_heatmap.simulation.houses.furniture import toys
from vln_heatmap.simulation.houses.furniture.common import Rng, legs
from vln_heatmap.simulation.houses.furniture.living import stool_piece
from vln_heatmap.simulation.houses.meshes import Part, box, cylinder, loft, pillow, rod, slab, tub
from vln_heatmap.simulation.houses.palette import Palette
from vln_heatmap.simulation.houses.pieces import Group, Piece, Placed, alone, on_top


def crib(rng: Rng, palette: Palette) -> Group:
    """A child's bed with bars on all sides, and a teddy bear in it."""
    wood, width, depth, top = palette.pick(rng, "wood", "white", "lacquer"), 1.24, 0.66, 0.9
    corners = [(sx * width / 2, sz * depth / 2) for sx in (-1, 1) for sz in (-1, 1)]
    parts = [box((0.05, top, 0.05), (x, 0, z), wood) for x, z in corners]
    for s in (-1, 1):
        parts += [box((width - 0.04, 0.045, 0.03), (0, y, s * depth / 2), wood) for y in (0.28, top - 0.05)]
        parts += [box((0.03, 0.045, depth - 0.04), (s * width / 2, y, 0), wood) for y in (0.28, top - 0.05)]
        parts += [box((0.018, top - 0.34, 0.018), (0.1 * k, 0.3, s * depth / 2), wood) for k in range(-5, 6)]
        parts += [box((0.018, top - 0.34, 0.018), (s * width / 2, 0.3, 0.1 * k), wood) for k in range(-2, 3)]
    parts.append(pillow((width - 0.06, 0.12, depth - 0.06), (0, 0.32, 0), "linen 0", bulge=0.03))
    parts.append(
        pillow((0.7, 0.06, depth - 0.09), (0.2, 0.42, 0), palette.pick(rng, "fabric", "toy"), bulge=0.05)
    )
    inside = ((-0.5, -0.25, 0.5, 0.25, 0.475),)
    body = Piece("crib", tuple(parts), wood, inside)
    return (Placed(body), on_top(toys.teddy(rng, palette), 0.47, 0.1, 0.0, rng.uniform(-1, 1)))


def toy_chest(rng: Rng, palette: Palette) -> Group:
    """An open chest with toys in it."""
    body, width, height = (
        palette.pick(rng, "toy", "wood", "lacquer"),
        rng.uniform(0.6, 0.85),
        rng.uniform(0.36, 0.46),
    )
    parts = [tub((width, height, 0.42), (0, 0, 0), body, rim=0.03, floor=0.1)]
    for k in range(4):
        x = (k - 1.5) * width * 0.18
        size = rng.uniform(0.1, 0.15)
        toy = slab(
            (size, size, size),
            (x, height - 0.1, rng.uniform(-0.05, 0.05)),
            palette.pick(rng, "toy"),
            radius=0.5 * size,
        )
        parts.append(toy)
    return alone("toy chest", parts, body)


def play_tent(rng: Rng, palette: Palette) -> Group:
    """A child's tent of four poles and cloth."""
    cloth, size, top = (
        palette.pick(rng, "fabric", "curtain", "toy"),
        rng.uniform(0.95, 1.15),
        rng.uniform(1.25, 1.5),
    )
    outline = cylinder(size / math.sqrt(2), 1.0, (0, 0, 0), cloth, sections=4).vertices[:4, (0, 2)]
    tent = loft(outline, (0.01, top), (1, 0.06), (0, 0, 0), cloth).rotated("y", math.pi / 4)
    half = size / 2
    poles = [
        rod(
            0.015,
            (sx * half, 0.0, sz * half),
            (-sx * 0.06, top + 0.15, -sz * 0.06),
            palette.pick(rng, "wood"),
            sections=6,
        )
        for sx in (-1, 1)
        for sz in (-1, 1)
    ]
    door = loft(outline * 0.5, (0.02, top * 0.55), (1, 0.35), (0, 0, 0), "dark 0").rotated("y", math.pi / 4)
    return alone("play tent", [tent, *poles, door.moved(z=half * 0.52)], cloth)


def play_table(rng: Rng, palette: Palette) -> Group:
    """A low table with two or three stools."""
    top, base = palette.pick(rng, "toy", "wood", "lacquer"), palette.pick(rng, "wood", "white")
    width, height = rng.uniform(0.6, 0.85), rng.uniform(0.46, 0.52)
    parts = [slab((width, 0.03, 0.55), (0, height - 0.03, 0), top, radius=0.05)]
    parts += legs(rng, (width, height - 0.03, 0.55), base)
    group = [Placed(Piece("play table", tuple(parts), top))]
    seat = palette.pick(rng, "toy", "lacquer")
    for x, z in ((0.0, 0.47), (0.0, -0.47), (width / 2 + 0.2, 0.0))[: int(rng.integers(2, 4))]:
        body = [cylinder(0.13, 0.27, (0, 0, 0), seat, top=0.11, sections=14)]
        group.append(Placed(Piece("stool", tuple(body), seat), x, 0.0, z))
    group.append(on_top(toys.toy_blocks(rng, palette), height))
    return tuple(group)


def rocking_horse(rng: Rng, palette: Palette) -> Group:
    return (Placed(toys.rocking_horse(rng, palette)),)


def piano(rng: Rng, palette: Palette) -> Group:
    """An upright piano and its stool."""
    wood, height = palette.pick(rng, "black", "wood", "dark", "white"), rng.uniform(1.12, 1.28)
    parts = [
        box((1.46, height, 0.3), (0, 0, -0.13), wood),
        box((1.46, 0.16, 0.34), (0, 0.58, 0.16), wood),
        box((1.22, 0.015, 0.14), (0, 0.735, 0.25), "linen 0"),
        box((1.5, 0.03, 0.34), (0, height, -0.13), wood),
        box((0.5, 0.22, 0.02), (0, height * 0.76, 0.05), wood).rotated("x", -0.0),
    ]
    parts += [
        box((0.014, 0.02, 0.085), (-0.58 + 0.046 * k, 0.745, 0.225), "black 0")
        for k in range(26)
        if k % 7 not in (2, 6)
    ]
    parts += [box((0.08, 0.6, 0.08), (s * 0.68, 0, 0.27), wood) for s in (-1, 1)]
    top = ((-0.65, -0.26, 0.65, 0.0, height + 0.03),)
    return (
        Placed(Piece("piano", tuple(parts), wood, top)),
        Placed(stool_piece(rng, palette), 0.0, 0.0, 0.72),
    )


def music_corner(rng: Rng, palette: Palette) -> Group:
    """A guitar on its stand, often with a drum."""
    group = [Placed(toys.guitar(rng, palette))]
    if rng.random() < 0.6:
        group.append(Placed(toys.drum(rng, palette), 0.55, 0.0, 0.02))
    return tuple(group)


def music_stand(rng: Rng, palette: Palette) -> Group:
    metal = palette.pick(rng, "metal", "dark")
    parts: list[Part] = [rod(0.012, (0, 0.3, 0), (0, 1.1, 0), metal, sections=6)]
    parts += [
        rod(0.01, (0, 0.32, 0), (0.25 * math.cos(a), 0, 0.25 * math.sin(a)), metal, sections=5)
        for a in (0.5, 2.6, 4.7)
    ]
    sheets = [
        box((0.48, 0.32, 0.012), (0, 0, 0), metal),
        box((0.42, 0.29, 0.006), (0, 0.02, 0.008), "linen 0"),
    ]
    return alone("music stand", parts + [p.rotated("x", -0.35).moved(y=1.05) for p in sheets])


def speaker(rng: Rng, palette: Palette) -> Group:
    body, height = palette.pick(rng, "black", "wood", "dark"), rng.uniform(0.75, 1.05)
    parts = [box((0.24, height, 0.28), (0, 0, 0), body)]
    for y, radius in ((0.3, 0.085), (0.55, 0.085), (0.8, 0.04)):
        cone = cylinder(radius, 0.012, (0, 0, 0), "dark 0", top=radius * 0.6, sections=16)
        parts.append(cone.rotated("x", math.pi / 2).moved(y=y * height + 0.02, z=0.139))
    return alone("speaker", parts, body)


def treadmill(rng: Rng, palette: Palette) -> Group:
    frame = palette.pick(rng, "dark", "steel", "white")
    parts = [
        box((0.72, 0.16, 1.5), (0, 0, 0), frame),
        box((0.5, 0.012, 1.4), (0, 0.16, 0.02), "black 0"),
        box((0.72, 0.1, 0.14), (0, 1.15, -0.58), frame),
        box((0.4, 0.2, 0.03), (0, 1.22, -0.58), "screen 0", "front"),
    ]
    for s in (-1, 1):
        parts.append(rod(0.035, (s * 0.33, 0.12, -0.5), (s * 0.33, 1.2, -0.6), frame))
        parts.append(rod(0.025, (s * 0.33, 1.0, -0.58), (s * 0.33, 1.0, -0.1), "dark 0"))
    return alone("treadmill", parts, frame)


def exercise_bike(rng: Rng, palette: Palette) -> Group:
    frame, metal = palette.pick(rng, "toy", "dark", "steel"), "metal 0"
    wheel = cylinder(0.24, 0.07, (0, -0.035, 0), frame, sections=18).rotated("z", math.pi / 2)
    parts = [
        box((0.5, 0.05, 0.09), (0, 0, -0.45), metal),
        box((0.5, 0.05, 0.09), (0, 0, 0.4), metal),
        wheel.moved(y=0.36, z=-0.32),
        rod(0.035, (0, 0.05, -0.45), (0, 0.05, 0.4), metal),
        rod(0.035, (0, 0.05, 0.05), (0, 0.82, 0.3), frame),
        rod(0.035, (0, 0.1, -0.15), (0, 1.1, -0.38), frame),
        slab((0.24, 0.07, 0.28), (0, 0.82, 0.32), "black 0", radius=0.08),
        rod(0.018, (-0.25, 1.08, -0.34), (0.25, 1.08, -0.34), "black 0"),
        box((0.2, 0.14, 0.03), (0, 1.1, -0.4), "screen 0", "front"),
        rod(0.014, (-0.16, 0.22, -0.02), (0.16, 0.34, -0.02), metal, sections=6),
    ]
    return alone("exercise bike", parts, frame)


def weight_bench(rng: Rng, palette: Palette) -> Group:
    """A padded bench below a barbell."""
    pad, iron = palette.pick(rng, "dark", "toy", "lacquer"), palette.pick(rng, "dark", "steel", "toy")
    parts = [slab((0.32, 0.08, 1.15), (0, 0.4, 0.1), pad, radius=0.06)]
    parts += [box((0.4, 0.05, 0.06), (0, 0, z), "metal 0") for z in (-0.3, 0.55)]
    parts += [box((0.06, 0.4, 0.06), (0, 0.02, z), "metal 0") for z in (-0.3, 0.55)]
    parts += [box((0.05, 1.0, 0.05), (s * 0.45, 0, -0.42), "metal 0") for s in (-1, 1)]
    parts.append(box((0.9, 0.05, 0.05), (0, 0.05, -0.42), "metal 0"))
    parts.append(rod(0.016, (-0.8, 1.02, -0.42), (0.8, 1.02, -0.42), "metal 0"))
    for s in (-1, 1):
        parts.append(rod(0.19, (s * 0.6, 1.02, -0.42), (s * 0.66, 1.02, -0.42), iron, sections=16))
    return alone("weight bench", parts, pad)


def dumbbell_rack(rng: Rng, palette: Palette) -> Group:
    metal = palette.pick(rng, "dark", "steel", "metal")
    parts = [box((0.05, 0.75, 0.4), (s * 0.5, 0, 0), metal) for s in (-1, 1)]
    group = []
    for y in (0.25, 0.6):
        parts.append(box((1.0, 0.03, 0.34), (0, y, 0), metal))
        group += [
            on_top(toys.dumbbell(rng, palette), y + 0.03, x, 0.0, math.pi / 2)
            for x in (-0.3, 0.0, 0.3)
            if rng.random() < 0.8
        ]
    return (Placed(Piece("dumbbell rack", tuple(parts))), *group)


def exercise_mat(rng: Rng, palette: Palette) -> Group:
    foam = palette.pick(rng, "toy", "fabric", "lacquer")
    return alone("exercise mat", [slab((0.62, 0.012, 1.75), (0, 0, 0), foam, radius=0.03)], foam)


def exercise_ball(rng: Rng, palette: Palette) -> Group:
    return (Placed(toys.exercise_ball(rng, palette)),)


def pouf(rng: Rng, palette: Palette) -> Group:
    return (Placed(toys.pouf(rng, palette)),)
