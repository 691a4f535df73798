"""From a walk to a recorded sequence: every step rendered, measured and described.

Invariant: a frame's row describes that frame's images: the pose is the one it was rendered from, the action
is the one taken after it, ``visible_*`` counts its pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Items
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence import SCHEMA_VERSION, Sequence
from vln_heatmap.datasets.sequence_files import depth_to_millimetres
from vln_heatmap.geometry.cameras import look_pose
from vln_heatmap.simulation.instructions import sequence_instructions
from vln_heatmap.simulation.routes import route_instruction
from vln_heatmap.simulation.scene import Scene
from vln_heatmap.simulation.simulators.base import Observation, Simulator
from vln_heatmap.simulation.trajectories import Walk, WalkStep
from vln_heatmap.simulation.visibility import visible_instances


@dataclass(frozen=True)
class Mount:
    """How the camera sits on the agent: metres above the floor point, and elevation in radians (up is +)."""

    height: float
    pitch: float

    def state(self, step: WalkStep) -> NDArray[np.float64]:
        """The ``state`` column [6] of a step."""
        lifted, tilted = self.height + step.lift, self.pitch + step.tilt
        return np.array([*step.state.position, step.state.yaw, tilted, lifted])


def camera_pose(state: NDArray[np.float64]) -> NDArray[np.float64]:
    """camera_to_world [4, 4] of a ``state`` [6]: floor point x, y, z, yaw, pitch, height above it."""
    x, y, z, yaw, pitch, height = state
    return look_pose((x, y + height, z), yaw, pitch)


def record(
    sim: Simulator,
    scene: Scene,
    walk: Walk,
    rng: np.random.Generator,
    *,
    sequence_id: str,
    mount: Mount,
    fps: float,
    instructions: int,
    details: dict[str, Any],
) -> Sequence:
    """Render a walk in the loaded scene and write down everything that later stages need.

    Args:
        sim: simulator in which ``scene`` is loaded.
        walk: T steps.
        rng: for the choice and wording of instructions.
        mount: the camera on the agent.
        instructions: greatest number of referring phrases; a walk that stopped at its goal also gets a route.
        details: more metadata (trajectory, walk number, seed).
    """
    states = np.stack([mount.state(step) for step in walk.steps])  # [T, 6]
    views = [sim.render(camera_pose(state)) for state in states]
    frames = _frame_table(walk, states, views, fps)
    pixels = sim.camera.width * sim.camera.height
    spoken = sequence_instructions(
        scene.instances, scene.rooms, frames, rng, count=instructions, image_pixels=pixels
    )
    if walk.stopped and instructions:
        spoken.append(route_instruction(scene.instances, scene.rooms, frames, rng, image_pixels=pixels))
    own = {"camera_height": mount.height, "goal": walk.goal, "instructions": spoken, "fps": fps}
    return Sequence(
        id=sequence_id,
        rgb=np.stack([view.rgb for view in views]),  # [T, H, W, 3]
        depth=np.stack([view.depth for view in views]),  # [T, H, W]
        instance=np.stack([view.instance for view in views]),  # [T, H, W]
        frames=frames,
        metadata=_surroundings(sim, scene) | own | details,
    )


def _surroundings(sim: Simulator, scene: Scene) -> dict[str, Any]:
    """The metadata that all walks of a scene share."""
    return {
        "scene": scene.name,
        "seed": scene.seed,
        "camera": asdict(sim.camera),
        "simulator": {"name": sim.name, "version": sim.version},
        "objects": describe_objects(scene),
        "rooms": [{"name": room.name, "rectangle": _rounded(room.rectangle)} for room in scene.rooms],
        "schema_version": SCHEMA_VERSION,
    }


def describe_objects(scene: Scene) -> list[dict[str, Any]]:
    """All instances of a scene, the building included, as plain metadata; boxes to the millimetre."""
    return [
        {
            "id": instance.id,
            "category": instance.category,
            "colour": instance.colour,
            "room": instance.room,
            "box_min": _rounded(instance.box_min),
            "box_max": _rounded(instance.box_max),
        }
        for instance in scene.instances
    ]


def _frame_table(
    walk: Walk, states: NDArray[np.float64], views: Items[Observation], fps: float
) -> pd.DataFrame:
    steps, length = walk.steps, len(walk.steps)
    index = np.arange(length)
    visible = [visible_instances(view.instance, depth_to_millimetres(view.depth)) for view in views]
    return pd.DataFrame(
        {
            "frame_index": index,
            "timestamp": index / fps,
            "camera_to_world": [camera_pose(state).ravel() for state in states],
            "state": list(states.astype(np.float32)),
            "velocity": list(velocities(states).astype(np.float32)),
            "action": np.array([step.action for step in steps], np.int8),
            "collided": [step.collided for step in steps],
            "is_first": index == 0,
            "is_last": index == length - 1,
            "is_terminal": (index == length - 1) & walk.stopped,
            "moved_ids": [np.zeros(0, np.int32)] * length,
            "moved_poses": [np.zeros(0)] * length,
            **{name: [columns[name] for columns in visible] for name in visible[0]},  # type: ignore[literal-required]
        }
    )


def velocities(states: NDArray[np.float64]) -> NDArray[np.float64]:
    """The camera's motion to the next frame, in the agent's own frame.

    Args:
        states: [T, 6] floor point x, y, z in metres, yaw and pitch in radians, camera height in metres.

    Returns:
        [T, 5]: forward, left and up in metres, yaw (left is +) and pitch in radians; the last row is 0.
    """
    yaw = states[:-1, 3]
    dx, dz = np.diff(states[:, 0]), np.diff(states[:, 2])  # [T - 1]
    forward = -np.sin(yaw) * dx - np.cos(yaw) * dz
    left = -np.cos(yaw) * dx + np.sin(yaw) * dz
    turn = (np.diff(states[:, 3]) + math.pi) % (2 * math.pi) - math.pi
    up, tilt = np.diff(states[:, 1] + states[:, 5]), np.diff(states[:, 4])
    return np.concatenate([np.stack([forward, left, up, turn, tilt], axis=1), np.zeros((1, 5))])


def _rounded(point: Items[float]) -> list[float]:
    return [round(float(value), 3) for value in point]
