"""Warps against geometry done by hand: a wall seen by cameras that step sideways, and what hides it."""

import loss_worlds
import pytest
import torch
from loss_worlds import SIZE

from vln_heatmap.nodes.losses.warping import Warps, bilinear_weights, coarser, sample, view_warps


def warps(world: dict[str, torch.Tensor], occlusion: float = 0.05) -> Warps:
    return view_warps(world["view_depth"], world["view_pose"], world["intrinsics"], occlusion=occlusion)


def pair(found: Warps, source: int, target: int) -> int:
    return ((found.source == source) & (found.target == target)).nonzero().item()


def test_a_step_sideways_moves_a_wall_by_its_disparity() -> None:
    found = warps(loss_worlds.wall(3))
    assert len(found.source) == 6
    columns = torch.arange(SIZE) + 0.5
    for source, target in ((0, 2), (2, 0), (1, 2)):
        number, shift = pair(found, source, target), target - source
        expected = (columns + shift).expand(SIZE, SIZE).double()
        torch.testing.assert_close(found.places[0, number, ..., 0], expected)
        torch.testing.assert_close(
            found.places[0, number, ..., 1], columns[:, None].expand(SIZE, SIZE).double()
        )
        inside = (columns + shift > 0) & (columns + shift < SIZE)
        assert (found.visible[0, number] == inside).all()


def test_a_warped_picture_is_the_picture_that_the_other_view_sees() -> None:
    found, picture = warps(loss_worlds.wall(3)), loss_worlds.painted(3)
    warped = sample(picture[:, found.source, None], found.places)[:, :, 0]  # [1, P, h, w]
    wanted = picture[:, found.target]
    torch.testing.assert_close(warped[found.visible], wanted[found.visible])
    assert 0.6 < found.visible.double().mean() < 0.8


def test_what_stands_before_the_wall_hides_it_and_missing_depth_is_never_visible() -> None:
    world = loss_worlds.wall(2)
    world["view_depth"][0, 0, :, 3] = 1.0  # a post in view 0, before column 3 of it = column 2 of view 1
    found = warps(world)
    assert found.visible[0, pair(found, 0, 1)].all(0).tolist() == [True, True, False, True, True, False]
    world["view_depth"][0, 0] = 0
    assert not warps(world).visible.any()


def test_depth_errors_below_the_tolerance_hide_nothing() -> None:
    world = loss_worlds.wall(2)
    world["view_depth"][0, 1] *= 1.04
    assert warps(world, occlusion=0.05).visible.any()
    assert not warps(world, occlusion=0.03).visible.any()


def test_what_is_behind_the_other_camera_is_not_seen() -> None:
    world = loss_worlds.wall(2)
    turned = torch.diag(torch.tensor([-1.0, 1, -1, 1], dtype=torch.float64))
    world["view_pose"][0, 1] = turned
    found = warps(world)
    assert not found.visible.any()
    assert found.places.isfinite().all()


def test_a_grazing_plane_does_not_hide_itself() -> None:
    """A floor 1 m below cameras that step forward: 1 / depth is linear in the image, depth is not."""
    rows = torch.arange(SIZE, dtype=torch.float64) + 0.5
    world = loss_worlds.wall(2)
    matrix = torch.tensor(
        [[8.0, 0, 3], [0, 8.0, -0.4], [0, 0, 1]], dtype=torch.float64
    )  # horizon above row 0
    world["intrinsics"] = matrix[None]
    world["view_depth"][:] = (8.0 / (rows + 0.4))[:, None]  # from 8.9 to 1.4 m
    world["view_pose"][:] = torch.eye(4, dtype=torch.float64)
    world["view_pose"][0, 1, 2, 3] = 0.1
    found = warps(world, occlusion=0.01)
    rows_seen = found.visible[0, pair(found, 0, 1)][1:-1]  # the first and last row may project beyond centres
    assert rows_seen[:, 1:-1].all()


def test_no_pairs_of_a_single_view_and_no_error() -> None:
    found = warps(loss_worlds.wall(1))
    assert found.visible.shape == (1, 0, SIZE, SIZE)
    maps = torch.rand(1, 0, 3, SIZE, SIZE, requires_grad=True)
    warped = sample(maps, found.places)
    assert warped.shape == (1, 0, 3, SIZE, SIZE)
    warped.sum().backward()


def test_bilinear_weights_are_what_sampling_uses() -> None:
    g = torch.Generator().manual_seed(1)
    maps = torch.rand(1, 2, 1, 5, 7, generator=g, dtype=torch.float64)
    places = torch.rand(1, 2, 3, 4, 2, generator=g, dtype=torch.float64) * 9 - 1  # some beyond the border
    weights = bilinear_weights(places, (5, 7))
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 2, 12, dtype=torch.float64))
    by_hand = (weights @ maps.flatten(-2).mT)[..., 0].view(1, 2, 3, 4)
    torch.testing.assert_close(by_hand, sample(maps, places)[:, :, 0])


@pytest.mark.parametrize("cells", [3, 2, 6])
def test_a_coarser_grid_sees_the_same_places(cells: int) -> None:
    world = loss_worlds.wall(2)
    depth, intrinsics = coarser(world["view_depth"], world["intrinsics"], (cells, cells))
    assert depth.shape == (1, 2, cells, cells)
    found = view_warps(depth, world["view_pose"], intrinsics, occlusion=0.05)
    number = pair(found, 0, 1)
    shift = found.places[0, number, 0, :, 0] - (torch.arange(cells) + 0.5)
    torch.testing.assert_close(shift, torch.full((cells,), cells / SIZE, dtype=torch.float64))
