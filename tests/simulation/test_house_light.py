"""Baked light against situations whose answer is known."""

import numpy as np
import pytest

from vln_heatmap.params import HouseParams
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.houses.lighting import bake_light, fibonacci_sphere, total_light
from vln_heatmap.simulation.houses.meshes import Part, box, box_between
from vln_heatmap.simulation.houses.shading import corner_normals
from vln_heatmap.simulation.scene import Instance, LightVolume, Room, Scene


def soup(parts: list[tuple[str, Part]], rooms: tuple[Room, ...]) -> Scene:
    """A scene of one grey texture with one instance a part."""
    vertices = np.concatenate([part.vertices[part.faces].reshape(-1, 3) for _, part in parts])
    counts = [len(part.faces) for _, part in parts]
    normals = np.concatenate([corner_normals(p.vertices, p.faces).reshape(-1, 3) for _, p in parts])
    instances = [
        Instance(k + 1, name, "", 0, tuple(p.vertices.min(axis=0)), tuple(p.vertices.max(axis=0)))
        for k, (name, p) in enumerate(parts)
    ]
    return Scene(
        name="test",
        seed=None,
        vertices=vertices.astype(np.float32),
        normals=normals.astype(np.float32),
        uvs=np.zeros((len(vertices), 2), np.float32),
        faces=np.arange(len(vertices), dtype=np.int32).reshape(-1, 3),
        face_instance=np.repeat(np.arange(len(parts)) + 1, counts).astype(np.int32),
        face_texture=np.zeros(sum(counts), np.int32),
        textures=np.full((1, 4, 4, 3), 150, np.uint8),
        instances=tuple(instances),
        rooms=rooms,
    )


def shell(x0: float, x1: float) -> list[tuple[str, Part]]:
    """Six slabs around the space [x0, x1] x [0, 2.4] x [-2, 2]."""
    low, high, t = (x0, 0.0, -2.0), (x1, 2.4, 2.0), 0.2
    parts = []
    for axis in range(3):
        for side in (0, 1):
            a, b = [v - t for v in low], [v + t for v in high]
            a[axis], b[axis] = (low[axis] - t, low[axis]) if side == 0 else (high[axis], high[axis] + t)
            name = "wall" if axis != 1 else ("floor", "ceiling")[side]
            parts.append((name, box_between(tuple(a), tuple(b), "m")))
    return parts


def baked(scene: Scene, emission: np.ndarray, **settings) -> LightVolume:
    """The light of a scene with one source."""
    return total_light(bake_light(scene, {"lamps": emission}, **settings))


def sample(light, point) -> np.ndarray:
    """Irradiance [6] of the voxel around a point."""
    index = (np.array(point) - light.origin) / light.size * light.irradiance.shape[:3]
    return light.irradiance[tuple(index.astype(int))]


@pytest.fixture(scope="module")
def lamp_room():
    parts = [*shell(-2.0, 2.0), ("ceiling light", box((0.3, 0.06, 0.3), (0, 2.3, 0), "m"))]
    scene = soup(parts, (Room("hall", (-2.0, -2.0, 2.0, 2.0)),))
    emission = np.zeros(len(parts) + 1)
    emission[-1] = 6.0
    return baked(scene, emission, voxel=0.25, rays=64, exposure=0.9)


def test_directions_are_unit_vectors_that_balance():
    directions = fibonacci_sphere(64)
    assert np.allclose(np.linalg.norm(directions, axis=1), 1)
    assert np.abs(directions.mean(axis=0)).max() < 0.02


def test_a_symmetric_room_is_lit_symmetrically(lamp_room):
    for x, y, z in ((1.1, 0.6, 0.0), (0.0, 1.1, 1.3)):
        here, there = sample(lamp_room, (x, y, z)), sample(lamp_room, (-x, y, -z))
        mirrored = there[[3, 1, 5, 0, 4, 2]]  # a half turn swaps +x with -x and +z with -z
        assert here.mean() == pytest.approx(mirrored.mean(), rel=0.1)  # bounces are sampled by 64 rays
        bright = mirrored > 0.8
        assert bright.any()
        assert here[bright] == pytest.approx(mirrored[bright], rel=0.1)


def test_surfaces_that_face_the_lamp_are_brighter(lamp_room):
    under = sample(lamp_room, (0.1, 0.3, 0.1))
    assert under[1] > 1.3 * under[4]  # up against down
    aside = sample(lamp_room, (1.5, 1.2, 0.1))
    assert aside[3] > 1.2 * aside[0]  # towards the middle against towards the wall


def test_light_falls_off_with_distance(lamp_room):
    assert sample(lamp_room, (0.1, 1.2, 0.1))[1] > sample(lamp_room, (1.7, 0.3, 1.7))[1]


def test_exposure_is_the_mean_and_bounds_hold(lamp_room):
    x, y, z = (np.arange(n) for n in lamp_room.irradiance.shape[:3])
    centre = [lamp_room.origin[a] + (i + 0.5) * 0.25 for a, i in enumerate((x, y, z))]
    inside = np.ix_(
        (centre[0] > -2) & (centre[0] < 2),
        (centre[1] > 0) & (centre[1] < 2.4),
        (centre[2] > -2) & (centre[2] < 2),
    )
    assert 0.8 * 0.9 < lamp_room.irradiance[inside].mean() < 1.05 * 0.9  # clipping takes some of it
    assert lamp_room.irradiance.min() >= 0.25 * 0.9 - 1e-6
    assert lamp_room.irradiance.max() <= 1.9 * 0.9 + 1e-6


