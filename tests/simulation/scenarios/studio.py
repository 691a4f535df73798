"""What the tests of scenarios share: small houses and simulators, made once, and recordings in them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.params import AgentParams, HouseParams
from vln_heatmap.simulation.houses import generate_house
from vln_heatmap.simulation.recording import Mount, record
from vln_heatmap.simulation.scenarios import SCENARIOS
from vln_heatmap.simulation.scene import Instance, Scene
from vln_heatmap.simulation.simulators import make_simulator
from vln_heatmap.simulation.simulators.base import Simulator
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories import WalkRequest
from vln_heatmap.simulation.trajectories.free_motion import free_walk

AGENT = AgentParams()
LENGTH = 24
SIZE = 48
TEXTURED_SIZE = 96  # where patterns must be resolved
_HOUSE = dict(
    rooms_min=3, rooms_max=4, side_min=7.0, side_max=9.0, light_rays=8, light_voxel=0.6, texture_size=64
)


@cache
def stage_in(house: tuple[tuple[str, Any], ...], size: int) -> tuple[Simulator, Scene]:
    """A simulator with a small house in it."""
    scene = generate_house(5, HouseParams(**_HOUSE, **dict(house)))
    sim = make_simulator("auto", PinholeCamera(size, size, 90.0), agent=AGENT)
    sim.load(scene)
    return sim, scene


def studio(name: str) -> tuple[Simulator, Scene]:
    """The simulator and house of a scenario."""
    size = TEXTURED_SIZE if "texture" in name else SIZE
    return stage_in(tuple(sorted(SCENARIOS[name].house.items())), size)


def filmed(name: str, *, length: int = LENGTH, seed: int = 0) -> Take:
    """A scenario's take in its house."""
    sim, scene = studio(name)
    return SCENARIOS[name].film(
        sim, scene, np.random.default_rng(seed), WalkRequest(length, AGENT, scene=scene)
    )


def recorded(take: Take, sim: Simulator, scene: Scene, *, focus: tuple[int, ...] | None = None) -> Sequence:
    """The recording of a take, about ``focus`` (by default the take's own)."""
    about: Mapping[str, Any] = {"scenario": {"focus": list(take.focus if focus is None else focus)}}
    return record(
        sim,
        scene,
        take,
        np.random.default_rng(0),
        sequence_id="take_0",
        mount=Mount(AGENT.camera_height, 0.0),
        fps=10.0,
        instructions=0,
        details=about,
    )


@cache
def recording(name: str) -> Sequence:
    """A scenario, filmed and recorded in its house. Only read it."""
    return recorded(filmed(name), *studio(name))


@cache
def floor_walk() -> Sequence:
    """A short straight walk of a camera that looks steeply down at the floor of an open place."""
    sim, scene = stage_in((), SIZE)
    spots = sim.navigable_points(0.3)
    place = max(spots, key=sim.clearance)
    rows = np.zeros((LENGTH, 6))
    rows[:, :3], rows[:, 4] = place, -1.35
    rows[:, 0] += np.linspace(-0.2, 0.2, LENGTH)
    return recorded(Take(free_walk(rows)), sim, scene)


@cache
def split_level() -> tuple[Simulator, Scene]:
    """Two floors 1.36 m apart, 3 m x 3 m each, joined by a straight flight of eight steps 1.4 m wide."""
    rise, tread = 0.17, 0.28
    boxes = [((0.0, -0.2, 0.0), (3.0, 0.0, 3.0))]
    boxes += [((0.8, -0.2, 3 + k * tread), (2.2, (k + 1) * rise, 3 + (k + 1) * tread)) for k in range(7)]
    boxes += [((0.0, -0.2, 3 + 7 * tread), (3.0, 8 * rise, 6 + 7 * tread))]
    corners = np.array(list(np.ndindex(2, 2, 2)))  # [8, 3]
    vertices = np.concatenate([np.where(corners, high, low) for low, high in boxes]).astype(np.float32)
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    box = np.array([face for a, b, c, d in sides for face in ((a, b, c), (a, c, d))])  # [12, 3]
    faces = np.concatenate([box + 8 * k for k in range(len(boxes))]).astype(np.int32)
    scene = Scene(
        name="split_level",
        seed=None,
        vertices=vertices,
        normals=np.tile(np.array([0, 1, 0], np.float32), (len(vertices), 1)),
        uvs=np.zeros((len(vertices), 2), np.float32),
        faces=faces,
        face_instance=np.ones(len(faces), np.int32),
        face_texture=np.zeros(len(faces), np.int32),
        textures=np.full((1, 4, 4, 3), 128, np.uint8),
        instances=(Instance(1, "floor", "", -1, (0.0, -0.2, 0.0), (3.0, 8 * rise, 6 + 7 * tread)),),
    )
    sim = make_simulator("auto", PinholeCamera(32, 32, 90.0), agent=AGENT)
    sim.load(scene)
    return sim, scene
