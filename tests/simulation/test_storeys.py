"""Walking over stairs, bridges and storeys made of boxes: lengths and heights are known in closed form."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hand_built import Box, build, slab, wall

from vln_heatmap.params import AgentParams, HouseParams
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.navigation import NavigationGrid
from vln_heatmap.simulation.simulators.base import FORWARD, AgentState, NoNavigableFloorError

AGENT = AgentParams()
RADIUS, CELL = AGENT.radius, AGENT.cell
RISE, TREAD, WIDE = 0.18, 0.25, 1.2


def flight(x: float, count: int, *, bottom: float = 0.0, z: float = 1.4, rise: float = RISE, solid=True):
    """Treads up in direction +x from ``bottom``; the last is ``count`` rises up. Hollow ones are 5 cm thick."""
    treads = []
    for i in range(count):
        top = bottom + (i + 1) * rise
        low = bottom - 0.1 if solid else top - 0.05
        treads.append(Box((x + i * TREAD, low, z), (x + (i + 1) * TREAD, top, z + WIDE)))
    return treads


def platform(x: float, height: float, *, thick: float | None = None) -> Box:
    """A block 3 x 4 m, as high as its top or ``thick``."""
    low = -0.1 if thick is None else height - thick
    return Box((x, low, 0), (x + 3, height, 4))


def grid_of(*boxes: Box, agent: AgentParams = AGENT) -> NavigationGrid:
    return NavigationGrid.from_scene(build(*boxes), agent)


def length(path: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def point(x: float, y: float, z: float = 2.0) -> np.ndarray:
    return np.array([x, y, z])


GROUND = slab(0, 0, 12, 4)
STEPS = 10  # up to a platform at 1.8 m; hollow stairs have room to walk under them only at their upper end
TOP = STEPS * RISE
FOOT, HEAD = 3.0, 3.0 + (STEPS - 1) * TREAD  # the last riser is the platform's edge


@pytest.fixture(scope="module", params=["solid", "hollow"])
def stairs(request: pytest.FixtureRequest) -> NavigationGrid:
    """A platform that is reached by a flight of stairs; if it is hollow, one can walk under it too."""
    solid = request.param == "solid"
    return grid_of(
        GROUND,
        *flight(FOOT, STEPS - 1, solid=solid),
        platform(HEAD, TOP, thick=None if solid else 0.1),
    )


# --- stairs ------------------------------------------------------------------------------------------------


def test_a_flight_of_stairs_is_as_long_as_its_slope(stairs):
    start, goal = point(0.5, 0), point(HEAD + 2, TOP)
    slope = math.hypot(HEAD - FOOT, TOP - RISE)  # between the middles of the first and the last tread
    expected = (FOOT - 0.5) + math.hypot(TREAD, RISE) + slope + 2 - TREAD
    assert stairs.geodesic_distance(start, goal) == pytest.approx(expected, rel=0.02)
    assert stairs.geodesic_distance(goal, start) == pytest.approx(expected, rel=0.02)


def test_the_way_over_stairs_ends_at_its_ends_and_climbs_steadily(stairs):
    start, goal = point(0.5, 0), point(HEAD + 2, TOP)
    path = stairs.shortest_path(start, goal)
    assert path[[0, -1]] == pytest.approx(np.stack([start, goal]))
    assert np.all(np.diff(path[:, 1]) >= -1e-9)
    middle = path[(path[:, 0] > FOOT + 0.3) & (path[:, 0] < HEAD - 0.3)]
    for x, y, _ in (*middle, *[(a + b) / 2 for a, b in pairwise(path)]):
        ramp = np.clip((x - FOOT + TREAD / 2) * RISE / TREAD, 0, TOP)
        assert y == pytest.approx(ramp, abs=0.06)


def test_walking_up_the_stairs_takes_steps_of_one_length(stairs):
    state, heights = AgentState((1.0, 0.0, 2.0), -math.pi / 2), []
    for _ in range(22):
        result = stairs.step(state, FORWARD)
        assert not result.collided
        way = np.subtract(result.state.position, state.position)
        assert np.linalg.norm(way) == pytest.approx(AGENT.forward_step, abs=2e-3)
        assert abs(way[2]) < 1e-12
        state = result.state
        heights.append(state.position[1])
        assert stairs.is_navigable(np.array(state.position))
    assert heights[0] == 0
    assert np.all(np.diff(heights) >= -1e-9)
    assert heights[-1] == pytest.approx(TOP, abs=1e-6)


def test_walking_down_comes_back_to_the_floor(stairs):
    state = AgentState((HEAD + 2, TOP, 2.0), math.pi / 2)
    for _ in range(24):
        result = stairs.step(state, FORWARD)
        assert not result.collided
        state = result.state
    assert state.position[0] < FOOT - 0.2
    assert state.position[1] == 0


def test_from_the_side_the_stairs_cannot_be_entered(stairs):
    """Beside the fifth tread, 0.9 m up, the way into the stairs is blocked, and so is the way out."""
    x = FOOT + 4.6 * TREAD
    out = AgentState((x, 5 * RISE, 1.4 + RADIUS + 0.05), 0.0)
    assert stairs.is_navigable(np.array(out.position))
    assert stairs.step(out, FORWARD).collided
    beside = AgentState((x, 0.0, 1.4 - RADIUS - 0.05), math.pi)
    assert stairs.is_navigable(np.array(beside.position))
    assert stairs.step(beside, FORWARD).collided


def test_points_on_all_storeys_are_drawn_evenly_and_have_the_height_of_the_floor(stairs):
    rng = np.random.default_rng(0)
    drawn = np.array([stairs.random_point(rng) for _ in range(3000)])
    assert all(stairs.is_navigable(p) for p in drawn[:300])
    up = np.isclose(drawn[:, 1], TOP)
    ground = drawn[:, 1] == 0
    points = stairs.points()
    for share, cells in (
        (up.mean(), np.isclose(points[:, 1], TOP).mean()),
        (ground.mean(), (points[:, 1] == 0).mean()),
    ):
        assert share == pytest.approx(cells, abs=0.03)
    area = (3 - 2 * RADIUS) * (4 - 2 * RADIUS)
    assert np.isclose(points[:, 1], TOP).sum() * CELL**2 == pytest.approx(area, rel=0.1)
    assert len(np.unique(points, axis=0)) == len(points)


def test_distances_are_symmetric_and_paths_can_be_walked(stairs):
    rng = np.random.default_rng(1)
    for _ in range(40):
        start, goal = stairs.random_point(rng), stairs.random_point(rng)
        path = stairs.shortest_path(start, goal)
        assert np.array_equal(path, stairs.shortest_path(goal, start)[::-1])
        assert path[[0, -1]] == pytest.approx(np.stack([start, goal]), abs=1e-9)
        assert length(path) >= np.linalg.norm(goal - start) - 1e-9
        for before, after in pairwise(path):
            assert_walkable(stairs, before, after)


def assert_walkable(grid: NavigationGrid, start: np.ndarray, goal: np.ndarray) -> None:
    """Points between are on the floor, and whole steps from start towards goal do not collide."""
    way = goal - start
    between = start + np.random.default_rng(0).random((20, 1)) * way
    assert all(grid.is_navigable(p) for p in between)
    state = AgentState(tuple(start), math.atan2(-way[0], -way[2]))
    while np.linalg.norm((goal - state.position)[[0, 2]]) > AGENT.forward_step:
        result = grid.step(state, FORWARD)
        assert not result.collided
        state = result.state


def test_triangle_inequality_over_storeys(stairs):
    rng = np.random.default_rng(3)
    for _ in range(30):
        a, b, c = (stairs.random_point(rng) for _ in range(3))
        detour = stairs.geodesic_distance(a, b) + stairs.geodesic_distance(b, c)
        assert stairs.geodesic_distance(a, c) <= 1.083 * detour + 3 * CELL


def test_the_clearance_on_stairs_is_to_their_sides(stairs):
    assert stairs.clearance(point(FOOT + 1, 4.5 * RISE)) == pytest.approx(0.3, abs=0.2)
    assert stairs.clearance(point(HEAD + 1.5, TOP)) > 1.4


def test_a_sample_covers_both_storeys(stairs):
    sample = stairs.sample(0.5)
    assert all(stairs.is_navigable(p) for p in sample)
    up = sample[np.isclose(sample[:, 1], TOP)]
    squares = {tuple(s) for s in np.floor(up[:, (0, 2)] / 0.5)}
    assert len(squares) >= (3 / 0.5 - 2) * (4 / 0.5 - 2)


# --- what cannot be climbed --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rise", "climbs"), [(0.1, True), (0.18, True), (0.2, True), (0.22, False), (0.3, False)]
)
def test_steps_up_to_a_fifth_of_a_metre_are_climbed(rise, climbs):
    count = round(1.2 / rise)
    grid = grid_of(GROUND, *flight(3, count - 1, rise=rise), platform(3 + (count - 1) * TREAD, count * rise))
    up = point(3 + (count - 1) * TREAD + 2, count * rise)
    assert grid.is_navigable(up) == climbs
    assert math.isfinite(grid.geodesic_distance(point(1, 0), up)) == climbs


def test_a_gap_in_the_stairs_cannot_be_climbed():
    treads = flight(FOOT, STEPS - 1)
    grid = grid_of(GROUND, *treads[:3], *treads[5:], platform(HEAD, TOP))
    assert grid.is_navigable(point(1, 0))
    assert grid.geodesic_distance(point(1, 0), point(HEAD + 2, TOP)) == math.inf
    assert grid.points()[:, 1].max() < 4 * RISE


@pytest.mark.parametrize("width", [0.3, 0.6])
def test_stairs_are_climbed_only_if_the_body_fits_between_their_walls(width):
    walls = [wall(FOOT - 1, 0, HEAD, 2 - width / 2), wall(FOOT - 1, 2 + width / 2, HEAD, 4)]
    grid = grid_of(GROUND, *flight(FOOT, STEPS - 1), platform(HEAD, TOP), *walls)
    assert math.isfinite(grid.geodesic_distance(point(1, 0), point(HEAD + 2, TOP))) == (width > 2 * RADIUS)


def test_two_floors_without_stairs_are_two_places():
    """The ground storey is kept, even if the upper floor is larger."""
    grid = grid_of(slab(0, 0, 5, 4), Box((0, 2.6, 0), (8, 2.8, 6)))
    assert grid.is_navigable(point(2, 0))
    assert not grid.is_navigable(point(2, 2.8))
    assert grid.geodesic_distance(point(2, 0), point(2, 2.8)) == math.inf
    assert np.all(grid.points()[:, 1] == 0)


def test_the_largest_floor_counts_with_what_it_leads_to():
    """Two pieces of ground; the smaller has stairs to a large platform, and so is the larger place."""
    place = [slab(0, 0, 3.5, 4), *flight(FOOT, STEPS - 1), platform(HEAD, TOP, thick=0.1)]
    grid = grid_of(*place, slab(20, 0, 24, 4))
    assert grid.is_navigable(point(HEAD + 2, TOP))
    assert not grid.is_navigable(point(22, 0))
    alone = grid_of(*place[:1], *place[2:], slab(20, 0, 24, 4))  # without the first tread
    assert alone.is_navigable(point(22, 0))
    assert not alone.is_navigable(point(1, 0))


def test_a_floor_that_is_not_at_ground_level_is_no_ground():
    with pytest.raises(NoNavigableFloorError, match="y = 0"):
        grid_of(Box((0, 2.6, 0), (8, 2.8, 6)))


@pytest.mark.parametrize(("wide", "climbs"), [(0.2, False), (0.6, True)])
def test_a_bump_is_climbed_if_one_can_stand_on_it(wide, climbs):
    grid = grid_of(slab(0, 0, 6, 2), wall(3 - wide / 2, 0, 3 + wide / 2, 2, top=0.15))
    assert math.isfinite(grid.geodesic_distance(point(1, 0, 1), point(5, 0, 1))) == climbs
    assert grid.is_navigable(point(3, 0.15, 1)) == climbs


def test_what_can_be_carried_off_is_not_climbed():
    scene = build(slab(0, 0, 6, 2), wall(2.5, 0, 3.5, 2, top=0.15))
    floor, thing = scene.instances
    box = replace(scene, instances=(floor, replace(thing, movable=True)))
    ends = point(1, 0, 1), point(5, 0, 1)
    assert NavigationGrid.from_scene(scene, AGENT).geodesic_distance(*ends) < math.inf
    assert NavigationGrid.from_scene(box, AGENT).geodesic_distance(*ends) == math.inf


def test_a_ramp_is_walked_at_its_own_height():
    """A wedge of 1 m in 4 m, up to a platform."""
    scene = build(GROUND, Box((3, -0.1, 0), (7, 1.0, 4)), platform(7, 1.0))
    vertices = scene.vertices.copy()
    box = vertices[24:48]
    box[(box[:, 0] == 3) & (box[:, 1] == 1), 1] = 0
    grid = NavigationGrid.from_scene(replace(scene, vertices=vertices), AGENT)
    path = grid.shortest_path(point(1, 0), point(9, 1.0))
    assert length(path) == pytest.approx(2 + math.hypot(4, 1) + 2, rel=0.01)
    for x in (4.0, 5.0, 6.0):
        y = grid.step(AgentState((x - 0.25, (x - 3.25) / 4, 2.0), -math.pi / 2), FORWARD).state.position[1]
        assert y == pytest.approx((x - 3) / 4, abs=0.1)


# --- two layers --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bridge() -> NavigationGrid:
    """Stairs up, a bridge at 2.16 m over the floor, and stairs down on the other side of it."""
    up = flight(2, 12)
    down = [
        Box((12 - b.high[0], b.low[1], b.low[2]), (12 - b.low[0], b.high[1], b.high[2]))
        for b in flight(2, 12)
    ]
    return grid_of(GROUND, *up, *down, Box((5, 2.06, 1.4), (7, 2.16, 2.6)))


def test_over_and_under_a_bridge(bridge):
    over, under = point(6, 2.16), point(6, 0)
    assert bridge.is_navigable(over)
    assert bridge.is_navigable(under)
    assert not bridge.is_navigable(point(6, 1.1))
    crossing = bridge.shortest_path(point(6, 0, 0.5), point(6, 0, 3.5))  # under it, straight
    assert length(crossing) == pytest.approx(3)
    assert np.all(crossing[:, 1] == 0)
    along = bridge.shortest_path(point(3, 4.5 * RISE), point(9, 4.5 * RISE))  # over it
    assert length(along) == pytest.approx(2 * math.hypot(2, 1.44) + 2, rel=0.03)
    assert along[:, 1].max() == pytest.approx(2.16)


def test_from_under_the_bridge_onto_it_is_a_long_way(bridge):
    way = bridge.geodesic_distance(point(6, 0), point(6, 2.16))
    flat = 4 + 2 * math.hypot(0, RADIUS)  # to the foot of the stairs, round their side
    assert way == pytest.approx(bridge.geodesic_distance(point(6, 2.16), point(6, 0)))
    assert way > flat + math.hypot(3, 2.16)
    state = bridge.step(AgentState((6.0, 2.16, 2.0), -math.pi / 2), FORWARD).state
    assert state.position == pytest.approx((6.25, 2.16, 2.0))
    state = bridge.step(AgentState((6.0, 0.0, 2.0), -math.pi / 2), FORWARD).state
    assert state.position == pytest.approx((6.25, 0.0, 2.0))
    assert bridge.step(AgentState((6.0, 2.16, 2.0), 0.0), FORWARD).state.position[1] == pytest.approx(2.16)


def test_nobody_walks_off_the_bridge(bridge):
    state = AgentState((6.0, 2.16, 2.0), 0.0)
    for _ in range(5):
        state = bridge.step(state, FORWARD).state
    assert state.position[1] == pytest.approx(2.16)
    assert state.position[2] > 1.4


def test_one_walks_under_stairs_only_where_they_leave_head_room(stairs):
    """Hollow stairs: the body's top, 1.4 m, must stay below the treads' undersides."""
    hollow = grid_of(
        GROUND, *flight(FOOT, 14, solid=False), Box((FOOT + 14 * TREAD, 2.42, 1), (9.5, 2.52, 3))
    )
    under = FOOT + TREAD * (1.4 + 0.05) / RISE  # from here on there is room overhead
    assert hollow.is_navigable(point(under + 2 * TREAD + RADIUS, 0))
    assert not hollow.is_navigable(point(under - TREAD, 0))
    assert hollow.is_navigable(point(under + TREAD, 11 * RISE - 0.05))


@pytest.mark.parametrize(("bottom", "passes"), [(1.3, False), (1.55, True)])
def test_a_beam_over_the_stairs_stops_who_is_taller(bottom, passes):
    """A beam over the fifth tread; ``bottom`` metres above it."""
    x = FOOT + 4 * TREAD
    beam = Box((x, 5 * RISE + bottom, 0), (x + 0.1, 5 * RISE + bottom + 0.3, 4))
    grid = grid_of(GROUND, *flight(FOOT, STEPS - 1), platform(HEAD, TOP), beam)
    assert math.isfinite(grid.geodesic_distance(point(1, 0), point(HEAD + 2, TOP))) == passes


def test_a_cellar_is_reached_downwards():
    """Stairs that lead from the ground to a floor 1.8 m below it."""
    steps = [Box((3 + i * TREAD, -2.2, 0), (3 + (i + 1) * TREAD, -(i + 1) * RISE, 4)) for i in range(9)]
    grid = grid_of(slab(0, 0, 3, 4), *steps, Box((3 + 9 * TREAD, -2.2, 0), (9, -1.8, 4)))
    path = grid.shortest_path(point(1, 0), point(8, -1.8))
    assert length(path) == pytest.approx(
        2 - TREAD / 2 + math.hypot(10 * TREAD, 1.8) + 8 - 5.125 - TREAD, rel=0.02
    )
    assert grid.points()[:, 1].min() == pytest.approx(-1.8)


def test_three_storeys_are_joined_by_two_flights():
    """The second flight lies over the first one, in the same direction."""
    first, second = flight(FOOT, 14), flight(FOOT, 14, bottom=2.52)
    end = FOOT + 14 * TREAD
    floors = [
        Box((end - TREAD, 2.42, 0), (12, 2.52, 4)),
        Box((0, 2.42, 0), (FOOT, 2.52, 1.2)),
        Box((0, 2.42, 0), (12, 2.52, 1.2)),
        Box((0, 2.42, 0), (FOOT, 2.52, 4)),
        Box((end - TREAD, 4.94, 0), (12, 5.04, 4)),
    ]
    second = [Box((b.low[0], b.high[1] - 0.3, b.low[2]), b.high) for b in second]
    grid = grid_of(GROUND, *first, *floors, *second)
    start, middle, top = point(1, 0), point(1, 2.52), point(10, 5.04)
    assert math.isfinite(grid.geodesic_distance(start, middle))
    assert math.isfinite(grid.geodesic_distance(start, top))
    assert grid.geodesic_distance(start, top) >= 2 * math.hypot(13 * TREAD, 13 * RISE)
    path = grid.shortest_path(start, top)
    assert np.array_equal(path, grid.shortest_path(top, start)[::-1])
    for before, after in pairwise(path):
        assert_walkable(grid, before, after)


# --- houses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_every_room_of_a_house_of_two_storeys_can_be_reached(seed):
    house = generate_house(seed, HouseParams(storeys=2, texture_size=16, light=False))
    grid = NavigationGrid.from_scene(house, AGENT)
    points = grid.points()
    rooms = [house.room_at(x, z, y) for x, y, z in points[::20]]
    by_room = {room: point for room, point in zip(rooms, points[::20], strict=True) if room >= 0}
    assert set(by_room) == set(range(len(house.rooms)))
    upper = [room for room in by_room if house.rooms[room].floor > 1]
    assert upper
    start = next(point for room, point in by_room.items() if house.rooms[room].floor == 0)
    for room in upper:
        path = grid.shortest_path(start, by_room[room])
        rise = house.rooms[room].floor
        assert length(path) > math.hypot(rise, rise)  # stairs are less steep than 45 degrees
        assert path[-1, 1] == pytest.approx(rise, abs=0.21)  # or on something low in the room
        assert np.all(np.linalg.norm(np.diff(path, axis=0), axis=1) > 0)
        for before, after in pairwise(path):
            assert_walkable(grid, before, after)
