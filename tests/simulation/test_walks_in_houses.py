"""Every trajectory and strategy in a generated house, with all its furniture in the way."""

import numpy as np
import pytest
from walk_checks import (
    AGENT,
    assert_is_free_motion,
    assert_is_what_the_simulator_answers,
    simulated,
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
