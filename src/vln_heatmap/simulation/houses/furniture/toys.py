"""Toys, sports gear and other small things of hobbies.

Invariant: as in ``small``: each stands on y = 0 around its origin and is easily lifted.
"""

from __future__ import annotations

import math
from itertools import pairwise

from vln_heatmap.simulation.houses.furniture.common import Rng
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
from vln_heatmap.simulation.houses.pieces import Piece


def ball_(rng: Rng, palette: Palette) -> Piece:
    """A ball, plain or patterned."""
    skin, radius = palette.pick(rng, "toy", "toy", "fabric"), rng.uniform(0.06, 0.13)
    return Piece("ball", (ball(radius, (0, radius * 0.976, 0), skin, sections=14),), skin)


def exercise_ball(rng: Rng, palette: Palette) -> Piece:
    skin, radius = palette.pick(rng, "toy", "lacquer"), rng.uniform(0.26, 0.33)
    return Piece("exercise ball", (ball(radius, (0, radius * 0.976, 0), skin, sections=20),), skin)


def toy_car(rng: Rng, palette: Palette) -> Piece:
    body, scale = palette.pick(rng, "toy"), rng.uniform(0.8, 1.6)
    parts = [
        slab((0.09 * scale, 0.04 * scale, 0.2 * scale), (0, 0.02 * scale, 0), body, radius=0.02),
        loft(
            rounded_rectangle(0.08 * scale, 0.11 * scale, 0.02),
            (0, 0.04 * scale),
            (1, 0.75),
            (0, 0.06 * scale, -0.01),
            "black 0",
        ),
    ]
    for sx in (-1, 1):
        for sz in (-1, 1):
            wheel = cylinder(0.025 * scale, 0.02 * scale, (0, -0.01 * scale, 0), "dark 0", sections=10)
            parts.append(
                wheel.rotated("z", math.pi / 2).moved(sx * 0.045 * scale, 0.025 * scale, sz * 0.06 * scale)
            )
    return Piece("toy car", tuple(parts), body)


def toy_blocks(rng: Rng, palette: Palette) -> Piece:
    """A little tower and some blocks beside it."""
    parts: list[Part] = []
    for k in range(int(rng.integers(2, 5))):
        block = box((0.06, 0.06, 0.06), (0, 0.06 * k, 0), palette.pick(rng, "toy"))
        parts.append(block.rotated("y", rng.uniform(-0.4, 0.4)))
    for angle in rng.uniform(0, 2 * math.pi, int(rng.integers(2, 5))):
        reach = rng.uniform(0.1, 0.16)
        block = box((0.06, 0.06, 0.06), (0, 0, 0), palette.pick(rng, "toy")).rotated("y", angle)
        parts.append(block.moved(reach * math.cos(angle), 0, reach * math.sin(angle)))
    return Piece("toy blocks", tuple(parts))


def teddy(rng: Rng, palette: Palette) -> Piece:
    """A sitting teddy bear."""
    fur, size = palette.pick(rng, "board", "fabric", "linen", "toy"), rng.uniform(0.8, 1.5)
    blobs = [(0.085, 0.0, 0.085, 0.0), (0.065, 0.0, 0.21, 0.01)]
    blobs += [(0.024, s * 0.05, 0.265, 0.0) for s in (-1, 1)]
    blobs += [(0.035, s * 0.085, 0.13, 0.04) for s in (-1, 1)]
    blobs += [(0.04, s * 0.06, 0.04, 0.1) for s in (-1, 1)]
    parts = [ball(r * size, (x * size, y * size, z * size), fur, sections=9) for r, x, y, z in blobs]
    parts.append(ball(0.012 * size, (0, 0.205 * size, 0.075 * size), "black 0", sections=5))
    return Piece("teddy bear", tuple(parts), fur)


def doll(rng: Rng, palette: Palette) -> Piece:
    """A standing doll in a dress."""
    dress = palette.pick(rng, "toy", "fabric")
    parts = (
        cylinder(0.07, 0.17, (0, 0.05, 0), dress, top=0.025, sections=10),
        *(cylinder(0.014, 0.06, (s * 0.025, 0, 0), "linen 0", sections=6) for s in (-1, 1)),
        *(rod(0.011, (s * 0.03, 0.2, 0), (s * 0.075, 0.12, 0.02), "linen 0", sections=5) for s in (-1, 1)),
        ball(0.042, (0, 0.26, 0), "linen 0", sections=9),
        ball(0.046, (0, 0.275, -0.012), palette.pick(rng, "wood", "board", "dark"), squash=0.75, sections=9),
    )
    return Piece("doll", parts, dress)


def toy_train(rng: Rng, palette: Palette) -> Piece:
    """An engine and two waggons."""
    parts = []
    for k in range(3):
        z = 0.17 * (1 - k)
        parts.append(box((0.08, 0.05, 0.14), (0, 0.025, z), palette.pick(rng, "toy")))
        parts += [box((0.09, 0.035, 0.03), (0, 0, z + s * 0.045), "dark 0") for s in (-1, 1)]
    parts.append(box((0.08, 0.07, 0.05), (0, 0.075, 0.13), palette.pick(rng, "toy")))
    parts.append(cylinder(0.018, 0.05, (0, 0.075, 0.21), "dark 0", sections=8))
    return Piece("toy train", tuple(parts))


