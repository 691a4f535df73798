"""Trajectories and strategies in a generated house, with all its furniture in the way, and on stairs."""

import numpy as np
import pytest
from walk_checks import (
    AGENT,
    assert_is_free_motion,
    assert_is_what_the_simulator_answers,
    rows_of,
    simulated,
    two_levels,
)

from vln_heatmap.params import HouseParams
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.simulators.base import MOVE
from vln_heatmap.simulation.strategies import STRATEGIES, plan_coverage
from vln_heatmap.simulation.trajectories import TRAJECTORIES, WalkRequest


@pytest.fixture(scope="module")
def house() -> tuple:
    """A furnished house: the simulator and its scene."""
    scene = generate_house(5, HouseParams(light=False, texture_size=16))
    sim = simulated(scene)
    yield sim, scene
    sim.close()


@pytest.mark.parametrize("name", [*TRAJECTORIES, *STRATEGIES])
def test_walks_keep_to_the_free_floor(house: tuple, name: str) -> None:
    sim, scene = house
    request = WalkRequest(24, AGENT, scene=scene)
    walk = (TRAJECTORIES | STRATEGIES)[name](sim, np.random.default_rng(1), request)
    assert len(walk.steps) == 24 or walk.stopped
    if walk.steps[0].action == MOVE:
        assert_is_free_motion(sim, walk, 24)
    else:
        assert_is_what_the_simulator_answers(sim, walk)


def test_a_plan_covers_85_percent_of_a_house(house: tuple) -> None:
    plan = plan_coverage(house[0], rng=np.random.default_rng(0))
    assert plan.covered >= 0.85
    assert all(house[0].is_navigable(point) for point in plan.path)


@pytest.mark.parametrize(
    "name", ["room_transition", "coverage_optimisation", "temporal_coherence", "challenge"]
)
def test_walks_climb_stairs(name: str) -> None:
    scene = two_levels()
    sim = simulated(scene)
    floor = sim.navigable_points(0.1)
    climbed = 0.0
    for seed in range(3):
        request = WalkRequest(60, AGENT, scene=scene, max_speed=2.0, max_turn=120.0)
        rows = rows_of((TRAJECTORIES | STRATEGIES)[name](sim, np.random.default_rng(seed), request))
        climbed = max(climbed, float(np.ptp(rows[:, 1])))
        away = np.linalg.norm(rows[:, None, :3] - floor, axis=2).min(axis=1)  # [T]
        assert away.max() < 0.15  # the sample's spacing, and a bend that is rounded
    assert climbed == pytest.approx(1.02, abs=0.1)
    sim.close()
