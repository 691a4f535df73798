"""Similarity transforms: known ones are recovered, and images stay what they were."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vln_heatmap.nodes.model.vggt.alignment import Similarity, umeyama
from vln_heatmap.nodes.model.vggt.points import unproject


def similarity(seed: int, scale: float) -> Similarity:
    rotation = torch.from_numpy(Rotation.random(random_state=seed).as_matrix())
    shift = torch.randn(3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Similarity(torch.tensor(scale, dtype=torch.float64), rotation, shift)


def cloud(seed: int, count: int = 20) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def check(found: Similarity, truth: Similarity, tolerance: float = 1e-9) -> None:
    for name in ("scale", "rotation", "translation"):
        torch.testing.assert_close(getattr(found, name), getattr(truth, name), atol=tolerance, rtol=tolerance)


@given(st.integers(0, 999), st.floats(0.05, 20))
@settings(max_examples=40, deadline=None)
def test_a_known_similarity_is_recovered(seed: int, scale: float) -> None:
    truth, points = similarity(seed, scale), cloud(seed)
    check(umeyama(points, truth.points(points), torch.ones(20)), truth)


def test_points_of_a_plane_suffice_and_never_give_a_mirror_image() -> None:
    truth, points = similarity(3, 2.0), cloud(3)
    points[:, 2] = 0
    found = umeyama(points, truth.points(points), torch.ones(20))
    check(found, truth)
    mirrored = umeyama(cloud(4), cloud(4) * torch.tensor([1.0, 1.0, -1.0]), torch.ones(20))
    assert torch.linalg.det(mirrored.rotation).item() == pytest.approx(1)


def test_pairs_of_weight_zero_do_not_count() -> None:
    truth, points = similarity(5, 0.5), cloud(5)
    target, weights = truth.points(points), torch.ones(20)
    target[:7], weights[:7] = 100.0, 0.0
    check(umeyama(points, target, weights), truth)


def test_a_weight_of_two_is_the_pair_twice() -> None:
    points, target = cloud(6), cloud(7)
    weights = torch.ones(20)
    weights[:5] = 2
    twice = umeyama(torch.cat([points, points[:5]]), torch.cat([target, target[:5]]), torch.ones(25))
    check(umeyama(points, target, weights), twice)


def test_no_small_change_is_better() -> None:
    """The closed form is the minimum: no scale, turn or shift nearby has a smaller weighted error."""
    points, target, weights = cloud(8), cloud(9) + cloud(8), torch.rand(20, dtype=torch.float64)
    best = umeyama(points, target, weights)

    def error(s: Similarity) -> float:
        return (weights * (s.points(points) - target).square().sum(-1)).sum().item()

    for axis in torch.eye(3, dtype=torch.float64):
        for sign in (1e-3, -1e-3):
            turn = torch.from_numpy(Rotation.from_rotvec((sign * axis).numpy()).as_matrix())
            others = (
                Similarity(best.scale, turn @ best.rotation, best.translation),
                Similarity(best.scale, best.rotation, best.translation + sign * axis),
                Similarity(best.scale * (1 + sign), best.rotation, best.translation),
            )
            assert all(error(other) > error(best) for other in others)


def test_a_moved_camera_sees_moved_things_at_the_same_pixels() -> None:
    """Camera, depth and points of a view move together."""
    change = similarity(10, 3.0)
    camera = torch.eye(4, dtype=torch.float64)
    camera[:3, :3], camera[:3, 3] = similarity(11, 1.0).rotation, torch.tensor([1.0, 2.0, 3.0])
    matrix = torch.tensor([[4.0, 0, 3], [0, 5, 2], [0, 0, 1]], dtype=torch.float64)
    depth = torch.rand(4, 6, dtype=torch.float64) + 0.5
    direct = change.points(unproject(depth, camera, matrix))
    torch.testing.assert_close(unproject(change.scale * depth, change.cameras(camera), matrix), direct)


def test_the_identity_changes_nothing() -> None:
    points = cloud(12)
    same = Similarity.identity(points)
    assert torch.equal(same.points(points), points)
    assert torch.equal(same.cameras(torch.eye(4, dtype=torch.float64)), torch.eye(4, dtype=torch.float64))


@pytest.mark.parametrize(
    ("points", "weights", "message"),
    [
        (cloud(0), torch.tensor([1.0, 1.0] + [0.0] * 18), "at least 3 weighted point pairs, got 2"),
        (cloud(0)[:, :1] * torch.ones(3), torch.ones(20), "undetermined"),
        (torch.ones(20, 3), torch.ones(20), "undetermined"),
        (cloud(0) * float("nan"), torch.ones(20), "finite"),
    ],
)
def test_pairs_that_fix_no_rotation_are_refused(
    points: torch.Tensor, weights: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        umeyama(points, points, weights)
