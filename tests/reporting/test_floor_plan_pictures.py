"""Plans: what is drawn at a pixel lies there in the world."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from vln_heatmap.reporting.floor_plans import (
    AGENT,
    BUMP,
    FLOOR,
    GOAL,
    OUTSIDE,
    PATH,
    REFERENCE,
    THING,
    WALKABLE,
    FloorPlan,
    Way,
)
from vln_heatmap.simulation.scene import Instance, Room, Scene

NOTHING = np.zeros((0, 3))
ROOMS = (Room("kitchen", (0.0, 0.0, 6.0, 4.0)), Room("attic", (0.0, 0.0, 6.0, 4.0), 3.0))


def scene(*things: Instance) -> Scene:
    empty = np.zeros((0, 3), np.float32)
    faces = np.zeros((0, 3), np.int32)
    ids = np.zeros(0, np.int32)
    return Scene(
        "s",
        None,
        empty,
        empty,
        empty[:, :2],
        faces,
        ids,
        ids,
        np.zeros((1, 4, 4, 3), np.uint8),
        things,
        ROOMS,
    )


def box(identity: int, low: tuple, high: tuple) -> Instance:
    return Instance(identity, "table", "", 0, low, high)


def floor(y: float = 0.0) -> np.ndarray:
    x, z = np.meshgrid(np.arange(1.0, 2.0, 0.1), np.arange(1.0, 3.0, 0.1))
    return np.stack([x.ravel(), np.full(x.size, y), z.ravel()], axis=1)


def plan(*things: Instance, **options) -> FloorPlan:
    points = np.concatenate([floor(), floor(3.0) + [3, 0, 0]])
    return FloorPlan(scene(*things), points, spacing=0.1, size=240, **options)


def way(**changes) -> Way:
    path = np.array([(0.2, 0.0, 3.8)])
    return replace(Way(NOTHING, path, 0.0, NOTHING, NOTHING), **changes)


def colour(picture: np.ndarray, at: np.ndarray) -> tuple[int, ...]:
    column, row = np.round(at).astype(int)
    return tuple(picture[row, column].tolist())


def near(got: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return max(abs(a - b) for a, b in zip(got, expected, strict=True)) <= 24


def test_one_metre_is_as_long_across_as_down_and_east_is_right():
    drawn = plan()
    origin, east, south = (drawn.pixel(p) for p in ((0, 0, 0), (1, 0, 0), (0, 0, 1)))
    assert east[0] - origin[0] == pytest.approx(south[1] - origin[1])
    assert east[0] > origin[0]
    assert south[1] > origin[1]
    for corner in ((0, 0, 0), (6, 0, 4)):
        assert (drawn.pixel(corner) >= 0).all()
        assert (drawn.pixel(corner) <= 240).all()


def test_floor_things_and_nothing_have_their_colours():
    drawn = plan(box(1, (4.0, 0.0, 1.0), (5.0, 0.8, 2.0)), box(2, (4.0, 2.5, 3.0), (5.0, 2.6, 3.5)))
    picture = drawn.draw(way())
    assert picture.shape == (240, 240, 3)
    assert near(colour(picture, drawn.pixel((1.5, 0, 2.0))), WALKABLE)
    assert near(colour(picture, drawn.pixel((4.5, 0, 1.5))), THING)
    assert near(
        colour(picture, drawn.pixel((4.5, 0, 3.25))), FLOOR
    )  # what hangs at the ceiling is not on the floor
    assert near(colour(picture, drawn.pixel((3.0, 0, -0.25))), OUTSIDE)


def test_one_walks_over_a_rug():
    drawn = plan(box(1, (1.0, 0.0, 1.0), (1.8, 0.02, 2.6)))
    assert near(colour(drawn.draw(way()), drawn.pixel((1.4, 0, 1.6))), WALKABLE)


def test_the_target_is_marked():
    table = box(1, (4.0, 0.0, 1.0), (5.0, 0.8, 2.0))
    marked, plain = plan(table, target=table.centre), plan(table)
    edge = marked.pixel((4.0, 0, 1.5)) + [1, 0]
    assert near(colour(marked.draw(way()), edge), GOAL)
    assert not near(colour(plain.draw(way()), edge), GOAL)


def test_ways_are_where_they_were_walked():
    path = np.array([(0.5, 0, 0.5), (3.5, 0, 0.5), (3.5, 0, 3.5)], float)
    reference = np.array([(0.5, 0, 3.0), (3.0, 0, 3.0)], float)
    goals, bumps = np.array([(5.5, 0, 3.5)]), np.array([(5.5, 0, 0.5)])
    drawn = plan()
    picture = drawn.draw(way(path=path, reference=reference, goals=goals, bumps=bumps))
    for point in ((2.0, 0, 0.5), (3.5, 0, 2.0)):
        assert near(colour(picture, drawn.pixel(point)), PATH)
    assert near(colour(picture, drawn.pixel((3.5, 0, 3.5))), AGENT)
    assert near(colour(picture, drawn.pixel(goals[0])), GOAL)
    assert near(colour(picture, drawn.pixel(bumps[0])), BUMP)
    row = round(float(drawn.pixel((0, 0, 3.0))[1]))
    between = slice(*(int(drawn.pixel((x, 0, 3.0))[0]) for x in (0.6, 2.9)))
    green = [near(tuple(pixel), REFERENCE) for pixel in picture[row, between].tolist()]
    assert 0.3 < np.mean(green) < 0.8  # dashes


def test_the_agent_looks_where_its_yaw_says():
    drawn = plan()
    for yaw, ahead in ((0.0, (0, 0, -1)), (math.pi / 2, (-1, 0, 0))):  # -Z, and a quarter to the left
        picture = drawn.draw(way(path=np.array([(3.0, 0, 2.0)]), yaw=yaw))
        step = drawn.pixel((3.0, 0, 2.0)) + 9 * np.array([ahead[0], ahead[2]])
        assert near(colour(picture, step), AGENT)


def test_the_storey_of_the_agent_is_shown():
    drawn = plan()
    assert (drawn.level(0.1), drawn.level(1.9), drawn.level(2.6), drawn.level(3.2)) == (0, 0, 3, 3)
    below, above = drawn.draw(way()), drawn.draw(way(path=np.array([(0.2, 3.0, 3.8)])))
    up = drawn.pixel((4.5, 0, 2.0))
    assert near(colour(below, up), FLOOR)
    assert near(colour(above, up), WALKABLE)
