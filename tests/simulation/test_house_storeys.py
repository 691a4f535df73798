"""Stairs, and houses of two storeys that they join."""

import math
from itertools import pairwise

import numpy as np
import pytest
import trimesh
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from test_houses import digest
from trimesh.intersections import mesh_plane

from vln_heatmap.params import HouseParams
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.houses.drafting import draw_plans
from vln_heatmap.simulation.houses.plan import FloorPlan
from vln_heatmap.simulation.houses.stairs import Stairs, place_stairs
from vln_heatmap.simulation.scene import STRUCTURE, Scene

SEEDS = (0, 1, 2, 14, 16, 18)  # three with half turns, three with straight flights
TWO = HouseParams(storeys=2, texture_size=16, light=False)
BODY = 0.18  # metres, the default agent's radius


def plans_of(seed: int) -> tuple[FloorPlan, ...]:
    """As the generator draws them."""
    return draw_plans(np.random.default_rng([seed, 0]), TWO)


@pytest.fixture(scope="module")
def houses() -> dict[int, Scene]:
    return {seed: generate_house(seed, TWO) for seed in SEEDS}


@pytest.fixture(scope="module")
def wells() -> dict[int, Stairs]:
    return {seed: plans_of(seed)[0].well for seed in SEEDS}


def test_both_shapes_of_stairs_are_tested(wells):
    assert {stairs.inner is None for stairs in wells.values()} == {True, False}


def overlap(a, b) -> float:
    """Area in square metres that two rectangles share."""
    width, depth = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, depth)


def inside(a, b) -> bool:
    return b[0] - 1e-9 <= a[0] and b[1] - 1e-9 <= a[1] and a[2] <= b[2] + 1e-9 and a[3] <= b[3] + 1e-9


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    width=st.floats(2.2, 6.0),
    depth=st.floats(4.0, 9.0),
    height=st.floats(2.3, 4.0),
)
def test_stairs_keep_to_the_measures_of_a_climber(seed, width, depth, height):
    hall, rise = (1.0, 2.0, 1.0 + width, 2.0 + depth), height + 0.2
    stairs = place_stairs(np.random.default_rng(seed), hall, rise, height)
    if stairs is None:
        assert max(width, depth) < 5.1  # a half turn fits everywhere else
        return
    heights = [0.0, *(s.height for s in stairs.steps), rise]
    risers = np.diff(heights)
    assert risers.max() <= 0.18
    assert np.allclose(risers, risers[0])
    going = [s.rectangle[3] - s.rectangle[1] for s in stairs.steps]
    assert min(going) >= 0.25 - 1e-9
    assert min(s.rectangle[2] - s.rectangle[0] for s in stairs.steps) >= 0.9
    for rectangle in (stairs.footprint, stairs.entry, stairs.arrival):
        assert inside(stairs.world(rectangle), hall)
    assert inside(stairs.hole, stairs.footprint)
    for step in stairs.steps:
        under_ceiling = step.height > height - 2.0
        assert not under_ceiling or inside(step.rectangle, stairs.hole)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_step_leads_to_the_next_and_the_ends_are_free(seed, wells):
    stairs = wells[seed]
    chain = [stairs.entry, *(s.rectangle for s in stairs.steps), stairs.arrival]
    for a, b in pairwise(chain):
        grown = (a[0] - 1e-6, a[1] - 1e-6, a[2] + 1e-6, a[3] + 1e-6)
        touching = (min(grown[2], b[2]) - max(grown[0], b[0]), min(grown[3], b[3]) - max(grown[1], b[1]))
        assert min(touching) > 0
        assert max(touching) >= 0.9  # they share an edge as wide as the flight
        assert overlap(a, b) < 1e-9
    for plan in plans_of(seed):
        ends = stairs.world(stairs.arrival if plan.floor else stairs.entry)
        assert min(ends[2] - ends[0], ends[3] - ends[1]) >= 0.9
        assert inside(ends, plan.inner(0))


def rays(scene: Scene):
    """A scene that rays can be shot through: f(origins, directions) -> distances, inf where nothing is hit."""
    embree = EmbreeScene()
    mesh = TriangleMesh(embree, scene.vertices[scene.faces])

    def shoot(start, along):
        assert mesh is not None  # embree reads its buffers
        start = np.asarray(start, np.float32)
        found = embree.run(start, np.broadcast_to(np.float32(along), start.shape).copy(), output=True)
        return np.where(found["geomID"] == 0, found["tfar"], math.inf)

    return shoot


