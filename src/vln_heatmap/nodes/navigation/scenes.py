"""Scenes of episodes, opened in a simulator.

Invariant: simulators hold no state of an episode, so one serves all the episodes of its scene; a few stay open,
because houses cost more to generate than to walk through.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.params import HouseParams
from vln_heatmap.params.navigation import NavigationParams
from vln_heatmap.simulation.scene import Scene
from vln_heatmap.simulation.simulators.base import Simulator

if TYPE_CHECKING:
    from vln_heatmap.nodes.navigation.episodes import SceneSource


def open_scene(
    source: SceneSource, params: NavigationParams, house: HouseParams | None = None
) -> tuple[Simulator, Scene]:
    """A new simulator with a scene.

    Args:
        source: which.
        params: camera, agent, simulator; a file is a handle where ``habitat.dataset`` is set.
        house: of a generated house, ``params.episodes.house`` by default.

    Raises:
        ValueError: a source without seed and file, or a data set without the simulator that reads it.
    """
    from vln_heatmap.simulation.simulators import make_simulator

    camera = PinholeCamera(**params.camera.model_dump())
    sim = make_simulator(params.simulator, camera, agent=params.agent, habitat=params.habitat)
    if source.file is not None and params.habitat.dataset is not None:
        from vln_heatmap.simulation.simulators.habitat import HabitatSimulator

        if not isinstance(sim, HabitatSimulator):
            raise ValueError(f"scenes of a data set need the simulator 'habitat', got {sim.name!r}")
        return sim, replace(sim.load_scene(Path(params.habitat.dataset), source.file), name=source.name)
    scene = make_scene(source, house or params.episodes.house)
    sim.load(scene)
    return sim, scene


def make_scene(source: SceneSource, house: HouseParams) -> Scene:
    """The scene itself, generated or read from a glTF file."""
    if source.file is not None:
        from vln_heatmap.simulation.gltf import load_scene

        return replace(load_scene(Path(source.file)), name=source.name)
    if source.seed is None:
        raise ValueError(f"scene {source.name} has neither a seed nor a file")
    from vln_heatmap.simulation.houses import generate_house

    return replace(generate_house(source.seed, house), name=source.name)


class OpenScenes:
    """The scenes that were used last, in simulators of their own.

    Args:
        most: how many stay open.
    """

    def __init__(self, params: NavigationParams, house: HouseParams, *, most: int = 4) -> None:
        self.params, self.house, self.most = params, house, most
        self._open: OrderedDict[SceneSource, tuple[Simulator, Scene]] = OrderedDict()

    def get(self, source: SceneSource) -> tuple[Simulator, Scene]:
        """The simulator and scene of a source; what was not used for long is closed."""
        if source not in self._open:
            while len(self._open) >= self.most:
                self._open.popitem(last=False)[1][0].close()
            self._open[source] = open_scene(source, self.params, self.house)
        self._open.move_to_end(source)
        return self._open[source]

    def close(self) -> None:
        """Close all of them."""
        while self._open:
            self._open.popitem()[1][0].close()
