"""Procedural surfaces: floors, walls, cloth and other materials.

Invariant: every function returns a tile [n, n, 3] of floats (0..1, sRGB) that repeats without a seam, and
draws only from the generator that it is given.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]
Colour = NDArray[np.float64]  # [3] sRGB in 0..1


@lru_cache(maxsize=64)
def _blur(n: int, rows: float, columns: float) -> NDArray[np.float64]:
    """Transfer function [n, n // 2 + 1] of a Gaussian with these standard deviations in texels."""
    fy, fx = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None]
    return np.exp(-2 * np.pi**2 * ((rows * fy) ** 2 + (columns * fx) ** 2))


def noise(rng: np.random.Generator, n: int, rows: float, columns: float | None = None) -> Image:
    """Smooth periodic noise [n, n], zero mean and unit variance; sigmas are given for n = 128."""
    spectrum = np.fft.rfft2(rng.standard_normal((n, n)))
    spectrum *= _blur(n, rows * n / 128, (rows if columns is None else columns) * n / 128)
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, s=(n, n))
    return field / (field.std() + 1e-12)


def shade(colour: Colour, field: Image) -> Image:
    """Colour scaled by 1 + field: [n, n, 3]."""
    return colour * (1 + field)[..., None]


def grid(n: int) -> tuple[Image, Image]:
    """Row and column coordinates in [0, 1), [n, 1] and [1, n]."""
    line = (np.arange(n) + 0.5) / n
    return line[:, None], line[None]


