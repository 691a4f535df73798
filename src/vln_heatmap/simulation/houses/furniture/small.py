"""Small things of a household that lie about: on tables, shelves, beds and floors.

Invariant: each stands on y = 0 around its origin, and a person lifts it with one hand or two.
"""

from __future__ import annotations

import math

from vln_heatmap.simulation.houses.furniture.common import GLAZE, Rng, hollow
from vln_heatmap.simulation.houses.meshes import (
    ball,
    box,
    cylinder,
    loft,
    rod,
    rounded_rectangle,
    slab,
)
from vln_heatmap.simulation.houses.palette import Palette
from vln_heatmap.simulation.houses.pieces import Piece


def cup(rng: Rng, palette: Palette) -> Piece:
    glaze, radius = palette.pick(rng, *GLAZE), rng.uniform(0.035, 0.045)
    handle = box((0.03, 0.05, 0.012), (radius + 0.008, 0.025, 0), glaze)
    return Piece("cup", (hollow(radius, rng.uniform(0.08, 0.11), glaze, foot=0.85), handle), glaze)


def bowl(rng: Rng, palette: Palette) -> Piece:
    glaze = palette.pick(rng, *GLAZE)
    return Piece("bowl", (hollow(rng.uniform(0.07, 0.12), rng.uniform(0.06, 0.08), glaze, foot=0.45),), glaze)


def fruit_bowl(rng: Rng, palette: Palette) -> Piece:
    """A wide bowl with fruit."""
    glaze = palette.pick(rng, "wood", "white", "pot")
    parts = [hollow(0.15, 0.07, glaze, foot=0.5)]
    for k in range(5):
        angle, radius = 1.3 * k + rng.random(), rng.uniform(0.036, 0.045)
        at = (0.07 * math.cos(angle) * (k > 0), 0.075 + 0.03 * (k == 0), 0.07 * math.sin(angle) * (k > 0))
        parts.append(ball(radius, at, palette.pick(rng, "toy"), sections=8))
    return Piece("fruit bowl", tuple(parts), glaze)


def plate(rng: Rng, palette: Palette) -> Piece:
    glaze = palette.pick(rng, *GLAZE)
    return Piece(
        "plate", (cylinder(0.075, 0.018, (0, 0, 0), glaze, top=rng.uniform(0.11, 0.13), sections=18),), glaze
    )


def bottle(rng: Rng, palette: Palette) -> Piece:
    glass, height, radius = (
        palette.pick(rng, "dark", "leaf", "toy", "white"),
        rng.uniform(0.22, 0.31),
        rng.uniform(0.033, 0.042),
    )
    outline = rounded_rectangle(2 * radius, 2 * radius, radius)
    body = loft(outline, [height * t for t in (0, 0.58, 0.72, 0.97)], (1, 1, 0.4, 0.36), (0, 0, 0), glass)
    label = cylinder(radius * 1.03, height * 0.22, (0, height * 0.2, 0), palette.pick(rng, "linen", "toy"))
    return Piece(
        "bottle",
        (body, label, cylinder(radius * 0.42, height * 0.04, (0, height * 0.96, 0), "metal 0", sections=8)),
        glass,
    )


def glass(rng: Rng, palette: Palette) -> Piece:
    """A wine glass."""
    body = palette.pick(rng, "steel", "white")
    parts = (
        cylinder(0.035, 0.006, (0, 0, 0), body, sections=10),
        cylinder(0.005, 0.09, (0, 0.005, 0), body, sections=5),
        hollow(rng.uniform(0.032, 0.042), 0.09, body, foot=0.5, at=(0, 0.09, 0)),
    )
    return Piece("glass", parts)


def candle(rng: Rng, palette: Palette) -> Piece:
    wax, height = palette.pick(rng, "linen", "toy", "lacquer"), rng.uniform(0.07, 0.16)
    parts = (
        cylinder(0.055, 0.012, (0, 0, 0), palette.pick(rng, "metal", "pot")),
        cylinder(0.032, height, (0, 0.01, 0), wax),
        cylinder(0.003, 0.015, (0, 0.01 + height, 0), "dark 0", sections=4),
    )
    return Piece("candle", parts, wax)


