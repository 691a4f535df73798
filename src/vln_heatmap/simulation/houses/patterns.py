"""Palettes that make places hard or easy to tell apart by their looks.

Invariant: a "repetitive" house has one wall, one floor and one cloth, all of the same strictly regular kind of
pattern, so that its surfaces look alike everywhere; in a "distinctive" one no two walls and no two floors
of a storey are alike, and everything has strong colours of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from vln_heatmap.simulation.houses import photographs, pictures, textures
from vln_heatmap.simulation.houses.ornaments import ORNAMENTS
from vln_heatmap.simulation.houses.palette import (
    COLOURS,
    WOODS,
    Group,
    Material,
    Palette,
    choice,
    coloured,
    draw_palette,
    jitter,
    with_groups,
)
from vln_heatmap.simulation.houses.textures import Colour, Image

_REGULAR = (textures.checks, textures.lattice, textures.bond, textures.bars)
_SURFACES: tuple[Callable[..., Image], ...] = (
    textures.plaster,
    textures.marble,
    textures.granite,
    textures.wood,
    textures.striped_paper,
    textures.patterned_paper,
    textures.brick,
    textures.carpet,
)
_BOARDS: tuple[Callable[..., Image], ...] = (
    textures.planks,
    textures.basket_parquet,
    textures.herringbone,
    textures.tiles,
    textures.marble,
    textures.carpet,
)
_CLOTHS = (textures.fabric, textures.striped_fabric, textures.checked_fabric, textures.dotted_fabric)


def palette_for(rng: np.random.Generator, pattern: str) -> Palette:
    """The materials of one house whose surfaces are of a kind of ``HouseParams.pattern``."""
    palette = draw_palette(rng)
    if pattern == "repetitive":
        return with_groups(palette, _repetitive(rng))
    if pattern == "distinctive":
        return with_groups(palette, _distinctive(rng), distinct=True)
    if pattern == "photographs":
        return with_groups(palette, _photographed(rng))
    if pattern == "ornaments":
        return with_groups(palette, _ornate(rng))
    return palette


def _paint(rng: np.random.Generator, *, names: tuple[str, ...] = tuple(COLOURS)) -> tuple[str, Colour]:
    name = str(rng.choice(names))
    return name, jitter(rng, choice(rng, COLOURS[name]))


def _repetitive(rng: np.random.Generator) -> list[Group]:
    """One pattern in three tones for walls, floors and cloth; one of everything else."""
    draw, scale = choice(rng, _REGULAR), rng.uniform(1.4, 2.2)
    wall_name, wall = _paint(rng, names=("beige", "white", "grey", "green", "blue", "yellow"))
    _, floor = _paint(rng, names=("brown", "grey", "red", "blue", "beige"))
    cloth_name, cloth = _paint(rng)
    walls = [Material(coloured(draw, wall), scale)]
    floors = [Material(coloured(draw, floor), scale)]
    timber = str(rng.choice(list(WOODS)))
    wood = Material(coloured(textures.wood, jitter(rng, WOODS[timber][0])), 0.7, WOODS[timber][1], True)
    fabric = Material(coloured(draw, cloth), 0.4 * scale, cloth_name)
    return [
        ("wall", walls),
        ("wall tile", walls),
        ("floor", floors),
        ("floor tile", floors),
        ("fabric", [fabric]),
        ("curtain", [fabric]),
        ("wood", [wood]),
        ("lacquer", [Material(coloured(textures.smooth, wall), 1.0, wall_name)]),
        ("rug", [Material(coloured(draw, cloth), 1.0, cloth_name)]),
        ("painting", [Material(choice(rng, pictures.PAINTINGS))]),
        ("view", [Material(pictures.window_view)]),
        ("books", [Material(pictures.book_spines, 0.6)]),
    ]


def _distinctive(rng: np.random.Generator) -> list[Group]:
    """Many of everything, in strong colours."""
    groups: list[Group] = [
        ("wall", [_mural(rng) if rng.random() < 0.15 else _surface(rng, _SURFACES) for _ in range(32)]),
        ("wall tile", [_surface(rng, (textures.tiles,)) for _ in range(16)]),
        ("floor", [_surface(rng, _BOARDS) for _ in range(12)]),
        ("floor tile", [_surface(rng, (textures.tiles, textures.marble)) for _ in range(6)]),
        ("painting", [Material(choice(rng, pictures.PAINTINGS)) for _ in range(24)]),
    ]
    cloths = []
    for name in COLOURS:
        paint = jitter(rng, choice(rng, COLOURS[name]))
        cloths.append(Material(coloured(choice(rng, _CLOTHS), paint), rng.uniform(0.35, 0.8), name))
    lacquers = [
        Material(coloured(textures.smooth, jitter(rng, choice(rng, c))), 1.0, n) for n, c in COLOURS.items()
    ]
    woods = [
        Material(coloured(textures.wood, jitter(rng, rgb)), 0.7, name, True) for rgb, name in WOODS.values()
    ]
    rugs = []
    for _ in range(8):
        name, dye = _paint(rng)
        draw = choice(rng, pictures.RUGS)
        rugs.append(Material(coloured(draw, dye), 1.0, name if draw is pictures.plain_rug else ""))
    return [*groups, ("fabric", cloths), ("lacquer", lacquers), ("wood", woods), ("rug", rugs)]


def _surface(rng: np.random.Generator, kinds: tuple[Callable[..., Image], ...]) -> Material:
    _, paint = _paint(
        rng, names=("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "grey")
    )
    return Material(coloured(choice(rng, kinds), paint), rng.uniform(0.8, 2.0))


def _mural(rng: np.random.Generator) -> Material:
    """A wall painted all over."""
    return Material(partial(choice(rng, (pictures.abstract, pictures.blocks))), rng.uniform(2.2, 3.0))


def _photographed(rng: np.random.Generator) -> list[Group]:
    """Everything from real photographs: their detail in one colour on surfaces, parts of them as pictures."""

    def of(paint: Colour, low: float, high: float) -> partial[Image]:
        return partial(_photographic, paint, rng.uniform(low, high))

    def named(names: tuple[str, ...], contrast: tuple[float, float], metres: tuple[float, float]) -> Material:
        name, paint = _paint(rng, names=names)
        return Material(of(paint, *contrast), rng.uniform(*metres), name)

    light, dark = (
        ("white", "beige", "grey", "green", "blue", "yellow"),
        ("brown", "grey", "beige", "red", "blue"),
    )
    timber = [str(name) for name in rng.choice(list(WOODS), 2, replace=False)]
    woods = [Material(of(jitter(rng, WOODS[t][0]), 0.3, 0.7), 0.7, WOODS[t][1], True) for t in timber]
    return [
        ("wall", [named(light, (0.2, 0.7), (1.5, 3.0)) for _ in range(3)]),
        ("wall tile", [named(light, (0.4, 0.9), (0.8, 1.5))]),
        ("floor", [named(dark, (0.4, 1.0), (1.0, 2.0)) for _ in range(2)]),
        ("floor tile", [named(dark, (0.5, 1.0), (0.8, 1.6))]),
        ("ceiling", [named(("white",), (0.05, 0.2), (2.0, 3.0))]),
        ("wood", woods),
        ("fabric", [named(tuple(COLOURS), (0.4, 1.0), (0.4, 1.0)) for _ in range(3)]),
        ("curtain", [named(tuple(COLOURS), (0.3, 1.0), (0.4, 1.0))]),
        ("lacquer", [named(tuple(COLOURS), (0.1, 0.4), (0.8, 1.2)) for _ in range(2)]),
        ("stone", [Material(of(jitter(rng, (150, 146, 140)), 0.6, 1.0), 0.7)]),
        ("painting", [Material(photographs.picture) for _ in range(8)]),
        ("rug", [Material(photographs.picture) for _ in range(2)]),
        ("view", [Material(photographs.picture) for _ in range(2)]),
        ("screen", [Material(photographs.picture)]),
    ]


def _photographic(paint: Colour, contrast: float, rng: np.random.Generator, n: int) -> Image:
    return photographs.surface(rng, n, paint, contrast)


def _ornate(rng: np.random.Generator) -> list[Group]:
    """Loud ornaments on everything large; the same few all over the house."""

    def some(count: int, low: float, high: float) -> list[Material]:
        return [
            Material(coloured(choice(rng, ORNAMENTS), _paint(rng)[1]), rng.uniform(low, high))
            for _ in range(count)
        ]

    return [
        ("wall", some(2, 1.2, 2.5)),
        ("wall tile", some(1, 0.8, 1.5)),
        ("floor", some(2, 1.0, 2.0)),
        ("floor tile", some(1, 1.0, 2.0)),
        ("fabric", some(3, 0.4, 0.9)),
        ("curtain", some(1, 0.4, 0.9)),
        ("lacquer", some(2, 0.8, 1.5)),
        ("rug", some(2, 1.0, 1.0)),
        ("painting", some(4, 1.0, 1.0)),
    ]
