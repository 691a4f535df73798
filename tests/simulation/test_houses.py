"""Invariants of whole generated houses."""

import hashlib
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import trimesh
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage
from trimesh.intersections import mesh_plane

from vln_heatmap.params import HouseParams
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.houses.drafting import draw_plans
from vln_heatmap.simulation.houses.palette import COLOURS
from vln_heatmap.simulation.houses.plan import DOOR_HEIGHT
from vln_heatmap.simulation.scene import STRUCTURE, Instance, Scene

SEEDS = range(6)
PLAIN = HouseParams(texture_size=16, light=False)
#: Lie on the floor, or lean into a seat's hollow on purpose.
MAY_TOUCH = {"rug", "cushion", "exercise mat"}
#: Hold things within their own box: on a seat, a shelf, or a mattress below a headboard.
HOLDERS = {"bed", "sofa", "armchair", "chair", "crib", "workbench", "piano", "shelving", "dumbbell rack"}


@pytest.fixture(scope="module")
def houses() -> list[Scene]:
    return [generate_house(seed, PLAIN) for seed in SEEDS]


def digest(scene: Scene) -> str:
    """Hash of all arrays and words of a scene."""
    state = hashlib.sha256(repr((scene.name, scene.instances, scene.rooms)).encode())
    for name in ("vertices", "normals", "uvs", "faces", "face_instance", "face_texture", "textures"):
        state.update(getattr(scene, name).tobytes())
    if scene.light is not None:
        state.update(scene.light.irradiance.tobytes())
    return state.hexdigest()


def boxes(scene: Scene, *, skip: frozenset[str] | set[str]) -> list[Instance]:
    """Instances but those of some categories."""
    return [i for i in scene.instances if i.category not in skip]


