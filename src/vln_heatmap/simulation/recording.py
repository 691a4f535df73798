"""From a walk to a recorded sequence: every step rendered, measured and described.

Invariant: a frame's row describes that frame's images: the pose is the one it was rendered from, the action
is the one taken after it, ``visible_*`` counts its pixels, ``moved_*`` says what is not where it rests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Sequence as Items
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence import SCHEMA_VERSION, Sequence
from vln_heatmap.datasets.sequence_files import depth_to_millimetres
from vln_heatmap.geometry.cameras import look_pose
from vln_heatmap.simulation.exposure import expose, exposure_count, exposure_times
from vln_heatmap.simulation.instructions import sequence_instructions
from vln_heatmap.simulation.motion import motion_at, state_at
from vln_heatmap.simulation.questions import sequence_questions
from vln_heatmap.simulation.routes import route_instruction
from vln_heatmap.simulation.scene import Instance, Scene
from vln_heatmap.simulation.simulators.base import Observation, Simulator
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories import WalkStep
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
    take: Take,
    rng: np.random.Generator,
    *,
    sequence_id: str,
    mount: Mount,
    fps: float,
    instructions: int,
    details: Mapping[str, Any],
    questions: tuple[str, ...] = (),
) -> Sequence:
    """Film a take in the loaded scene and write down everything that later stages need.

    Args:
        sim: simulator in which ``scene`` is loaded; things and lights are back where they were afterwards.
        take: T frames.
        rng: for the choice and wording of instructions.
        mount: the camera on the agent.
        instructions: greatest number of referring phrases; a walk that stopped at its goal also gets a route.
        details: more metadata (trajectory, walk number, seed).
        questions: types of questions that are asked about it too, at most ``instructions``.
    """
    walk = take.walk
    states = np.stack([mount.state(step) for step in walk.steps])  # [T, 6]
    views = film(sim, scene, take, states)
    frames = _frame_table(take, states, views, fps)
    pixels = sim.camera.width * sim.camera.height
    spoken = sequence_instructions(
        scene.instances, scene.rooms, frames, rng, count=instructions, image_pixels=pixels
    )
    if walk.stopped and instructions:
        spoken.append(route_instruction(scene.instances, scene.rooms, frames, rng, image_pixels=pixels))
    if questions and instructions:
        spoken += sequence_questions(
            *(scene.instances, scene.rooms, frames, rng),
            kinds=questions,
            count=instructions,
            image_pixels=pixels,
            camera=sim.camera,
        )
    own = {"camera_height": mount.height, "goal": walk.goal, "instructions": spoken, "fps": fps}
    return Sequence(
        id=sequence_id,
        rgb=np.stack([view.rgb for view in views]),  # [T, H, W, 3]
        depth=np.stack([view.depth for view in views]),  # [T, H, W]
        instance=np.stack([view.instance for view in views]),  # [T, H, W]
        frames=frames,
        metadata=_surroundings(sim, scene) | own | _circumstances(take) | dict(details),
    )


def film(sim: Simulator, scene: Scene, take: Take, states: NDArray[np.float64]) -> list[Observation]:
    """The T observations of a take whose camera follows ``states`` [T, 6].

    Depth and ids are those of the frame's own moment; colour is the mean light while the shutter is open.
    """
    views = []
    try:
        for frame in range(len(states)):
            if take.lights:
                sim.illuminate({name: float(weights[frame]) for name, weights in take.lights.items()})
            sharp = _view(sim, scene, take, states, frame)
            times = _exposures(scene, take, states, frame, sharp, sim.camera.focal)
            colours = [
                sharp.rgb if time == frame else _view(sim, scene, take, states, time).rgb for time in times
            ]
            gain = 1.0 if take.exposure is None else float(take.exposure[frame])
            views.append(replace(sharp, rgb=expose(colours, gain)))
    finally:
        if take.motions:
            sim.move({})
        if take.lights:
            sim.illuminate({})
    return views


def _view(sim: Simulator, scene: Scene, take: Take, states: NDArray[np.float64], time: float) -> Observation:
    """What the camera sees at a moment in frames."""
    if take.motions:
        sim.move({i: motion_at(m, time, scene.instances[i - 1].centre) for i, m in take.motions.items()})
    return sim.render(camera_pose(state_at(states, time)))


def _exposures(
    scene: Scene, take: Take, states: NDArray[np.float64], frame: int, view: Observation, focal: float
) -> NDArray[np.float64]:
    """Moments of a frame's exposures; one if the shutter is instantaneous or nothing moves meanwhile."""
    if take.shutter == 0:
        return np.array([float(frame)])
    start, end = np.clip(frame + take.shutter * np.array([-0.5, 0.5]), 0, len(states) - 1)
    before, after = state_at(states, start), state_at(states, end)
    poses = camera_pose(before), camera_pose(after)
    hit = view.depth[view.depth > 0]
    near = float(np.quantile(hit, 0.1)) if hit.size else math.inf  # metres
    turned = abs((after[3] - before[3] + math.pi) % (2 * math.pi) - math.pi) + abs(after[4] - before[4])
    pixels = focal * (turned + math.dist(poses[0][:3, 3], poses[1][:3, 3]) / near)
    for instance, motion in take.motions.items():
        thing = scene.instances[instance - 1]
        swept = _swept(thing, motion_at(motion, start, thing.centre), motion_at(motion, end, thing.centre))
        pixels = max(pixels, focal * swept / near)
    return exposure_times(frame, len(states), take.shutter, exposure_count(pixels))


