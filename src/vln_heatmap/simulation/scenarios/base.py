"""What a scenario is: something to film, and a number that says whether the film shows it.

Invariant: a scenario is judged by the finished recording alone, never by what its film believed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.simulation.scene import Scene
from vln_heatmap.simulation.simulators.base import Simulator
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories import WalkRequest

#: Parts of the collection plan.
PARTS = ("geometric_foundation", "cross_frame_correspondence", "spatial_reasoning", "challenge")

Film = Callable[[Simulator, Scene, np.random.Generator, WalkRequest], Take]
Measure = Callable[[Sequence], float]


class ScenarioNotPossibleError(ValueError):
    """The scene does not give what a scenario needs: take another scene, or another draw."""


@dataclass(frozen=True)
class Scenario:
    """One subtype of the collection plan.

    Attributes:
        name: unique among all scenarios.
        part: one of ``PARTS``.
        strategy: the trajectory or strategy (by name) whose kind of camera motion it uses.
        film: plans a take in the loaded scene; the same generator state gives the same take. Raises
            ``ScenarioNotPossibleError`` where the scene cannot give it.
        measure: a number of the finished recording.
        limit: least and greatest value of the measure with which the recording is what the name says.
        unit: of the measure.
        about: one sentence on what is measured.
        house: fields of ``HouseParams`` that differ for this scenario.
        questions: question types for which such recordings are made.
    """

    name: str
    part: str
    strategy: str
    film: Film
    measure: Measure
    limit: tuple[float, float]
    unit: str
    about: str
    house: Mapping[str, Any] = field(default_factory=dict)
    questions: tuple[str, ...] = ()

    def holds(self, value: float) -> bool:
        """Whether a value of the measure lies within the limit (NaN never does)."""
        return self.limit[0] <= value <= self.limit[1]
