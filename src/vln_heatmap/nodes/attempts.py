"""Film one planned walk until it is good: judged by its scenario's measure and by the quality controller.

Invariant: an attempt depends on the scene, the walk's number and the attempt's number alone. What is kept says
how good it is and how many attempts it took; the best of those that failed is marked, not passed off.
"""

from __future__ import annotations

import logging
import math
import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.nodes.plan import PlannedWalk, sequence_id
from vln_heatmap.nodes.quality import QualityController
from vln_heatmap.params import CollectParams
from vln_heatmap.simulation.filming import filmable
from vln_heatmap.simulation.recording import Mount, record
from vln_heatmap.simulation.scenarios import ScenarioNotPossibleError
from vln_heatmap.simulation.scene import STRUCTURE, Scene
from vln_heatmap.simulation.simulators.base import Simulator
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories import NoRouteError, WalkRequest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """What filming a walk in a scene gave.

    Attributes:
        attempts: made so far, those in other scenes included.
        sequence: None if the scene gives no occasion for it.
        reason: why it does not.
    """

    attempts: int
    sequence: Sequence | None = None
    reason: str = ""


def film_walk(
    sim: Simulator, scene: Scene, walk: PlannedWalk, params: CollectParams, *, first: int
) -> Attempt:
    """Film a walk in the loaded scene, at most until attempt ``params.retries``; the first good one, or the best.

    Args:
        sim: simulator in which ``scene`` is loaded.
        scene: where.
        walk: what is filmed.
        params: of the stage.
        first: number of the first attempt here; earlier ones were made in other scenes.
    """
    best: Sequence | None = None
    attempt = first
    for attempt in range(first, params.retries + 1):
        try:
            sequence = _film(sim, scene, walk, params, attempt)
        except (ScenarioNotPossibleError, NoRouteError) as error:
            logger.info(
                "%s in %s (seed %s): not possible here, %s", walk.shot.scenario, scene.name, scene.seed, error
            )
            if best is None:
                return Attempt(attempt + 1, reason=str(error))
            continue  # the scene gave an occasion before: no need of another one
        if best is None or _rank(sequence) > _rank(best):
            best = sequence
        if sequence.metadata["quality"]["passed"]:
            break
        logger.info(
            "%s, attempt %d: %s", sequence.id, attempt, sequence.metadata["quality"]["recommendation"]
        )
    if best is None:
        return Attempt(first, reason="no attempt is left")
    return Attempt(attempt + 1, replace(best, metadata={**best.metadata, "attempts": attempt + 1}))


def _film(sim: Simulator, scene: Scene, walk: PlannedWalk, params: CollectParams, attempt: int) -> Sequence:
    """One recording with its scenario, quality and attempt in the metadata."""
    rng = np.random.default_rng([params.seed, zlib.crc32(scene.name.encode()), walk.number, attempt])
    height = params.agent.camera_height + params.variation.camera_height * rng.uniform(-1, 1)
    pitch = math.radians(params.variation.pitch * rng.uniform(-1, 1))
    scenario = filmable()[walk.shot.scenario]
    take = scenario.film(sim, scene, rng, _request(scene, walk, params))
    details = {
        "walk": walk.number,
        "collection_seed": params.seed,
        "trajectory": walk.strategy,
        "scenario": _scenario_facts(walk, take),
        "attempt": attempt,
    }
    sequence = record(
        sim,
        scene,
        take,
        rng,
        sequence_id=sequence_id(scene.name, walk.number),
        mount=Mount(round(height, 4), round(pitch, 6)),
        fps=params.fps,
        instructions=params.instructions,
        questions=scenario.questions,
        details=details,
    )
    return _judged(sequence, scenario, scene, params)


def _request(scene: Scene, walk: PlannedWalk, params: CollectParams) -> WalkRequest:
    return WalkRequest(
        walk.length,
        params.agent,
        params.route_distance,
        [thing.centre for thing in scene.instances if thing.category not in STRUCTURE],
        scene=scene,
        fps=params.fps,
        max_speed=params.max_speed,
        max_turn=params.max_turn,
    )


def _scenario_facts(walk: PlannedWalk, take: Take) -> dict[str, Any]:
    """The scenario as metadata, before it is measured; the measure reads the focus here."""
    return {
        "name": walk.shot.scenario,
        "part": walk.shot.part,
        "strategy": walk.strategy,
        "levels": list(walk.levels),
        "focus": [int(i) for i in take.focus],
        "measure": None,
        "unit": None,
        "limit": None,
        "holds": True,
    }


def _judged(sequence: Sequence, scenario: Any, scene: Scene, params: CollectParams) -> Sequence:
    """The sequence with the verdict of its scenario's measure and of the quality controller."""
    facts = dict(sequence.metadata["scenario"])
    if scenario.measure is not None:
        value = float(scenario.measure(sequence))
        limit = [bound if math.isfinite(bound) else None for bound in scenario.limit]
        facts |= {"unit": scenario.unit, "limit": limit, "holds": scenario.holds(value)}
        facts["measure"] = value if math.isfinite(value) else None
    ids = [instance.id for instance in scene.instances]
    quality = QualityController(params.quality).assess(sequence, scene_ids=ids).summary()
    if not facts["holds"]:
        told = f"{facts['measure']} {facts['unit']}, the limits are {facts['limit']}"
        quality["recommendation"] = f"re-collect: {facts['name']} does not hold: {told}"
    quality["passed"] = bool(quality["passed"] and facts["holds"])
    return replace(sequence, metadata={**sequence.metadata, "scenario": facts, "quality": quality})


def _rank(sequence: Sequence) -> tuple[bool, float]:
    """The better, the greater."""
    return (sequence.metadata["scenario"]["holds"], sequence.metadata["quality"]["overall"])
