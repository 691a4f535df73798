"""Small things that people carry: clothes, bags, boxes and tools.

Invariant: as in ``small``: each stands on y = 0 around its origin and is easily lifted.
"""

from __future__ import annotations

from itertools import pairwise

from vln_heatmap.simulation.houses.furniture.common import CLOTH, Rng, hollow
from vln_heatmap.simulation.houses.meshes import (
    ball,
    box,
    cylinder,
    loft,
    pillow,
    rod,
    rounded_rectangle,
    slab,
    tub,
)
from vln_heatmap.simulation.houses.palette import Palette
from vln_heatmap.simulation.houses.pieces import Piece


def clothes(rng: Rng, palette: Palette) -> Piece:
    """A few folded jumpers."""
    parts, y = [], 0.0
    first = palette.pick(rng, *CLOTH)
    for k in range(int(rng.integers(1, 4))):
        part = pillow(
            (rng.uniform(0.28, 0.34), 0.06, rng.uniform(0.22, 0.27)),
            (0, 0, 0),
            first if k == 0 else palette.pick(rng, *CLOTH),
            bulge=0.05,
        )
        parts.append(part.rotated("y", rng.uniform(-0.15, 0.15)).moved(y=y))
        y += 0.055
    return Piece("clothes", tuple(parts), first)


def blanket(rng: Rng, palette: Palette) -> Piece:
    """A folded blanket."""
    cloth = palette.pick(rng, "fabric", "curtain", "toy")
    layers = [pillow((0.46, 0.05, 0.34), (0, 0.045 * k, 0), cloth, bulge=0.03) for k in range(3)]
    return Piece("blanket", tuple(layers), cloth)


def hat(rng: Rng, palette: Palette) -> Piece:
    felt = palette.pick(rng, "fabric", "board", "dark", "toy")
    parts = (
        cylinder(0.17, 0.012, (0, 0, 0), felt, sections=16),
        cylinder(0.095, 0.11, (0, 0.01, 0), felt, top=0.08, sections=14),
    )
    return Piece("hat", parts, felt)


def shoes(rng: Rng, palette: Palette) -> Piece:
    """A pair, more or less side by side."""
    leather = palette.pick(rng, "dark", "lacquer", "board", "toy")
    parts = []
    for s in (-1, 1):
        sole = slab((0.09, 0.025, 0.27), (0, 0, 0), "dark 0", radius=0.04)
        upper = loft(
            rounded_rectangle(0.085, 0.25, 0.04), (0.02, 0.06, 0.1), (1, 0.95, 0.5), (0, 0, -0.01), leather
        )
        parts += [
            p.rotated("y", rng.uniform(-0.25, 0.25)).moved(s * 0.075, 0, rng.uniform(-0.05, 0.05))
            for p in (sole, upper)
        ]
    return Piece("shoes", tuple(parts), leather)


def bag(rng: Rng, palette: Palette) -> Piece:
    """A handbag or shopping bag that stands."""
    cloth, width, height = (
        palette.pick(rng, "fabric", "board", "dark", "toy"),
        rng.uniform(0.26, 0.4),
        rng.uniform(0.22, 0.36),
    )
    body = loft(
        rounded_rectangle(width, 0.16, 0.06), (0, 0.5 * height, height), (1.0, 1.0, 0.75), (0, 0, 0), cloth
    )
    straps = []
    for z in (-0.03, 0.03):
        arc = [
            (x * width, height + y, z)
            for x, y in ((-0.22, -0.01), (-0.14, 0.12), (0.14, 0.12), (0.22, -0.01))
        ]
        straps += [rod(0.009, a, b, "dark 0", sections=5) for a, b in pairwise(arc)]
    return Piece("bag", (body, *straps), cloth)


def backpack(rng: Rng, palette: Palette) -> Piece:
    cloth = palette.pick(rng, "fabric", "dark", "toy")
    pocket = palette.pick(rng, "fabric", "toy")
    parts = (
        pillow((0.3, 0.44, 0.16), (0, 0, 0), cloth, radius=0.07, bulge=0.15),
        pillow((0.22, 0.18, 0.07), (0, 0.05, 0.1), pocket, radius=0.03),
        box((0.06, 0.03, 0.015), (0, 0.43, -0.03), "dark 0"),
    )
    return Piece("backpack", parts, cloth)


