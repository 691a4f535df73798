"""The pictures of the documentation: ``python docs/figures.py houses`` writes docs/images/houses.jpg.

Invariant: a picture depends on seeds alone and needs no collected data.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vln_heatmap.geometry.cameras import PinholeCamera, look_pose
from vln_heatmap.geometry.covisibility import covisibility, reduce_to_grid
from vln_heatmap.geometry.targets import target_heatmaps
from vln_heatmap.nodes.model.keyframes import make_sampler
from vln_heatmap.params import AgentParams, HouseParams, KeyframeParams
from vln_heatmap.reporting.data_figures import target_sheet
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.recording import Mount, camera_pose, record
from vln_heatmap.simulation.scene import Scene
from vln_heatmap.simulation.simulators import make_simulator
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories import WalkRequest, random_exploration

IMAGES = Path(__file__).parent / "images"
AGENT = AgentParams()


KINDS: dict[str, HouseParams] = {
    "one storey": HouseParams(),
    "two storeys": HouseParams(storeys=2),
    "high clutter": HouseParams(clutter="high"),
    "repetitive": HouseParams(pattern="repetitive"),
    "distinctive": HouseParams(pattern="distinctive"),
}


def houses() -> Figure:
    """A house of each kind: without its ceilings from above, and the fullest of 24 views of a walk in it."""
    figure = Figure(figsize=(13.5, 5.7), dpi=100, facecolor="white", layout="constrained")
    panels = figure.subplots(2, len(KINDS))
    for column, (kind, params) in enumerate(KINDS.items()):
        seed = column
        scene = generate_house(seed, params)
        for axis, image in zip(panels[:, column], (from_above(scene), busy_view(scene, seed)), strict=True):
            axis.imshow(image)
            axis.axis("off")
        panels[0, column].set_title(kind, fontsize=9)
    return figure


def from_above(scene: Scene) -> NDArray[np.uint8]:
    """View straight down [480, 480, 3] into a house without its ceilings."""
    open_house = without(scene, {"ceiling", "ceiling light"})
    low, high = scene.vertices.min(0), scene.vertices.max(0)
    height = 0.55 * float((high - low)[[0, 2]].max()) / math.tan(math.radians(25)) + float(high[1])
    sim = make_simulator("auto", PinholeCamera(480, 480, 50), agent=AGENT)
    sim.load(open_house)
    x, _, z = (low + high) / 2
    image = sim.render(look_pose((x, height, z), 0.0, -math.pi / 2)).rgb
    sim.close()
    return image


def without(scene: Scene, categories: set[str]) -> Scene:
    """The scene less the triangles of some categories."""
    kept = np.array([0] + [instance.category not in categories for instance in scene.instances], bool)
    chosen = kept[scene.face_instance]  # [F]
    faces = {name: getattr(scene, name)[chosen] for name in ("faces", "face_instance", "face_texture")}
    return dataclasses.replace(scene, **faces)


def busy_view(scene: Scene, seed: int) -> NDArray[np.uint8]:
    """The view [480, 480, 3] of a random walk that shows most instances."""
    sim = make_simulator("auto", PinholeCamera(480, 480, 90), agent=AGENT)
    sim.load(scene)
    walk = random_exploration(sim, np.random.default_rng(seed), WalkRequest(24, AGENT))
    views = [sim.render(camera_pose(Mount(AGENT.camera_height, 0.0).state(step))) for step in walk.steps]
    sim.close()
    return max(views, key=lambda view: len(np.unique(view.instance))).rgb


def targets(house: int = 0, walk: int = 0) -> Figure:
    """Keyframes of one walk, classes and target heatmaps of its last frame."""
    sim = make_simulator("auto", PinholeCamera(192, 192, 90), agent=AGENT)
    scene = generate_house(house, HouseParams())
    sim.load(scene)
    rng = np.random.default_rng(walk)
    steps = random_exploration(sim, rng, WalkRequest(24, AGENT))
    mount = Mount(AGENT.camera_height, -0.1)
    details = {"walk": walk, "trajectory": "random_exploration"}
    options = {"sequence_id": "figure", "mount": mount, "fps": 10.0, "instructions": 12, "details": details}
    sequence = record(sim, scene, Take(steps), rng, **options)
    sim.close()
    keys = make_sampler(KeyframeParams()).sample(range(23), 5)
    depth, poses, ids = sequence.depth, sequence.poses, sequence.instance[-1]
    classes = covisibility(depth[-1], poses[-1], depth[keys], poses[keys], sequence.camera)
    seen = [item for item in sequence.metadata["instructions"] if np.isin(ids, item["instances"]).any()]
    phrase = max(seen, key=lambda item: np.isin(ids, item["instances"]).sum())
    meant = {"": (), phrase["text"]: phrase["instances"]}
    maps = {
        text: target_heatmaps(classes, ids, named, 0.6, grid=(28, 28)).mask for text, named in meant.items()
    }
    names = [f"keyframe {k}" for k in keys]
    label = reduce_to_grid(classes, (96, 96)).label
    return target_sheet(sequence.rgb[-1], sequence.rgb[keys], names, label, maps)


FIGURES = {"houses": houses, "targets": targets}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=sorted(FIGURES))
    for name in parser.parse_args().names:
        IMAGES.mkdir(exist_ok=True)
        FIGURES[name]().savefig(IMAGES / f"{name}.jpg", pil_kwargs={"quality": 88})


if __name__ == "__main__":
    main()
