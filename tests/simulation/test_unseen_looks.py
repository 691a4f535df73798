"""Texture sets that no training plan uses: from photographs, and loud ornaments."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

from vln_heatmap.params import HouseParams
from vln_heatmap.simulation.houses import generate_house, photographs
from vln_heatmap.simulation.houses.ornaments import ORNAMENTS
from vln_heatmap.simulation.scenarios import SCENARIOS

PROJECT = Path(__file__).resolve().parents[2]
COLOUR = np.array([0.3, 0.5, 0.6])
TILES = [*(partial(draw, colour=COLOUR) for draw in ORNAMENTS), partial(photographs.surface, colour=COLOUR)]
NAMES = [*(draw.__name__ for draw in ORNAMENTS), "photographs"]


@pytest.mark.parametrize("draw", TILES, ids=NAMES)
@pytest.mark.parametrize("n", [33, 64])
def test_tiles_are_images_that_the_generator_decides(draw, n):
    first, again, other = (draw(np.random.default_rng(seed), n) for seed in (1, 1, 2))
    assert first.shape == (n, n, 3)
    assert first.min() >= 0
    assert first.max() <= 1
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.02
    assert first.mean(-1).std() > 0.01


@pytest.mark.parametrize("draw", TILES, ids=NAMES)
def test_tiles_repeat_without_a_seam(draw):
    """From the last row to the first, and across, it changes as much as anywhere else: edges of shapes apart."""
    tile = draw(np.random.default_rng(3), 128).mean(-1)
    for image in (tile, tile.T):
        steps = np.abs(np.diff(image, axis=0)).mean(1)  # [n - 1]
        seam = np.abs(image[0] - image[-1]).mean()
        assert seam <= 1.3 * steps.max() + 0.01


def test_a_surface_has_the_colour_that_it_is_asked_for():
    tiles = [photographs.surface(np.random.default_rng(seed), 64, COLOUR, 0.5) for seed in range(6)]
    means = np.array([tile.mean((0, 1)) for tile in tiles])
    assert np.abs(means - COLOUR).max() < 0.15


@pytest.mark.parametrize("name", sorted(photographs.FILES))
def test_every_photograph_is_there(name):
    image = photographs.photograph(name)
    assert image.ndim == 3
    assert 0 <= image.min() < image.max() <= 1


@pytest.mark.parametrize("pattern", ["photographs", "ornaments"])
def test_a_house_changes_its_looks_and_nothing_else(pattern):
    plain, other = (
        generate_house(5, HouseParams(texture_size=16, light=False, pattern=name))
        for name in ("mixed", pattern)
    )
    assert [room.name for room in plain.rooms] == [room.name for room in other.rooms]
    walls = [[i for i in house.instances if i.category == "wall"] for house in (plain, other)]
    assert [(w.box_min, w.box_max) for w in walls[0]] == [(w.box_min, w.box_max) for w in walls[1]]
    means = [house.textures.astype(float).mean((0, 1, 2)) for house in (plain, other)]
    assert np.abs(means[0] - means[1]).max() > 1


def test_no_training_plan_uses_them():
    used = [dict(scenario.house).get("pattern") for scenario in SCENARIOS.values()]
    for file in PROJECT.glob("conf/*/parameters_collect.yml"):
        collect = (yaml.safe_load(file.read_text()) or {}).get("collect", {})
        used.append((collect.get("house") or {}).get("pattern"))
    assert not {"photographs", "ornaments"} & set(used)
