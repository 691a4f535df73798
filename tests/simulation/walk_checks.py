"""What every walk must keep, a furnished pair of rooms and a flight of stairs to walk."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from hand_built import Box, build, slab

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.scene import Room, Scene
from vln_heatmap.simulation.simulators import make_simulator
from vln_heatmap.simulation.simulators.base import FORWARD, MOVE, STOP, TURN_LEFT, TURN_RIGHT, Simulator
from vln_heatmap.simulation.trajectories import Walk

AGENT = AgentParams()


def rows_of(walk: Walk) -> np.ndarray:
    """Poses [T, 6]: x, y, z, yaw, tilt, lift."""
    return np.array([[*s.state.position, s.state.yaw, s.tilt, s.lift] for s in walk.steps])


def motion_of(walk: Walk) -> tuple[np.ndarray, np.ndarray]:
    """Metres and radians between the camera poses of consecutive frames, two of [T - 1]."""
    x, y, z, yaw, tilt, lift = rows_of(walk).T
    moved = np.sqrt(np.diff(x) ** 2 + np.diff(y + lift) ** 2 + np.diff(z) ** 2)
    view = np.stack([-np.sin(yaw) * np.cos(tilt), np.sin(tilt), -np.cos(yaw) * np.cos(tilt)], axis=1)
    return moved, np.arccos(np.clip((view[1:] * view[:-1]).sum(1), -1, 1))


def assert_is_what_the_simulator_answers(sim: Simulator, walk: Walk) -> None:
    for before, after in zip(walk.steps, walk.steps[1:], strict=False):
        answer = sim.step(before.state, before.action)
        assert after.state == answer.state
        assert before.collided == answer.collided
    assert walk.steps[-1].action == STOP
    assert all(step.action in (FORWARD, TURN_LEFT, TURN_RIGHT) for step in walk.steps[:-1])


def assert_is_free_motion(sim: Simulator, walk: Walk, length: int) -> None:
    assert [step.action for step in walk.steps] == [MOVE] * (length - 1) + [STOP]
    moved, turned = motion_of(walk)
    assert moved.max() <= 0.3
    assert turned.max() <= math.radians(20)
    for step in walk.steps:
        assert sim.is_navigable(np.array(step.state.position))
        assert sim.clearance(np.array(step.state.position)) >= 0.1
        assert not step.collided


def two_rooms() -> Scene:
    """Rooms of 4 x 5 m on both sides of a wall at x = 0 with a doorway of 1 m; each has two chests."""
    scene = build(
        slab(-4, -2.5, 4, 2.5),
        Box((-0.1, 0, -2.5), (0.1, 2.5, -0.5)),
        Box((-0.1, 0, 0.5), (0.1, 2.5, 2.5)),
        *(Box((x - 0.1, 0, -2.6), (x + 0.1, 2.5, 2.6)) for x in (-4.1, 4.1)),
        *(Box((-4, 0, z - 0.1), (4, 2.5, z + 0.1)) for z in (-2.6, 2.6)),
        Box((-2.4, 0, -0.3), (-1.8, 0.9, 0.3)),
        Box((-3.4, 0, 1.2), (-2.9, 1.2, 1.7)),
        Box((1.8, 0, -0.3), (2.3, 0.8, 0.2)),
        Box((1.9, 0, 1.1), (2.4, 1.1, 1.5)),
        name="two_rooms",
    )
    names = ["floor", *["wall"] * 6, *["chest"] * 4]
    things = [replace(thing, category=name) for thing, name in zip(scene.instances, names, strict=True)]
    rooms = (Room("bedroom", (-4, -2.5, -0.1, 2.5)), Room("kitchen", (0.1, -2.5, 4, 2.5)))
    return replace(scene, instances=tuple(things), rooms=rooms)


def two_levels() -> Scene:
    """A hall at y = 0 and a gallery at 1.02 m, joined by six steps from x = -1 to 0.68."""
    rise, tread, head = 0.17, 0.28, 0.68
    steps = [Box((-1 + tread * k, 0, -0.6), (-1 + tread * (k + 1), rise * (k + 1), 0.6)) for k in range(6)]
    scene = build(slab(-4, -2, 4, 2), *steps, Box((head, 0, -2), (4, 1.02, 2)), name="two_levels")
    rooms = (Room("hall", (-4, -2, 0, 2)), Room("gallery", (head, -2, 4, 2), 1.02))
    return replace(scene, rooms=rooms)


def simulated(scene: Scene) -> Simulator:
    """A small simulator in which the scene is loaded."""
    sim = make_simulator("raycast", PinholeCamera(32, 32, 90.0), agent=AGENT)
    sim.load(scene)
    return sim