def test_the_same_seed_gives_the_same_house_also_in_another_process():
    params = HouseParams(texture_size=16, light_voxel=0.6, light_rays=8)
    code = (
        "from test_houses import digest, generate_house, HouseParams;"
        "print(digest(generate_house(3, HouseParams(texture_size=16, light_voxel=0.6, light_rays=8))))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code],
        cwd=__file__.rsplit("/", 1)[0],
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == digest(generate_house(3, params))


def test_another_seed_gives_another_house(houses):
    assert len({digest(house) for house in houses}) == len(houses)
    assert len({house.rooms for house in houses}) == len(houses)


def test_less_light_or_smaller_textures_change_no_geometry(houses):
    lit = generate_house(0, HouseParams(texture_size=32, light_voxel=0.6, light_rays=8))
    assert lit.light is not None
    assert np.array_equal(lit.vertices, houses[0].vertices)
    assert lit.instances == houses[0].instances


def test_arrays_are_consistent(houses):
    for house in houses:
        count = len(house.vertices)
        assert house.normals.shape == (count, 3)
        assert house.uvs.shape == (count, 2)
        assert house.faces.min() == 0
        assert house.faces.max() == count - 1
        assert [i.id for i in house.instances] == list(range(1, len(house.instances) + 1))
        assert set(house.face_instance.tolist()) == {i.id for i in house.instances}
        assert set(house.face_texture.tolist()) == set(range(len(house.textures)))
        assert np.isfinite(house.vertices).all()
        assert np.isfinite(house.uvs).all()
        assert np.allclose(np.linalg.norm(house.normals, axis=1), 1, atol=1e-4)
        assert 4000 < len(house.faces) < 50000


def test_boxes_enclose_exactly_the_instances_triangles(houses):
    house = houses[1]
    for instance in house.instances:
        points = house.vertices[house.faces[house.face_instance == instance.id]].reshape(-1, 3)
        assert np.allclose(points.min(axis=0), instance.box_min, atol=1e-6)
        assert np.allclose(points.max(axis=0), instance.box_max, atol=1e-6)


def test_normals_look_to_the_side_that_the_winding_faces(houses):
    for house in houses:
        a, b, c = (house.vertices[house.faces[:, k]].astype(float) for k in range(3))
        face = np.cross(b - a, c - a)
        area = np.linalg.norm(face, axis=1)
        big = area > 1e-7
        corner = house.normals[house.faces[big]].astype(float)  # [F, 3, 3]
        cosine = np.einsum("fki,fi->fk", corner, face[big] / area[big][:, None])
        assert cosine.min() > 0.5  # smoothing below 35 degrees cannot turn a normal by more than 60


def test_every_instance_is_a_closed_solid_that_faces_outwards(houses):
    for house in houses[:3]:
        a, b, c = (house.vertices[house.faces[:, k]].astype(float) for k in range(3))
        origin = np.array([i.centre for i in house.instances])[house.face_instance - 1]
        sixfold = np.einsum("ij,ij->i", a - origin, np.cross(b - origin, c - origin))
        volume = np.bincount(house.face_instance, sixfold / 6, minlength=len(house.instances) + 1)[1:]
        assert volume.min() > 0


def test_many_categories_and_plausible_rooms(houses):
    found = Counter(i.category for house in houses for i in house.instances)
    furniture = set(found) - STRUCTURE
    assert len(furniture) >= 30
    assert {
        "bed",
        "sofa",
        "chair",
        "dining table",
        "bookshelf",
        "painting",
        "window",
        "ceiling light",
    } <= furniture
    for house in houses:
        by_room = {room.name: set() for room in house.rooms}
        for i in house.instances:
            by_room[house.rooms[i.room].name].add(i.category)
        assert "living room" in by_room
        assert "bed" not in by_room.get("kitchen", set())
        assert "sofa" not in by_room.get("bathroom", set())


def test_colours_are_plain_words(houses):
    words = {i.colour for house in houses for i in house.instances}
    assert words <= set(COLOURS) | {""}
    assert len(words) > 5
    assert {i.colour for house in houses for i in house.instances if i.category in STRUCTURE} == {""}


def test_instances_lie_in_their_room(houses):
    for house in houses:
        for i in boxes(house, skip=STRUCTURE | {"window"}):
            x0, z0, x1, z1 = house.rooms[i.room].rectangle
            reach = 0.1 if i.category == "door" else 1e-5  # a closed front door is part of the wall
            assert x0 - reach <= i.box_min[0]
            assert i.box_max[0] <= x1 + reach
            assert z0 - reach <= i.box_min[2]
            assert i.box_max[2] <= z1 + reach
            assert i.box_min[1] >= -0.03  # edges of leaning feet
            assert i.box_max[1] <= PLAIN.height + 0.01


def held(a: Instance, b: Instance) -> bool:
    """Whether one of the two is something light that stands in the other's box, above its foot."""
    return any(
        host.category in HOLDERS and thing.movable and thing.box_min[1] > host.box_min[1] + 0.1
        for host, thing in ((a, b), (b, a))
    )


@pytest.mark.parametrize("clutter", ["normal", "high"])
def test_furniture_does_not_intersect(clutter):
    params = PLAIN.model_copy(update={"clutter": clutter})
    for house in (generate_house(seed, params) for seed in SEEDS):
        things = boxes(house, skip=STRUCTURE | MAY_TOUCH)
        low, high = np.array([i.box_min for i in things]), np.array([i.box_max for i in things])
        depth = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])  # [N, N, 3]
        deep = np.triu(depth.min(axis=-1) > 0.02, k=1)
        close = [(things[a], things[b]) for a, b in np.argwhere(deep)]
        pairs = [(a.category, b.category) for a, b in close if not held(a, b)]
        assert pairs == []


