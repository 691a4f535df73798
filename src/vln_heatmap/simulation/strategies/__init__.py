"""Ways to film on purpose, by name: what a set of training data needs rather than what an agent happens to see.

Invariant: a strategy has the signature of a trajectory and gives a walk of exactly the requested length, on
navigable floor in every frame, within the limits of ``trajectories.free_motion``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vln_heatmap.simulation.simulators.base import Simulator
from vln_heatmap.simulation.strategies.challenge import challenge
from vln_heatmap.simulation.strategies.coherence import temporal_coherence
from vln_heatmap.simulation.strategies.coverage import CoveragePlan, coverage_optimisation, plan_coverage
from vln_heatmap.simulation.strategies.diversity import viewpoint_diversity
from vln_heatmap.simulation.strategies.relation import spatial_relationship
from vln_heatmap.simulation.trajectories import Walk, WalkRequest

#: Strategies by name.
STRATEGIES: dict[str, Callable[[Simulator, np.random.Generator, WalkRequest], Walk]] = {
    "coverage_optimisation": coverage_optimisation,
    "spatial_relationship": spatial_relationship,
    "viewpoint_diversity": viewpoint_diversity,
    "temporal_coherence": temporal_coherence,
    "challenge": challenge,
}

__all__ = [
    "STRATEGIES",
    "CoveragePlan",
    "challenge",
    "coverage_optimisation",
    "plan_coverage",
    "spatial_relationship",
    "temporal_coherence",
    "viewpoint_diversity",
]
