"""The two embedded renderers against each other."""

import numpy as np
import pytest
from hand_built import PAINTS, build
from numpy.typing import NDArray
from views import cluttered, edges, free_poses

from vln_heatmap.geometry.cameras import look_pose
from vln_heatmap.params import HouseParams
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.scene import LightVolume, Scene
from vln_heatmap.simulation.simulators.base import Simulator


def disagreement(pair: tuple[Simulator, Simulator], scene: Scene, poses: list[NDArray]) -> tuple[float, ...]:
    """Shares of non-edge pixels with > 1 mm of depth between them and of pixels with other ids; mean |colour|."""
    for simulator in pair:
        simulator.load(scene)
    depths, ids, colours = [], [], []
    for pose in poses:
        one, other = (simulator.render(pose) for simulator in pair)
        plain = ~edges(one.depth, other.depth, one.instance, other.instance)
        depths.append((np.abs(one.depth - other.depth) > 1e-3)[plain])
        ids.append(one.instance != other.instance)
        colours.append(np.abs(one.rgb.astype(int) - other.rgb).mean())
    assert sum(map(len, depths)) > 0.3 * sum(map(np.size, ids))  # enough is not an edge
    return float(np.concatenate(depths).mean()), float(np.mean(ids)), float(np.mean(colours))


@pytest.mark.egl
@pytest.mark.parametrize("lit", [False, True])
def test_renderers_agree_on_boxes(pair, lit):
    rng = np.random.default_rng(5)
    boxes = cluttered(rng)
    noise = rng.integers(0, 256, (len(PAINTS), 64, 64, 3)).astype(np.uint8)
    light = LightVolume(
        rng.uniform(0.2, 1.2, (6, 3, 5, 6)).astype(np.float32),
        np.zeros(3, np.float32),
        np.float32([6, 2.6, 5]),
    )
    scene = build(*boxes, textures=noise, light=light if lit else None)
    depth, ids, colour = disagreement(pair, scene, list(free_poses(rng, boxes, 12)))
    assert depth <= 1e-3
    assert ids < 1e-3
    assert colour < 3  # of 255, on white noise


@pytest.mark.egl
@pytest.mark.parametrize("seed", range(2))
def test_renderers_agree_on_houses(pair, seed):
    house = generate_house(seed, HouseParams(texture_size=64, light_voxel=0.8, light_rays=8))
    pair[0].load(house)
    rng = np.random.default_rng(seed)
    poses = []
    for _ in range(15):
        x, _, z = pair[0].random_navigable_point(rng)
        poses.append(look_pose((x, 1.25, z), rng.uniform(-np.pi, np.pi), rng.uniform(-0.4, 0.4)))
    depth, ids, colour = disagreement(pair, house, poses)
    assert depth <= 1e-3
    assert ids < 1e-3
    assert colour < 1.5