def jar(rng: Rng, palette: Palette) -> Piece:
    inside = palette.pick(rng, "toy", "board", "leaf", "white")
    height, radius = rng.uniform(0.1, 0.17), rng.uniform(0.04, 0.055)
    return Piece(
        "jar",
        (
            cylinder(radius, height, (0, 0, 0), inside),
            cylinder(radius * 0.9, 0.02, (0, height, 0), "metal 0"),
        ),
        inside,
    )


def can(rng: Rng, palette: Palette) -> Piece:
    paper = palette.pick(rng, "toy", "lacquer", "linen")
    parts = [cylinder(0.037, 0.1, (0, 0.005, 0), paper)]
    parts += [cylinder(0.038, 0.006, (0, y, 0), "steel 0") for y in (0.0, 0.103)]
    return Piece("can", tuple(parts), paper)


def pan(rng: Rng, palette: Palette) -> Piece:
    metal, deep = palette.pick(rng, "dark", "steel", "lacquer"), rng.uniform(0.05, 0.14)
    handle = rod(0.011, (0.1, deep * 0.8, 0), (0.3, deep * 0.9, 0), "dark 0", sections=6)
    return Piece("pan", (hollow(rng.uniform(0.1, 0.13), deep, metal, foot=0.9), handle), metal)


def chopping_board(rng: Rng, palette: Palette) -> Piece:
    wood = palette.pick(rng, "wood")
    return Piece("chopping board", (slab((0.34, 0.02, 0.22), (0, 0, 0), wood, radius=0.03),), wood)


def toaster(rng: Rng, palette: Palette) -> Piece:
    body = palette.pick(rng, "steel", "lacquer", "toy")
    parts = [slab((0.28, 0.18, 0.17), (0, 0.01, 0), body, radius=0.05)]
    parts += [box((0.2, 0.006, 0.025), (0, 0.187, z), "black 0") for z in (-0.03, 0.03)]
    parts.append(box((0.02, 0.02, 0.03), (0.145, 0.12, 0), "black 0"))
    return Piece("toaster", tuple(parts), body)


def soap(rng: Rng, palette: Palette) -> Piece:
    body = palette.pick(rng, "toy", "white", "lacquer")
    parts = (
        slab((0.07, 0.14, 0.045), (0, 0, 0), body, radius=0.02),
        cylinder(0.008, 0.05, (0, 0.14, 0), "white 0", sections=6),
        box((0.05, 0.014, 0.016), (0.015, 0.185, 0), "white 0"),
    )
    return Piece("soap bottle", parts, body)


def tissues(rng: Rng, palette: Palette) -> Piece:
    body = palette.pick(rng, "toy", "fabric", "board")
    tuft = loft(rounded_rectangle(0.09, 0.05, 0.02), (0, 0.07), (1, 0.5), (0, 0.09, 0), "linen 0")
    return Piece("tissue box", (box((0.23, 0.09, 0.12), (0, 0, 0), body), tuft), body)


def toilet_paper(_rng: Rng, _palette: Palette) -> Piece:
    parts = [
        cylinder(0.055, 0.1, (0, 0, 0), "linen 0", sections=14),
        cylinder(0.02, 0.102, (0, 0, 0), "board 0", sections=8),
    ]
    return Piece("toilet paper", tuple(parts), "linen 0")


def phone(_rng: Rng, palette: Palette) -> Piece:
    body = palette.pick(_rng, "dark", "black", "toy")
    return Piece(
        "phone",
        (
            slab((0.075, 0.01, 0.15), (0, 0, 0), body, radius=0.012),
            box((0.066, 0.002, 0.135), (0, 0.0095, 0), "black 0"),
        ),
        body,
    )


def remote(rng: Rng, palette: Palette) -> Piece:
    body = palette.pick(rng, "dark", "black")
    parts = [slab((0.05, 0.018, 0.18), (0, 0, 0), body, radius=0.015)]
    parts += [
        box((0.008, 0.004, 0.008), (x, 0.017, z), "steel 0")
        for x in (-0.012, 0.012)
        for z in (-0.05, -0.02, 0.01, 0.04)
    ]
    return Piece("remote control", tuple(parts), body)