@pytest.mark.parametrize("seed", SEEDS)
def test_the_built_stairs_are_as_planned_and_have_headroom(seed, houses, wells):
    house, stairs = houses[seed], wells[seed]
    shoot = rays(house)
    for step in stairs.steps:
        x0, z0, x1, z1 = stairs.world(step.rectangle)
        across = np.array([(x, z) for x in (0.1, 0.3, 0.5, 0.7, 0.9) for z in (0.1, 0.3, 0.5, 0.7, 0.9)])
        x, z = (across * (x1 - x0, z1 - z0) + (x0, z0)).T
        start = np.stack([x, np.full_like(x, step.height + 0.04), z], axis=1)
        assert shoot(start, (0, -1, 0)) == pytest.approx(0.04, abs=1e-4)
        assert shoot(start, (0, 1, 0)).min() + 0.04 >= 2.0
    for rectangle, floor in ((stairs.entry, 0.0), (stairs.arrival, house.rooms[-1].floor)):
        x0, z0, x1, z1 = stairs.world(rectangle)
        start = [
            (x0 + s * (x1 - x0), floor + 0.1, z0 + t * (z1 - z0)) for s in (0.1, 0.9) for t in (0.1, 0.9)
        ]
        assert shoot(start, (0, -1, 0)) == pytest.approx(0.1, abs=0.01)  # floor, or a rug on it
        assert shoot(start, (0, 1, 0)).min() + 0.1 >= 2.0


def test_there_is_one_pair_of_stairs_that_can_be_referred_to(houses):
    assert "stairs" not in STRUCTURE
    for house in houses.values():
        (stairs,) = [i for i in house.instances if i.category == "stairs"]
        assert house.rooms[stairs.room].name == "hall"
        assert not stairs.movable
        assert stairs.box_min[1] == pytest.approx(0, abs=1e-6)
        assert any(i.category == "railing" for i in house.instances)


def test_rooms_know_their_floor_and_hold_their_things(houses):
    rise = round(TWO.height + 0.2, 3)
    for house in houses.values():
        assert {room.floor for room in house.rooms} == {0.0, rise}
        for index, room in enumerate(house.rooms):
            x0, z0, x1, z1 = room.rectangle
            assert house.room_at((x0 + x1) / 2, (z0 + z1) / 2, room.floor) == index
        for i in house.instances:
            if i.category in STRUCTURE | {"stairs", "window"}:
                continue
            floor = house.rooms[i.room].floor
            assert floor - 0.03 <= i.box_min[1]
            if i.category != "railing":  # that of the flights goes on through the well
                assert i.box_max[1] <= floor + TWO.height + 0.01


def test_storeys_share_their_outline_and_the_hall_of_the_stairs():
    for seed in SEEDS:
        below, above = plans_of(seed)
        assert below.cells[0] == above.cells[0]
        assert (below.names[0], above.names[0]) == ("hall", "landing")
        assert np.min(below.cells, axis=0)[:2] == pytest.approx(np.min(above.cells, axis=0)[:2])
        assert np.max(below.cells, axis=0)[2:] == pytest.approx(np.max(above.cells, axis=0)[2:])
        assert "living room" in below.names
        assert "bedroom" in above.names or len(above.names) == 1


