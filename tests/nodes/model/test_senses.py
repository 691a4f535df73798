"""What is sensed beside the picture, against values worked out by hand."""

import numpy as np
import pytest
import torch

from vln_heatmap.nodes.model.context.senses import Senses, mirrored, nearness, odometry, sensed
from vln_heatmap.nodes.model.context.surroundings import Surroundings
from vln_heatmap.params.navigation_model import ContextParams, SurroundingsParams
from vln_heatmap.simulation.recording import camera_pose

BOTH = ContextParams(ranges=2, odometry=True)


def walk(*states: tuple[float, float, float]) -> np.ndarray:
    """Poses [T, 4, 4] of a level camera at x, z with a heading; 0 looks along -Z, left is positive."""
    return np.stack([camera_pose(np.array([x, 0.0, z, yaw, 0.0, 1.25])) for x, z, yaw in states])


def test_nearness_is_a_mean_over_cells_and_nothing_for_unknown_depth() -> None:
    depth = np.array([[1.0, 1.0, 3.0, 0.0], [1.0, 1.0, 0.0, 3.0]], np.float32)
    assert nearness(depth, 1).tolist() == [[(4 * 0.5 + 2 * 0.25) / 8]]
    assert nearness(depth, 2).tolist() == [[0.5, 0.125], [0.5, 0.125]]
    several = nearness(np.stack([depth, 0 * depth])[None], 2)  # [1, 2, 2, 2]
    assert several.shape == (1, 2, 2, 2)
    assert several[0, 1].tolist() == [[0, 0], [0, 0]]


def test_odometry_of_a_step_a_turn_and_a_step() -> None:
    quarter = np.pi / 2
    found = odometry(walk((0, 0, 0), (0, -3, 0), (0, -3, -quarter), (3, -3, -quarter)))
    # right / 3, ahead / 3, sin, cos, step / .25, turn / .25, path / 5, steps / 30
    np.testing.assert_allclose(found[0], [0, 0, 0, 1, 0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found[1], [0, 1, 0, 1, 12, 0, 0.6, 1 / 30], atol=1e-6)
    np.testing.assert_allclose(found[2], [0, 1, 1, 0, 0, 4 * quarter, 0.6, 2 / 30], atol=1e-6)
    np.testing.assert_allclose(found[3], [1, 1, 1, 0, 12, 0, 1.2, 3 / 30], atol=1e-6)


def test_odometry_does_not_depend_on_where_the_world_has_its_origin() -> None:
    rng = np.random.default_rng(0)
    states = rng.uniform(-3, 3, (9, 3))
    turn, shift = 1.1, np.array([4.0, -2.0])
    forward = np.stack([-np.sin(states[:, 2]), -np.cos(states[:, 2])], 1)
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])  # of x, z by a yaw
    moved = np.column_stack([states[:, :2] @ spin.T + shift, states[:, 2] + turn])
    np.testing.assert_allclose(
        np.stack([-np.sin(moved[:, 2]), -np.cos(moved[:, 2])], 1), forward @ spin.T, atol=1e-9
    )
    expected, found = (odometry(walk(*map(tuple, each))) for each in (states, moved))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_a_step_senses_depends_on_the_steps_before_it_alone() -> None:
    poses = walk((0, 0, 0), (0, -0.25, 0), (0, -0.25, 0.3), (-0.1, -0.5, 0.3))
    whole = odometry(poses)
    for step in range(1, 5):
        np.testing.assert_allclose(odometry(poses[:step]), whole[:step], atol=1e-6)


def test_a_mirror_senses_the_mirrored_walk() -> None:
    rng = np.random.default_rng(1)
    states, depth = rng.uniform(-3, 3, (5, 3)), rng.uniform(0.5, 5, (4, 4)).astype(np.float32)
    seen = sensed(depth, walk(*map(tuple, states)), BOTH).numpy()
    other = sensed(depth[:, ::-1].copy(), walk(*map(tuple, states * [-1, 1, -1])), BOTH).numpy()
    np.testing.assert_allclose(mirrored(seen, BOTH), other, atol=1e-5)
    np.testing.assert_array_equal(mirrored(mirrored(seen, BOTH), BOTH), seen)


def test_a_mirror_maps_the_mirrored_surroundings() -> None:
    params = ContextParams(ranges=2, odometry=True, surroundings=SurroundingsParams(side=8))
    rng = np.random.default_rng(2)
    states, depths = rng.uniform(-1, 1, (5, 3)), rng.uniform(0.5, 3, (5, 32, 32)).astype(np.float32)
    maps = [Surroundings(params.surroundings) for _ in range(2)]
    for step in range(1, 6):
        seen = sensed(depths[step - 1], walk(*map(tuple, states[:step])), params, maps[0]).numpy()
        turned, other = depths[step - 1][:, ::-1].copy(), states[:step] * [-1, 1, -1]
        wanted = sensed(turned, walk(*map(tuple, other)), params, maps[1]).numpy()
        different = np.abs(mirrored(seen, params) - wanted) > 1e-5
        assert different.mean() < 0.05  # points on the very border of a cell fall to either side
    assert seen[12:].any()


@pytest.mark.parametrize(
    ("given", "message"), [((None, np.eye(4)[None]), "depth"), ((np.ones((2, 2)), None), "poses")]
)
def test_what_is_not_there_cannot_be_sensed(given, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sensed(*given, BOTH)


def test_a_vector_tells_of_its_own_view_alone() -> None:
    torch.manual_seed(0)
    senses, numbers = Senses(BOTH, 8), torch.rand(3, 12)
    tokens = senses(numbers)
    assert tokens.shape == (3, 8)
    torch.testing.assert_close(tokens[1:2], senses(numbers[1:2]))