def test_a_wall_keeps_light_out_of_the_next_room():
    parts = [*shell(-2.0, 2.0), *shell(2.2, 6.2), ("ceiling light", box((0.3, 0.06, 0.3), (0, 2.3, 0), "m"))]
    rooms = (Room("hall", (-2.0, -2.0, 2.0, 2.0)), Room("office", (2.2, -2.0, 6.2, 2.0)))
    emission = np.zeros(len(parts) + 1)
    emission[-1] = 6.0
    light = baked(soup(parts, rooms), emission, voxel=0.25, rays=32, exposure=0.8)
    dark = sample(light, (4.0, 1.0, 0.0))
    assert dark == pytest.approx(np.full(6, 0.25 * 0.8))
    assert sample(light, (0.1, 0.5, 0.1)).mean() > 3 * dark.mean()


def test_voxels_inside_furniture_take_the_light_around_it():
    parts = [*shell(-2.0, 2.0), ("wardrobe", box((1.2, 1.2, 1.2), (1.2, 0, 0), "m"))]
    parts.append(("ceiling light", box((0.3, 0.06, 0.3), (-1, 2.3, 0), "m")))
    emission = np.zeros(len(parts) + 1)
    emission[-1] = 6.0
    light = baked(soup(parts, (Room("hall", (-2.0, -2.0, 2.0, 2.0)),)), emission, voxel=0.2, rays=48)
    assert sample(light, (1.2, 1.1, 0.0)) == pytest.approx(sample(light, (1.2, 1.3, 0.0)))


def test_emission_of_the_wrong_length_is_refused(lamp_room):
    scene = soup(shell(-1.0, 1.0), ())
    with pytest.raises(ValueError, match="emission must have 7 entries, got 3"):
        bake_light(scene, {"lamps": np.zeros(3)})


@pytest.mark.parametrize("seed", [0, 5])
def test_houses_are_neither_dark_nor_burnt_out(seed):
    house = generate_house(seed, HouseParams(texture_size=16, light_rays=16, light_voxel=0.4))
    light = house.light
    assert light is not None
    assert light.irradiance.dtype == np.float32
    assert np.isfinite(light.irradiance).all()
    for room in house.rooms:
        x0, z0, x1, z1 = room.rectangle
        middle = sample(light, ((x0 + x1) / 2, 1.2, (z0 + z1) / 2))
        assert 0.3 < middle.mean() < 1.8
    low, high = house.vertices.min(axis=0), house.vertices.max(axis=0)
    assert (light.origin <= low).all()
    assert (light.origin + light.size >= high - 1e-4).all()


@pytest.fixture(scope="module")
def two_lamps():
    """A hall with a weak and a strong lamp, each a source, and an office that neither reaches."""
    lamps = [("ceiling light", box((0.3, 0.06, 0.3), (x, 2.3, 0), "m")) for x in (-1.2, 1.2)]
    parts = [*shell(-2.0, 2.0), *lamps]
    scene = soup(parts, (Room("hall", (-2.0, -2.0, 2.0, 2.0)),))
    emissions = {name: np.zeros(len(parts) + 1) for name in ("left", "right")}
    emissions["left"][-2], emissions["right"][-1] = 10.0, 30.0
    return scene, emissions, bake_light(scene, emissions, voxel=0.25, rays=32)


def test_sources_add_up_to_the_light_of_all_together(two_lamps):
    scene, emissions, sources = two_lamps
    assert [source.name for source in sources] == ["left", "right"]
    together = baked(scene, emissions["left"] + emissions["right"], voxel=0.25, rays=32)
    assert total_light(sources).irradiance == pytest.approx(together.irradiance, abs=2e-5)
    assert min(source.light.irradiance.min() for source in sources) >= 0


def test_a_source_is_strongest_below_its_own_lamp_and_in_proportion_to_its_power(two_lamps):
    left, right = (source.light for source in two_lamps[2])
    for light, x in ((left, -1.2), (right, 1.2)):
        assert sample(light, (x, 1.0, 0.1))[1] > sample(light, (-x, 1.0, 0.1))[1]
    weak, strong = sample(left, (-0.1, 0.6, 0.1))[1], sample(right, (0.1, 0.6, 0.1))[1]
    assert strong / weak == pytest.approx(3, rel=0.15)  # mirror images but for the power


def test_houses_have_daylight_and_lamps_that_add_up_to_their_light():
    house = generate_house(1, HouseParams(texture_size=16, light_rays=16, light_voxel=0.4))
    assert [source.name for source in house.sources] == ["daylight", "lamps"]
    day, lamps = (source.light.irradiance for source in house.sources)
    assert np.array_equal(day + lamps, house.light.irradiance)
    window = next(i for i in house.instances if i.category == "window")
    lamp = next(i for i in house.instances if i.category == "ceiling light")
    inside = np.array(house.rooms[window.room].rectangle).reshape(2, 2).mean(axis=0)
    towards = 0.85 * window.centre[[0, 2]] + 0.15 * inside
    by_day, by_lamp = (
        [sample(s.light, (point[0], y, point[1])).max() for s in house.sources]
        for point, y in ((towards, window.centre[1]), (lamp.centre[[0, 2]], lamp.box_min[1] - 0.3))
    )
    assert by_day[0] / by_day[1] > by_lamp[0] / by_lamp[1]
