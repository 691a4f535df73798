"""The map of what is round a robot, against scenes of which every distance is known."""

import numpy as np
import pytest

from vln_heatmap.nodes.model.context.surroundings import Surroundings
from vln_heatmap.params.navigation_model import SurroundingsParams
from vln_heatmap.simulation.recording import camera_pose

PARAMS = SurroundingsParams(side=16)
SIDE, CELL, BEHIND, EYE = 16, 0.2, 1.0, 1.25


def pose(x: float = 0.0, z: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    """A level camera 1.25 m above the floor; 0 looks along -Z, left is positive."""
    return camera_pose(np.array([x, 0.0, z, yaw, 0.0, EYE]))


def wall_ahead(metres: float, size: int = 64) -> np.ndarray:
    """Depth of a wall across the whole view, and of the floor before it, hfov 90."""
    down = (np.arange(size) + 0.5 - size / 2) / (size / 2)
    floor = np.where(down > 0, EYE / np.maximum(down, 1e-9), np.inf)
    return np.repeat(np.minimum(floor, metres)[:, None], size, 1).astype(np.float32)


def place(ahead: float, right: float) -> tuple[int, int]:
    """Row and column of a place seen from the robot."""
    return int((SIDE * CELL - BEHIND - ahead) / CELL), int((right + SIDE * CELL / 2) / CELL)


def test_a_wall_is_blocked_and_the_floor_before_it_free() -> None:
    around = Surroundings(PARAMS)
    around.add(wall_ahead(1.85), pose())
    blocked, free = around.around(pose())
    for right in (-1.1, -0.3, 0.3, 1.1):
        assert blocked[place(1.85, right)] > 0
        assert free[place(1.5, right)] > 0
        assert blocked[place(1.5, right)] == 0
    assert not blocked[place(0.5, 0.0)[0] :].any()  # nothing is known of what is below the view
    assert not free[place(0.5, 0.0)[0] :].any()


def test_what_is_no_longer_seen_is_remembered_where_it_is() -> None:
    around = Surroundings(PARAMS)
    around.add(wall_ahead(1.9), pose())
    around.add(np.zeros((64, 64), np.float32), pose(z=-1.0))  # a metre on; nothing is seen there
    blocked, _ = around.around(pose(z=-1.0))
    assert blocked[place(0.9, 0.1)] > 0
    turned, _ = around.around(pose(z=-1.0, yaw=np.pi / 2))  # it looks left: the wall is on its right
    assert turned[place(0.1, 0.9)] > 0
    assert not turned[:, : SIDE // 2].any()


def test_it_does_not_matter_when_and_how_often_an_image_is_added() -> None:
    rng = np.random.default_rng(0)
    images = [rng.uniform(0.3, 5, (48, 64)).astype(np.float32) for _ in range(3)]
    poses = [pose(*rng.uniform(-1, 1, 3)) for _ in range(3)]
    found = []
    for order in ((0, 1, 2), (0, 2, 1, 1, 0)):
        around = Surroundings(PARAMS)
        for number in order:
            around.add(images[number], poses[number])
        found.append(around.around(poses[2]))
    np.testing.assert_array_equal(*found)


def test_what_is_above_the_body_blocks_nobody() -> None:
    around, depth = Surroundings(PARAMS), np.zeros((64, 64), np.float32)
    depth[:8] = 1.5  # more than 1.1 m above the camera
    around.add(depth, pose())
    assert not around.around(pose()).any()


def test_unknown_far_and_distant_places_are_neither() -> None:
    around = Surroundings(PARAMS)
    around.add(np.zeros((64, 64), np.float32), pose())
    around.add(np.full((64, 64), 9.0, np.float32), pose())
    assert not around.around(pose()).any()
    around.add(wall_ahead(2.0), pose(x=500.0))  # beyond the map
    assert not around.around(pose(x=500.0)).any()
    assert around.bytes == Surroundings(PARAMS).bytes


def test_sizes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="low must be less"):
        SurroundingsParams(low=0.5, high=0.2)
