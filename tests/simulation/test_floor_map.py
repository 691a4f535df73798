"""The floor map's lines of sight against a wall with a doorway, and over two storeys."""

import numpy as np
import pytest
from open_floor import OpenFloor

from vln_heatmap.simulation.trajectories.floor_map import FloorMap, floor_under


def test_lines_of_sight_end_at_the_wall_and_at_the_reach() -> None:
    floor = FloorMap.of(OpenFloor(3.0, 0.5))
    start = np.array([[-1.0, 0, 0.0]])
    ends = np.array([[1.0, 0, 0], [1.0, 0, 1.5], [-1.0, 0, 2.0], [2.5, 0, 0.0], [-1.0, 0, 4.0]])
    assert floor.in_sight(start, ends, 3.0).tolist() == [[True, False, True, False, False]]


def test_sight_agrees_with_a_walk_along_the_line() -> None:
    sim, rng = OpenFloor(3.0, 0.7), np.random.default_rng(0)
    floor = FloorMap.of(sim)
    starts, ends = (np.array([sim.random_navigable_point(rng) for _ in range(60)]) for _ in range(2))
    seen = floor.in_sight(starts, ends, 4.0)
    share = np.linspace(0, 1, 400)[:, None]
    truth = np.array(
        [
            [
                np.linalg.norm(b - a) <= 4 and all(sim.is_navigable(point) for point in a + share * (b - a))
                for b in ends
            ]
            for a in starts
        ]
    )
    assert (seen == truth).mean() > 0.99  # all but lines that graze a door post
    assert 0.2 < truth.mean() < 0.8


def test_sight_is_symmetric() -> None:
    sim, rng = OpenFloor(3.0, 0.5), np.random.default_rng(1)
    points = np.array([sim.random_navigable_point(rng) for _ in range(80)])
    seen = FloorMap.of(sim).in_sight(points, points, 3.0)
    assert (seen == seen.T).mean() > 0.995
    assert seen.diagonal().all()


def test_another_storey_is_not_in_sight_but_a_slope_is() -> None:
    line = np.arange(0.05, 3, 0.1)
    x, z = (grid.ravel() for grid in np.meshgrid(line, line))
    storeys = np.concatenate([np.stack([x, 0 * x + y, z], axis=1) for y in (0.0, 2.8)])
    slope = np.stack([x, 0.7 * x, z], axis=1)
    start = np.array([[0.5, 0.0, 1.0]])
    ends = np.array([[2.0, 0.0, 1.0], [2.0, 2.8, 1.0]])
    assert FloorMap(storeys).in_sight(start, ends, 5.0).tolist() == [[True, False]]
    start, ends = np.array([[0.5, 0.35, 1.0]]), np.array([[2.5, 1.75, 1.0], [2.5, 0.35, 1.0]])
    assert FloorMap(slope).in_sight(start, ends, 5.0).tolist() == [[True, False]]


def test_stairs_are_not_level() -> None:
    line = np.arange(0.05, 3, 0.1)
    x, z = (grid.ravel() for grid in np.meshgrid(line, line))
    floor = FloorMap(np.stack([x, np.maximum(0.7 * (x - 1.0), 0), z], axis=1))
    queries = np.array([[0.5, 0.0, 1.0], [2.0, 0.0, 1.0], [2.0, 0.7, 1.0], [0.5, 0.3, 1.0]])
    assert floor.level(queries).tolist() == [True, False, True, False]


@pytest.mark.parametrize(("height", "level"), [(0.8, 0.0), (3.5, 2.8), (-1.0, 0.0)])
def test_floor_under_is_the_storey_of_a_thing(height: float, level: float) -> None:
    points = np.array([[0.0, 0, 0], [1.0, 2.8, 0], [9.0, 5.0, 9.0]])
    assert floor_under(points, np.array([0.5, height, 0.5])) == level
