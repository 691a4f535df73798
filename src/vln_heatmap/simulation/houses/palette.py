"""The paints and materials of one house, shared by its rooms and furniture.

Invariant: a house that is not patterned on purpose (see ``patterns``) has few wall and floor materials and a
handful of furniture materials, each on several things, so that colour alone does not tell places apart;
between houses everything changes. A material's texture depends on the house's seed and the material's name
only.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.houses import pictures, textures
from vln_heatmap.simulation.houses.textures import Colour, Image

T = TypeVar("T")
Draw = Callable[[np.random.Generator, int], Image]

#: Paint and cloth colours by the name that a person would give them, sRGB 0..255.
COLOURS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "red": ((160, 46, 42), (182, 60, 54), (132, 34, 44)),
    "orange": ((204, 108, 50), (218, 136, 74)),
    "yellow": ((214, 172, 66), (226, 196, 104)),
    "green": ((74, 110, 66), (114, 140, 98), (44, 88, 74), (150, 168, 110)),
    "blue": ((52, 80, 132), (92, 130, 168), (40, 56, 92), (96, 156, 178)),
    "purple": ((106, 74, 122), (134, 106, 152)),
    "pink": ((208, 148, 154), (190, 112, 132)),
    "brown": ((108, 74, 52), (138, 98, 70)),
    "beige": ((206, 190, 160), (190, 172, 140)),
    "grey": ((130, 130, 128), (92, 94, 98), (168, 166, 160)),
    "white": ((230, 228, 222), (238, 234, 226)),
    "black": ((38, 38, 42),),
}

#: Timber, with a plain colour name where people agree on one.
WOODS: dict[str, tuple[tuple[int, int, int], str]] = {
    "oak": ((188, 148, 100), "brown"),
    "pine": ((214, 178, 126), ""),
    "ash": ((206, 188, 160), ""),
    "teak": ((152, 100, 60), "brown"),
    "walnut": ((106, 72, 48), "brown"),
    "mahogany": ((118, 60, 44), "brown"),
    "wenge": ((62, 48, 40), "black"),
    "whitewashed": ((220, 212, 198), "white"),
}

_WALLS = (
    (236, 232, 222), (228, 220, 202), (216, 216, 214), (206, 214, 202), (204, 214, 222), (232, 214, 204),
    (222, 206, 166), (190, 198, 188), (184, 196, 206), (216, 190, 170), (240, 238, 234), (198, 190, 180),
)  # fmt: skip
_ACCENTS = (
    (172, 98, 74),
    (70, 98, 104),
    (96, 112, 88),
    (196, 158, 82),
    (88, 84, 112),
    (150, 86, 92),
    (110, 120, 132),
)
_TILES = (
    (226, 226, 222),
    (206, 214, 216),
    (186, 206, 204),
    (214, 204, 188),
    (170, 178, 184),
    (206, 190, 178),
)
_PAPERS = (
    textures.plaster,
    textures.plaster,
    textures.plaster,
    textures.striped_paper,
    textures.patterned_paper,
)
_FABRICS = (
    textures.fabric,
    textures.fabric,
    textures.striped_fabric,
    textures.checked_fabric,
    textures.dotted_fabric,
)
_BOARDS = (textures.planks, textures.planks, textures.basket_parquet, textures.herringbone)


@dataclass(frozen=True)
class Material:
    """How a surface looks.

    Attributes:
        draw: draws the texture [n, n, 3].
        metres: what one repeat of the texture spans.
        colour: plain colour name, "" if people would not use one.
        grain: the texture has a direction, which follows the longer side of a face.
    """

    draw: Draw
    metres: float = 1.0
    colour: str = ""
    grain: bool = False


Group = tuple[str, list[Material]]


@dataclass(frozen=True)
class Palette:
    """All materials of a house.

    Attributes:
        materials: by name.
        groups: interchangeable names ("fabric", "wood", "wall" …).
        tint: factor on all colours, as of a camera's white balance.
        distinct: no two walls or floors should be alike.
    """

    materials: dict[str, Material]
    groups: dict[str, tuple[str, ...]]
    tint: Colour
    distinct: bool = False

    def pick(self, rng: np.random.Generator, *groups: str) -> str:
        """Name of a random material of these groups."""
        names = [name for group in groups for name in self.groups[group]]
        return names[rng.integers(len(names))]

    def texture(self, name: str, seed: int, size: int) -> NDArray[np.uint8]:
        """Texture [size, size, 3] of a material."""
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        image = self.materials[name].draw(rng, size) * self.tint
        return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def jitter(rng: np.random.Generator, colour: tuple[int, int, int], amount: float = 12.0) -> Colour:
    """A colour near an sRGB triple 0..255, as floats 0..1."""
    return np.clip(np.array(colour) + rng.uniform(-amount, amount, 3), 8, 247) / 255


def choice(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options."""
    return options[int(rng.integers(len(options)))]