def test_doorways_are_clear_and_at_least_80_cm_wide(houses):
    for seed, house in zip(SEEDS, houses, strict=True):
        (plan,) = draw_plans(np.random.default_rng([seed, 0]), PLAIN)  # as the generator draws it
        assert tuple(plan.inner(room) for room in range(len(plan.cells))) == tuple(
            r.rectangle for r in house.rooms
        )
        for o in plan.openings:
            if o.kind not in ("door", "arch"):
                continue
            assert o.width - 0.05 >= 0.78
            assert o.top >= DOOR_HEIGHT
            centre = (o.middle, o.line) if o.axis == 0 else (o.line, o.middle)
            reach = (o.width / 2 - 0.03, 0.5) if o.axis == 0 else (0.5, o.width / 2 - 0.03)
            for i in boxes(house, skip={"floor", "ceiling", "rug", "door frame", "wall", "skirting"}):
                misses = any(
                    i.box_min[2 * k] >= centre[k] + reach[k] or i.box_max[2 * k] <= centre[k] - reach[k]
                    for k in (0, 1)
                )
                assert misses or i.box_min[1] > DOOR_HEIGHT, (seed, i.category)


def occupied(scene: Scene, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """Grid [Z, X] of cells that the scene's cross-sections up to 1.4 m go through, and its origin."""
    mesh = trimesh.Trimesh(scene.vertices, scene.faces, process=False)
    segments = np.concatenate(
        [mesh_plane(mesh, (0, 1, 0), (0, y, 0)) for y in np.arange(0.15, 1.4, 0.1)]
    )  # [S, 2, 3]
    counts = (np.ptp(segments, axis=1).max(axis=1) / (0.5 * cell)).astype(int) + 2
    share = np.concatenate([np.linspace(0, 1, n) for n in counts])[:, None]
    points = (
        np.repeat(segments[:, 0], counts, axis=0) * (1 - share)
        + np.repeat(segments[:, 1], counts, axis=0) * share
    )
    origin = scene.vertices[:, (0, 2)].min(axis=0)
    columns, rows = ((points[:, (0, 2)] - origin) / cell).astype(int).T
    grid = np.zeros((rows.max() + 1, columns.max() + 1), dtype=bool)
    grid[rows, columns] = True
    return grid, origin


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_an_agent_reaches_every_room(seed, houses):
    house, cell, radius = houses[seed], 0.05, 0.18
    grid, origin = occupied(house, cell)
    free = ndimage.distance_transform_edt(~grid) * cell > radius + cell
    label, _ = ndimage.label(free)
    reached = []
    for room in house.rooms:
        x0, z0, x1, z1 = room.rectangle
        columns = slice(int((x0 - origin[0]) / cell) + 1, int((x1 - origin[0]) / cell))
        rows = slice(int((z0 - origin[1]) / cell) + 1, int((z1 - origin[1]) / cell))
        inside = label[rows, columns]
        reached.append(np.bincount(inside[inside > 0], minlength=label.max() + 1))
    largest = np.sum(reached, axis=0).argmax()
    assert all(count[largest] * cell**2 > 0.5 for count in reached)


def test_nothing_is_seen_through_gaps_of_the_building(houses):
    rng = np.random.default_rng(0)
    for house in houses:
        embree = EmbreeScene()
        mesh = TriangleMesh(embree, house.vertices[house.faces])
        low, high = np.array([r.rectangle for r in house.rooms]).reshape(-1, 2, 2).swapaxes(0, 1)
        room = rng.integers(len(house.rooms), size=40_000)
        x, z = rng.uniform(low[room] + 0.05, high[room] - 0.05).T
        start = np.stack([x, np.full_like(x, 1.25), z], axis=1).astype(np.float32)
        hit = embree.run(start, rng.standard_normal((40_000, 3)).astype(np.float32))
        assert (hit >= 0).all()
        del mesh


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_plans_tile_the_house_and_connect_all_rooms(seed):
    (plan,) = draw_plans(np.random.default_rng(seed), HouseParams())
    cells = np.array(plan.cells)
    area = (cells[:, 2] - cells[:, 0]) * (cells[:, 3] - cells[:, 1])
    low, high = cells[:, :2].min(axis=0), cells[:, 2:].max(axis=0)
    assert np.isclose(area.sum(), np.prod(high - low))
    first, last = np.maximum(cells[:, None, :2], cells[:, :2]), np.minimum(cells[:, None, 2:], cells[:, 2:])
    assert (np.triu((last - first).min(axis=-1), k=1) <= 1e-9).all()
    reached, doors = {0}, [o.rooms for o in plan.openings if o.kind in ("door", "arch")]
    for _ in plan.cells:
        reached |= {b for pair in doors for a, b in (pair, pair[::-1]) if a in reached}
    assert reached == set(range(len(cells)))
    assert all(min(pair) >= 0 for pair in doors)
    for room in range(len(cells)):
        for side in range(4):
            for one, next_one in pairwise(plan.on_side(room, side)):
                assert next_one.start - one.end > 0.1
            start, end = (plan.inner(room)[k] for k in ((0, 2) if side % 2 == 0 else (1, 3)))
            assert all(o.start > start and o.end < end for o in plan.on_side(room, side))


def test_rooms_share_few_wall_and_floor_materials(houses):
    for house in houses:
        for category, most in (("wall", 3), ("floor", 3), ("ceiling", 1)):
            ids = [i.id for i in house.instances if i.category == category]
            used = set(house.face_texture[np.isin(house.face_instance, ids)].tolist())
            assert len(used) <= most


def test_furniture_shares_materials_within_a_house_but_not_between_houses(houses):
    for house in houses:
        loose = [i.id for i in house.instances if i.category not in STRUCTURE]
        inside = np.isin(house.face_instance, loose)
        pairs = set(
            zip(house.face_texture[inside].tolist(), house.face_instance[inside].tolist(), strict=True)
        )
        users = Counter(texture for texture, _ in pairs)
        assert np.mean(sorted(users.values())[-8:]) >= 8  # the eight commonest materials
        assert len(users) < 45
    tones = [house.textures.mean(axis=(1, 2)).round().tolist() for house in houses]
    assert len({tuple(tone) for house in tones for tone in house}) > 0.8 * sum(len(house) for house in tones)


def test_windows_are_in_outer_walls_and_close_them(houses):
    for house in houses:
        low = np.min([i.box_min for i in house.instances if i.category == "wall"], axis=0)
        high = np.max([i.box_max for i in house.instances if i.category == "wall"], axis=0)
        panes = [i for i in house.instances if i.category == "window"]
        assert panes
        for pane in panes:
            gaps = [*(np.array(pane.box_min) - low)[[0, 2]], *(high - pane.box_max)[[0, 2]]]
            assert min(np.abs(gaps)) < 0.1


def test_an_unfurnished_house_is_only_building_windows_doors_and_lamps():
    house = generate_house(2, HouseParams(texture_size=16, light=False, furniture=0.0))
    assert {i.category for i in house.instances} <= STRUCTURE | {"window", "door", "ceiling light"}


@pytest.mark.parametrize(
    ("key", "value"), [("rooms_min", 1), ("side_max", 50.0), ("texture_size", 0), ("wallpaper", True)]
)
def test_wrong_parameters_are_refused(key, value):
    with pytest.raises(ValidationError, match=key):
        HouseParams(**{key: value})


def test_reversed_ranges_are_refused():
    with pytest.raises(ValidationError, match="rooms_min must be at most rooms_max, got 5 > 4"):
        HouseParams(rooms_min=5, rooms_max=4)


def test_a_house_too_small_for_its_rooms_is_an_error():
    with pytest.raises(ValueError, match="no floor plan of 8 to 8 rooms"):
        generate_house(0, HouseParams(rooms_min=8, rooms_max=8, side_min=5.0, side_max=5.0))


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        generate_house(-1, PLAIN)
