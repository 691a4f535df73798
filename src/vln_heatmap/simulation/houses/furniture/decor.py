"""Lamps, plants, and what hangs on walls and ceilings or lies on the floor.

Wall pieces have their back at z = 0 and are placed by their bottom; rugs lie on the floor; ceiling lights
hang from y = 0 downwards.
"""

from __future__ import annotations

import math

import numpy as np

from vln_heatmap.simulation.houses.furniture.common import Rng, lamp_shade
from vln_heatmap.simulation.houses.furniture.living import vase
from vln_heatmap.simulation.houses.meshes import (
    Part,
    ball,
    box,
    cylinder,
    loft,
    ribbon,
    rod,
    rounded_rectangle,
)
from vln_heatmap.simulation.houses.palette import Palette
from vln_heatmap.simulation.houses.pieces import Group, Piece, Placed, alone, on_top


def floor_lamp(rng: Rng, palette: Palette) -> Group:
    stem, height = palette.pick(rng, "metal", "wood", "dark"), rng.uniform(1.35, 1.7)
    shade = lamp_shade(
        rng, (0, height - 0.1, 0), radius=rng.uniform(0.17, 0.25), height=rng.uniform(0.22, 0.34)
    )
    if rng.random() < 0.4:
        feet = [
            rod(0.015, (0.0, height * 0.75, 0.0), (0.22 * math.cos(a), 0, 0.22 * math.sin(a)), stem)
            for a in (0.5, 2.6, 4.7)
        ]
        return alone("lamp", [*feet, rod(0.012, (0, height * 0.7, 0), (0, height, 0), stem), shade])
    parts = [
        cylinder(0.16, 0.025, (0, 0, 0), stem, sections=16),
        cylinder(0.014, height, (0, 0.02, 0), stem, sections=8),
        shade,
    ]
    return alone("lamp", parts)


def plant(rng: Rng, palette: Palette) -> Group:
    """A pot with a bush, a bundle of blades, or a small tree."""
    pot, radius, height = (
        palette.pick(rng, "pot", "lacquer", "white"),
        rng.uniform(0.12, 0.19),
        rng.uniform(0.22, 0.38),
    )
    parts = [
        cylinder(radius * 0.75, height, (0, 0, 0), pot, top=radius),
        cylinder(radius * 0.9, 0.01, (0, height, 0), "dark 0"),
    ]
    style = rng.integers(3)
    if style == 0:
        parts += [_blade(rng, height, angle) for angle in np.arange(9) * 0.7 + rng.random()]
    else:
        stem = height + (rng.uniform(0.4, 0.8) if style == 1 else 0.12)
        parts.append(cylinder(0.022, stem - height, (0, height, 0), palette.pick(rng, "wood"), sections=6))
        for _ in range(5):
            x, y, z = rng.uniform((-0.13, -0.05, -0.13), (0.13, 0.25, 0.13))
            parts.append(
                ball(
                    rng.uniform(0.1, 0.17),
                    (x, stem + y, z),
                    "leaf 0",
                    squash=rng.uniform(0.7, 1.1),
                    sections=8,
                )
            )
    return alone("plant", parts)


def _blade(rng: Rng, base: float, angle: float) -> Part:
    """A long leaf that leans outwards."""
    length, width = rng.uniform(0.45, 0.8), rng.uniform(0.05, 0.09)
    outline = rounded_rectangle(width, 0.012, 0.005, quarter=1)
    heights = [length * t for t in (0, 0.4, 0.8, 1.0)]
    leaf = loft(outline, heights, (0.5, 1.0, 0.7, 0.1), (0, 0, 0), "leaf 0")
    return leaf.rotated("x", rng.uniform(0.1, 0.45)).rotated("y", angle).moved(y=base)


def pedestal(rng: Rng, palette: Palette) -> Group:
    """A small side table with a vase."""
    wood, height = palette.pick(rng, "wood", "lacquer", "metal"), rng.uniform(0.5, 0.8)
    parts = [
        cylinder(0.19, 0.03, (0, height - 0.03, 0), wood, sections=18),
        cylinder(0.03, height - 0.03, (0, 0, 0), wood, sections=8),
        cylinder(0.15, 0.03, (0, 0, 0), wood, sections=16),
    ]
    return (
        Placed(Piece("side table", tuple(parts), wood, ((-0.13, -0.13, 0.13, 0.13, height),))),
        on_top(vase(rng, palette), height),
    )


