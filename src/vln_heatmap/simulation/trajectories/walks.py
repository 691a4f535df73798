"""What a walk is, and what it should be like.

Invariant: a ``Walk`` has one step a frame, and its last action is STOP.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.scene import Scene
from vln_heatmap.simulation.simulators.base import AgentState


class WalkStep(NamedTuple):
    """One frame: where the agent stood, what it did there, whether that bumped into something.

    ``lift`` (metres) and ``tilt`` (radians, up is +) are added to the camera's height and pitch in this frame.
    """

    state: AgentState
    action: int
    collided: bool
    lift: float = 0.0
    tilt: float = 0.0


@dataclass(frozen=True)
class Walk:
    """A walk of T frames. The last action is STOP; ``stopped`` tells a decision from the end of the tape.

    ``details`` are facts about the walk for the metadata (JSON): what it covered, what it looked at.
    """

    steps: tuple[WalkStep, ...]
    stopped: bool
    goal: tuple[float, float, float] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WalkRequest:
    """What a walk should be like.

    Attributes:
        length: greatest number of frames, >= 2.
        agent: step sizes.
        distance: range of the walkable distance from start to goal in metres (point to point only).
        targets: points [3] of things worth walking to or around (empty = any floor point).
        scene: what is loaded in the simulator, for walks that need to know its rooms and things.
        fps: frames a second.
        max_speed, max_turn: greatest speed (m/s) and turning rate (degrees/s) of smooth camera motion.
        focus: ids of the instances to film; empty = the walk chooses.
    """

    length: int
    agent: AgentParams
    distance: tuple[float, float] = (1.5, 6.0)
    targets: Sequence[NDArray[np.float64]] = ()
    scene: Scene | None = None
    fps: float = 10.0
    max_speed: float = 0.5
    max_turn: float = 30.0
    focus: tuple[int, ...] = ()


class NoRouteError(ValueError):
    """The scene gives no walk of the wanted kind: no start and goal, room, thing or floor for it."""


def path_length(path: NDArray[np.float64]) -> float:
    """Length in metres of a polyline [N, 3]."""
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def forward_of(yaw: float) -> NDArray[np.float64]:
    """Unit vector [3] of a heading in the world: yaw 0 is -Z, left is positive."""
    return np.array([-math.sin(yaw), 0.0, -math.cos(yaw)])


def bearing(origin: ArrayLike, target: ArrayLike) -> float:
    """Heading in radians from one world point [3] to another."""
    delta = np.asarray(target, float) - np.asarray(origin, float)
    return math.atan2(-delta[0], -delta[2])


def as_point(array: ArrayLike) -> tuple[float, float, float]:
    x, y, z = np.asarray(array, float)
    return (float(x), float(y), float(z))