def coloured(draw: Callable[..., Image], colour: Colour) -> Draw:
    """A texture in one colour; can be pickled."""
    return partial(_draw_coloured, draw, colour)


def _draw_coloured(draw: Callable[..., Image], colour: Colour, rng: np.random.Generator, n: int) -> Image:
    return draw(rng, n, colour)


def draw_palette(rng: np.random.Generator) -> Palette:
    """Draw the materials of one house."""
    groups = (*_building(rng), *_furnishing(rng), *_plain(rng), *_images(rng))
    warmth = rng.normal(0, 0.035)
    tint = np.array([1 + warmth, 1.0, 1 - 1.4 * warmth]) * rng.uniform(0.93, 1.03)
    return with_groups(Palette({}, {}, tint), groups)


def with_groups(palette: Palette, groups: Iterable[Group], *, distinct: bool = False) -> Palette:
    """The palette with groups of materials added or replaced."""
    materials, names = dict(palette.materials), dict(palette.groups)
    for group, items in groups:
        for name in names.get(group, ()):
            del materials[name]
        names[group] = tuple(f"{group} {k}" for k in range(len(items)))
        materials.update(zip(names[group], items, strict=True))
    return Palette(materials, names, palette.tint, distinct)


def _building(rng: np.random.Generator) -> list[Group]:
    """Walls, floors, ceiling and trim."""
    base, ceiling = jitter(rng, choice(rng, _WALLS)), jitter(rng, (238, 236, 230), 8)
    walls = [Material(coloured(choice(rng, _PAPERS), base), rng.uniform(0.9, 1.8))]
    if rng.random() < 0.75:
        paint = jitter(rng, choice(rng, _ACCENTS if rng.random() < 0.4 else _WALLS))
        draw = textures.brick if rng.random() < 0.15 else choice(rng, _PAPERS)
        walls.append(Material(coloured(draw, paint), rng.uniform(0.8, 1.6)))
    timber = jitter(rng, WOODS[str(rng.choice(list(WOODS)))][0]) * rng.uniform(0.85, 1.05)
    floors = [Material(coloured(choice(rng, _BOARDS), timber), rng.uniform(1.2, 2.0))]
    if rng.random() < 0.5:
        soft = jitter(rng, choice(rng, COLOURS[str(rng.choice(["beige", "grey", "blue", "brown", "green"]))]))
        floors.append(Material(coloured(textures.carpet, soft), 0.8))
    tile, wet = jitter(rng, choice(rng, _TILES)), jitter(rng, choice(rng, _TILES)) * rng.uniform(0.6, 1.0)
    trim = jitter(rng, (232, 230, 224), 10) if rng.random() < 0.7 else timber * 0.9
    trim_draw = textures.smooth if trim[2] > 0.7 else textures.wood
    return [
        ("wall", walls),
        ("wall tile", [Material(coloured(textures.tiles, tile), rng.uniform(0.6, 1.2))]),
        ("floor", floors),
        ("floor tile", [Material(coloured(textures.tiles, wet), rng.uniform(1.0, 2.0))]),
        ("ceiling", [Material(coloured(textures.plaster, ceiling), 2.0)]),
        ("trim", [Material(coloured(trim_draw, trim), 1.0, "", True)]),
    ]


