"""A small world to navigate: two tiny houses, short episodes in them, and policies that do what they are told."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from vln_heatmap.nodes.metrics.navigation import NavigationMeasures
from vln_heatmap.nodes.navigation.episodes import NavigationEpisode, make_episodes
from vln_heatmap.nodes.navigation.policy import Observation
from vln_heatmap.nodes.navigation.worlds import EpisodeRecord
from vln_heatmap.params import CameraParams, HouseParams
from vln_heatmap.params.navigation import DaggerParams, EpisodeParams, NavigationParams

HOUSE = HouseParams(
    rooms_min=2, rooms_max=3, side_min=6, side_max=7, texture_size=16, light=False, clutter="none"
)
PARAMS = NavigationParams(
    workers=0,
    slots=4,
    success_distance=0.8,
    max_steps=60,
    simulator="raycast",
    camera=CameraParams(width=32, height=24),
    episodes=EpisodeParams(houses=2, per_house=3, distance=(1.2, 5.0), length=40, house=HOUSE),
    dagger=DaggerParams(
        episodes=EpisodeParams(
            split="train", houses=1, per_house=2, distance=(1.2, 5.0), length=40, house=HOUSE
        )
    ),
)


@cache
def episodes() -> tuple[NavigationEpisode, ...]:
    return tuple(make_episodes(PARAMS.episodes, PARAMS))


class MemoryStore(dict):
    """Finished episodes in memory."""

    def record(self, key: str) -> dict[str, Any] | None:
        return self.get(key)

    def note(self, key: str, record: dict[str, Any]) -> None:
        assert key not in self, "an episode was walked twice"
        self[key] = record


class Scripted:
    """Gives the actions of a script over and over, and remembers what it was shown."""

    needs_expert = False

    def __init__(self, script: Sequence[int], fingerprint: str = "scripted") -> None:
        self.script, self.fingerprint = list(script), fingerprint
        self.instructions: list[str] = []
        self.shown: list[list[Observation]] = []
        self.walked = 0

    def reset(self, instructions: Sequence[str], *, seeds: Sequence[int]) -> None:
        self.instructions += instructions
        self._turn, self._count = 0, len(instructions)

    def act(self, observations: Sequence[Observation], done: Sequence[bool]) -> list[int]:
        self.shown.append(list(observations))
        self.walked += sum(not over for over in done)
        self._turn += 1
        return [self.script[(self._turn - 1) % len(self.script)]] * self._count

    def notes(self) -> list[dict[str, Any]]:
        return [{"turns": self._turn} for _ in range(self._count)]


def record_of(
    number: int, *, scene: str = "a", kind: str = "route", success: float = 1.0, error: float = 0.5
) -> EpisodeRecord:
    """A record made by hand."""
    measures = NavigationMeasures(success, success, success / 2, error, 0.5, success / 2, 10, 1, 2.0)
    return EpisodeRecord(
        f"e{number}",
        scene,
        kind,
        f"go to place {number}",
        [1, 0],
        [[0, 0, 0, 0.0]] * 3,
        [False] * 2,
        True,
        measures,
    )


def picture(value: int = 0, size: tuple[int, int] = (24, 32)) -> Observation:
    return Observation(np.full((*size, 3), value, np.uint8))
