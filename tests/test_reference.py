"""The checkpoint that ships with the package: small, free, and right in a house that it has never seen."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from vln_heatmap import HeatmapPredictor
from vln_heatmap.datasets.checkpoint import REFERENCE
from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.geometry.covisibility import COVISIBLE, IGNORE, covisibility
from vln_heatmap.params import AgentParams, HouseParams
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.simulators import make_simulator

CAMERA = PinholeCamera(96, 96, 80.0)
Turn = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float64]]


@pytest.fixture(scope="module")
def predictor() -> HeatmapPredictor:
    return HeatmapPredictor.from_checkpoint("reference")


@pytest.fixture(scope="module")
def turn() -> Turn:
    """Colour, depth and poses of a camera that turns on the spot, 20 degrees a frame, once round a room."""
    scene = generate_house(123_457, HouseParams(rooms_max=3, light_rays=8))
    sim = make_simulator("raycast", CAMERA, agent=AgentParams())
    sim.load(scene)
    points = sim.navigable_points(0.5)
    free = max(points, key=sim.clearance)
    position = free + np.array([0.0, 1.3, 0.0])
    poses = np.stack([look_pose(position, np.radians(20.0 * i)) for i in range(18)])
    views = [sim.render(pose) for pose in poses]
    sim.close()
    return np.stack([v.rgb for v in views]), np.stack([v.depth for v in views]), poses


def test_it_is_small_and_says_what_it_is_and_under_which_licence() -> None:
    files = {file.name: file for file in REFERENCE.iterdir() if file.is_file()}
    assert {"model.safetensors", "state.json", "README.md", "LICENSE"} <= set(files)
    assert sum(file.stat().st_size for file in files.values()) <= 20e6
    assert "Apache License" in files["LICENSE"].read_text(encoding="utf-8")


def test_it_knows_which_part_of_the_view_was_seen_before(predictor: HeatmapPredictor, turn: Turn) -> None:
    """A camera that turned by 20, 40, … 180 degrees: what both views hold is known from depth and poses."""
    rgb, depth, poses = turn
    keys = list(range(1, 10))
    found = predictor.predict(rgb, keyframes=keys, current=0).heatmaps  # [9, 96, 96]
    truth = covisibility(depth[0], poses[0], depth[keys], poses[keys], CAMERA)  # [9, 96, 96]
    known = truth != IGNORE
    assert roc_auc_score(truth[known] == COVISIBLE, found[known]) > 0.9
    warmth = found.mean((1, 2))
    assert warmth[0] > 0.6  # 20 degrees away
    assert warmth[-1] < 0.3  # behind


def test_the_same_view_is_seen_all_over_and_another_place_is_not(
    predictor: HeatmapPredictor, turn: Turn
) -> None:
    rgb, _, _ = turn
    same, behind = predictor.predict(np.stack([rgb[0], rgb[9], rgb[0]]), keyframes=[0, 1]).heatmaps
    assert same.mean() > 0.7
    assert behind.mean() < 0.4
