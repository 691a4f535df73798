"""Back faces are left out only where a camera outside solid things cannot see them, so images do not change."""

from dataclasses import replace

import numpy as np
import pytest
from hand_built import Box, build, cast, slab, wall
from hypothesis import given, settings
from hypothesis import strategies as st

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.params import AgentParams, HouseParams
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.simulators import make_simulator
from vln_heatmap.simulation.simulators.base import SimulatorUnavailableError
from vln_heatmap.simulation.simulators.solids import Solids

NEAR = 0.05
#: A floor, two blocks that overlap, one that is sunk into another, and a beam above all.
BOXES = [
    slab(0, 0, 6, 5),
    wall(1, 1, 3, 2, bottom=-0.1, top=1.0),
    wall(2, 1.5, 4, 3, bottom=-0.1, top=0.7),
    wall(2.2, 1.2, 2.6, 1.4, bottom=0.9, top=1.5),
    wall(0, 1, 6, 1.2, bottom=2.0, top=2.2),
]


def gap(box: Box, point: np.ndarray) -> float:
    """Largest distance in x, y or z by which a point is outside a box; negative inside."""
    return float(np.maximum(np.array(box.low) - point, point - np.array(box.high)).max())


@settings(max_examples=200)
@given(point=st.tuples(st.floats(-1, 7), st.floats(-0.5, 3), st.floats(-1, 6)))
def test_back_faces_are_hidden_outside_of_all_solids_and_away_from_faces(point):
    eye = np.array(point) + 1e-4  # not straight below an edge of a box
    outside = all(gap(box, eye) > NEAR for box in BOXES)
    assert Solids.of(build(*BOXES)).hide_back_faces(eye, NEAR) == outside


def test_a_room_seen_from_within_is_no_solid():
    solids = Solids.of(build(Box((0, 0, 0), (6, 2.5, 5), inside=True), *BOXES[1:3]))
    assert not solids.hide_back_faces(np.array([5.0, 1.2, 4.0]), NEAR)


@pytest.mark.parametrize("face", [0, 5, 11])
def test_an_open_surface_is_no_solid(face):
    scene = build(*BOXES)
    keep = np.arange(len(scene.faces)) != face
    per_face = ("faces", "face_instance", "face_texture")
    opened = replace(scene, **{name: getattr(scene, name)[keep] for name in per_face})
    assert Solids.of(scene).hide_back_faces(np.array([5.0, 1.2, 4.0]), NEAR)
    assert not Solids.of(opened).hide_back_faces(np.array([5.0, 1.2, 4.0]), NEAR)


def test_houses_are_solids():
    """So that the time is saved where most frames are made."""
    solids = Solids.of(generate_house(1, HouseParams(texture_size=16, light=False)))
    assert sum(map(len, solids.pieces)) > 1000


@pytest.mark.egl
def test_a_camera_among_and_inside_solids_sees_what_exact_rays_see():
    camera = PinholeCamera(64, 48, 90.0)
    try:
        simulator = make_simulator("raster", camera, agent=AgentParams())
    except SimulatorUnavailableError as error:
        pytest.skip(str(error))
    simulator.load(build(*BOXES))
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(60):
        eye = rng.uniform((0.5, 0.05, 0.5), (5, 1.8, 3.5))
        if min(abs(gap(box, eye)) for box in BOXES) < NEAR:
            continue
        inside += any(gap(box, eye) < 0 for box in BOXES)
        pose = look_pose(tuple(eye), rng.uniform(-np.pi, np.pi), rng.uniform(-0.5, 0.5))
        around = [replace(box, inside=gap(box, eye) < 0) for box in BOXES]
        depth, ids = cast(around, pose[:3, 3], camera.directions() @ pose[:3, :3].T)
        seen = simulator.render(pose)
        assert np.mean(seen.instance != ids) < 5e-3  # edges
        assert np.mean(np.abs(seen.depth - depth) > 1e-3) < 5e-3
    assert 5 < inside < 50
    simulator.close()
