"""Everything that can be filmed, by name: scenarios, and plain strategies and trajectories.

Invariant: one name means one thing; a scenario goes before a strategy, and that before a trajectory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from vln_heatmap.simulation.scene import Scene
from vln_heatmap.simulation.simulators.base import Simulator
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories import TRAJECTORIES, Walk, WalkRequest

Walker = Callable[[Simulator, np.random.Generator, WalkRequest], Walk]


@dataclass(frozen=True)
class PlainScenario:
    """A trajectory or strategy as it is: any house will do, and nothing measures whether it holds."""

    name: str
    walker: Walker
    house: Mapping[str, Any] = field(default_factory=dict)
    questions: tuple[str, ...] = ()
    measure: None = None

    @property
    def strategy(self) -> str:
        return self.name

    def film(self, sim: Simulator, scene: Scene, rng: np.random.Generator, request: WalkRequest) -> Take:
        """The walk, and nothing else happens."""
        walk = self.walker(sim, rng, request)
        return Take(walk, focus=tuple(walk.details.get("focus", ())))


@cache
def filmable() -> Mapping[str, Any]:
    """Scenarios, strategies and trajectories by name: ``Scenario`` or ``PlainScenario``."""
    from vln_heatmap.simulation.scenarios import SCENARIOS
    from vln_heatmap.simulation.strategies import STRATEGIES

    plain = {name: PlainScenario(name, walker) for name, walker in {**TRAJECTORIES, **STRATEGIES}.items()}
    return {**plain, **SCENARIOS}
