"""Procedural images that are stretched once over a face: paintings, rugs, views, spines, screens.

Invariant: as in ``textures``, [n, n, 3] floats from the given generator alone; row 0 is the top.
"""

from __future__ import annotations

import numpy as np

from vln_heatmap.simulation.houses.textures import Colour, Image, fabric, grid, noise, plaster


def _random_colours(rng: np.random.Generator, count: int) -> Image:
    """A scheme of colours [count, 3] around two hues."""
    base = rng.uniform(0.1, 0.95, (2, 3))
    mix = rng.random((count, 1))
    return np.clip(mix * base[0] + (1 - mix) * base[1] + rng.normal(0, 0.18, (count, 3)), 0.03, 0.97)


def abstract(rng: np.random.Generator, n: int) -> Image:
    """Discs and bars over soft clouds."""
    colours = _random_colours(rng, 14)
    y, x = grid(n)
    clouds = 1 / (1 + np.exp(-2 * noise(rng, n, 12)))[..., None]
    image = clouds * colours[0] + (1 - clouds) * colours[1]
    for colour in colours[2:]:
        cy, cx, size = rng.random(), rng.random(), rng.uniform(0.04, 0.22)
        if rng.random() < 0.6:
            shape = (y - cy) ** 2 + (x - cx) ** 2 < size**2
        else:
            shape = (np.abs(y - cy) < size * rng.uniform(0.1, 1)) & (np.abs(x - cx) < size)
        image[np.broadcast_to(shape, (n, n))] = colour
    return image * (1 + 0.04 * noise(rng, n, 0.6))[..., None]


def blocks(rng: np.random.Generator, n: int) -> Image:
    """Rectangles between dark lines."""
    colours = np.vstack([_random_colours(rng, 5), np.full((4, 3), 0.9)])
    image = np.full((n, n, 3), 0.08)
    ys = np.sort(rng.random(3)).tolist()
    for y0, y1 in zip([0.0, *ys], [*ys, 1.0], strict=True):
        xs = np.sort(rng.random(rng.integers(1, 4))).tolist()
        for x0, x1 in zip([0.0, *xs], [*xs, 1.0], strict=True):
            rows, columns = slice(int(y0 * n) + 1, int(y1 * n) - 1), slice(int(x0 * n) + 1, int(x1 * n) - 1)
            image[rows, columns] = colours[rng.integers(len(colours))]
    return image


def landscape(rng: np.random.Generator, n: int) -> Image:
    """Sky, hills one behind the other, perhaps a sun."""
    y, x = grid(n)
    top, low = rng.uniform((0.2, 0.35, 0.55), (0.55, 0.7, 0.95)), rng.uniform((0.7, 0.6, 0.5), (1, 0.9, 0.9))
    image = top + (low - top) * np.broadcast_to(y[..., None], (n, n, 1))
    image = image * (1 + 0.06 * noise(rng, n, 4, 16))[..., None]
    if rng.random() < 0.6:
        sun = (y - rng.uniform(0.1, 0.4)) ** 2 + (x - rng.uniform(0.1, 0.9)) ** 2 < rng.uniform(
            0.04, 0.1
        ) ** 2
        image[sun] = (1.0, 0.92, 0.7)
    ground = rng.uniform((0.15, 0.25, 0.1), (0.5, 0.5, 0.35))
    for k, horizon in enumerate(np.linspace(rng.uniform(0.35, 0.55), 0.9, 4)):
        ridge = horizon + rng.uniform(0.02, 0.1) * np.sin(
            2 * np.pi * (rng.uniform(0.6, 2.4) * x + rng.random())
        )
        tone = ground * (1.4 - 0.25 * k) * (1 + 0.12 * noise(rng, n, 1.5))[..., None]
        image = np.where((y > ridge)[..., None], tone, image)
    return image


def still_life(rng: np.random.Generator, n: int) -> Image:
    """A vase with flowers on a table, or a head-like figure: a few large discs on two halves."""
    colours = _random_colours(rng, 12)
    y, x = grid(n)
    image = np.where((y > rng.uniform(0.6, 0.8))[..., None], colours[0], colours[1])
    image = np.broadcast_to(image, (n, n, 3)) * (1 + 0.06 * noise(rng, n, 3))[..., None]
    vase = (np.abs(x - 0.5) < 0.09 + 0.06 * np.sin(6 * y)) & (y > 0.5) & (y < 0.86)
    image = np.where(vase[..., None], colours[2], image)
    for colour in colours[3:]:
        cy, cx, radius = rng.uniform(0.15, 0.5), rng.uniform(0.25, 0.75), rng.uniform(0.04, 0.1)
        distance = np.hypot(y - cy, x - cx)
        petals = radius * (1 + 0.3 * np.cos(5 * np.arctan2(y - cy, x - cx)))
        image = np.where((distance < petals)[..., None], colour, image)
        image = np.where((distance < 0.3 * radius)[..., None], (0.9, 0.8, 0.3), image)
    return image


PAINTINGS = (abstract, blocks, landscape, still_life)


def window_view(rng: np.random.Generator, n: int) -> Image:
    """Bright outdoors: a sky with clouds over trees, houses or hills."""
    y = grid(n)[0]
    blue = rng.uniform((0.5, 0.7, 0.92), (0.78, 0.88, 1.0))
    clouds = np.clip(0.5 * noise(rng, n, 6, 14), 0, 1)[..., None]
    image = blue + (1 - blue) * np.clip(clouds + 0.5 * y[..., None], 0, 1)
    horizon = rng.uniform(0.55, 0.75)
    if rng.random() < 0.5:
        image = _skyline(rng, n, image, horizon)
    hedge = horizon + 0.04 * noise(rng, n, 200, 4)[:1] + rng.uniform(0.0, 0.1)
    green = rng.uniform((0.25, 0.4, 0.15), (0.5, 0.6, 0.35))
    image = np.where((y > hedge)[..., None], green * (1 + 0.25 * noise(rng, n, 1.5))[..., None], image)
    lawn = np.clip(green * 1.35, 0, 1) * (1 + 0.05 * noise(rng, n, 1))[..., None]
    return np.where((y > 0.9)[..., None], lawn, image)


