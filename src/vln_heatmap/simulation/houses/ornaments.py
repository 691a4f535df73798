"""Loud procedural surfaces that no ordinary house has: stained glass, camouflage, contour lines, letters …

No training plan uses them, so that they can tell what a model makes of looks that it never saw.

Invariant: as in ``textures``, a tile [n, n, 3] of floats (0..1, sRGB) that repeats without a seam, from the given
generator alone.
"""

from __future__ import annotations

import string

import cv2
import numpy as np
from numpy.typing import NDArray

from vln_heatmap.simulation.houses.textures import Colour, Image, grid, noise


def scheme(rng: np.random.Generator, colour: Colour, count: int) -> Image:
    """Colours [count, 3]: the given one, then others between it and two at random."""
    ends = rng.uniform(0.05, 0.95, (2, 3))
    mix = rng.dirichlet((0.6, 0.6, 0.6), count)  # [count, 3]
    colours = np.clip(mix @ np.vstack([colour, ends]), 0.02, 0.98)
    return np.vstack([colour, colours[1:]])


def glass(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Stained glass: Voronoi cells of a few colours between dark lines."""
    count = int(rng.integers(10, 30))
    distances = _distances(rng, n, count)
    near = np.partition(distances, 1, axis=-1)[..., :2]  # [n, n, 2]
    panes = scheme(rng, colour, 5)[distances.argmin(-1) % 5]
    return np.where((near[..., 1] - near[..., 0] < 0.012)[..., None], 0.08, panes)


def terrazzo(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Chips of stone in a ground."""
    distances = _distances(rng, n, int(rng.integers(30, 70)))
    near = distances.min(-1)  # [n, n]
    chips = scheme(rng, colour, 6)[1:][distances.argmin(-1) % 5]
    edge = 0.035 + 0.015 * noise(rng, n, 3)
    return np.where((near < edge)[..., None], chips, colour * (1 + 0.02 * noise(rng, n, 0.6))[..., None])


def camouflage(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Patches of four colours."""
    sigma = rng.uniform(5, 12)
    fields = np.stack([noise(rng, n, sigma) for _ in range(4)])  # [4, n, n]
    return scheme(rng, colour, 4)[fields.argmax(0)]


def contours(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Lines of equal height of a hilly ground."""
    height = noise(rng, n, rng.uniform(10, 20)) * rng.uniform(2, 4)
    colours = scheme(rng, colour, 3)
    ground = np.where((height % 2 < 1)[..., None], colours[0], colours[1])
    return np.where((height % 1 < 0.16)[..., None], colours[2], ground)


def arcs(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Truchet tiles: quarter circles that join to loops."""
    k = int(rng.choice([4, 6, 8]))
    y, x = (np.broadcast_to(c * k, (n, n)) for c in grid(n))
    turned = rng.random((k, k))[y.astype(int), x.astype(int)] < 0.5
    u, v = np.where(turned, 1 - x % 1, x % 1), y % 1
    band = np.minimum(np.abs(np.hypot(u, v) - 0.5), np.abs(np.hypot(1 - u, 1 - v) - 0.5))
    colours = scheme(rng, colour, 3)
    image = np.where((band < 0.15)[..., None], colours[1], colours[0])
    return np.where((band < 0.05)[..., None], colours[2], image)


def rings(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Concentric rings, several to a tile."""
    k, waves = int(rng.integers(1, 4)), int(rng.integers(3, 7))
    y, x = (np.broadcast_to(c * k % 1 - 0.5, (n, n)) for c in grid(n))
    colours = scheme(rng, colour, 3)
    return colours[(np.hypot(x, y) * 2 * waves).astype(int) % 3]


def confetti(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Discs of many sizes and colours."""
    colours, image = scheme(rng, colour, 8), np.tile(colour, (n, n, 1))
    distances = _distances(rng, n, 40)  # [n, n, 40]
    for disc, radius in enumerate(rng.uniform(0.015, 0.09, 40)):
        image[distances[..., disc] < radius] = colours[1 + disc % 7]
    return image


def letters(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Rows of large letters."""
    colours, image = scheme(rng, colour, 4), np.tile(colour, (n, n, 1))
    rows = int(rng.integers(3, 6))
    step = n / rows
    for row in range(rows):
        for column in range(rows):
            text = str(rng.choice(list(string.ascii_letters + string.digits)))
            place = int((column + 0.2) * step), int((row + 0.8) * step)
            ink = np.zeros((n, n), np.uint8)
            cv2.putText(ink, text, place, cv2.FONT_HERSHEY_DUPLEX, step / 32, 255, max(1, n // 64))
            image[ink > 127] = colours[1 + int(rng.integers(3))]
    return image


ORNAMENTS = (glass, terrazzo, camouflage, contours, arcs, rings, confetti, letters)


def _distances(rng: np.random.Generator, n: int, count: int) -> NDArray[np.float64]:
    """Distance of every texel to ``count`` random points, round the edges [n, n, count]."""
    y, x = grid(n)
    dy, dx = (np.abs(c[..., None] - rng.random(count)) for c in (y, x))
    return np.hypot(np.minimum(dy, 1 - dy), np.minimum(dx, 1 - dx))
