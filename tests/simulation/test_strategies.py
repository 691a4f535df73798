"""Strategies against what they promise, recomputed: relations by pixels, spread by geometry, smoothness by
finite differences."""

import math
from itertools import permutations

import numpy as np
import pytest
from open_floor import AGENT, OpenFloor, Ramp
from walk_checks import assert_is_free_motion, motion_of, rows_of, simulated, two_rooms

from vln_heatmap.simulation.recording import camera_pose
from vln_heatmap.simulation.simulators.base import NoNavigableFloorError
from vln_heatmap.simulation.strategies import (
    STRATEGIES,
    challenge,
    spatial_relationship,
    temporal_coherence,
    viewpoint_diversity,
)
from vln_heatmap.simulation.strategies.diversity import headroom, view_features
from vln_heatmap.simulation.strategies.relation import relation_from
from vln_heatmap.simulation.strategies.touring import farthest_first, shortest_tour, tour_length
from vln_heatmap.simulation.trajectories import NoRouteError, WalkRequest, path_length, random_exploration

ON_ANY_FLOOR = ("coverage_optimisation", "viewpoint_diversity", "temporal_coherence", "challenge")


@pytest.fixture(scope="module")
def furnished() -> tuple:
    """Two furnished rooms: the simulator and its scene."""
    scene = two_rooms()
    sim = simulated(scene)
    yield sim, scene
    sim.close()


@pytest.mark.parametrize("name", ON_ANY_FLOOR)
@pytest.mark.parametrize("door", [None, 0.5])
def test_strategies_keep_the_limits_and_repeat_on_open_floor(name: str, door: float | None) -> None:
    for seed in range(3):
        sim, request = OpenFloor(2.5, door), WalkRequest(30, AGENT)
        walk = STRATEGIES[name](sim, np.random.default_rng(seed), request)
        assert_is_free_motion(sim, walk, 30)
        assert walk == STRATEGIES[name](sim, np.random.default_rng(seed), request)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("length", [16, 48])
def test_strategies_keep_the_limits_and_repeat_between_furniture(
    furnished: tuple, name: str, length: int
) -> None:
    sim, scene = furnished
    request = WalkRequest(length, AGENT, scene=scene)
    for seed in range(2):
        walk = STRATEGIES[name](sim, np.random.default_rng(seed), request)
        assert_is_free_motion(sim, walk, length)
        assert walk == STRATEGIES[name](sim, np.random.default_rng(seed), request)


@pytest.mark.parametrize("name", ON_ANY_FLOOR)
def test_strategies_follow_the_floor_up_a_ramp(name: str) -> None:
    climbed = 0.0
    for seed in range(2):
        sim = Ramp()
        walk = STRATEGIES[name](sim, np.random.default_rng(seed), WalkRequest(100, AGENT, max_speed=2.0))
        assert_is_free_motion(sim, walk, 100)
        rows = rows_of(walk)
        np.testing.assert_allclose(rows[:, 1], sim.height(rows[:, 0]), atol=0.08)  # bends are rounded
        climbed = max(climbed, float(np.ptp(rows[:, 1])))
    if name != "viewpoint_diversity":  # which stays on its target's level
        assert climbed > 0.5


@pytest.mark.parametrize("name", STRATEGIES)
def test_no_floor_gives_no_walk(name: str) -> None:
    with pytest.raises((NoNavigableFloorError, NoRouteError)):
        STRATEGIES[name](OpenFloor(-1.0), np.random.default_rng(0), WalkRequest(20, AGENT))


@pytest.mark.parametrize("focus", [(), (8, 9), (10,)])
def test_the_views_of_a_relation_show_both_things(furnished: tuple, focus: tuple) -> None:
    sim, scene = furnished
    request = WalkRequest(40, AGENT, scene=scene, focus=focus)
    walk = spatial_relationship(sim, np.random.default_rng(0), request)
    first, second = walk.details["focus"]
    assert set(focus) <= {first, second}
    states = rows_of(walk) + (0, 0, 0, 0, 0, AGENT.camera_height)
    assert len(walk.details["views"]) >= 2
    for view in walk.details["views"]:
        ids = sim.render(camera_pose(states[view["frame"]])).instance
        assert (ids == first).mean() >= 0.004
        assert (ids == second).mean() >= 0.004
        pair = (scene.instances[first - 1], scene.instances[second - 1])
        assert view["relation"] == relation_from(states[view["frame"], :3], pair)


