"""Walking and shortest ways on floors whose answers are known in closed form."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hand_built import Box, build, slab, wall
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.params import AgentParams, HouseParams
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.navigation import NavigationGrid
from vln_heatmap.simulation.navigation.lines import resample
from vln_heatmap.simulation.simulators.base import (
    FORWARD,
    STOP,
    TURN_LEFT,
    TURN_RIGHT,
    AgentState,
    NoNavigableFloorError,
)

AGENT = AgentParams()
RADIUS, CELL = AGENT.radius, AGENT.cell
WIDTH, DEPTH = 6.0, 4.0
ROOM = Box((0, 0, 0), (WIDTH, 2.6, DEPTH), inside=True)


def grid_of(*boxes: Box, agent: AgentParams = AGENT) -> NavigationGrid:
    return NavigationGrid.from_scene(build(*boxes), agent)


def floor(x: float, z: float) -> np.ndarray:
    return np.array([x, 0.0, z])


def length(path: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def bend(a: float, b: float, between: float, radius: float) -> float:
    """Length of the tightest way from distance a to distance b of a corner that is kept ``radius`` away.

    Two tangents to the circle round the corner and the arc between them; ``between`` is the angle at the corner
    from one end to the other, on the side of the way.
    """
    arc = between - math.acos(radius / a) - math.acos(radius / b)
    return math.sqrt(a**2 - radius**2) + math.sqrt(b**2 - radius**2) + radius * arc


@pytest.fixture(scope="module")
def room() -> NavigationGrid:
    return grid_of(ROOM)


@pytest.fixture(scope="module")
def two_rooms() -> NavigationGrid:
    """The room, cut by a wall at x = 3 with a doorway 1.5 < z < 2.5, and a block in its right half."""
    return grid_of(ROOM, wall(2.95, 0, 3.05, 1.5), wall(2.95, 2.5, 3.05, 4), wall(4.2, 1.2, 4.9, 2.4))


# --- free floor --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [0.1, 0.18, 0.3])
def test_the_body_keeps_its_radius_from_the_walls(radius):
    grid = grid_of(ROOM, agent=AgentParams(radius=radius))
    _, rows, columns = np.nonzero(grid.free)
    x0, z0 = grid.origin
    left, right = x0 + columns.min() * CELL, x0 + (columns.max() + 1) * CELL
    back, front = z0 + rows.min() * CELL, z0 + (rows.max() + 1) * CELL
    for gap in (left, WIDTH - right, back, DEPTH - front):
        assert radius - CELL / 2 - 1e-6 <= gap <= radius + CELL / 2 + 1e-6
    assert grid.free.sum() * CELL**2 == pytest.approx((right - left) * (front - back))  # no holes


def test_points_are_drawn_evenly(room):
    rng = np.random.default_rng(0)
    points = np.array([room.random_point(rng) for _ in range(2000)])
    assert all(room.is_navigable(point) for point in points)
    assert np.all(points[:, 1] == 0)
    size = np.array([WIDTH, DEPTH]) - 2 * RADIUS
    expected_deviation = size / math.sqrt(12)  # of an even distribution
    assert points[:, (0, 2)].mean(0) == pytest.approx([WIDTH / 2, DEPTH / 2], abs=0.1)
    assert points[:, (0, 2)].std(0) == pytest.approx(expected_deviation, rel=0.05)


@pytest.mark.parametrize("point", [(-1, 0, 2), (3, 0, -50), (3, 1.5, 2), (0.1, 0, 2), (math.nan, 0, 2)])
def test_outside_too_high_or_in_a_wall_is_not_navigable(room, point):
    point = np.array(point)
    assert not room.is_navigable(point)
    assert room.geodesic_distance(floor(1, 1), point) == math.inf
    assert room.shortest_path(point, floor(1, 1)).shape == (0, 3)


@pytest.mark.parametrize(("bottom", "passes"), [(1.3, False), (1.5, True)])
def test_a_beam_stops_only_who_is_taller(bottom, passes):
    grid = grid_of(ROOM, wall(2.9, 0, 3.1, DEPTH, bottom=bottom))
    assert grid.is_navigable(floor(3, 2)) == passes
    assert math.isfinite(grid.geodesic_distance(floor(5, 2), floor(1, 2))) == passes


@pytest.mark.parametrize(("top", "passes"), [(0.08, True), (0.15, False)])
def test_a_sill_is_stepped_over_only_if_it_is_low(top, passes):
    grid = grid_of(ROOM, wall(2.9, 0, 3.1, DEPTH, top=top))
    assert math.isfinite(grid.geodesic_distance(floor(5, 2), floor(1, 2))) == passes


@pytest.mark.parametrize(("gap", "passes"), [(0.3, False), (0.5, True)])
def test_a_gap_lets_the_body_through_if_it_is_wide_enough(gap, passes):
    low, high = 2 - gap / 2, 2 + gap / 2
    grid = grid_of(ROOM, wall(2.9, 0, 3.1, low), wall(2.9, high, 3.1, DEPTH))
    assert math.isfinite(grid.geodesic_distance(floor(5, 2), floor(1, 2))) == passes


def test_a_thin_slanted_wall_stops_even_the_thinnest_body():
    scene = build(ROOM, wall(0, 0, 6, 0.01))
    vertices = scene.vertices.copy()
    shear = vertices[24:]  # the wall now runs from one corner of the room to the opposite one
    shear[:, 2] += shear[:, 0] * DEPTH / WIDTH
    grid = NavigationGrid.from_scene(replace(scene, vertices=vertices), AgentParams(radius=0.01))
    sides = [floor(5, 1), floor(1, 3)]
    assert sum(grid.is_navigable(side) for side in sides) == 1
    assert grid.geodesic_distance(*sides) == math.inf


@pytest.mark.parametrize(
    "boxes",
    [
        [wall(0, 0, 5, 0.1)],  # walls only
        [Box((0, 0.5, 0), (5, 0.7, 5))],  # what is level is too high to be the floor
        [slab(0, 0, 5, 0.2)],  # narrower than the body
        [slab(0, 0, 5, 5), Box((0, 1.0, 0), (5, 1.1, 5))],  # no head room
    ],
)
def test_a_scene_without_room_to_stand_is_refused(boxes):
    with pytest.raises(
        NoNavigableFloorError, match=r"'built' has no floor .* radius 0.18 m and height 1.4 m"
    ):
        grid_of(*boxes)


def test_a_scene_in_millimetres_is_refused():
    with pytest.raises(ValueError, match=r"6000 x 4000 m.* metres"):
        grid_of(slab(0, 0, 6000, 4000))


# --- room round a point ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(x=st.floats(0.3, WIDTH - 0.3), z=st.floats(0.3, DEPTH - 0.3))
def test_clearance_is_the_distance_to_the_nearest_wall(room, x, z):
    nearest = min(x, WIDTH - x, z, DEPTH - z)
    assert room.clearance(floor(x, z)) == pytest.approx(nearest, abs=CELL)


@pytest.mark.parametrize("point", [(-1, 0, 2), (0.1, 0, 2), (3, 1.5, 2)])
def test_where_one_cannot_stand_there_is_no_clearance(room, point):
    assert room.clearance(np.array(point)) == 0


def test_all_free_cells_are_points(two_rooms):
    points = two_rooms.points()
    assert len(points) == two_rooms.free.sum()
    assert len(np.unique(points, axis=0)) == len(points)
    assert all(two_rooms.is_navigable(point) for point in points[::7])


@pytest.mark.parametrize("spacing", [0.5, 0.8])
def test_a_sample_has_a_point_in_every_square_with_floor(two_rooms, spacing):
    sample, points = two_rooms.sample(spacing), two_rooms.points()
    squares = {tuple(s) for s in np.floor(sample[:, (0, 2)] / spacing)}
    assert len(squares) == len(sample)
    assert squares == {tuple(s) for s in np.floor(points[:, (0, 2)] / spacing)}
    assert all(two_rooms.is_navigable(point) for point in sample)


@pytest.mark.parametrize("spacing", [0.0, -1.0, math.nan, math.inf])
def test_a_sample_without_spacing_is_refused(room, spacing):
    with pytest.raises(ValueError, match=f"spacing must be a positive number of metres, got {spacing}"):
        room.sample(spacing)


# --- shortest ways -----------------------------------------------------------------------------------------


def test_in_an_empty_room_the_way_is_straight(room):
    rng = np.random.default_rng(1)
    for _ in range(50):
        start, goal = room.random_point(rng), room.random_point(rng)
        assert room.geodesic_distance(start, goal) == pytest.approx(np.linalg.norm(goal - start), rel=1e-9)
        assert np.array_equal(room.shortest_path(start, goal), np.stack([start, goal]))


def test_the_way_to_where_one_stands_has_no_length(room):
    assert room.geodesic_distance(floor(1, 1), floor(1, 1)) == 0


@pytest.mark.parametrize(("leg_a", "leg_b"), [(2.0, 3.0), (3.2, 0.8), (1.0, 1.0)])
@pytest.mark.parametrize("offset", [0.3, 0.6])
def test_round_the_corner_of_a_corridor(leg_a, leg_b, offset):
    """An L of two corridors 1 m wide; the inner corner is at (1, 1), one leg runs along x, one along z."""
    grid = grid_of(slab(0, 0, 6, 1), slab(0, 1, 1, 6), wall(1, 1, 6, 1.1), wall(1, 1.1, 1.1, 6))
    start, goal = floor(1 + leg_a, 1 - offset), floor(1 - offset, 1 + leg_b)
    a, b = math.hypot(leg_a, offset), math.hypot(leg_b, offset)
    between = 1.5 * math.pi - math.atan2(offset, leg_a) - math.atan2(offset, leg_b)
    expected = bend(a, b, between, RADIUS)
    assert grid.geodesic_distance(start, goal) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("half_width", [0.2, 0.5, 1.0])
def test_round_both_corners_of_a_block(half_width):
    """From one side of a block to the other: tangent, arc, along the block, arc, tangent."""
    reach, half_depth, middle = 2.4, 0.4, 1.5  # of the room's depth, so that the way past z < 1.5 is shorter
    grid = grid_of(ROOM, wall(3 - half_width, middle - half_depth, 3 + half_width, middle + half_depth))
    start, goal = floor(3 - reach, middle), floor(3 + reach, middle)
    a = math.hypot(reach - half_width, half_depth)
    rise = math.atan2(half_depth, reach - half_width) + math.asin(RADIUS / a)  # of the tangent
    expected = 2 * (math.sqrt(a**2 - RADIUS**2) + RADIUS * rise + half_width)
    assert grid.geodesic_distance(start, goal) == pytest.approx(expected, rel=0.02)


def test_a_closed_door_leaves_no_way():
    walls = [ROOM, wall(3.5, 0, 3.6, 1.5), wall(3.5, 2.5, 3.6, 4)]
    inside, outside = floor(5, 2), floor(1, 2)
    assert grid_of(*walls).geodesic_distance(inside, outside) == pytest.approx(4)
    closed = grid_of(*walls, wall(3.5, 1.5, 3.6, 2.5))
    assert closed.geodesic_distance(inside, outside) == closed.geodesic_distance(outside, inside) == math.inf
    assert closed.shortest_path(outside, inside).shape == (0, 3)
    assert closed.is_navigable(outside)  # the larger room is what is left
    assert not closed.is_navigable(inside)


def test_distances_are_symmetric_and_never_shorter_than_straight(two_rooms):
    rng = np.random.default_rng(2)
    for _ in range(60):
        start, goal = two_rooms.random_point(rng), two_rooms.random_point(rng)
        distance = two_rooms.geodesic_distance(start, goal)
        assert distance == pytest.approx(two_rooms.geodesic_distance(goal, start), rel=1e-12)
        assert distance >= np.linalg.norm(goal - start) - 1e-9
        there, back = two_rooms.shortest_path(start, goal), two_rooms.shortest_path(goal, start)
        assert np.array_equal(there, back[::-1])


def test_no_way_is_much_longer_than_a_detour(two_rooms):
    """Triangle inequality, but for the grid and the 8 % that the choice between two sides may cost."""
    rng = np.random.default_rng(3)
    for _ in range(60):
        a, b, c = (two_rooms.random_point(rng) for _ in range(3))
        detour = two_rooms.geodesic_distance(a, b) + two_rooms.geodesic_distance(b, c)
        assert two_rooms.geodesic_distance(a, c) <= 1.083 * detour + CELL


def test_a_path_joins_its_ends_and_can_be_walked(two_rooms):
    rng = np.random.default_rng(4)
    for _ in range(40):
        start, goal = two_rooms.random_point(rng), two_rooms.random_point(rng)
        path = two_rooms.shortest_path(start, goal)
        assert np.array_equal(path[[0, -1]], np.stack([start, goal]))
        assert two_rooms.geodesic_distance(start, goal) == pytest.approx(length(path))
        for before, after in pairwise(path):
            assert_walkable(two_rooms, before, after)


def test_a_roomy_path_joins_its_ends_and_keeps_away_from_walls(two_rooms):
    rng = np.random.default_rng(5)
    roomier = 0
    for _ in range(40):
        start, goal = two_rooms.random_point(rng), two_rooms.random_point(rng)
        path, shortest = two_rooms.roomy_path(start, goal), two_rooms.shortest_path(start, goal)
        assert np.array_equal(path[[0, -1]], np.stack([start, goal]))
        assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() <= 1.5 * CELL
        assert all(two_rooms.is_navigable(point) for point in path)
        assert length(shortest) - 1e-9 <= length(path) <= 1.5 * length(shortest) + 4 * CELL
        gaps, close = (
            np.array([two_rooms.clearance(point) for point in resample(way, CELL)])
            for way in (path, shortest)
        )
        price = [float((1 + 6 * np.clip(1 - g / 0.5, 0, 1) ** 2).mean()) for g in (gaps, close)]
        assert price[0] * length(path) <= 1.09 * price[1] * length(shortest) + 14 * CELL  # the grid's 8 %
        roomier += gaps.min() > close.min() + CELL
    assert roomier >= 3


def test_there_is_no_roomy_path_where_there_is_none(room):
    assert room.roomy_path(floor(1, 1), np.array([50.0, 0.0, 50.0])).shape == (0, 3)


def assert_walkable(grid: NavigationGrid, start: np.ndarray, goal: np.ndarray) -> None:
    """Points between are navigable, and whole steps from start towards goal do not collide."""
    way = goal - start
    assert all(grid.is_navigable(start + t * way) for t in np.random.default_rng(0).random(50))
    state = AgentState(tuple(start), math.atan2(-way[0], -way[2]))
    for _ in range(int((np.linalg.norm(way) - 1e-6) / AGENT.forward_step)):
        result = grid.step(state, FORWARD)
        assert not result.collided
        state = result.state


# --- actions -----------------------------------------------------------------------------------------------


@given(yaw=st.floats(-math.pi, math.pi), turn=st.sampled_from([TURN_LEFT, TURN_RIGHT]))
def test_a_full_turn_returns_the_yaw(room, yaw, turn):
    state = AgentState((3.0, 0.0, 2.0), yaw)
    seen = []
    for _ in range(24):
        result = room.step(state, turn)
        assert not result.collided
        assert result.state.position == state.position
        assert -math.pi <= result.state.yaw < math.pi
        seen.append(math.remainder(result.state.yaw - state.yaw, 2 * math.pi))
        state = result.state
    assert seen == pytest.approx([math.radians(15) * (1 if turn == TURN_LEFT else -1)] * 24)
    assert math.remainder(state.yaw - yaw, 2 * math.pi) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("yaw", "move"),
    [(0, (0, -0.25)), (math.pi / 2, (-0.25, 0)), (-math.pi / 2, (0.25, 0)), (math.pi, (0, 0.25))],
)
def test_forward_goes_where_the_camera_looks(room, yaw, move):
    result = room.step(AgentState((3.0, 0.0, 2.0), yaw), FORWARD)
    assert not result.collided
    assert result.state.position == pytest.approx((3 + move[0], 0, 2 + move[1]))


def test_stop_stays(room):
    state = AgentState((3.0, 0.0, 2.0), 0.3)
    result = room.step(state, STOP)
    assert result.state == state
    assert not result.collided


@pytest.mark.parametrize("action", [-1, 4, 7])
def test_an_unknown_action_is_refused(room, action):
    with pytest.raises(ValueError, match=f"action must be 0 .* got {action}"):
        room.step(AgentState((3.0, 0.0, 2.0), 0.0), action)


@given(yaw=st.floats(-math.pi, math.pi))
def test_walking_ahead_ends_at_the_wall(room, yaw):
    """The last position is within a step of the wall, and bumping into it changes nothing."""
    state = AgentState((3.0, 0.0, 2.0), yaw)
    steps = 0
    while not (result := room.step(state, FORWARD)).collided:
        state = result.state
        steps += 1
        assert room.is_navigable(np.array(state.position))
        assert steps < 20
    assert result.state == state
    ahead = np.array([-math.sin(yaw), -math.cos(yaw)])
    here = np.array(state.position)[[0, 2]]
    target = here + ahead * AGENT.forward_step
    gap = min(target.min(), WIDTH - target[0], DEPTH - target[1])
    assert gap <= RADIUS + CELL / 2 + 1e-6
    assert min(here.min(), WIDTH - here[0], DEPTH - here[1]) >= RADIUS - CELL / 2 - 1e-6


# --- houses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_every_room_of_a_generated_house_can_be_reached(seed):
    house = generate_house(seed, HouseParams(texture_size=16, light=False))
    grid = NavigationGrid.from_scene(house, AGENT)
    rng = np.random.default_rng(seed)
    points = [grid.random_point(rng) for _ in range(400)]
    by_room = {house.room_at(point[0], point[2]): point for point in points}
    assert set(range(len(house.rooms))) <= set(by_room)
    hub = by_room[0]
    for room in range(1, len(house.rooms)):
        path = grid.shortest_path(hub, by_room[room])
        assert len(path) >= 2
        for before, after in pairwise(path):
            assert_walkable(grid, before, after)
