"""A rectangular room whose floor is known in closed form, episodes in it, and a policy that counts."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch

from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.nodes.navigation.episodes import NavigationEpisode, SceneSource, make_episodes
from vln_heatmap.params import CameraParams, HouseParams
from vln_heatmap.params.navigation import EpisodeParams, NavigationParams
from vln_heatmap.params.policy_navigation import DemonstrationParams, PolicyNavigationParams
from vln_heatmap.simulation.simulators.base import AgentState, Observation

HOUSE = HouseParams(
    rooms_min=2, rooms_max=3, side_min=6, side_max=7, texture_size=16, light=False, clutter="none"
)
LOOP = NavigationParams(
    workers=0,
    slots=4,
    success_distance=0.8,
    max_steps=60,
    simulator="raycast",
    camera=CameraParams(width=16, height=16),
    episodes=EpisodeParams(houses=1, per_house=4, distance=(1.2, 5.0), length=40, house=HOUSE),
)
OWN = PolicyNavigationParams(
    camera=CameraParams(width=16, height=16),
    demonstrations=DemonstrationParams(
        episodes=EpisodeParams(
            split="train",
            houses=2,
            per_house=2,
            objects=1.0,
            distance=(1.2, 5.0),
            length=40,
            house=HOUSE,
        )
    ),
    baselines=("random", "straight", "expert"),
)


@cache
def episodes() -> tuple[NavigationEpisode, ...]:
    """Of a generated house."""
    return tuple(make_episodes(LOOP.episodes, LOOP))


class Room:
    """Floor |x| <= half[0], |z| <= half[1] at y = 0, and with ``wall`` none at |x| < 0.1 but for z > wall."""

    name, version, camera = "room", "1", PinholeCamera(16, 16, 90.0)

    def __init__(self, half: tuple[float, float] = (3.0, 2.0), wall: float | None = None) -> None:
        self.half, self.wall = half, wall

    def is_navigable(self, position: Any) -> bool:
        x, _, z = position
        behind = self.wall is not None and abs(x) < 0.1 and z <= self.wall
        return abs(x) <= self.half[0] and abs(z) <= self.half[1] and not behind

    def shortest_path(self, start: Any, goal: Any) -> np.ndarray:
        start, goal = np.asarray(start, float), np.asarray(goal, float)
        if all(self.is_navigable(start + t * (goal - start)) for t in np.linspace(0, 1, 100)):
            return np.stack([start, goal])
        sides = np.sign([start[0], goal[0]])
        corners = [np.array([0.11 * side, 0.0, self.wall + 0.01]) for side in sides]
        return np.stack([start, *corners, goal])

    def geodesic_distance(self, start: Any, goal: Any) -> float:
        return float(np.linalg.norm(np.diff(self.shortest_path(start, goal), axis=0), axis=1).sum())

    def render(self, pose: np.ndarray) -> Observation:
        image = np.full((16, 16, 3), int(40 * abs(pose[0, 3])) % 256, np.uint8)
        return Observation(image, np.ones((16, 16), np.float32), np.ones((16, 16), np.int32))


def episode(
    start: tuple[float, float], yaw: float, goal: tuple[float, float], *, name: str = "e0"
) -> NavigationEpisode:
    """From (x, z) to (x, z) as the crow flies."""
    ends = [(x, 0.0, z) for x, z in (start, goal)]
    return NavigationEpisode(
        id=name,
        scene=SceneSource("room", seed=0),
        kind="category",
        instruction="go to the chair",
        start=AgentState(ends[0], yaw),
        goals=(ends[1],),
        target=ends[1],
        geodesic=math.dist(*ends),
        reference=np.array(ends),
        actions=(1, 0),
    )


class Counting(torch.nn.Module):
    """In place of a ``PolicyModel``: chunk c of an episode is (0, (8 c + k) / 1000, turn, 0) for k = 0 .. 7; the
    turn comes from the noise and the image, so that both matter."""

    class head:
        horizon, dimension = 8, 4

    class vision:
        image_size = 16

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.batches: list[Any] = []

    def forward(self, observation: Any, noise: torch.Tensor) -> torch.Tensor:
        self.batches.append(observation)
        last = (observation.previous[:, 1] * 1000).round() + 1  # [N], 1 + the number done last; 1 at first
        first = torch.where(observation.known, (last / 4).ceil() * 8, 0)  # chunks of which 4 are done
        chunk = torch.zeros(len(noise), 8, 4)
        chunk[..., 1] = (first[:, None] + torch.arange(8)) / 1000
        chunk[..., 2] = 0.05 * noise[..., 0] + observation.images.float().mean((1, 2, 3, 4))[:, None] / 2550
        return chunk


class MemoryStore(dict):
    """Finished episodes in memory."""

    def record(self, key: str) -> dict[str, Any] | None:
        return self.get(key)

    def note(self, key: str, record: dict[str, Any]) -> None:
        assert key not in self, "an episode was walked twice"
        self[key] = record
