"""Surfaces and pictures cut from real photographs, which come with scikit-learn and scikit-image.

They have what procedural textures lack: the statistics of real images. No training plan uses them, so that they
can tell what a model makes of looks that it never saw.

Invariant: as in ``textures``, [n, n, 3] floats (0..1, sRGB) from the given generator alone; a surface repeats
without a seam, because it is a cut-out beside its mirror images.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from vln_heatmap.simulation.houses.textures import Colour, Image

#: Photographs by name: the package that ships them, and where.
FILES = {
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "coffee": ("skimage", "data/coffee.png"),
    "cat": ("skimage", "data/chelsea.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "garage": ("skimage", "data/motorcycle_left.png"),
    "coins": ("skimage", "data/coins.png"),
    "brick": ("skimage", "data/brick.png"),
    "grass": ("skimage", "data/grass.png"),
    "gravel": ("skimage", "data/gravel.png"),
}
SCENES = ("china", "flower", "coffee", "cat", "rocket", "garage")
MATERIALS = ("brick", "grass", "gravel", "coins", "china", "coffee", "flower")
#: Longest side at which a photograph is kept.
_LONGEST = 512


def surface(rng: np.random.Generator, n: int, colour: Colour, contrast: float = 0.6) -> Image:
    """A photograph's detail in one colour, evenly lit; ``contrast`` is how strong the detail is."""
    half = (n + 1) // 2
    cut = cut_out(rng, half, names=MATERIALS)  # [h, h, 3]
    grey = np.maximum(cut.mean(-1), 0.02)  # [h, h]
    detail = np.clip(grey / cv2.GaussianBlur(grey, (0, 0), max(half / 8, 1)), 0.3, 2.5) ** contrast
    hue = (np.maximum(cut, 0.02) / grey[..., None]) ** (0.3 * contrast)
    tile = colour * (detail / detail.mean())[..., None] * hue
    mirrored = np.concatenate([tile, tile[::-1]])
    return np.clip(np.concatenate([mirrored, mirrored[:, ::-1]], axis=1)[:n, :n], 0, 1)


def picture(rng: np.random.Generator, n: int) -> Image:
    """A part of a photograph as it is."""
    return cut_out(rng, n, names=SCENES)


def cut_out(rng: np.random.Generator, n: int, *, names: tuple[str, ...]) -> Image:
    """A square of one of these photographs, between a third of its height and all of it, perhaps mirrored."""
    image = photograph(str(rng.choice(names)))
    side = int(min(image.shape[:2]) * rng.uniform(0.35, 1))
    top, left = (int(rng.integers(length - side + 1)) for length in image.shape[:2])
    cut = cv2.resize(image[top : top + side, left : left + side], (n, n), interpolation=cv2.INTER_AREA)
    return np.asarray(cut[:, ::-1] if rng.random() < 0.5 else cut, np.float64)


@lru_cache(maxsize=len(FILES))
def photograph(name: str) -> Image:
    """[H, W, 3] of one of ``FILES``.

    Raises:
        FileNotFoundError: the package is not installed, or does not ship it.
    """
    package, path = FILES[name]
    spec = find_spec(package)  # found, not imported: that takes a second
    file = Path(spec.origin or "").parent / path if spec else Path(path)
    image = cv2.imread(str(file), cv2.IMREAD_COLOR) if file.is_file() else None
    if image is None:
        raise FileNotFoundError(
            f"the photograph {name!r} should be {path} of {package}: install scikit-learn and scikit-image, or "
            "choose another house.pattern"
        )
    scale = min(1.0, _LONGEST / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return small[:, :, ::-1].astype(np.float64) / 255