def dumbbell(rng: Rng, palette: Palette) -> Piece:
    iron, radius = palette.pick(rng, "dark", "steel", "toy"), rng.uniform(0.045, 0.07)
    bar = rod(0.015, (-0.1, radius, 0), (0.1, radius, 0), "metal 0", sections=6)
    ends = [rod(radius, (s * 0.07, radius, 0), (s * 0.14, radius, 0), iron, sections=8) for s in (-1, 1)]
    return Piece("dumbbell", (bar, *ends), iron)


def skateboard(rng: Rng, palette: Palette) -> Piece:
    deck = palette.pick(rng, "wood", "toy")
    parts = [slab((0.2, 0.015, 0.75), (0, 0.085, 0), deck, radius=0.09)]
    for z in (-0.22, 0.22):
        parts.append(rod(0.012, (-0.09, 0.045, z), (0.09, 0.045, z), "metal 0", sections=5))
        parts.append(box((0.06, 0.05, 0.06), (0, 0.04, z), "metal 0"))
        for s in (-1, 1):
            parts.append(
                rod(0.03, (s * 0.07, 0.03, z), (s * 0.105, 0.03, z), palette.pick(rng, "toy"), sections=9)
            )
    return Piece("skateboard", tuple(parts), deck)


def guitar(rng: Rng, palette: Palette) -> Piece:
    """A guitar on a low stand, leaning back."""
    wood, dark = palette.pick(rng, "wood", "lacquer", "toy"), palette.pick(rng, "dark", "wood")
    outline = [cylinder(r, 0.09, (0, 0, -z), wood, sections=18) for r, z in ((0.19, 0.0), (0.15, 0.2))]
    hole = cylinder(0.045, 0.004, (0, 0.089, -0.17), "black 0", sections=12)
    neck = box((0.055, 0.03, 0.5), (0, 0.07, -0.57), dark)
    top = box((0.08, 0.025, 0.16), (0, 0.068, -0.88), wood)
    up = [p.rotated("x", math.pi / 2 - 0.18).moved(y=0.24) for p in (*outline, hole, neck, top)]
    stand = [rod(0.012, (s * 0.1, 0.25, -0.02), (s * 0.16, 0, 0.16), "metal 0", sections=5) for s in (-1, 1)]
    stand.append(rod(0.012, (0, 0.35, -0.13), (0, 0, -0.28), "metal 0", sections=5))
    return Piece("guitar", (*up, *stand), wood)


def drum(rng: Rng, palette: Palette) -> Piece:
    shell, radius, height = (
        palette.pick(rng, "toy", "lacquer", "wood"),
        rng.uniform(0.15, 0.22),
        rng.uniform(0.24, 0.4),
    )
    rims = [cylinder(radius * 1.04, 0.025, (0, y, 0), "metal 0", sections=18) for y in (0.0, height - 0.02)]
    return Piece(
        "drum",
        (
            cylinder(radius, height, (0, 0, 0), shell, sections=18),
            *rims,
            cylinder(radius * 0.97, 0.008, (0, height, 0), "linen 0", sections=18),
        ),
        shell,
    )


def pouf(rng: Rng, palette: Palette) -> Piece:
    cloth = palette.pick(rng, "fabric", "curtain", "toy")
    size = rng.uniform(0.4, 0.52)
    return Piece(
        "pouf",
        (pillow((size, rng.uniform(0.32, 0.42), size), (0, 0, 0), cloth, radius=0.5 * size, bulge=0.15),),
        cloth,
    )


def rocking_horse(rng: Rng, palette: Palette) -> Piece:
    wood, mane = palette.pick(rng, "wood", "toy"), palette.pick(rng, "fabric", "dark")
    parts = [
        pillow((0.18, 0.2, 0.45), (0, 0.32, 0), wood, radius=0.08),
        box((0.1, 0.28, 0.12), (0, 0.46, 0.22), wood),
        slab((0.11, 0.12, 0.24), (0, 0.66, 0.29), wood, radius=0.05),
        box((0.03, 0.22, 0.06), (0, 0.53, 0.14), mane),
        rod(0.012, (-0.13, 0.66, 0.2), (0.13, 0.66, 0.2), mane, sections=6),
    ]
    for s in (-1, 1):
        parts += [
            rod(0.025, (s * 0.06, 0.36, z), (s * 0.12, 0.06, 1.4 * z), wood, sections=6)
            for z in (-0.17, 0.17)
        ]
        arc = [(s * 0.12, 0.03 + 0.28 * z * z, z) for z in (-0.42, -0.2, 0.0, 0.2, 0.42)]
        parts += [rod(0.025, a, b, mane, sections=6) for a, b in pairwise(arc)]
    return Piece("rocking horse", tuple(parts), wood)
