"""Loading, repeating, refusing and closing, which all embedded simulators do alike, and walking, which all do."""

import gc
import os
import weakref
from dataclasses import replace

import numpy as np
import pytest
from hand_built import Box, build, wall
from views import AHEAD, CAMERA, assert_same, head_on, look

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.simulation.simulators.base import (
    FORWARD,
    TURN_LEFT,
    AgentState,
    NoNavigableFloorError,
    Simulator,
)

ROOM = build(Box((0, 0, 0), (6, 2.6, 4), inside=True), wall(3, 1, 3.2, 3))


def test_a_view_repeats_bit_for_bit(make):
    simulator, other = make(), make(PinholeCamera(20, 20, 60.0))
    pose = look_pose((1.0, 1.25, 2.0), -1.3, 0.1)
    first = look(simulator, ROOM, pose)
    look(other, head_on(1))  # another simulator in between, and another scene
    look(simulator, head_on(1))
    assert_same(first, look(simulator, ROOM, pose))


def test_it_keeps_the_protocol(make_any):
    simulator = make_any()
    assert isinstance(simulator, Simulator)
    assert simulator.version
    assert simulator.camera == CAMERA


def test_the_walkable_area_is_sampled_and_has_clearance(make_any):
    """The room has 6 x 4 m and a piece of wall in its middle."""
    simulator = make_any()
    simulator.load(ROOM)
    points = simulator.navigable_points(0.5)
    assert len(points) == pytest.approx(12 * 8, abs=25)
    assert all(simulator.is_navigable(point) for point in points)
    for x, z, gap in ((1.0, 2.0, 1.0), (2.5, 2.0, 0.5), (4.5, 0.7, 0.7)):
        assert simulator.clearance(np.array([x, 0, z])) == pytest.approx(gap, abs=0.1)
    assert simulator.clearance(np.array([3.1, 0, 2])) == 0


def test_it_walks_like_the_others(make):
    simulator = make()
    simulator.load(ROOM)
    rng, start, goal = np.random.default_rng(0), np.array([1.0, 0, 2]), np.array([5.0, 0, 2])
    assert simulator.is_navigable(simulator.random_navigable_point(rng))
    assert not simulator.is_navigable(np.array([3.1, 0, 2]))
    path = simulator.shortest_path(start, goal)
    assert np.array_equal(path[[0, -1]], np.stack([start, goal]))
    walked = np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
    assert simulator.geodesic_distance(start, goal) == pytest.approx(walked)
    assert walked > 4.3
    state = simulator.step(AgentState((1.0, 0.0, 2.0), 0.0), TURN_LEFT).state
    assert state.yaw == pytest.approx(np.pi / 12)
    assert simulator.step(AgentState((0.3, 0.0, 2.0), np.pi / 2), FORWARD).collided


def test_a_scene_without_floor_can_be_seen_but_not_walked(make):
    simulator = make()
    assert look(simulator, head_on(2)).instance.all()
    with pytest.raises(NoNavigableFloorError):
        simulator.random_navigable_point(np.random.default_rng(0))
    simulator.load(ROOM)  # the failure is not kept
    assert simulator.is_navigable(np.array([1.0, 0, 2]))


def test_without_a_scene_it_says_so(make):
    simulator = make()
    for call in (lambda: simulator.render(AHEAD), lambda: simulator.is_navigable(np.zeros(3))):
        with pytest.raises(RuntimeError, match="has no scene: call load"):
            call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"faces": np.zeros((0, 3), np.int32)}, "no triangles"),
        ({"faces": np.full((12, 3), 24, np.int32)}, r"vertex indices must be in \[0, 24\), got 24 to 24"),
        ({"faces": np.full((12, 3), -1, np.int32)}, r"vertex indices must be in \[0, 24\), got -1 to -1"),
        ({"face_texture": np.full(12, 4, np.int32)}, r"texture indices must be in \[0, 4\), got 4 to 4"),
        ({"vertices": np.full((24, 3), np.nan, np.float32)}, "vertices .* finite"),
    ],
)
def test_a_broken_scene_is_refused_and_the_old_one_stays(make, change, message):
    simulator = make()
    before = look(simulator, head_on(2))
    with pytest.raises(ValueError, match=message):
        simulator.load(replace(head_on(3), **change))
    assert_same(before, simulator.render(AHEAD))


@pytest.mark.parametrize("pose", [np.eye(3), np.full((4, 4), np.nan), np.eye(4)[:3]])
def test_a_broken_pose_is_refused(make, pose):
    simulator = make()
    simulator.load(head_on(2))
    with pytest.raises(ValueError, match="camera_to_world must be a finite 4x4 matrix"):
        simulator.render(pose)


def test_closing_frees_and_can_be_repeated(make):
    simulator, other = make(), make()
    scene = replace(head_on(2))
    look(simulator, scene)
    alive = weakref.ref(scene)
    del scene
    simulator.close()
    simulator.close()
    gc.collect()
    assert alive() is None
    with pytest.raises(RuntimeError):
        simulator.render(AHEAD)
    assert look(other, head_on(2)).instance.all()  # the other one still works
    other.close()
    assert look(make(), head_on(2)).instance.all()  # and so does one that is made when all are closed


def test_a_forgotten_simulator_does_not_outlive_its_scene(make):
    simulator = make()
    scene = replace(head_on(2))
    simulator.load(scene)
    alive = weakref.ref(scene)
    del scene
    simulator.load(head_on(3))
    gc.collect()
    assert alive() is None


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc to read memory use")
def test_loading_many_scenes_needs_no_more_memory(make):
    def megabytes() -> float:
        gc.collect()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    simulator = make()
    scene = head_on(
        2, textures=np.zeros((4, 512, 512, 3), np.uint8)
    )  # 4 MB with its mipmaps, more as GL keeps it
    for _ in range(5):
        look(simulator, scene)
    before = megabytes()
    for _ in range(40):
        look(simulator, scene)
    assert megabytes() - before < 40  # 160 and more if each load kept its textures