def test_a_long_walk_sees_things_beside_and_behind_each_other(furnished: tuple) -> None:
    sim, scene = furnished
    request = WalkRequest(120, AGENT, scene=scene, focus=(10, 11))
    walk = spatial_relationship(sim, np.random.default_rng(1), request)
    assert {view["relation"] for view in walk.details["views"]} == {"beside", "behind"}


def test_relations_follow_the_line_of_sight(furnished: tuple) -> None:
    chests = tuple(furnished[1].instances[i] for i in (9, 10))  # one after the other along z, near x = 2.1
    assert relation_from(np.array([2.1, 0.0, -2.0]), chests) == "behind"
    assert relation_from(np.array([0.5, 0.0, 0.6]), chests) == "beside"


def test_views_that_do_not_exist_are_refused(furnished: tuple) -> None:
    sim, scene = furnished
    with pytest.raises(NoRouteError, match="none of 1 pairs"):  # in two rooms, behind the wall
        spatial_relationship(
            sim, np.random.default_rng(0), WalkRequest(40, AGENT, scene=scene, focus=(9, 11))
        )
    with pytest.raises(ValueError, match="has no instance 99"):
        viewpoint_diversity(sim, np.random.default_rng(0), WalkRequest(40, AGENT, scene=scene, focus=(99,)))


