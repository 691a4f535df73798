"""Things that are moved look as if they had been built where they are."""

from dataclasses import replace

import numpy as np
import pytest
from hand_built import BLUE, GREEN, RED, Box, build, cast
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from views import AHEAD, CAMERA, assert_same, edges, look

from vln_heatmap.geometry.cameras import look_pose
from vln_heatmap.simulation.simulators.base import AgentState, Observation
from vln_heatmap.simulation.variants import moved

ROOM = Box((-4, -1, -6), (4, 2, 2), inside=True)
CRATE = Box((-0.5, -0.5, -3.5), (0.5, 0.5, -2.5), RED)
PILLAR = Box((1.5, -0.75, -4.5), (2.0, 1.5, -4.0), GREEN)
SCENE = build(ROOM, CRATE, PILLAR)
POSES = [AHEAD, look_pose((1.0, 0.5, 0.5), 0.4, -0.1), look_pose((0.0, 0.0, -5.0), np.pi, 0.1)]


def shift(x: float, y: float, z: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def shifted(box: Box, x: float, y: float, z: float) -> Box:
    return replace(box, low=tuple(np.add(box.low, (x, y, z))), high=tuple(np.add(box.high, (x, y, z))))


@pytest.fixture(name="sim")
def loaded(make):
    simulator = make()
    simulator.load(SCENE)
    return simulator


def test_a_move_to_where_it_is_changes_nothing(sim):
    before = [sim.render(pose) for pose in POSES]
    sim.move({2: np.eye(4), 3: np.eye(4)})
    for pose, seen in zip(POSES, before, strict=True):
        assert_same(seen, sim.render(pose))


def assert_same_but_for_ties(one: Observation, other: Observation) -> None:
    """A ray that meets the edge between two faces of a thing may take the light of either."""
    assert np.array_equal(one.depth, other.depth)
    assert np.array_equal(one.instance, other.instance)
    assert np.mean(one.rgb != other.rgb) < 0.01


@pytest.mark.parametrize("way", [(1.25, 0.25, -0.5), (-2.0, 0.75, 1.0), (0.0, 0.0, -1.75)])
def test_a_moved_box_looks_as_if_it_had_been_built_there(make_any, way):
    """Its texture moves along with it, so it is plain."""
    simulator = make_any()
    built = build(ROOM, shifted(CRATE, *way), PILLAR)
    expected = [look(simulator, built, pose) for pose in POSES]
    simulator.load(SCENE)
    simulator.move({2: shift(*way)})
    for pose, seen in zip(POSES, expected, strict=True):
        assert_same_but_for_ties(seen, simulator.render(pose))


def test_several_things_move_at_once_and_those_not_named_go_back(sim):
    ways = {2: (0.5, 0.25, 1.0), 3: (-3.0, 0.0, 1.0)}
    rest = [sim.render(pose) for pose in POSES]
    sim.move({2: shift(*ways[2]), 3: shift(*ways[3])})
    both = build(ROOM, shifted(CRATE, *ways[2]), shifted(PILLAR, *ways[3]))
    depth, ids = cast([ROOM, *[shifted(b, *w) for b, w in zip((CRATE, PILLAR), ways.values(), strict=True)]],
                      np.zeros(3), CAMERA.directions() @ AHEAD[:3, :3].T)  # fmt: skip
    seen = sim.render(AHEAD)
    assert np.mean(seen.instance != ids) < 2e-3
    assert np.abs(seen.depth - depth)[~edges(depth, ids)] == pytest.approx(0, abs=1e-4)
    sim.move({3: shift(*ways[3])})
    assert_same_but_for_ties(sim.render(AHEAD), look(sim, build(ROOM, CRATE, shifted(PILLAR, *ways[3]))))
    assert_same_but_for_ties(look(sim, both), seen)
    sim.load(SCENE)
    sim.move({2: shift(*ways[2])})
    sim.move({})
    for pose, before in zip(POSES, rest, strict=True):
        assert_same(before, sim.render(pose))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_a_turned_thing_looks_like_the_scene_with_turned_vertices(sim, seed):
    rng = np.random.default_rng(seed)
    motion = np.eye(4)
    motion[:3, :3] = Rotation.random(rng=rng).as_matrix()
    motion[:3, 3] = rng.uniform(-1, 1, 3)
    sim.load(SCENE)
    sim.move({2: motion})
    seen = sim.render(AHEAD)
    assert_same_but_for_ties(look(sim, moved(SCENE, {2: motion})), seen)


def test_moves_start_from_rest_and_do_not_add_up(sim):
    sim.move({2: shift(0.5, 0, 0)})
    once = sim.render(AHEAD)
    sim.move({2: shift(0.5, 0, 0)})
    assert_same(once, sim.render(AHEAD))


def test_what_moves_out_of_sight_and_back_is_seen_again(sim):
    before = sim.render(AHEAD)
    sim.move({2: shift(0, 0, 4.5)})  # behind the camera
    assert not np.any(sim.render(AHEAD).instance == 2)
    assert np.any(sim.render(look_pose((0, 0, 0), np.pi)).instance == 2)
    sim.move({})
    assert_same(before, sim.render(AHEAD))


def test_a_thing_that_moves_over_the_camera_shows_its_inside(sim):
    sim.move({2: shift(0, 0, 3.0)})  # its middle is the eye
    seen = sim.render(AHEAD)
    assert np.all(seen.instance == 2)
    assert seen.depth[16, 24] == pytest.approx(0.5, abs=1e-4)


def test_everything_may_move(sim):
    way = shift(0.25, 0.5, -0.125)
    expected = [sim.render(pose) for pose in POSES]
    sim.move({1: way, 2: way, 3: way})
    for pose, before in zip(POSES, expected, strict=True):
        seen = sim.render(way @ pose)
        assert np.array_equal(seen.instance, before.instance)
        assert seen.depth == pytest.approx(before.depth, abs=1e-4)


def test_a_loaded_scene_is_at_rest(sim):
    before = sim.render(AHEAD)
    sim.move({2: shift(0.5, 0, 0)})
    sim.load(SCENE)
    assert_same(before, sim.render(AHEAD))


def test_moving_changes_no_way(make):
    simulator = make()
    simulator.load(build(Box((0, 0, 0), (6, 2.6, 4), inside=True), Box((2, 0, 0), (3, 1, 4), BLUE)))
    before = simulator.is_navigable(np.array([2.5, 0, 2]))
    simulator.move({2: shift(0, 0, 20)})
    assert not before
    assert not simulator.is_navigable(np.array([2.5, 0, 2]))
    assert simulator.step(AgentState((1.7, 0.0, 2.0), -np.pi / 2), 1).collided


def test_instances_that_share_vertices_move_apart(make):
    """Two halves of a wall; one is pushed back, the other stays."""
    wall = build(Box((-90, -90, -3), (90, 90, -2)))
    halves = replace(
        wall, face_instance=(np.arange(12) % 2 + 1).astype(np.int32), instances=wall.instances * 2
    )
    simulator = make()
    still = look(simulator, halves)
    simulator.move({2: shift(0, 0, -1)})
    seen = simulator.render(AHEAD)
    first = (still.instance == 1) & (seen.instance == 1)
    second = (still.instance == 2) & (seen.instance == 2)
    assert first.sum() > 500
    assert second.sum() > 500
    assert seen.depth[first] == pytest.approx(2, abs=1e-4)
    assert seen.depth[second] == pytest.approx(3, abs=1e-4)
    assert_same_but_for_ties(seen, look(simulator, moved(halves, {2: shift(0, 0, -1)})))


@pytest.mark.parametrize(
    ("motions", "message"),
    [
        ({4: np.eye(4)}, "has instances 1 to 3, got 4"),
        ({0: np.eye(4)}, "has instances 1 to 3, got 0"),
        ({2: 2 * np.eye(4)}, "motion of instance 2 must be a rigid 4x4 transform"),
        ({2: np.eye(3)}, "motion of instance 2 must be a rigid 4x4 transform"),
        ({2: np.full((4, 4), np.nan)}, "motion of instance 2 must be a rigid 4x4 transform"),
    ],
)
def test_a_broken_motion_is_refused_and_all_stays(sim, motions, message):
    sim.move({3: shift(-1, 0, 0)})
    before = sim.render(AHEAD)
    with pytest.raises(ValueError, match=message):
        sim.move({2: shift(1, 0, 0), **motions})
    assert_same(before, sim.render(AHEAD))


@pytest.mark.egl
def test_both_renderers_agree_on_what_has_moved(pair):
    motion = shift(0.8, 0.3, 0.4)
    motion[:3, :3] = Rotation.from_euler("y", 0.5).as_matrix()
    seen = []
    for simulator in pair:
        simulator.load(SCENE)
        simulator.move({2: motion})
        seen.append(simulator.render(AHEAD))
    one, other = seen
    assert np.mean(one.instance != other.instance) < 1e-3
    plain = ~edges(one.depth, other.depth, one.instance, other.instance)
    assert one.depth[plain] == pytest.approx(other.depth[plain], abs=1e-3)
