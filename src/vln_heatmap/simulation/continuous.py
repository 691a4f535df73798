"""Steps of any length and direction: an agent that moves in its own frame and slides along what it bumps into.

Invariant: wherever a step ends, the agent can stand there, and the way to it was free. A step that nothing is in
the way of ends exactly where it was meant to.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vln_heatmap.geometry.cameras import wrap_angle
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.simulators.base import AgentState, Simulator, StepResult
from vln_heatmap.simulation.trajectories.walks import as_point, path_length

_SAME = 1e-3  # metres
_PLAN = [0, 2]
Vector = NDArray[np.float64]


class Motion(NamedTuple):
    """A step in the agent's own frame, as it stands before the step.

    Attributes:
        right, forward: metres on the floor (Δx, Δz).
        turn: radians after that, left is positive (Δyaw).
    """

    right: float
    forward: float
    turn: float


def limited(motion: Motion, agent: AgentParams) -> Motion:
    """The same motion, not longer than ``agent.forward_step`` and not wider than ``agent.turn_angle``.

    Raises:
        ValueError: numbers that are not finite.
    """
    if not all(map(math.isfinite, motion)):
        raise ValueError(f"a motion must be finite numbers, got {tuple(motion)}")
    length, widest = math.hypot(motion.right, motion.forward), math.radians(agent.turn_angle)
    share = min(1.0, agent.forward_step / length) if length else 1.0
    return Motion(motion.right * share, motion.forward * share, min(max(motion.turn, -widest), widest))


def axes(yaw: float) -> tuple[Vector, Vector]:
    """Unit vectors [3] to the right of an agent and ahead of it, in the world."""
    sine, cosine = math.sin(yaw), math.cos(yaw)
    return np.array([cosine, 0.0, -sine]), np.array([-sine, 0.0, -cosine])


def seen_from(state: AgentState, point: ArrayLike) -> tuple[float, float]:
    """Metres to the right of the agent and ahead of it at which a world point [3] lies."""
    way = np.asarray(point, np.float64) - np.asarray(state.position)
    right, ahead = axes(state.yaw)
    return float(way @ right), float(way @ ahead)


def glide(sim: Simulator, state: AgentState, motion: Motion, agent: AgentParams) -> StepResult:
    """Move, then turn; what is in the way is slid along.

    Args:
        sim: with the scene.
        state: where the agent stands.
        motion: as wanted; it is ``limited``.
        agent: limits of a step, and the cells in which obstacles are felt for.

    Returns:
        Where the agent ends, and ``collided`` if that is not where it would have come to on free floor.

    Raises:
        ValueError: numbers that are not finite.
    """
    motion = limited(motion, agent)
    start = np.asarray(state.position, np.float64)
    right, ahead = axes(state.yaw)
    way = motion.right * right + motion.forward * ahead  # [3]
    end = straight_end(sim, start, way)
    if end is None:
        end = _slide(sim, start, way, agent.cell)
    missed = math.dist(end[_PLAN], (start + way)[_PLAN])
    yaw = wrap_angle(state.yaw + motion.turn) if motion.turn else state.yaw
    return StepResult(AgentState(as_point(end), yaw), missed > _SAME)


def straight_end(sim: Simulator, start: Vector, way: Vector) -> Vector | None:
    """The floor point [3] at the end of a straight way [3]; None if something is in between."""
    length = math.hypot(*way[_PLAN])
    if length < 1e-9:
        return start
    if not sim.is_navigable(start + way):
        return None
    path = sim.shortest_path(start, start + way)
    return path[-1] if len(path) and path_length(path * (1.0, 0.0, 1.0)) < length + _SAME else None


def _slide(sim: Simulator, start: Vector, way: Vector, cell: float) -> Vector:
    """As far as one gets in pieces of a cell, each whole, or else its part along one axis, the longer one first.

    Walls of generated houses stand along the axes; others are followed in zigzags of a cell.
    """
    pieces = max(1, math.ceil(math.hypot(*way[_PLAN]) / cell))
    part = way / pieces
    along = sorted(
        (part * (1.0, 0.0, 0.0), part * (0.0, 0.0, 1.0)), key=lambda each: -float(np.abs(each).max())
    )
    here = start
    for _ in range(pieces):
        ends = (straight_end(sim, here, each) for each in (part, *along) if np.abs(each).max() > 1e-6)
        here = next((end for end in ends if end is not None), here)
    return here
