"""Triangles drawn on the floor plan, against their definition."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vln_heatmap.simulation.navigation.plans import clip_to_slab, highest, rasterize

coordinate = st.integers(0, 160).map(lambda k: k / 16)


@settings(max_examples=60)
@given(corners=st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=3))
def test_a_triangle_fills_the_cells_whose_centre_it_holds(corners):
    triangle = np.array(corners)
    edges = np.roll(triangle, -1, axis=0) - triangle
    area = edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0]
    assume(abs(area) > 1e-6)
    filled = rasterize(triangle[None], (12, 12), np.array([-0.5, -0.5]), 1.0)
    z, x = np.mgrid[0:12, 0:12]  # cell centres
    sides = [
        (e[0] * (z - c[1]) - e[1] * (x - c[0])) * np.sign(area) / np.linalg.norm(e)
        for c, e in zip(triangle, edges, strict=True)
    ]
    assert filled[np.min(sides, axis=0) > 1e-9].all()  # inside
    assert not filled[np.min(sides, axis=0) < -math.sqrt(0.5) - 1e-9].any()  # not touched


@settings(max_examples=60)
@given(data=st.data())
def test_clipping_keeps_what_lies_in_the_slab(data):
    """The plan of the clipped triangle has the area that sampling the triangle's part in the slab finds."""
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    triangle = rng.uniform(-1, 1, (3, 3))
    low, high = np.sort(rng.uniform(-1, 1, 2))
    u, v = np.meshgrid(*[(np.arange(200) + 0.5) / 200] * 2)
    u, v = u[u + v < 1], v[u + v < 1]  # even samples of the triangle
    y = triangle[0, 1] + u * (triangle[1, 1] - triangle[0, 1]) + v * (triangle[2, 1] - triangle[0, 1])
    share = ((y >= low) & (y <= high)).mean()
    plan = triangle[:, (0, 2)]
    polygons = clip_to_slab(triangle[None], low, high)
    found = sum(shoelace(polygon) for polygon in polygons)
    assert found == pytest.approx(share * shoelace(plan), abs=0.02 * shoelace(plan) + 1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_highest_of_the_planes_over_a_cell_counts(seed):
    """Two triangles that hold the whole grid, so that each cell has the height of the higher plane."""
    rng = np.random.default_rng(seed)
    plan = np.array([(-30.0, -30.0), (60.0, -30.0), (-30.0, 60.0)])
    slopes = rng.uniform(-1, 1, (2, 3))  # y = a + b x + c z
    triangles = np.stack(
        [np.column_stack([plan[:, 0], a + b * plan[:, 0] + c * plan[:, 1], plan[:, 1]]) for a, b, c in slopes]
    )
    found = highest(triangles, (95, 95), np.array([-32.0, -32.0]), 1.0)
    z, x = np.mgrid[-32:63, -32:63] + 0.5  # cell centres
    inside = (x > -30) & (z > -30) & (x + z < 30)
    expected = np.max([a + b * x + c * z for a, b, c in slopes], axis=0)
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-6)
    assert np.isnan(found[~inside & (x + z != 30)]).all()


def shoelace(polygon: np.ndarray) -> float:
    """Area of a polygon [N, 2]; repeated corners do no harm."""
    x, z = polygon.T
    return abs(float(np.dot(x, np.roll(z, -1)) - np.dot(z, np.roll(x, -1)))) / 2
