"""Walks on floors whose geometry is known in closed form: an open square, and two rooms with a doorway."""

import math

import numpy as np
import pytest
from open_floor import AGENT, TURN, OpenFloor, Ramp
from walk_checks import (
    assert_is_free_motion,
    assert_is_what_the_simulator_answers,
    rows_of,
    simulated,
    two_rooms,
)

from vln_heatmap.simulation.recording import camera_pose
from vln_heatmap.simulation.simulators.base import NoNavigableFloorError, Simulator
from vln_heatmap.simulation.trajectories import (
    TRAJECTORIES,
    NoRouteError,
    WalkRequest,
    circular_motion,
    forward_backward,
    object_focused,
    path_length,
    point_to_point,
    random_exploration,
    room_transition,
    systematic_sweep,
)
from vln_heatmap.simulation.trajectories.circles import longest_run

AGENT_WALKS = ("random_exploration", "point_to_point", "room_transition")
FREE_WALKS = tuple(name for name in TRAJECTORIES if name not in AGENT_WALKS)
ON_ANY_FLOOR = ("circular_motion", "forward_backward", "systematic_sweep")
CHESTS = (8, 9, 10, 11)  # ids in two_rooms


@pytest.fixture(scope="module")
def furnished() -> tuple:
    """Two furnished rooms: the simulator and its scene."""
    scene = two_rooms()
    sim = simulated(scene)
    yield sim, scene
    sim.close()


def positions(walk) -> np.ndarray:
    return np.array([step.state.position for step in walk.steps])


def test_the_fake_keeps_the_protocol() -> None:
    assert isinstance(OpenFloor(1.0), Simulator)