def occupied(scene: Scene, floor: float, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """Grid [Z, X] of cells that cross-sections from 0.2 to 1.4 m above a floor go through, and its origin."""
    mesh = trimesh.Trimesh(scene.vertices, scene.faces, process=False)
    sections = [mesh_plane(mesh, (0, 1, 0), (0, floor + y, 0)) for y in np.arange(0.21, 1.4, 0.1)]
    segments = np.concatenate(sections)[..., (0, 2)]  # [S, 2, 2]
    counts = (np.ptp(segments, axis=1).max(axis=1) / (0.5 * cell)).astype(int) + 2
    share = np.concatenate([np.linspace(0, 1, n) for n in counts])[:, None]
    points = np.repeat(segments[:, 0], counts, axis=0) * (1 - share)
    points += np.repeat(segments[:, 1], counts, axis=0) * share
    origin = scene.vertices[:, (0, 2)].min(axis=0)
    size = ((scene.vertices[:, (0, 2)].max(axis=0) - origin) / cell).astype(int) + 2
    grid = np.zeros(size[::-1], dtype=bool)
    columns, rows = ((points - origin) / cell).astype(int).T
    grid[rows, columns] = True
    return grid, origin


def patch(rectangle, origin: np.ndarray, cell: float) -> tuple[slice, slice]:
    """Rows and columns of the cells well inside a rectangle."""
    low = np.floor((np.array(rectangle[:2]) - origin) / cell).astype(int) + 1
    high = np.floor((np.array(rectangle[2:]) - origin) / cell).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("storey", [0, 1])
def test_every_room_of_a_storey_is_reached_from_the_stairs(seed, storey, houses, wells):
    house, stairs, cell = houses[seed], wells[seed], 0.05
    floor = sorted({room.floor for room in house.rooms})[storey]
    grid, origin = occupied(house, floor, cell)
    taken = stairs.world(stairs.hole if storey else stairs.footprint)
    grid[patch(taken, origin, cell)] = True
    free = ndimage.distance_transform_edt(~grid) * cell > BODY + cell
    label, _ = ndimage.label(free)
    ends = label[patch(stairs.world(stairs.arrival if storey else stairs.entry), origin, cell)]
    start = np.bincount(ends[ends > 0]).argmax()
    for room in house.rooms:
        if room.floor == floor:
            reached = (label[patch(room.rectangle, origin, cell)] == start).sum() * cell**2
            assert reached > 0.5, room.name


@pytest.mark.parametrize("seed", SEEDS)
def test_a_railing_keeps_one_from_falling_into_the_stairwell(seed, houses, wells):
    house, stairs, cell = houses[seed], wells[seed], 0.02
    grid, origin = occupied(house, house.rooms[-1].floor, cell)
    x0, z0, x1, z1 = stairs.world(stairs.arrival)
    a, b, c, d = stairs.world(stairs.hole)
    gate = (max(x0, a) - 0.04, max(z0, b) - 0.04, min(x1, c) + 0.04, min(z1, d) + 0.04)  # their common edge
    grid[patch(gate, origin, cell)] = True
    free = ndimage.distance_transform_edt(~grid) * cell > BODY - 0.06  # balusters stand 0.14 m apart
    label, _ = ndimage.label(free)
    well, landing = (
        label[patch(r, origin, cell)] for r in (stairs.world(stairs.hole), stairs.world(stairs.arrival))
    )
    assert landing.any()
    assert not np.intersect1d(well[well > 0], landing[landing > 0]).size


def test_nothing_is_seen_through_gaps_of_two_storeys(houses, wells):
    rng = np.random.default_rng(0)
    for house, stairs in zip(houses.values(), wells.values(), strict=True):
        shoot = rays(house)
        spots = [(room.rectangle, room.floor + 1.25) for room in house.rooms]
        spots += [(stairs.world(stairs.hole), house.rooms[-1].floor + y) for y in (-0.1, 0.1, 0.8)]
        for rectangle, height in spots:
            low, high = np.array(rectangle[:2]) + 0.05, np.array(rectangle[2:]) - 0.05
            x, z = rng.uniform(low, high, (4000, 2)).T
            start = np.stack([x, np.full_like(x, height), z], axis=1)
            assert np.isfinite(shoot(start, rng.standard_normal((4000, 3)))).all()


def test_both_storeys_are_lit_by_one_volume():
    house = generate_house(0, HouseParams(storeys=2, texture_size=16, light_voxel=0.5, light_rays=16))
    light = house.light
    assert light.origin[1] <= 0
    assert light.origin[1] + light.size[1] >= 2 * TWO.height
    scale = np.array(light.irradiance.shape[:3]) / light.size
    for room in house.rooms:
        x0, z0, x1, z1 = room.rectangle
        middle = np.array([(x0 + x1) / 2, room.floor + 1.2, (z0 + z1) / 2])
        here = light.irradiance[tuple(((middle - light.origin) * scale).astype(int))]
        assert 0.25 < here.mean() < 1.8


def test_two_storeys_depend_on_the_seed_alone(houses):
    assert digest(houses[1]) == digest(generate_house(1, TWO))
    assert len({digest(house) for house in houses.values()}) == len(houses)


@pytest.mark.parametrize("height", [2.3, 4.0])
def test_low_and_high_storeys_have_stairs_too(height):
    house = generate_house(3, TWO.model_copy(update={"height": height}))
    assert {room.floor for room in house.rooms} == {0.0, round(height + 0.2, 3)}


def test_a_house_too_small_for_stairs_is_an_error():
    small = HouseParams(storeys=2, side_min=5.0, side_max=5.0, rooms_min=6, rooms_max=6)
    with pytest.raises(ValueError, match="no floor plan of 6 to 6 rooms"):
        generate_house(0, small)
