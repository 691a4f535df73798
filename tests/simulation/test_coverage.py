"""Coverage, counted anew by brute force."""

from itertools import pairwise

import numpy as np
import pytest
from open_floor import AGENT, OpenFloor
from walk_checks import rows_of, simulated, two_rooms

from vln_heatmap.simulation.strategies import coverage_optimisation, plan_coverage
from vln_heatmap.simulation.trajectories import WalkRequest, path_length


def in_sight(sim: OpenFloor, a: np.ndarray, b: np.ndarray) -> bool:
    line = a + np.linspace(0, 1, 200)[:, None] * (b - a)
    return bool(np.linalg.norm(b - a) <= 3.0) and all(sim.is_navigable(point) for point in line)


@pytest.mark.parametrize("door", [None, 0.5])
@pytest.mark.parametrize("half", [2.0, 4.0])
def test_a_plan_covers_what_it_says_and_85_percent(half: float, door: float | None) -> None:
    sim = OpenFloor(half, door)
    plan = plan_coverage(sim)
    area = sim.navigable_points(0.3)  # not the plan's own sample
    covered = np.mean([any(in_sight(sim, view, point) for view in plan.view_points) for point in area])
    assert plan.covered >= 0.85
    assert covered == pytest.approx(plan.covered, abs=0.03)


def test_a_plan_is_drawn_by_the_generator_and_still_covers() -> None:
    sim = OpenFloor(4.0, 0.5)
    plans = [plan_coverage(sim, rng=np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert all(plan.covered >= 0.85 for plan in plans)
    np.testing.assert_array_equal(plans[0].view_points, plans[1].view_points)
    assert not np.array_equal(plans[0].view_points, plans[2].view_points)


def test_a_plan_covers_furnished_rooms() -> None:
    sim = simulated(two_rooms())
    plan = plan_coverage(sim, share=0.95)
    assert plan.covered >= 0.95
    assert {float(np.sign(x)) for x in plan.view_points[:, 0]} == {-1.0, 1.0}
    sim.close()


@pytest.mark.parametrize("door", [None, 0.5])
def test_the_path_visits_the_view_points_in_an_order_no_longer_than_the_greedy_one(
    door: float | None,
) -> None:
    sim = OpenFloor(5.0, door)
    plan = plan_coverage(sim)
    assert sorted(plan.order) == list(range(len(plan.view_points)))

    def length(order) -> float:
        return sum(
            sim.geodesic_distance(plan.view_points[a], plan.view_points[b]) for a, b in pairwise(order)
        )

    greedy = range(len(plan.view_points))
    left, nearest = list(greedy)[1:], [0]
    while left:
        nearest.append(min(left, key=lambda k: length([nearest[-1], k])))
        left.remove(nearest[-1])
    assert length(plan.order) <= min(length(greedy), length(nearest)) + 1e-6
    assert path_length(plan.path) <= 1.1 * length(plan.order)
    nearest_pass = [np.linalg.norm(plan.path - view, axis=1).argmin() for view in plan.view_points]
    assert np.array_equal(np.argsort(nearest_pass), plan.order)
    assert all(sim.is_navigable(point) for point in plan.path)


def test_a_walk_says_what_its_frames_covered() -> None:
    sim = OpenFloor(3.0, 0.5)
    walk = coverage_optimisation(sim, np.random.default_rng(0), WalkRequest(60, AGENT))
    area = sim.navigable_points(0.3)
    seen = 0
    for point in area:
        for x, _, z, yaw, *_ in rows_of(walk):
            off = np.arctan2(-(point[0] - x), -(point[2] - z)) - yaw
            ahead = abs((off + np.pi) % (2 * np.pi) - np.pi) <= np.pi / 4  # hfov 90
            if ahead and in_sight(sim, np.array([x, 0, z]), point):
                seen += 1
                break
    assert walk.details["covered"] == pytest.approx(seen / len(area), abs=0.04)


def test_longer_walks_cover_more_and_long_ones_85_percent() -> None:
    sim = OpenFloor(3.0, 0.5)
    covered = [
        coverage_optimisation(sim, np.random.default_rng(0), WalkRequest(length, AGENT)).details["covered"]
        for length in (8, 30, 200)
    ]
    assert covered == sorted(covered)
    assert covered[0] < 0.7
    assert covered[-1] >= 0.85


@pytest.mark.parametrize("wrong", [{"share": 0.0}, {"share": 1.1}, {"view_range": 0.0}])
def test_impossible_plans_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        plan_coverage(OpenFloor(1.0), **wrong)
