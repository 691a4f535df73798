"""The subtypes of the collection plan: what is filmed, and the number that says whether the film shows it.

Invariant: names are unique; every scenario's limit is met by its own film and missed by a plain walk.
"""

from vln_heatmap.simulation.scenarios import (
    challenge,
    changes,
    correspondence,
    geometric,
    reasoning,
    relations,
)
from vln_heatmap.simulation.scenarios.base import PARTS, Scenario, ScenarioNotPossibleError

_MODULES = (geometric, correspondence, relations, reasoning, changes, challenge)

#: All scenarios by name, part by part.
SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario for module in _MODULES for scenario in module.SCENARIOS
}

__all__ = ["PARTS", "SCENARIOS", "Scenario", "ScenarioNotPossibleError"]