@pytest.mark.parametrize("name", AGENT_WALKS[:2])
@pytest.mark.parametrize("door", [None, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_walks_follow_the_simulator_and_repeat(name: str, door: float | None, seed: int) -> None:
    sim = OpenFloor(3.0, door)
    walk = TRAJECTORIES[name](sim, np.random.default_rng(seed), WalkRequest(40, AGENT))
    assert_is_what_the_simulator_answers(sim, walk)
    assert 2 <= len(walk.steps) <= 40
    assert walk == TRAJECTORIES[name](sim, np.random.default_rng(seed), WalkRequest(40, AGENT))


def test_exploration_fills_its_length_and_seldom_bumps() -> None:
    walks = [
        random_exploration(OpenFloor(3.0, 0.5), np.random.default_rng(seed), WalkRequest(60, AGENT))
        for seed in range(10)
    ]
    assert all(len(walk.steps) == 60 and not walk.stopped for walk in walks)
    collisions = sum(step.collided for walk in walks for step in walk.steps)
    assert collisions <= 0.02 * 600
    travelled = [path_length(positions(walk)) for walk in walks]
    assert np.mean(travelled) >= 60 * AGENT.forward_step / 4  # a quarter of all actions lead on, or more


def test_long_explorations_see_both_rooms_and_come_back() -> None:
    both = returned = 0
    for seed in range(8):
        sim, request = OpenFloor(3.0, 0.5), WalkRequest(300, AGENT)
        path = positions(random_exploration(sim, np.random.default_rng(seed), request))
        both += path[:, 0].min() < -0.3 and path[:, 0].max() > 0.3
        returned += any(came_back(path[start:]) for start in range(0, 250, 10))
    assert both >= 7
    assert returned >= 6


def came_back(path: np.ndarray) -> bool:
    """Whether the path [T, 3] goes more than a metre away from its start and then comes close to it again."""
    away = np.linalg.norm(path - path[0], axis=1)
    left = int(np.argmax(away > 1.0))
    return bool(away[left] > 1.0 and away[left:].min() < 0.3)


def test_one_cell_of_floor_still_gives_a_whole_walk() -> None:
    walk = random_exploration(OpenFloor(0.05), np.random.default_rng(0), WalkRequest(20, AGENT))
    assert len(walk.steps) == 20
    assert np.abs(positions(walk)).max() <= 0.05


@pytest.mark.parametrize("seed", range(6))
def test_the_expert_stops_at_the_goal_and_takes_no_detour(seed: int) -> None:
    sim = OpenFloor(3.0, 0.5)
    request = WalkRequest(80, AGENT, distance=(2.0, 5.0))
    walk = point_to_point(sim, np.random.default_rng(seed), request)
    path = positions(walk)
    shortest = sim.geodesic_distance(path[0], np.array(walk.goal))
    assert walk.stopped
    assert 2.0 <= shortest <= 5.0
    assert math.dist(path[-1], walk.goal) <= AGENT.forward_step
    # at most 3/4 of a turn step off the direct heading, plus a step for each of two corners
    assert path_length(path) <= shortest / math.cos(0.75 * TURN) + 2 * AGENT.forward_step


def test_the_expert_ends_facing_its_target() -> None:
    target = np.array([0.5, 0.8, -0.5])
    request = WalkRequest(80, AGENT, distance=(1.5, 5.0), targets=[target])
    walk = point_to_point(OpenFloor(3.0), np.random.default_rng(1), request)
    last = walk.steps[-1].state
    forward = np.array([-math.sin(last.yaw), -math.cos(last.yaw)])
    to_target = (target - np.array(last.position))[[0, 2]]
    cosine = forward @ to_target / np.linalg.norm(to_target)
    assert cosine >= math.cos(TURN / 2) - 1e-6
    assert np.linalg.norm(to_target) <= 1.2 + AGENT.forward_step


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(NoRouteError, match="no walk of 50 to 60 m fits into 30 frames"):
        point_to_point(OpenFloor(3.0), np.random.default_rng(0), WalkRequest(30, AGENT, distance=(50, 60)))
    with pytest.raises(NoRouteError, match="needs a request with a scene"):
        room_transition(OpenFloor(3.0), np.random.default_rng(0), WalkRequest(30, AGENT))
    with pytest.raises(NoRouteError, match="needs to know the scene"):
        object_focused(OpenFloor(3.0), np.random.default_rng(0), WalkRequest(30, AGENT))
    for walk in TRAJECTORIES.values():
        with pytest.raises(NoNavigableFloorError):
            walk(OpenFloor(-1.0), np.random.default_rng(0), WalkRequest(30, AGENT))


@pytest.mark.parametrize("name", ON_ANY_FLOOR)
@pytest.mark.parametrize("door", [None, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_free_walks_keep_their_limits_and_repeat(name: str, door: float | None, seed: int) -> None:
    sim = OpenFloor(3.0, door)
    walk = TRAJECTORIES[name](sim, np.random.default_rng(seed), WalkRequest(40, AGENT))
    assert_is_free_motion(sim, walk, 40)
    assert walk == TRAJECTORIES[name](sim, np.random.default_rng(seed), WalkRequest(40, AGENT))


@pytest.mark.parametrize("name", ON_ANY_FLOOR)
def test_arcs_and_lines_stay_on_one_level_of_a_ramp(name: str) -> None:
    for seed in range(6):
        sim = Ramp()
        walk = TRAJECTORIES[name](sim, np.random.default_rng(seed), WalkRequest(40, AGENT))
        assert_is_free_motion(sim, walk, 40)
        rows = rows_of(walk)
        np.testing.assert_allclose(rows[:, 1], sim.height(rows[:, 0]), atol=0.06)


@pytest.mark.parametrize("name", FREE_WALKS)
@pytest.mark.parametrize("length", [16, 40])
def test_free_walks_keep_their_limits_between_furniture(furnished: tuple, name: str, length: int) -> None:
    sim, scene = furnished
    for seed in range(3):
        request = WalkRequest(length, AGENT, scene=scene)
        walk = TRAJECTORIES[name](sim, np.random.default_rng(seed), request)
        assert_is_free_motion(sim, walk, length)
        assert walk == TRAJECTORIES[name](sim, np.random.default_rng(seed), request)


@pytest.mark.parametrize("seed", range(8))
def test_a_circle_keeps_its_radius_and_looks_in_or_out(seed: int) -> None:
    walk = circular_motion(OpenFloor(3.0), np.random.default_rng(seed), WalkRequest(40, AGENT))
    rows, details = rows_of(walk), walk.details
    spoke = rows[:, (0, 2)] - np.array(details["centre"])[[0, 2]]
    np.testing.assert_allclose(np.hypot(*spoke.T), details["radius"], atol=0.01 * details["radius"])
    forward = np.stack([-np.sin(rows[:, 3]), -np.cos(rows[:, 3])], axis=1)
    outwards = (forward * spoke).sum(1) / np.hypot(*spoke.T)
    np.testing.assert_allclose(outwards, -1 if details["looks"] == "in" else 1, atol=1e-3)
    angle = np.unwrap(np.arctan2(spoke[:, 1], spoke[:, 0]))
    assert abs(angle[-1] - angle[0]) <= details["arc"] + 1e-6
    assert (np.sign(np.diff(angle)) == np.sign(angle[-1] - angle[0])).all()


def test_circles_look_both_ways() -> None:
    sim, request = OpenFloor(3.0), WalkRequest(64, AGENT)
    walks = [circular_motion(sim, np.random.default_rng(seed), request) for seed in range(12)]
    assert {walk.details["looks"] for walk in walks} == {"in", "out"}


def test_a_circle_goes_all_round_where_it_can_and_as_far_as_the_floor_elsewhere() -> None:
    request = WalkRequest(64, AGENT, targets=[np.array([0.0, 0.8, 0.0])])
    walk = circular_motion(OpenFloor(3.0), np.random.default_rng(0), request)
    assert walk.details["arc"] == pytest.approx(2 * math.pi)
    request = WalkRequest(64, AGENT, targets=[np.array([3.0, 0.8, 0.0])])  # on the floor's edge
    walk = circular_motion(OpenFloor(3.0), np.random.default_rng(0), request)
    assert walk.details["arc"] == pytest.approx(math.pi, abs=0.1)


def test_a_circle_goes_round_the_target_or_the_thing_in_focus(furnished: tuple) -> None:
    sim, scene = furnished
    target = np.array([-2.0, 0.7, 0.0])
    walk = circular_motion(sim, np.random.default_rng(0), WalkRequest(20, AGENT, targets=[target]))
    assert walk.details["centre"] == (-2.0, 0.0, 0.0)
    assert walk.details["looks"] == "in"
    walk = circular_motion(sim, np.random.default_rng(0), WalkRequest(20, AGENT, scene=scene, focus=(10,)))
    np.testing.assert_allclose(walk.details["centre"], (2.05, 0, -0.05), atol=1e-6)


def test_too_little_floor_gives_no_circle() -> None:
    with pytest.raises(NoRouteError, match=r"no arc of 0\.5 rad"):
        circular_motion(OpenFloor(0.2), np.random.default_rng(0), WalkRequest(40, AGENT))


@pytest.mark.parametrize("length", [2, 9, 40])
def test_forward_backward_stays_on_one_line_without_turning(length: int) -> None:
    for seed in range(4):
        walk = forward_backward(OpenFloor(2.0), np.random.default_rng(seed), WalkRequest(length, AGENT))
        rows = rows_of(walk)
        assert np.ptp(rows[:, 3]) == 0
        forward = np.array([-math.sin(rows[0, 3]), -math.cos(rows[0, 3])])
        offset = rows[:, (0, 2)] - rows[0, (0, 2)]
        along = offset @ forward
        np.testing.assert_allclose(offset, along[:, None] * forward, atol=1e-9)
        if length == 40:
            assert np.ptp(along) == pytest.approx(walk.details["distance"], rel=0.1)
            assert (np.diff(along) > 0).any()
            assert (np.diff(along) < 0).any()


def test_sweep_rows_are_parallel_evenly_apart_and_cover_the_room() -> None:
    walk = systematic_sweep(OpenFloor(1.5), np.random.default_rng(0), WalkRequest(400, AGENT))
    rows, details = rows_of(walk), walk.details
    axis, across = (0, 2) if details["axis"] == "x" else (2, 0)
    moving = np.abs(np.diff(rows[:, axis])) > 1e-6
    along_rows = moving & (np.abs(np.diff(rows[:, across])) < 1e-9)
    lanes = np.unique(rows[:-1][along_rows, across].round(6))
    assert len(lanes) == details["rows"]
    np.testing.assert_allclose(np.diff(lanes), details["row_gap"], atol=1e-5)
    for lane in lanes:  # each from side to side
        assert np.ptp(rows[np.abs(rows[:, across] - lane) < 1e-5, axis]) > 2.5
    beside = np.abs(np.linspace(-1.5, 1.5, 50)[:, None] - lanes).min(1)
    assert beside.max() <= details["row_gap"]


def test_a_sweep_stays_in_its_room(furnished: tuple) -> None:
    sim, scene = furnished
    request = WalkRequest(60, AGENT, scene=scene)
    for seed in range(4):
        rows = rows_of(systematic_sweep(sim, np.random.default_rng(seed), request))
        assert len({scene.room_at(x, z) for x, z in rows[:, (0, 2)]} - {-1}) == 1


@pytest.mark.parametrize("focus", [(), (8,), (11,)])
def test_the_object_in_focus_stays_in_view(furnished: tuple, focus: tuple) -> None:
    sim, scene = furnished
    request = WalkRequest(32, AGENT, scene=scene, focus=focus)
    walk = object_focused(sim, np.random.default_rng(3), request)
    thing = walk.details["focus"][0]
    assert thing in (focus or CHESTS)
    rows = rows_of(walk)
    states = rows + (0, 0, 0, 0, 0, AGENT.camera_height)
    seen = [(sim.render(camera_pose(state)).instance == thing).mean() for state in states]
    assert np.mean(np.array(seen) > 0.003) >= 0.9
    box = scene.instances[thing - 1]
    away = np.hypot(*(rows[:, (0, 2)] - box.centre[[0, 2]]).T)
    angle = np.unwrap(np.arctan2(rows[:, 2] - box.centre[2], rows[:, 0] - box.centre[0]))
    assert away[0] > away[-1] + 0.2  # approached
    assert np.ptp(angle) > 0.3  # orbited


@pytest.mark.parametrize("seed", range(6))
def test_a_transition_changes_rooms_through_the_door(furnished: tuple, seed: int) -> None:
    sim, scene = furnished
    walk = room_transition(sim, np.random.default_rng(seed), WalkRequest(40, AGENT, scene=scene))
    assert_is_what_the_simulator_answers(sim, walk)
    path = positions(walk)
    first, last = (scene.room_at(*path[i, (0, 2)]) for i in (0, -1))
    assert {first, last} == {0, 1}
    assert walk.details["rooms"] == [scene.rooms[first].name, scene.rooms[last].name]
    assert walk.stopped
    assert math.dist(path[-1], walk.goal) <= AGENT.forward_step
    in_wall = path[np.abs(path[:, 0]) < 0.1]
    assert (np.abs(in_wall[:, 2]) < 0.5).all()


def test_longest_run() -> None:
    flags = np.array([1, 1, 0, 1, 0, 1, 1, 1], bool)
    assert longest_run(flags) == (5, 3)
    assert longest_run(flags, circular=True) == (5, 5)
    assert longest_run(np.zeros(4, bool)) == (0, 0)
    assert longest_run(np.ones(4, bool)) == (0, 4)
