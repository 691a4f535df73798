"""Small things that lie about, rooms of many types, and what can be carried off."""

import math
from collections import Counter

import numpy as np
import pytest
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from vln_heatmap.params import HouseParams
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.houses.clutter import AMOUNTS, MOVABLE, ORNAMENTS, movable
from vln_heatmap.simulation.houses.drafting import draw_plans
from vln_heatmap.simulation.houses.furniture import BUILDERS, HANGINGS, THINGS
from vln_heatmap.simulation.houses.layout import Layout
from vln_heatmap.simulation.houses.palette import draw_palette
from vln_heatmap.simulation.houses.pieces import Placed
from vln_heatmap.simulation.houses.recipes import DECOR, RECIPES
from vln_heatmap.simulation.scene import STRUCTURE, Instance, Scene

SEEDS = range(5)
LEVELS = tuple(AMOUNTS)


def house_of(seed: int, clutter: str) -> Scene:
    return generate_house(seed, HouseParams(texture_size=16, light=False, clutter=clutter))


@pytest.fixture(scope="module")
def houses() -> dict[str, list[Scene]]:
    return {level: [house_of(seed, level) for seed in SEEDS] for level in LEVELS}


def small(house: Scene) -> list[Instance]:
    """What is movable and fits into a cube of half a metre."""
    return [i for i in house.instances if i.movable and np.subtract(i.box_max, i.box_min).max() < 0.5]


def test_more_clutter_is_more_small_things(houses):
    counts = {level: sum(len(small(h)) for h in houses[level]) for level in LEVELS}
    assert counts["low"] > 1.1 * counts["none"]
    assert counts["normal"] > 1.3 * counts["low"]
    assert counts["high"] > 2 * counts["normal"]


def test_a_tidy_house_has_no_ornaments(houses):
    upright = {i.category for house in houses["none"] for i in house.instances if i.box_min[1] > 0.3}
    loose = upright & (ORNAMENTS - {"plant", "dumbbell", "box"})
    stocked = {"jar", "can", "bottle", "bowl", "pan", "crate", "toolbox", "basket", "bucket"}  # on shelves
    assert loose <= stocked


def test_clutter_changes_neither_building_nor_furniture(houses):
    fixed = STRUCTURE | {"bed", "sofa", "wardrobe"}
    for level in ("normal", "high"):
        for tidy, full in zip(houses["low"], houses[level], strict=True):
            assert tidy.rooms == full.rooms
            heavy = [
                [(i.category, i.box_min, i.box_max) for i in h.instances if i.category in fixed]
                for h in (tidy, full)
            ]
            assert heavy[0] == heavy[1]


def test_clutter_is_of_many_kinds(houses):
    kinds = {i.category for house in houses["high"] for i in small(house)}
    assert len(kinds & set(THINGS)) >= 30


@pytest.mark.parametrize("level", ["normal", "high"])
def test_small_things_lie_on_something(level, houses):
    share = np.linspace(0.02, 0.98, 12)
    for house in houses[level][:2]:
        for i in (i for i in small(house) if i.category != "cushion"):  # those lean into a seat
            embree = EmbreeScene()
            mesh = TriangleMesh(embree, house.vertices[house.faces[house.face_instance != i.id]])
            (x0, y, z0), (x1, _, z1) = i.box_min, i.box_max
            x, z = (a.ravel() for a in np.meshgrid(x0 + share * (x1 - x0), z0 + share * (z1 - z0)))
            start = np.stack([x, np.full_like(x, y + 0.03), z], axis=1).astype(np.float32)
            down = np.broadcast_to(np.float32([0, -1, 0]), start.shape).copy()
            found = embree.run(start, down, output=True)
            drop = np.where(found["geomID"] == 0, found["tfar"], math.inf).min() - 0.03
            assert -0.02 < drop < 0.03, (i.category, i.centre)
            del mesh


def test_rooms_full_of_clutter_stay_passable():
    for seed in SEEDS:
        params = HouseParams(texture_size=16, light=False, clutter="high")
        (plan,) = draw_plans(np.random.default_rng([seed, 0]), params)
        house = house_of(seed, "high")
        palette = draw_palette(np.random.default_rng(0))
        for room in range(len(plan.cells)):
            layout = Layout(plan, room, np.random.default_rng(0), palette)
            solids = [
                (i.box_min[0], i.box_min[2], i.box_max[0], i.box_max[2])
                for i in house.instances
                if i.room == room
                and i.category not in STRUCTURE | {"window", "door"}
                and i.box_min[1] < 0.3
                and i.box_max[1] > 0.05
            ]
            assert layout.passable(solids), (seed, plan.names[room])


def test_only_what_is_light_and_free_is_movable(houses):
    for house in houses["normal"]:
        for i in house.instances:
            assert not i.movable or i.category in MOVABLE
        found = Counter(i.category for i in house.instances if i.movable)
        assert not set(found) & {"wardrobe", "sofa", "bed", "fridge", "door", "painting", "stairs"}
        assert sum(found.values()) >= 5


def test_a_table_with_a_vase_on_it_is_not_movable():
    palette = draw_palette(np.random.default_rng(0))
    table, vase = (
        p.into(1.0, 1.0, 0.0, 0) for p in BUILDERS["side table"](np.random.default_rng(0), palette)
    )
    chair = Placed(BUILDERS["chair"](np.random.default_rng(0), palette)[0].piece, 3.0, 0.0, 3.0, 0.0, 0)
    everything = (table, vase, chair)
    assert [movable(p, everything) for p in everything] == [False, True, True]
    assert movable(table, (table, chair))


def test_there_are_at_least_fifteen_room_types_and_all_can_be_furnished():
    assert len(RECIPES) >= 15
    assert set(RECIPES) == set(DECOR)
    for recipe in RECIPES.values():
        assert {builder for builder, _, _ in recipe} <= set(BUILDERS)
    assert {kind for kinds in DECOR.values() for kind in kinds} <= set(HANGINGS)


def test_fifteen_room_types_occur_within_a_hundred_houses():
    found = Counter()
    for storeys in (1, 2):
        for seed in range(50):
            params = HouseParams(storeys=storeys)
            for plan in draw_plans(np.random.default_rng([seed, 0]), params):
                found.update(plan.names)
    assert set(found) <= set(RECIPES)
    assert len([name for name, count in found.items() if count >= 3]) >= 15


@pytest.mark.parametrize("name", sorted(THINGS))
def test_small_things_are_closed_and_stand_on_the_ground(name):
    for seed in range(4):
        palette = draw_palette(np.random.default_rng(seed))
        piece = THINGS[name](np.random.default_rng([seed, 1]), palette)
        assert piece.category == name
        assert piece.box[0][1] == pytest.approx(0, abs=0.012)
        assert 0.03 < piece.size.max() < 1.0
        for part in piece.parts:
            assert part.volume > 0
            assert part.material in palette.materials
