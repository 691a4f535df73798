"""What tests of renderers share: a wall to look at, a room full of boxes, poses in it, and how images compare."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hand_built import Box, build
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.params import AgentParams
from vln_heatmap.simulation.scene import Scene
from vln_heatmap.simulation.simulators import shading
from vln_heatmap.simulation.simulators.base import Observation, Simulator

AGENT = AgentParams()
CAMERA = PinholeCamera(48, 32, 90.0)


def head_on(distance: float, **options) -> Scene:
    """A wide wall at ``distance`` in front of a camera at the origin that looks along -Z."""
    return build(Box((-90, -90, -distance - 1), (90, 90, -distance)), **options)


AHEAD = look_pose((0.0, 0.0, 0.0), 0.0)


def look(simulator: Simulator, scene: Scene, pose: NDArray = AHEAD) -> Observation:
    simulator.load(scene)
    return simulator.render(pose)


def toned(colour: NDArray, light: NDArray | float) -> NDArray:
    """Texture colour in [0, 255] under some light, as ``shading`` defines it."""
    c = np.asarray(colour) / 255 * np.asarray(light)[..., None]
    m = c.max(-1, keepdims=True)
    k = shading.KNEE
    return 255 * np.where(m <= k, c, c * (k + (1 - k) * (1 - np.exp((k - m) / (1 - k)))) / np.maximum(m, k))


def assert_same(one: Observation, other: Observation) -> None:
    assert np.array_equal(one.rgb, other.rgb)
    assert np.array_equal(one.depth, other.depth)
    assert np.array_equal(one.instance, other.instance)


def cluttered(rng: np.random.Generator, count: int = 12) -> list[Box]:
    """A room 6 x 2.6 x 5 m with boxes of all sizes, some thin."""
    boxes = [Box((0, 0, 0), (6, 2.6, 5), inside=True)]
    for _ in range(count):
        size = rng.choice([0.03, 0.3, 1.0], 3) * rng.uniform(0.7, 1.3, 3)
        low = rng.uniform(0, np.array([6, 2.6, 5]) - size)
        boxes.append(Box(tuple(low), tuple(low + size)))
    return boxes


def free_poses(rng: np.random.Generator, boxes: list[Box], count: int) -> Iterator[NDArray]:
    """Random positions outside all boxes, random rotations."""
    while count:
        pose = np.eye(4)
        pose[:3, 3] = rng.uniform([0.1, 0.1, 0.1], [5.9, 2.5, 4.9])
        pose[:3, :3] = Rotation.random(rng=rng).as_matrix()
        if all(np.any((pose[:3, 3] < b.low) | (pose[:3, 3] > b.high)) for b in boxes[1:]):
            count -= 1
            yield pose


def edges(*images: NDArray) -> NDArray[np.bool_]:
    """Pixels next to a step: another id, or more than 5 cm of depth."""
    found = np.zeros(images[0].shape, bool)
    for image in images:
        for axis in (0, 1):
            step = np.abs(np.diff(image.astype(float), axis=axis)) > 0.05
            for side in (slice(1, None), slice(None, -1)):
                part = (side, slice(None)) if axis == 0 else (slice(None), side)
                found[part] |= step
    return found