def _skyline(rng: np.random.Generator, n: int, image: Image, horizon: float) -> Image:
    y, x = grid(n)
    image = np.array(image)
    for _ in range(4):
        left, width, roof = rng.random(), rng.uniform(0.12, 0.3), horizon - rng.uniform(0.05, 0.3)
        wall = (x > left) & (x < left + width) & (y > roof)
        panes = (x * 24 % 1 > 0.45) & (y * 18 % 1 > 0.5)
        colour = rng.uniform(0.45, 0.85, 3) * 0.6 + 0.25
        image = np.where(wall[..., None], np.where(panes[..., None], colour * 0.6, colour), image)
    return image


def bordered_rug(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Borders around a mirrored field with a medallion."""
    colours = np.vstack([colour, _random_colours(rng, 4)])
    y, x = grid(n)
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))  # [n, n]
    u, v = np.abs(x - 0.5) * 2, np.abs(y - 0.5) * 2
    waves = np.sin(rng.uniform(8, 20) * u + rng.uniform(1, 4) * np.sin(9 * v)) * np.cos(
        rng.uniform(8, 20) * v
    )
    index = np.where(waves > 0.35, 1, 0)
    index = np.where(u + v < rng.uniform(0.4, 0.7), 2, index)
    index = np.where((u + v < 0.35) & (waves > 0), 3, index)
    index = np.where(edge < 0.13, np.where((x + y) * 16 % 1 < 0.5, 3, 4), index)
    index = np.where((edge < 0.15) & (edge > 0.12) | (edge < 0.03), 2, index)
    return colours[index] * (1 + 0.07 * noise(rng, n, 0.6))[..., None]


def zigzag_rug(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    colours = np.vstack([colour, _random_colours(rng, 3), np.full((1, 3), 0.85)])
    y, x = grid(n)
    k = int(rng.integers(2, 5))
    wave = np.abs((x * k) % 1 - 0.5) * rng.uniform(0.3, 1.5)
    index = ((y * int(rng.integers(5, 9)) + wave) % len(colours)).astype(int)
    return colours[index] * (1 + 0.07 * noise(rng, n, 0.6))[..., None]


def plain_rug(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    y, x = grid(n)
    border = (np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y)) < 0.08)[..., None]
    return np.where(border, colour * 0.6, fabric(rng, n, colour) * (1 + 0.08 * noise(rng, n, 2))[..., None])


RUGS = (bordered_rug, zigzag_rug, plain_rug)


def book_spines(rng: np.random.Generator, n: int) -> Image:
    """A row of spines with titles; one tile is about 0.6 m wide."""
    colours = _random_colours(rng, 16) * rng.uniform(0.5, 1.0, (16, 1))
    image = np.empty((n, n, 3))
    left = 0
    while left < n:
        width = int(rng.integers(max(2, n // 32), max(4, n // 12)))
        spine = slice(left, min(left + width, n))
        image[:, spine] = colours[rng.integers(16)]
        image[:, left] *= 0.35
        top, length = int(rng.integers(n)), int(rng.integers(n // 8, n // 3))
        rows = np.arange(top, top + length) % n
        image[rows, left + width // 3 : left + max(width * 2 // 3, width // 3 + 1)] = (
            colours[rng.integers(16)] * 1.2
        )
        left += width
    return image


def screen(rng: np.random.Generator, n: int) -> Image:
    """Switched off: dark with a slanted reflection; or a picture."""
    if rng.random() < 0.4:
        return 0.15 + 0.75 * landscape(rng, n)
    y, x = grid(n)
    gleam = np.exp(-(((x - 0.6 * y - rng.uniform(0, 0.5)) / 0.15) ** 2))
    return 0.05 + 0.08 * gleam[..., None] * np.array([0.9, 1.0, 1.1])


def clock_face(rng: np.random.Generator, n: int) -> Image:
    """Hands and twelve marks on a light dial."""
    y, x = (c - 0.5 for c in grid(n))
    radius, angle = np.hypot(y, x), np.arctan2(x, -y)
    image = np.full((n, n, 3), rng.uniform(0.75, 0.95))
    marks = (radius > 0.36) & (radius < 0.43) & (np.cos(12 * angle) > 0.75)
    image[marks | (radius > 0.47)] = 0.1
    for length, thickness in ((0.22, 0.022), (0.34, 0.014)):
        turn = rng.uniform(0, 2 * np.pi)
        along, across = x * np.sin(turn) - y * np.cos(turn), x * np.cos(turn) + y * np.sin(turn)
        image[(along > -0.03) & (along < length) & (np.abs(across) < thickness)] = 0.08
    return image


def mirror_glass(rng: np.random.Generator, n: int) -> Image:
    """A mirror cannot reflect here: pale, cold, with blurred streaks of light."""
    streaks = 0.06 * noise(rng, n, 24, 6)
    return np.array([0.68, 0.74, 0.77]) * (1 + streaks)[..., None]


def cardboard(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Corrugated board with a strip of tape."""
    image = plaster(rng, n, colour)
    image[:, int(0.44 * n) : int(0.56 * n)] = colour * 1.2
    return image * (1 + 0.03 * np.sin(np.arange(n) * np.pi / 2))[None, :, None]