def _furnishing(rng: np.random.Generator) -> list[Group]:
    """Timber, cloth and lacquer that the furniture of all rooms shares."""
    woods = []
    for name in rng.choice(list(WOODS), 2, replace=False):
        rgb, colour = WOODS[str(name)]
        woods.append(
            Material(coloured(textures.wood, jitter(rng, rgb, 9)), rng.uniform(0.5, 1.0), colour, True)
        )
    cloth = []
    for name in rng.choice(list(COLOURS)[:-1], 3, replace=False):
        paint = jitter(rng, choice(rng, COLOURS[str(name)]))
        cloth.append(Material(coloured(choice(rng, _FABRICS), paint), rng.uniform(0.35, 0.7), str(name)))
    lacquer = []
    for name in rng.choice(list(COLOURS), 2, replace=False):
        paint = jitter(rng, choice(rng, COLOURS[str(name)]), 9)
        lacquer.append(Material(coloured(textures.smooth, paint), 1.0, str(name)))
    toys = []
    for name in rng.choice(("red", "orange", "yellow", "green", "blue", "purple", "pink"), 4, replace=False):
        paint = jitter(rng, choice(rng, COLOURS[str(name)]), 9)
        toys.append(Material(coloured(textures.smooth, paint), 1.0, str(name)))
    drape = str(rng.choice(list(COLOURS)[:-1]))
    curtain = coloured(choice(rng, _FABRICS), jitter(rng, choice(rng, COLOURS[drape])))
    top = textures.marble if rng.random() < 0.5 else textures.granite
    stone = jitter(rng, choice(rng, ((218, 214, 208), (86, 88, 92), (150, 140, 128), (44, 46, 50))))
    return [
        ("wood", woods),
        ("fabric", cloth),
        ("lacquer", lacquer),
        ("toy", toys),
        ("curtain", [Material(curtain, 0.6, drape)]),
        ("stone", [Material(coloured(top, stone), 0.7)]),
    ]


def _plain(rng: np.random.Generator) -> list[Group]:
    """Materials that look much alike in all houses."""
    plain: dict[str, tuple[Callable[..., Image], tuple[int, int, int], float, str]] = {
        "white": (textures.smooth, (234, 234, 231), 5, "white"),
        "linen": (textures.fabric, (226, 222, 212), 14, "white"),
        "metal": (textures.brushed_metal, (168, 168, 168) if rng.random() < 0.6 else (184, 154, 98), 14, ""),
        "steel": (textures.brushed_metal, (172, 172, 174), 12, "grey"),
        "dark": (textures.smooth, (62, 62, 66), 10, "black"),
        "black": (textures.smooth, (24, 24, 28), 4, "black"),
        "leaf": (textures.leaves, (72, 116, 56), 22, "green"),
        "pot": (textures.plaster, choice(rng, ((182, 98, 66), (206, 200, 190), (76, 80, 88))), 14, ""),
        "shade": (textures.smooth, choice(rng, ((240, 226, 190), (236, 232, 224), (206, 178, 140))), 8, ""),
        "glow": (textures.smooth, (252, 248, 236), 3, "white"),
        "board": (pictures.cardboard, (172, 132, 88), 12, "brown"),
    }
    return [
        (name, [Material(coloured(draw, jitter(rng, colour, amount)), 0.5, label)])
        for name, (draw, colour, amount, label) in plain.items()
    ]


def _images(rng: np.random.Generator) -> list[Group]:
    """Paintings, rugs, views and other images stretched over a face."""
    paintings = [Material(choice(rng, pictures.PAINTINGS)) for _ in range(5)]
    rugs = []
    for name in rng.choice(list(COLOURS)[:-2], 2, replace=False):
        dye = jitter(rng, choice(rng, COLOURS[str(name)]))
        draw = choice(rng, pictures.RUGS)
        rugs.append(Material(coloured(draw, dye), 1.0, str(name) if draw is pictures.plain_rug else ""))
    return [
        ("painting", paintings),
        ("rug", rugs),
        ("view", [Material(pictures.window_view) for _ in range(2)]),
        ("books", [Material(pictures.book_spines, rng.uniform(0.45, 0.8)) for _ in range(2)]),
        ("screen", [Material(pictures.screen)]),
        ("clock", [Material(pictures.clock_face)]),
        ("mirror", [Material(pictures.mirror_glass)]),
    ]
