"""Surfaces that repeat, and surfaces that do not."""

import numpy as np
import pytest

from vln_heatmap.params import HouseParams
from vln_heatmap.simulation.houses import generate_house, textures
from vln_heatmap.simulation.scene import Scene

SEEDS = range(4)
PATTERNS = ("mixed", "repetitive", "distinctive")
SURFACES = ("wall", "floor")


@pytest.fixture(scope="module")
def houses() -> dict[str, list[Scene]]:
    plain = {"texture_size": 64, "light": False}
    return {p: [generate_house(s, HouseParams(pattern=p, **plain)) for s in SEEDS] for p in PATTERNS}


def repetition(texture: np.ndarray) -> float:
    """How far the autocorrelation of a tile [n, n, 3], shifted along u or v by at most half of it, climbs back
    from its lowest to 1: 1 for a grating, about 0 for noise and for a plain tile."""
    grey = texture.astype(float).mean(axis=-1)
    grey -= grey.mean()
    if grey.std() < 2:
        return 0.0
    spectrum = np.abs(np.fft.fft2(grey)) ** 2
    correlation = np.fft.ifft2(spectrum).real
    correlation /= correlation[0, 0]
    best = 0.0
    for line in (correlation[0], correlation[:, 0]):
        half = line[: len(line) // 2 + 1]
        lowest = np.minimum.accumulate(half)
        deep = lowest < 0.95
        if deep.any():
            best = max(best, ((half - lowest) / (1 - lowest + 1e-9))[deep].max())
    return best


def used(house: Scene, category: str) -> list[set[int]]:
    """Textures of each instance of a category."""
    ids = [i.id for i in house.instances if i.category == category]
    return [set(house.face_texture[house.face_instance == i].tolist()) for i in ids]


def house_repetition(house: Scene) -> float:
    """Repetition of walls and floors, averaged over their area."""
    a, b, c = (house.vertices[house.faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    ids = [i.id for i in house.instances if i.category in SURFACES]
    chosen = np.isin(house.face_instance, ids)
    by_texture = np.bincount(house.face_texture[chosen], area[chosen], minlength=len(house.textures))
    values = np.array([repetition(t) if w else 0.0 for t, w in zip(house.textures, by_texture, strict=True)])
    return float((values * by_texture).sum() / by_texture.sum())


def test_the_measure_knows_a_grating_from_noise():
    x = np.arange(64)
    grating = np.broadcast_to(128 + 60 * np.sin(2 * np.pi * x * 8 / 64), (64, 64))
    assert repetition(np.repeat(grating[..., None], 3, axis=-1)) == pytest.approx(1, abs=1e-6)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 1)).repeat(3, axis=-1)
    assert repetition(noise) < 0.3
    assert repetition(np.full((64, 64, 3), 90)) == 0


@pytest.mark.parametrize("draw", [textures.checks, textures.lattice, textures.bond, textures.bars])
def test_regular_textures_repeat_within_their_tile(draw):
    tile = draw(np.random.default_rng(1), 64, np.array([0.5, 0.4, 0.3]))
    assert repetition(tile * 255) > 0.95


def test_repetitive_houses_repeat_and_others_much_less(houses):
    mean = {p: np.mean([house_repetition(h) for h in houses[p]]) for p in PATTERNS}
    assert min(house_repetition(h) for h in houses["repetitive"]) > 0.9
    assert mean["repetitive"] > mean["mixed"] + 0.25
    assert mean["repetitive"] > mean["distinctive"] + 0.25


def test_a_repetitive_house_has_one_texture_for_all_walls_and_one_for_all_floors(houses):
    for house in houses["repetitive"]:
        for category in SURFACES:
            materials = [house.textures[next(iter(t))] for t in used(house, category)]
            tones = [m.astype(float).mean(axis=(0, 1)) for m in materials]
            assert np.ptp(tones, axis=0).max() < 45  # tiles of wet rooms may take the second tone
            assert len({t for s in used(house, category) for t in s}) <= 2


def test_no_two_walls_or_floors_of_a_distinctive_house_are_alike(houses):
    for house in houses["distinctive"]:
        for category in SURFACES:
            materials = [next(iter(t)) for t in used(house, category)]
            assert len(set(materials)) >= 0.95 * len(materials)


def colourfulness(house: Scene) -> float:
    """Mean chroma of walls, 0 to 1."""
    textures_used = {t for s in used(house, "wall") for t in s}
    tones = np.array([house.textures[t].reshape(-1, 3).mean(axis=0) / 255 for t in textures_used])
    return float(np.ptp(tones, axis=1).mean())


def test_distinctive_houses_have_strong_colours_and_many_pictures(houses):
    chroma = {p: np.mean([colourfulness(h) for h in houses[p]]) for p in PATTERNS}
    assert chroma["distinctive"] > 1.5 * chroma["mixed"]
    hung = {
        p: sum(i.category in ("painting", "poster") for h in houses[p] for i in h.instances) for p in PATTERNS
    }
    assert hung["distinctive"] > 1.5 * hung["mixed"]


def test_the_pattern_changes_no_floor_plan(houses):
    for mixed, repetitive, distinctive in zip(*(houses[p] for p in PATTERNS), strict=True):
        assert mixed.rooms == repetitive.rooms == distinctive.rooms


def test_patterned_houses_depend_on_the_seed_alone(houses):
    for pattern in PATTERNS:
        params = HouseParams(pattern=pattern, texture_size=64, light=False)
        assert np.array_equal(generate_house(2, params).textures, houses[pattern][2].textures)
