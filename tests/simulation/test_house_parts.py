"""Meshes, shading, textures and furniture from which houses are put together."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.simulation.houses import meshes, pictures, textures
from vln_heatmap.simulation.houses.furniture import BUILDERS, HANGINGS
from vln_heatmap.simulation.houses.palette import draw_palette
from vln_heatmap.simulation.houses.pieces import Piece, Placed
from vln_heatmap.simulation.houses.shading import box_sides, box_uvs, corner_normals, face_normals, weld

sizes = st.floats(0.05, 3.0)


@given(sizes, sizes, sizes, st.floats(-5, 5))
def test_a_box_has_its_volume_and_stands_on_its_point(width, height, depth, x):
    part = meshes.box((width, height, depth), (x, 1.0, 2.0), "m")
    assert part.volume == pytest.approx(width * height * depth)
    assert part.vertices.min(axis=0) == pytest.approx((x - width / 2, 1.0, 2.0 - depth / 2))
    assert part.vertices.max(axis=0) == pytest.approx((x + width / 2, 1.0 + height, 2.0 + depth / 2))


@given(sizes, sizes, st.floats(0.1, 1.0), st.integers(3, 40))
def test_a_frustum_has_the_volume_of_its_prismoid(radius, height, taper, sections):
    part = meshes.cylinder(radius, height, (0, 0, 0), "m", top=taper * radius, sections=sections)
    base = sections / 2 * math.sin(2 * math.pi / sections) * radius**2
    assert part.volume == pytest.approx(height / 3 * base * (1 + taper + taper**2))


@given(sizes, sizes, sizes, st.floats(0.01, 0.2))
def test_rounding_edges_takes_off_four_quarters_of_square_minus_circle(width, height, depth, radius):
    part = meshes.loft(
        meshes.rounded_rectangle(width, depth, radius, quarter=32), (0, height), (1, 1), (0, 0, 0), "m"
    )
    actual = min(radius, 0.499 * width, 0.499 * depth)
    expected = height * (width * depth - (4 - math.pi) * actual**2)
    assert part.volume == pytest.approx(expected, rel=2e-3)


def test_a_tub_has_the_volume_of_its_hull_less_its_hollow():
    tub = meshes.tub((1.6, 0.5, 0.8), (0, 0, 0), "m", rim=0.08, floor=0.1)
    outline = meshes.rounded_rectangle(1.6, 0.8, 0.24)
    (x, z), (u, w) = outline.T, np.roll(outline, -1, axis=0).T
    base = (x * w - u * z).sum() / 2
    hull = base * 0.5 / 3 * (0.94**2 + 0.94 + 1)
    hollow = base * 0.4 / 3 * 0.8**2 * (1 + 0.85 + 0.85**2)
    assert tub.volume == pytest.approx(hull - hollow)


@given(st.tuples(sizes, sizes, sizes))
def test_a_rod_joins_its_ends(end):
    part = meshes.rod(0.01, (0, 0, 0), end, "m")
    caps = part.vertices[-2:]  # the centres of the caps
    assert caps[0] == pytest.approx((0, 0, 0))
    assert caps[1] == pytest.approx(end)
    assert part.volume > 0


@pytest.mark.parametrize(("axis", "start", "end"), [("x", 1, 2), ("y", 2, 0), ("z", 0, 1)])
def test_rotations_are_right_handed(axis, start, end):
    turned = meshes.rotation(axis, math.pi / 2) @ np.eye(3)[start]
    assert turned == pytest.approx(np.eye(3)[end])


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-math.pi, math.pi))
def test_groups_turn_as_rigid_bodies(x, z, yaw):
    piece = Piece("thing", (meshes.box((0.4, 1.0, 0.2), (0, 0, 0), "m"),))
    placed = Placed(piece, 1.0, 0.0, 0.5).into(x, z, yaw, room=0)
    expected = meshes.rotation("y", yaw) @ (1.0, 0.0, 0.5) + (x, 0, z)
    assert (placed.x, placed.y, placed.z) == pytest.approx(tuple(expected))
    world = meshes.box((0.4, 1.0, 0.2), (0, 0, 0), "m").rotated("y", placed.yaw).vertices + (
        placed.x,
        0,
        placed.z,
    )
    low, high = world.min(axis=0), world.max(axis=0)
    assert placed.footprint == pytest.approx((low[0], low[2], high[0], high[2]))


def test_box_edges_stay_hard_and_round_ones_become_smooth():
    cube = meshes.box((1, 1, 1), (0, 0, 0), "m")
    flat = face_normals(cube.vertices, cube.faces)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    assert np.allclose(corner_normals(cube.vertices, cube.faces), flat[:, None])
    pipe = meshes.cylinder(1.0, 1.0, (0, 0, 0), "m", sections=24)  # 15 degrees between faces
    normals = corner_normals(pipe.vertices, pipe.faces)
    side = np.abs(face_normals(pipe.vertices, pipe.faces)[:, 1]) < 1e-9
    radial = pipe.vertices[pipe.faces[side]] * (1, 0, 1)
    assert np.einsum("fki,fki->fk", normals[side], radial).min() > math.cos(math.radians(4))
    coarse = meshes.cylinder(1.0, 1.0, (0, 0, 0), "m", sections=6)  # 60 degrees: stays faceted
    facets = face_normals(coarse.vertices, coarse.faces)
    facets /= np.linalg.norm(facets, axis=1, keepdims=True)
    assert np.allclose(corner_normals(coarse.vertices, coarse.faces), facets[:, None])


def test_a_face_without_area_takes_a_unit_normal():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0.0]])
    assert np.allclose(corner_normals(vertices, np.array([[0, 1, 2]])), (0, 1, 0))


def test_textures_keep_their_scale_and_are_not_mirrored():
    cube = meshes.box((2, 3, 4), (1, 2, 3), "m")
    sides = box_sides(cube.vertices, cube.faces)
    for grain in (np.zeros((12, 3)), np.tile((2.0, 3.0, 4.0), (12, 1))):
        uvs = box_uvs(cube.vertices, cube.faces, sides, grain)
        edges, across = np.diff(cube.vertices[cube.faces], axis=1), np.diff(uvs, axis=1)
        assert np.allclose(np.linalg.norm(edges, axis=-1), np.linalg.norm(across, axis=-1))
        # counter-clockwise outside is clockwise in an image whose v grows downwards
        turn = across[:, 0, 0] * across[:, 1, 1] - across[:, 0, 1] * across[:, 1, 0]
        assert (turn < 0).all()


def test_up_in_the_world_is_up_in_the_image_and_grain_follows_length():
    post = meshes.box((0.1, 2.0, 0.1), (0, 0, 0), "m")
    sides = box_sides(post.vertices, post.faces)
    upright = sides % 3 != 1
    plain = box_uvs(post.vertices, post.faces, sides, np.zeros((12, 3)))
    assert np.allclose(plain[upright][..., 1], -post.vertices[post.faces[upright]][..., 1])
    grained = box_uvs(post.vertices, post.faces, sides, np.tile((0.1, 2.0, 0.1), (12, 1)))
    assert np.ptp(grained[upright][..., 0]) == pytest.approx(2.0)


def test_welding_keeps_corners_apart_that_differ_in_normal():
    cube = meshes.box((1, 1, 1), (0, 0, 0), "m")
    sides = box_sides(cube.vertices, cube.faces)
    chosen, faces = weld(cube.vertices, cube.faces, corner_normals(cube.vertices, cube.faces), sides)
    assert len(chosen) == 24  # three normals at each of eight corners
    assert np.array_equal(cube.faces.ravel()[chosen][faces], cube.faces)


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_furniture_is_closed_stands_on_the_floor_and_uses_the_palette(name):
    for seed in range(6):
        rng = np.random.default_rng([seed, 1])
        palette = draw_palette(np.random.default_rng(seed))
        group = BUILDERS[name](rng, palette)
        assert group[0].y == 0
        assert group[0].piece.box[0][1] == pytest.approx(0, abs=0.03)
        for part in (part for placed in group for part in placed.piece.parts):
            assert part.volume > 0
            assert part.material in palette.materials
        for placed in group:
            assert 0.02 < placed.piece.size.max() < 3.0
            assert placed.piece.main in (*palette.materials, "")


@pytest.mark.parametrize("name", sorted(HANGINGS))
def test_hangings_are_closed_and_flat_against_the_wall(name):
    for seed in range(6):
        piece = HANGINGS[name](np.random.default_rng([seed, 1]), draw_palette(np.random.default_rng(seed)))
        assert min(part.volume for part in piece.parts) > 0
        assert piece.box[0][2] > -0.011
        assert piece.size[2] < 0.35


SURFACES = [
    textures.plaster, textures.striped_paper, textures.patterned_paper, textures.brick, textures.planks,
    textures.basket_parquet, textures.herringbone, textures.tiles, textures.carpet, textures.marble,
    textures.granite, textures.wood, textures.fabric, textures.striped_fabric, textures.checked_fabric,
    textures.dotted_fabric, textures.leaves, textures.brushed_metal, textures.smooth,
]  # fmt: skip


@pytest.mark.parametrize("draw", SURFACES, ids=lambda f: f.__name__)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), n=st.sampled_from([16, 64, 100]))
def test_surfaces_have_their_size_and_repeat_without_their_grain_breaking(draw, seed, n):
    image = draw(np.random.default_rng(seed), n, np.array([0.5, 0.4, 0.3]))
    assert image.shape == (n, n, 3)
    assert np.isfinite(image).all()
    assert 0.1 < image.mean() < 0.8


def test_noise_is_periodic_and_normalised():
    field = textures.noise(np.random.default_rng(0), 64, 6)
    assert field.mean() == pytest.approx(0, abs=1e-9)
    assert field.std() == pytest.approx(1)
    inner, seam = np.abs(np.diff(field, axis=1)).max(), np.abs(field[:, 0] - field[:, -1]).max()
    assert seam <= 1.2 * inner


@pytest.mark.parametrize(
    "draw", [*pictures.PAINTINGS, pictures.window_view, pictures.book_spines, pictures.screen]
)
def test_pictures_have_contrast_and_differ_by_seed(draw):
    first, second = (draw(np.random.default_rng(seed), 32) for seed in (0, 1))
    assert first.shape == (32, 32, 3)
    assert np.isfinite(first).all()
    assert first.std() > 0.01
    assert not np.allclose(first, second)