def _swept(thing: Instance, before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """How far the farthest corner of an instance's box goes, metres."""
    corners = np.array(list(product(*zip(thing.box_min, thing.box_max, strict=True))))  # [8, 3]
    change = after - before
    return float(np.linalg.norm(corners @ change[:3, :3].T + change[:3, 3], axis=1).max())


def _circumstances(take: Take) -> dict[str, Any]:
    """Details, lights, exposure and shutter as metadata, where they are not the usual ones."""
    facts: dict[str, Any] = {}
    if details := {**take.walk.details, **take.details}:
        facts["details"] = details
    if take.lights:
        facts["lights"] = {name: _rounded(weights, 4) for name, weights in take.lights.items()}
    if take.exposure is not None:
        facts["exposure"] = _rounded(take.exposure, 4)
    if take.shutter:
        facts["shutter"] = take.shutter
    return facts


def _surroundings(sim: Simulator, scene: Scene) -> dict[str, Any]:
    """The metadata that all walks of a scene share."""
    return {
        "scene": scene.name,
        "seed": scene.seed,
        "camera": asdict(sim.camera),
        "simulator": {"name": sim.name, "version": sim.version},
        "objects": describe_objects(scene),
        "rooms": describe_rooms(scene),
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
            "movable": instance.movable,
        }
        for instance in scene.instances
    ]


def describe_rooms(scene: Scene) -> list[dict[str, Any]]:
    """All rooms of a scene as plain metadata."""
    return [
        {"name": room.name, "rectangle": _rounded(room.rectangle), "floor": round(float(room.floor), 3)}
        for room in scene.rooms
    ]


def _frame_table(
    take: Take, states: NDArray[np.float64], views: Items[Observation], fps: float
) -> pd.DataFrame:
    steps, length = take.walk.steps, len(take.walk.steps)
    displaced = [_displaced(take, frame) for frame in range(length)]
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
            "is_terminal": (index == length - 1) & take.walk.stopped,
            "moved_ids": [np.array(list(poses), np.int32) for poses in displaced],
            "moved_poses": [np.concatenate([np.zeros(0), *poses.values()]) for poses in displaced],
            **{name: [columns[name] for columns in visible] for name in visible[0]},  # type: ignore[literal-required]
        }
    )


def _displaced(take: Take, frame: int) -> dict[int, NDArray[np.float64]]:
    """Flat transform [16] of every instance that is not where it rests, by ascending id."""
    poses = {i: np.asarray(take.motions[i][frame], np.float64) for i in sorted(take.motions)}
    return {i: pose.ravel() for i, pose in poses.items() if not np.array_equal(pose, np.eye(4))}


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


def _rounded(values: Items[float] | NDArray[np.floating], digits: int = 3) -> list[float]:
    return [round(float(value), digits) for value in values]
