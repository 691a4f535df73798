"""The contract between the pipelines and any simulator.

Invariant: every backend returns the same ``Observation`` for the same scene and pose (ids equal, z-depth
within a millimetre away from edges); only colours may differ a little.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera, wrap_angle
from vln_heatmap.simulation.scene import Scene

#: Discrete actions, numbered as StreamVLN and VLN-CE number them.
STOP, FORWARD, TURN_LEFT, TURN_RIGHT = 0, 1, 2, 3
ACTION_NAMES = ("stop", "forward", "turn_left", "turn_right")
#: Two more actions of RxR-CE, which tilt the camera and leave the agent where it is. No simulator steps them.
LOOK_UP, LOOK_DOWN = 4, 5
#: In a recording: the camera moved on freely, as ``velocity`` says. No simulator steps it.
MOVE = -1


@dataclass(frozen=True)
class Observation:
    """What the camera sees.

    Attributes:
        rgb: [H, W, 3] uint8.
        depth: [H, W] float32 z-depth in metres, 0 where nothing was hit.
        instance: [H, W] int32 instance id, 0 where nothing was hit.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    instance: NDArray[np.int32]


@dataclass(frozen=True)
class AgentState:
    """Where the agent stands: floor point (x, y, z) in metres, yaw in radians (0: -Z, left is +)."""

    position: tuple[float, float, float]
    yaw: float


@dataclass(frozen=True)
class StepResult:
    """State after an action, and whether the agent bumped into something (it then stays where it was)."""

    state: AgentState
    collided: bool


def stop_or_turn(state: AgentState, action: int, turn_angle: float) -> StepResult | None:
    """What STOP, TURN_LEFT and TURN_RIGHT do, wherever the agent stands; None for FORWARD.

    Args:
        turn_angle: degrees of a turn.

    Raises:
        ValueError: another action.
    """
    if action == FORWARD:
        return None
    if action not in (STOP, TURN_LEFT, TURN_RIGHT):
        raise ValueError(f"action must be 0 (stop), 1 (forward), 2 (left) or 3 (right), got {action}")
    turn = math.radians(turn_angle) * {STOP: 0, TURN_LEFT: 1, TURN_RIGHT: -1}[action]
    yaw = wrap_angle(state.yaw + turn) if turn else state.yaw
    return StepResult(AgentState(state.position, yaw), collided=False)


@runtime_checkable
class Simulator(Protocol):
    """A loaded scene that can be looked at and walked through."""

    name: str
    version: str
    camera: PinholeCamera

    def load(self, scene: Scene) -> None:
        """Replace the current scene."""

    def render(self, camera_to_world: NDArray[np.float64]) -> Observation:
        """Render the view of a camera pose [4, 4] (OpenCV camera, world +Y up)."""

    def move(self, motions: Mapping[int, NDArray[np.float64]]) -> None:
        """Put instances (by id) where rigid transforms [4, 4] take them from rest, in the world; all others go
        back to rest. Only what is seen changes: navigation is that of the scene at rest."""

    def illuminate(self, weights: Mapping[str, float]) -> None:
        """Scale the scene's light sources (by name, >= 0); those that are not named shine with 1.

        Raises:
            ValueError: the scene has no such source, or a weight is negative.
        """

    def random_navigable_point(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """A uniformly drawn floor point [3] where the agent can stand.

        Raises:
            NoNavigableFloorError: the scene has no such point.
        """

    def is_navigable(self, position: NDArray[np.float64]) -> bool:
        """Whether the agent can stand at floor point [3]."""

    def clearance(self, position: NDArray[np.float64]) -> float:
        """Metres from floor point [3] to the nearest obstacle or end of the floor; 0 where the agent cannot
        stand."""

    def navigable_points(self, spacing: float) -> NDArray[np.float64]:
        """A regular sample [N, 3] of where the agent can stand: a floor point for each ``spacing`` x ``spacing``
        metres of every storey.

        Raises:
            NoNavigableFloorError: the scene has no such point.
        """

    def geodesic_distance(self, start: NDArray[np.float64], goal: NDArray[np.float64]) -> float:
        """Length in metres of the shortest walkable path; ``math.inf`` if there is none."""

    def shortest_path(self, start: NDArray[np.float64], goal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Way points [N, 3] of the shortest walkable path, both ends included; N = 0 if there is none."""

    def roomy_path(self, start: NDArray[np.float64], goal: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points [N, 3] of a walkable path that keeps away from obstacles where there is room, both ends
        included; N = 0 if there is none."""

    def step(self, state: AgentState, action: int) -> StepResult:
        """Apply a discrete action: STOP, FORWARD 0.25 m, TURN_LEFT / TURN_RIGHT 15 degrees."""

    def close(self) -> None:
        """Free the renderer's resources."""


class NoNavigableFloorError(ValueError):
    """The scene has no floor on which the agent can stand."""


class SimulatorUnavailableError(RuntimeError):
    """A simulator's library or driver is missing on this machine; the message says what would help."""