def plaster(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    return shade(colour, 0.012 * noise(rng, n, 0.6) + 0.012 * noise(rng, n, 5) + 0.01 * noise(rng, n, 18))


def striped_paper(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Wallpaper with upright stripes."""
    count, duty = int(rng.integers(3, 9)), rng.uniform(0.2, 0.6)
    stripe = np.broadcast_to(grid(n)[1] * count % 1 < duty, (n, n))
    return plaster(rng, n, colour) * np.where(stripe, rng.uniform(0.8, 0.92), 1)[..., None]


def patterned_paper(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Wallpaper with a repeated motif: diamonds, leaves, dots or waves."""
    y, x = grid(n)
    k = int(rng.integers(3, 7))
    sy, sx = np.sin(2 * np.pi * k * y), np.sin(2 * np.pi * k * x)
    cy, cx = np.cos(2 * np.pi * k * y), np.cos(2 * np.pi * k * x)
    motif = (
        np.abs(sy) + np.abs(sx) > 1.15,
        np.sin(2 * np.pi * k * y + 1.6 * sx) * cx > 0.35,
        sy * sx + cy * cx * 0.4 > 0.6,
        np.abs(np.sin(np.pi * 2 * k * y + 1.5 * sx)) > 0.75,
    )[rng.integers(4)]
    ink = colour * rng.uniform(0.72, 0.9) if rng.random() < 0.7 else np.clip(colour * 1.18, 0, 1)
    return np.where(motif[..., None], plaster(rng, n, ink), plaster(rng, n, colour))


def brick(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    rows, columns = 12, 4
    y, x = grid(n)
    row = (y * rows).astype(int)
    shifted = (x * columns + 0.5 * (row % 2)) % columns
    tone = rng.uniform(0.75, 1.2, (rows, columns))[row, shifted.astype(int)]
    joint = (y * rows % 1 < 0.14) | (shifted % 1 < 0.05)
    bricks = shade(colour, 0.06 * noise(rng, n, 1)) * tone[..., None]
    return np.where(joint[..., None], shade(np.full(3, 0.72), 0.04 * noise(rng, n, 1)), bricks)


def planks(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Floor boards along u."""
    rows = int(rng.integers(6, 11))
    y, x = grid(n)
    row = (y * rows).astype(int)
    butt = rng.random(rows)[row]
    tone = rng.uniform(0.78, 1.12, (rows, 2))[row, ((x - butt) % 1 < 0.5).astype(int)]
    gap = (y * rows % 1 < 0.09) | ((x - butt) % 0.5 < 0.012)
    grain = 0.08 * noise(rng, n, 0.5, 9) + 0.05 * noise(rng, n, 2, 24)
    return shade(colour, grain) * (tone * np.where(gap, 0.55, 1))[..., None]


def basket_parquet(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Squares of staves that lie along u and v in turn."""
    k, staves = 4, int(rng.integers(3, 6))
    y, x = (np.broadcast_to(c, (n, n)) for c in grid(n))
    i, j = (y * k).astype(int), (x * k).astype(int)
    lies = (i + j) % 2 == 0
    across = np.where(lies, y, x) * k % 1 * staves
    tone = rng.uniform(0.75, 1.15, (k, k, staves))[i, j, across.astype(int)]
    gap = across % 1 < 0.1
    grain = np.where(lies, noise(rng, n, 0.5, 5), noise(rng, n, 5, 0.5))
    return shade(colour, 0.07 * grain) * (tone * np.where(gap, 0.6, 1))[..., None]


def herringbone(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Diagonal staves that meet in a zigzag."""
    y, x = grid(n)
    columns, rows = 4, 16
    column = x * columns
    slope = np.where(column.astype(int) % 2 == 0, column % 1, 1 - column % 1)
    across = (y * rows + 3 * slope) % rows
    tone = rng.uniform(0.75, 1.15, (rows, columns))[across.astype(int), column.astype(int)]
    gap = (across % 1 < 0.12) | (column % 1 < 0.04)
    return shade(colour, 0.07 * noise(rng, n, 1.2)) * (tone * np.where(gap, 0.6, 1))[..., None]


def tiles(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Ceramic tiles: square, in a running bond, or checked with a second tone."""
    columns = int(rng.choice([3, 4, 6]))
    rows = columns * int(rng.choice([1, 2]))
    y, x = grid(n)
    row = (y * rows).astype(int)
    shifted = (x * columns + 0.5 * (row % 2) * (rows != columns)) % columns
    column = shifted.astype(int)
    tone = rng.uniform(0.93, 1.05, (rows, columns))[row, column]
    if rng.random() < 0.35 and columns % 2 == 0:
        tone = tone * np.where((row + column) % 2 == 0, 1, rng.uniform(0.35, 0.8))
    joint = (y * rows % 1 < 0.05 * rows / columns) | (shifted % 1 < 0.05)
    face = shade(colour, 0.03 * noise(rng, n, 5) + 0.01 * noise(rng, n, 0.7)) * tone[..., None]
    return np.where(joint[..., None], colour * rng.uniform(0.6, 0.8), face)


def carpet(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    return shade(colour, 0.12 * noise(rng, n, 0.5) + 0.05 * noise(rng, n, 3) + 0.04 * noise(rng, n, 14))


def marble(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    veins = np.abs(noise(rng, n, 7) + 0.35 * noise(rng, n, 2))
    return shade(colour, -0.3 * np.exp(-veins * 9) + 0.03 * noise(rng, n, 10))


def granite(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    return shade(colour, 0.16 * np.tanh(noise(rng, n, 0.7)) + 0.08 * noise(rng, n, 2))


def wood(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Boards with grain along u."""
    rings = np.sin(2 * np.pi * (3 * grid(n)[0] + 0.5 * noise(rng, n, 10, 30)))
    grain = 0.05 * rings + 0.06 * noise(rng, n, 0.6, 12) + 0.05 * noise(rng, n, 3, 30)
    return shade(colour, grain)


def fabric(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Plain weave."""
    i = np.arange(n)
    weave = ((i[:, None] // 2 + i[None] // 2) % 2) * 0.06
    return shade(colour, weave + 0.05 * noise(rng, n, 0.6) + 0.04 * noise(rng, n, 8))


def striped_fabric(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    count, duty = int(rng.integers(3, 8)), rng.uniform(0.25, 0.6)
    stripe = np.broadcast_to(grid(n)[1] * count % 1 < duty, (n, n))
    return fabric(rng, n, colour) * np.where(stripe[..., None], second_tone(rng, colour), 1)


def checked_fabric(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Tartan of two tones."""
    y, x = grid(n)
    count, duty = int(rng.integers(3, 7)), rng.uniform(0.25, 0.5)
    bands = (y * count % 1 < duty) * 0.5 + (x * count % 1 < duty) * 0.5
    fine = 0.25 * ((y * count % 1 > 0.9) | (x * count % 1 > 0.9))
    weight = np.clip(bands + fine, 0, 1)[..., None]
    return fabric(rng, n, colour) * (1 + weight * (second_tone(rng, colour) - 1))


def dotted_fabric(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    y, x = grid(n)
    k = int(rng.integers(4, 9))
    dots = ((y * k % 1 - 0.5) ** 2 + ((x * k + 0.5 * ((y * k).astype(int) % 2)) % 1 - 0.5) ** 2) < 0.05
    return fabric(rng, n, colour) * np.where(dots[..., None], second_tone(rng, colour), 1)


def leaves(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    return shade(colour, 0.22 * noise(rng, n, 2, 5) + 0.12 * noise(rng, n, 0.8))


def brushed_metal(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    return shade(colour, 0.03 * noise(rng, n, 0.5, 20) + 0.05 * noise(rng, n, 20))


def smooth(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Lacquer, ceramics, plastic: almost flat."""
    return shade(colour, 0.012 * noise(rng, n, 14) + 0.004 * noise(rng, n, 0.6))


def second_tone(rng: np.random.Generator, colour: Colour) -> Colour:
    """Factor [3] that turns a colour into one that goes with it: cream, darker or lighter."""
    choice = rng.integers(3)
    if choice == 0:
        return np.array([0.9, 0.87, 0.8]) / np.maximum(colour, 0.1)
    return np.full(3, rng.uniform(0.5, 0.75) if choice == 1 else rng.uniform(1.2, 1.4))


def _regular(rng: np.random.Generator, n: int, colour: Colour, light: NDArray[np.bool_]) -> Image:
    """Two tones of a colour where ``light`` [n, n] is true or false, hardly any noise."""
    other = np.clip(colour * second_tone(rng, colour), 0, 1)
    return np.where(light[..., None], colour, other) * (1 + 0.006 * noise(rng, n, 0.6))[..., None]


def checks(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """A chessboard of 8 x 8 fields."""
    i = np.arange(n) * 8 // n
    return _regular(rng, n, colour, (i[:, None] + i[None]) % 2 == 0)


def lattice(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """8 x 8 equal square tiles with joints."""
    y, x = grid(n)
    return _regular(rng, n, colour, (y * 8 % 1 > 0.12) & (x * 8 % 1 > 0.12))


def bond(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """Equal bricks in a running bond, 16 rows of 4."""
    y, x = grid(n)
    shifted = x * 4 + 0.5 * ((y * 16).astype(int) % 2)
    return _regular(rng, n, colour, (y * 16 % 1 > 0.2) & (shifted % 1 > 0.06))


def bars(rng: np.random.Generator, n: int, colour: Colour) -> Image:
    """8 upright stripes."""
    return _regular(rng, n, colour, np.broadcast_to(grid(n)[1] * 8 % 1 < 0.5, (n, n)))