def painting(rng: Rng, palette: Palette) -> Piece:
    """A framed picture, 0.4 to 1.1 m wide."""
    width, height = rng.uniform(0.4, 1.1), rng.uniform(0.4, 0.8)
    frame = palette.pick(rng, "wood", "dark", "white", "metal")
    edge = rng.uniform(0.02, 0.06)
    canvas = box((width, height, 0.02), (0, 0, 0.01), palette.pick(rng, "painting"), "front")
    return Piece("painting", (canvas, *_frame(width, height, edge, frame)))


def poster(rng: Rng, palette: Palette) -> Piece:
    """An unframed picture, upright."""
    width = rng.uniform(0.4, 0.75)
    sheet = box((width, 1.4 * width, 0.004), (0, 0, 0.003), palette.pick(rng, "painting"), "front")
    return Piece("poster", (sheet,))


def _frame(width: float, height: float, edge: float, material: str) -> list[Part]:
    """Four bars around a rectangle that starts at y = 0, slightly proud of it."""
    side = [
        box((edge, height + 2 * edge, 0.035), (s * (width + edge) / 2, -edge, 0.0175), material)
        for s in (-1, 1)
    ]
    return side + [box((width, edge, 0.035), (0, y, 0.0175), material) for y in (-edge, height)]


def mirror(rng: Rng, palette: Palette) -> Piece:
    width, height = rng.uniform(0.45, 0.8), rng.uniform(0.6, 1.0)
    frame = palette.pick(rng, "wood", "metal", "dark")
    glass = box((width, height, 0.02), (0, 0, 0.01), "mirror 0", "front")
    return Piece("mirror", (glass, *_frame(width, height, 0.03, frame)))


def clock(rng: Rng, palette: Palette) -> Piece:
    radius = rng.uniform(0.13, 0.2)
    rim = cylinder(radius * 1.1, 0.03, (0, 0, 0), palette.pick(rng, "metal", "wood", "dark"), sections=20)
    face = box((radius * 1.4, radius * 1.4, 0.012), (0, -radius * 0.7, 0.03), "clock 0", "front")
    return Piece("clock", (rim.rotated("x", math.pi / 2), face))


def wall_shelf(rng: Rng, palette: Palette) -> Piece:
    """A board with books and a vase."""
    wood, width = palette.pick(rng, "wood", "white", "lacquer"), rng.uniform(0.6, 1.1)
    parts = [box((width, 0.025, 0.2), (0, 0, 0.1), wood)]
    parts += [box((0.02, 0.12, 0.16), (s * width * 0.38, -0.12, 0.08), wood) for s in (-1, 1)]
    x = -width / 2 + 0.05
    while x < width / 2 - 0.25:
        block = rng.uniform(0.08, 0.2)
        parts.append(
            box(
                (block, rng.uniform(0.16, 0.26), 0.15),
                (x + block / 2, 0.025, 0.09),
                palette.pick(rng, "books"),
            )
        )
        x += block + rng.uniform(0.0, 0.15)
    return Piece("shelf", tuple(parts), wood)


def cabinet(rng: Rng, palette: Palette) -> Piece:
    """A small hanging cabinet."""
    body, width, height = (
        palette.pick(rng, "wood", "white", "lacquer"),
        rng.uniform(0.5, 1.0),
        rng.uniform(0.5, 0.7),
    )
    parts = [box((width, height, 0.3), (0, 0, 0.15), body)]
    parts += [
        box((width / 2 - 0.01, height - 0.02, 0.016), (s * width / 4, 0.01, 0.308), body) for s in (-1, 1)
    ]
    parts += [ball(0.014, (s * 0.04, 0.08, 0.326), "metal 0", sections=6) for s in (-1, 1)]
    return Piece("cabinet", tuple(parts), body)