def suitcase(rng: Rng, palette: Palette) -> Piece:
    body, height = palette.pick(rng, "lacquer", "dark", "toy"), rng.uniform(0.5, 0.65)
    parts = [slab((0.4, height, 0.23), (0, 0.04, 0), body, radius=0.05)]
    parts += [box((0.015, height * 0.8, 0.235), (x, 0.1, 0), "dark 0") for x in (-0.1, 0.1)]
    parts += [
        cylinder(0.02, 0.045, (x, 0, z), "black 0", sections=6) for x in (-0.15, 0.15) for z in (-0.08, 0.08)
    ]
    parts += [
        rod(0.008, (x, height, -0.06), (x, height + 0.25, -0.06), "metal 0", sections=5)
        for x in (-0.08, 0.08)
    ]
    parts.append(box((0.2, 0.025, 0.03), (0, height + 0.24, -0.06), "dark 0"))
    return Piece("suitcase", tuple(parts), body)


def basket(rng: Rng, palette: Palette) -> Piece:
    cane, height = palette.pick(rng, "wood", "board", "fabric"), rng.uniform(0.18, 0.3)
    parts = [
        tub((rng.uniform(0.3, 0.42), height, rng.uniform(0.24, 0.32)), (0, 0, 0), cane, rim=0.015, floor=0.02)
    ]
    parts += [
        ball(0.06, (x, height * 0.75, 0), palette.pick(rng, *CLOTH), squash=0.8, sections=8)
        for x in (-0.06, 0.05)
    ]
    return Piece("basket", tuple(parts), cane)


def crate(rng: Rng, palette: Palette) -> Piece:
    """A slatted crate."""
    wood, width, depth, height = palette.pick(rng, "wood", "board", "toy"), 0.42, 0.3, rng.uniform(0.22, 0.3)
    parts = [box((width, 0.015, depth), (0, 0, 0), wood)]
    for y in (0.015, height * 0.37, height * 0.7):
        parts += [box((width, height * 0.25, 0.012), (0, y, s * (depth / 2 - 0.006)), wood) for s in (-1, 1)]
        parts += [
            box((0.012, height * 0.25, depth - 0.02), (s * (width / 2 - 0.006), y, 0), wood) for s in (-1, 1)
        ]
    parts += [
        box((0.025, height, 0.025), (sx * (width / 2 - 0.02), 0, sz * (depth / 2 - 0.02)), wood)
        for sx in (-1, 1)
        for sz in (-1, 1)
    ]
    return Piece("crate", tuple(parts), wood)


def bucket(rng: Rng, palette: Palette) -> Piece:
    body = palette.pick(rng, "toy", "steel", "lacquer")
    rail = [(-0.135, 0.25, 0), (-0.07, 0.33, 0), (0.07, 0.33, 0), (0.135, 0.25, 0)]
    handle = [rod(0.005, a, b, "metal 0", sections=4) for a, b in pairwise(rail)]
    return Piece("bucket", (hollow(0.14, 0.27, body, foot=0.75), *handle), body)


def watering_can(rng: Rng, palette: Palette) -> Piece:
    body = palette.pick(rng, "toy", "steel", "lacquer")
    spout = rod(0.014, (0.09, 0.05, 0), (0.3, 0.24, 0), body, sections=7)
    rose = ball(0.032, (0.305, 0.245, 0), body, squash=0.7, sections=8)
    handle = [
        rod(0.01, (-0.09, 0.05, 0), (-0.18, 0.15, 0), body, sections=6),
        rod(0.01, (-0.18, 0.15, 0), (-0.08, 0.22, 0), body, sections=6),
    ]
    return Piece(
        "watering can",
        (cylinder(0.11, 0.22, (0, 0, 0), body, top=0.095, sections=14), spout, rose, *handle),
        body,
    )


def toolbox(rng: Rng, palette: Palette) -> Piece:
    body = palette.pick(rng, "toy", "lacquer", "dark")
    parts = [box((0.42, 0.17, 0.2), (0, 0, 0), body), box((0.43, 0.04, 0.21), (0, 0.17, 0), "dark 0")]
    parts += [box((0.02, 0.05, 0.02), (s * 0.1, 0.21, 0), "metal 0") for s in (-1, 1)]
    return Piece("toolbox", (*parts, box((0.24, 0.025, 0.03), (0, 0.255, 0), "dark 0")), body)