def laptop(rng: Rng, palette: Palette) -> Piece:
    body = palette.pick(rng, "steel", "dark")
    lid = box((0.34, 0.23, 0.012), (0, 0, 0), body)
    glow = box((0.31, 0.2, 0.004), (0, 0.015, 0.007), "screen 0", "front")
    tilt = rng.uniform(-0.5, -0.25)
    parts = [
        box((0.34, 0.018, 0.24), (0, 0, 0), body),
        box((0.29, 0.003, 0.11), (0, 0.017, -0.04), "black 0"),
    ]
    parts += [p.rotated("x", tilt).moved(y=0.014, z=-0.115) for p in (lid, glow)]
    return Piece("laptop", tuple(parts), body)


def newspaper(rng: Rng, palette: Palette) -> Piece:
    """A newspaper or magazine."""
    paper = palette.pick(rng, "painting", "linen", "books")
    width = rng.uniform(0.2, 0.28)
    return Piece(
        "magazine", (box((width, rng.uniform(0.006, 0.014), 1.35 * width), (0, 0, 0), paper, "top"),)
    )


def picture_frame(rng: Rng, palette: Palette) -> Piece:
    width, height, wood = (
        rng.uniform(0.13, 0.2),
        rng.uniform(0.16, 0.24),
        palette.pick(rng, "wood", "metal", "lacquer"),
    )
    leaf = [
        box((width, height, 0.014), (0, 0, 0), wood),
        box((width - 0.03, height - 0.03, 0.004), (0, 0.015, 0.008), palette.pick(rng, "painting"), "front"),
    ]
    parts = [p.rotated("x", -0.2).moved(y=0.004) for p in leaf]
    return Piece(
        "picture frame", (*parts, rod(0.005, (0, height * 0.6, -0.03), (0, 0, -0.09), wood, sections=4)), wood
    )


def alarm_clock(rng: Rng, palette: Palette) -> Piece:
    body = palette.pick(rng, "toy", "metal", "dark")
    face = box((0.085, 0.085, 0.004), (0, 0.025, 0.028), "clock 0", "front")
    drum = cylinder(0.065, 0.055, (0, -0.0275, 0), body, sections=16).rotated("x", math.pi / 2).moved(y=0.068)
    feet = [ball(0.012, (s * 0.035, 0.012, 0), body, sections=5) for s in (-1, 1)]
    return Piece("alarm clock", (drum, face, *feet), body)


def pencils(rng: Rng, palette: Palette) -> Piece:
    body = palette.pick(rng, *GLAZE)
    parts = [hollow(0.04, 0.1, body, foot=0.95)]
    for k in range(5):
        top = (0.035 * math.cos(1.3 * k), rng.uniform(0.15, 0.19), 0.035 * math.sin(1.3 * k))
        parts.append(
            rod(0.004, (0.3 * top[0], 0.02, 0.3 * top[2]), top, palette.pick(rng, "toy"), sections=5)
        )
    return Piece("pencil cup", tuple(parts), body)


def globe(rng: Rng, palette: Palette) -> Piece:
    foot = palette.pick(rng, "wood", "metal")
    parts = (
        cylinder(0.08, 0.02, (0, 0, 0), foot),
        cylinder(0.012, 0.1, (0, 0.02, 0), foot, sections=6),
        ball(0.13, (0, 0.23, 0), palette.pick(rng, "painting", "toy"), sections=14),
    )
    return Piece("globe", parts)


def trophy(rng: Rng, palette: Palette) -> Piece:
    metal = palette.pick(rng, "metal", "toy")
    parts = [
        box((0.09, 0.05, 0.09), (0, 0, 0), palette.pick(rng, "wood", "dark")),
        cylinder(0.012, 0.07, (0, 0.05, 0), metal, sections=6),
    ]
    parts.append(hollow(0.06, 0.11, metal, foot=0.3, at=(0, 0.11, 0)))
    parts += [box((0.02, 0.06, 0.012), (s * 0.07, 0.14, 0), metal) for s in (-1, 1)]
    return Piece("trophy", tuple(parts), metal)


def small_plant(rng: Rng, palette: Palette) -> Piece:
    """A pot with a little bush."""
    pot, height = palette.pick(rng, "pot", "lacquer", "white", "toy"), rng.uniform(0.09, 0.14)
    parts = [cylinder(0.05, height, (0, 0, 0), pot, top=0.07)]
    for _ in range(3):
        x, y, z = rng.uniform((-0.04, 0.02, -0.04), (0.04, 0.1, 0.04))
        parts.append(ball(rng.uniform(0.05, 0.075), (x, height + y, z), "leaf 0", sections=7))
    return Piece("plant", tuple(parts), pot)