def towel(rng: Rng, palette: Palette) -> Piece:
    """A towel over a rail."""
    cloth, width = palette.pick(rng, "fabric", "linen"), rng.uniform(0.35, 0.5)
    rail = rod(0.01, (-width / 2 - 0.06, 0.72, 0.06), (width / 2 + 0.06, 0.72, 0.06), "metal 0")
    hooks = [box((0.02, 0.02, 0.06), (s * (width / 2 + 0.05), 0.71, 0.03), "metal 0") for s in (-1, 1)]
    sheet = [box((width, h, 0.015), (0, 0.735 - h, z), cloth) for h, z in ((0.7, 0.08), (0.45, 0.04))]
    return Piece("towel", (rail, *hooks, *sheet, box((width, 0.015, 0.055), (0, 0.73, 0.06), cloth)), cloth)


def coat_rack(rng: Rng, palette: Palette) -> Piece:
    """A board with hooks and coats."""
    wood, width = palette.pick(rng, "wood", "white"), rng.uniform(0.6, 1.0)
    parts = [box((width, 0.1, 0.02), (0, 0.9, 0.01), wood)]
    for x in np.linspace(-0.4, 0.4, 4) * width:
        parts.append(rod(0.008, (x, 0.93, 0.01), (x, 0.95, 0.08), "metal 0", sections=5))
        if rng.random() < 0.6:
            coat = loft(
                rounded_rectangle(0.3, 0.12, 0.05),
                (0, 0.5, 0.75, 0.88),
                (1.0, 0.85, 0.75, 0.2),
                (x, 0.04, 0.085),
                palette.pick(rng, "fabric", "dark"),
            )
            parts.append(coat)
    return Piece("coat rack", tuple(parts))


def rug(rng: Rng, palette: Palette, width: float, depth: float) -> Piece:
    """A rug of at most this size, 8 mm thick, round or rectangular."""
    dye = palette.pick(rng, "rug")
    if rng.random() < 0.2:
        radius = min(width, depth) / 2
        disc = cylinder(radius, 0.008, (0, 0, 0), dye, sections=28)
        return Piece("rug", (Part(disc.vertices, disc.faces, dye, "top"),), dye)
    return Piece("rug", (box((width, 0.008, depth), (0, 0, 0), dye, "top"),), dye)


def ceiling_light(rng: Rng, _palette: Palette) -> Piece:
    """A flat dome, a panel, or a pendant; hangs down from y = 0."""
    style, radius = rng.integers(3), rng.uniform(0.15, 0.24)
    if style == 0:
        parts = [cylinder(radius * 0.7, 0.07, (0, -0.09, 0), "glow 0", top=radius, sections=18)]
        parts.append(cylinder(radius * 1.05, 0.022, (0, -0.021, 0), "metal 0", sections=18))
    elif style == 1:
        parts = [box((radius * 3, 0.05, radius * 1.6), (0, -0.051, 0), "glow 0")]
    else:
        drop = rng.uniform(0.25, 0.45)
        parts = [
            rod(0.008, (0, -drop, 0), (0, -0.001, 0), "dark 0", sections=5),
            lamp_shade(rng, (0, -drop - 0.14, 0), radius=radius, height=0.18),
            cylinder(radius * 0.6, 0.02, (0, -drop - 0.155, 0), "glow 0"),
        ]
    return Piece("ceiling light", tuple(parts))


def curtain(rng: Rng, width: float, height: float) -> Piece:
    """Wavy cloth with its back at z = 0 and its bottom at y = 0."""
    steps = max(8, int(width / 0.035))
    x = np.linspace(-width / 2, width / 2, steps + 1)
    z = 0.06 + 0.03 * np.sin(np.arange(steps + 1) * rng.uniform(1.2, 1.6) + rng.uniform(0, 6))
    return Piece("curtain", (ribbon(np.stack([x, z], 1), 0.012, 0.0, height, "curtain 0"),), "curtain 0")


def radiator(rng: Rng, width: float) -> Piece:
    """Ribs between two pipes; back at z = 0, bottom at y = 0."""
    height = rng.uniform(0.5, 0.62)
    ribs = [
        box((0.045, height, 0.07), (x, 0, 0.06), "white 0")
        for x in np.arange(-width / 2 + 0.03, width / 2, 0.075)
    ]
    pipes = [box((width, 0.04, 0.04), (0, y, 0.06), "white 0") for y in (0.05, height - 0.1)]
    return Piece("radiator", (*ribs, *pipes), "white 0")