def test_views_of_a_place_in_the_open_are_spread_over_azimuth_distance_and_height() -> None:
    target = np.array([0.0, 0.8, 0.0])
    request = WalkRequest(400, AGENT, targets=[target])
    walk = viewpoint_diversity(OpenFloor(3.0), np.random.default_rng(0), request)
    rows = rows_of(walk)
    azimuth = np.arctan2(rows[:, 2], rows[:, 0])
    octants = np.bincount(((azimuth + math.pi) // (math.pi / 4)).astype(int) % 8, minlength=8)
    assert octants.min() > 0
    away = np.hypot(rows[:, 0], rows[:, 2])
    assert away.max() > 3 * away.min()
    assert np.ptp(rows[:, 5]) >= 0.5  # nothing is known to hang here, so it may only be lowered
    assert rows[:, 5].max() == pytest.approx(0)
    eyes = rows[:, :3] + np.stack([0 * away, AGENT.camera_height + rows[:, 5], 0 * away], axis=1)
    aim = np.stack([-np.sin(rows[:, 3]), np.tan(rows[:, 4]), -np.cos(rows[:, 3])], axis=1)
    np.testing.assert_allclose((eyes + away[:, None] * aim), np.tile(target, (400, 1)), atol=0.05)


def test_a_thing_is_seen_from_many_sides(furnished: tuple) -> None:
    sim, scene = furnished
    walk = viewpoint_diversity(sim, np.random.default_rng(2), WalkRequest(64, AGENT, scene=scene, focus=(8,)))
    states = rows_of(walk) + (0, 0, 0, 0, 0, AGENT.camera_height)
    seen = [(sim.render(camera_pose(state)).instance == 8).any() for state in states]
    assert np.mean(seen) >= 0.9
    centre = scene.instances[7].centre
    azimuth = np.unwrap(np.arctan2(states[:, 2] - centre[2], states[:, 0] - centre[0]))
    assert np.ptp(azimuth) > math.pi
    assert len(walk.details["views"]) >= 4


def test_headroom_ends_below_what_hangs(furnished: tuple) -> None:
    scene = furnished[1]
    assert headroom(None, np.zeros((1, 3)), 1.25).tolist() == [0.0]
    # in the room there is nothing overhead; on a floor 1.3 m below it, its floor slab is, at -0.2 m
    room = headroom(scene, np.array([[-1.0, 0, 0], [-2.0, -1.3, 0.0], [-9.0, -1.3, 0.0]]), 1.25)
    np.testing.assert_allclose(room, [1.7 - 1.25, 1.1 - 0.1 - 1.25, 1.7 - 1.25])


def test_farthest_first_spreads_every_beginning() -> None:
    line = np.linspace(0, 1, 9)[:, None]
    assert farthest_first(line, 0)[:5] in ([0, 8, 4, 2, 6], [0, 8, 4, 6, 2])
    angle = np.arange(16) * math.pi / 8
    target, places = np.zeros(3), np.stack([np.cos(angle), 0 * angle, np.sin(angle)], axis=1)
    first = farthest_first(view_features(places, np.zeros(16), target), 0)[:4]
    assert sorted(first) == [0, 4, 8, 12]


@pytest.mark.parametrize("seed", range(5))
def test_tours_are_as_short_as_the_best_of_all_orders(seed: int) -> None:
    points = np.random.default_rng(seed).uniform(-3, 3, (6, 2))
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    order = shortest_tour(distances, seed)
    best = min(tour_length(distances, p) for p in permutations(range(6)))
    assert sorted(order) == list(range(6))
    assert best - 1e-9 <= tour_length(distances, order) <= 1.15 * best
    assert tour_length(distances, order) <= tour_length(distances, range(6)) + 1e-9


@pytest.mark.parametrize("door", [None, 0.8])
@pytest.mark.parametrize("seed", range(4))
def test_gliding_keeps_speed_and_turning_rate(door: float | None, seed: int) -> None:
    fps = 10.0
    walk = temporal_coherence(
        OpenFloor(3.0, door), np.random.default_rng(seed), WalkRequest(80, AGENT, fps=fps)
    )
    moved, turned = motion_of(walk)
    assert (moved * fps).max() <= 0.5
    assert np.degrees(turned * fps).max() <= 30.0
    assert moved.sum() > 0.5


@pytest.mark.parametrize("seed", range(4))
def test_position_and_heading_have_continuous_velocity(seed: int) -> None:
    """Velocity jumps between frames shrink in proportion to the frame time: there is no jump in the limit."""
    jumps = []
    for fine in (1, 4, 16):
        request = WalkRequest(60 * fine + 1, AGENT, fps=10.0 * fine)
        rows = rows_of(temporal_coherence(OpenFloor(3.0, 0.8), np.random.default_rng(seed), request))
        rows[:, 3] = np.unwrap(rows[:, 3])
        velocity = np.diff(rows[:, (0, 2, 3)], axis=0) * request.fps  # [T - 1, 3] m/s, m/s, rad/s
        jumps.append(np.abs(np.diff(velocity, axis=0)).max(axis=0))
    coarse, middle, fine = np.array(jumps)
    assert (middle <= 0.6 * coarse + 1e-3).all()
    assert (fine <= 0.6 * middle + 1e-3).all()


def test_gliding_is_limited_by_the_request() -> None:
    request = WalkRequest(60, AGENT, fps=5.0, max_speed=0.2, max_turn=10.0)
    moved, turned = motion_of(temporal_coherence(OpenFloor(3.0, 0.8), np.random.default_rng(0), request))
    assert (moved * 5).max() <= 0.2
    assert np.degrees(turned * 5).max() <= 10.0


def test_a_cell_of_floor_is_turned_on() -> None:
    walk = temporal_coherence(OpenFloor(0.1), np.random.default_rng(0), WalkRequest(30, AGENT))
    moved, turned = motion_of(walk)
    assert moved.max() < 0.05
    np.testing.assert_allclose(turned, math.radians(3.0), atol=1e-6)


def test_challenges_are_tighter_and_hastier_than_exploring(furnished: tuple) -> None:
    sim, scene = furnished

    def measured(strategy) -> tuple[float, float]:
        walks = [
            strategy(sim, np.random.default_rng(s), WalkRequest(40, AGENT, scene=scene)) for s in range(4)
        ]
        gaps = [sim.clearance(row[:3]) for walk in walks for row in rows_of(walk)]
        return float(np.mean(gaps)), float(np.mean([np.median(motion_of(walk)[1]) for walk in walks]))

    gap, turned = measured(challenge)
    usual_gap, _ = measured(random_exploration)
    assert gap < 0.8 * usual_gap
    assert turned >= math.radians(8)


def test_challenges_get_about() -> None:
    walk = challenge(OpenFloor(2.5, 0.5), np.random.default_rng(0), WalkRequest(40, AGENT))
    assert path_length(rows_of(walk)[:, :3]) >= 0.7 * 39 * 0.2
