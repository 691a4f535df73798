"""What a recorded sequence knows of itself: the material that questions are made of.

Invariant: everything comes from the frame table and the boxes of the objects; no image is read. A thing that is
ever moved has no place in the world here, only its motion.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence import read_motions
from vln_heatmap.geometry.cameras import PinholeCamera
from vln_heatmap.simulation.instructions import (
    frame_things,
    instruction,
    least_pixels,
    sequence_things,
)
from vln_heatmap.simulation.nouns import Scope, plural
from vln_heatmap.simulation.relations import Thing
from vln_heatmap.simulation.routes import landmarks, room_visits
from vln_heatmap.simulation.scene import Instance, Room, room_at

#: How many, in words; more are "many".
NUMBERS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
#: Views of a sequence in which questions about a view are looked for, at most.
_VIEWS = 6


@dataclass(frozen=True)
class Question:
    """A question, or a phrase that takes reasoning, and all that is known of it.

    Attributes:
        name: key of ``QUESTIONS``.
        text: as it is asked.
        instances: ids of what it means.
        answer: in words.
        level: 2 (one relation) or 3 (several steps).
        frame: the current view in which it is asked; None if it holds for the whole sequence.
        distractors: ids of similar things that it does not mean.
        steps: what to find out one after the other.
        actions: discrete actions that do what is asked, if that is a way.
    """

    name: str
    text: str
    instances: tuple[int, ...]
    answer: str
    level: int
    frame: int | None = None
    distractors: tuple[int, ...] = ()
    steps: tuple[str, ...] = ()
    actions: tuple[int, ...] = ()

    def entry(self) -> dict[str, Any]:
        """As it stands in ``metadata["instructions"]``."""
        entry = instruction(
            self.text,
            "reasoning",
            self.instances,
            frame=self.frame,
            level=self.level,
            distractors=self.distractors,
            steps=self.steps,
            question=self.name,
            answer=self.answer,
        )
        return {**entry, "actions": list(self.actions)} if self.actions else entry


@dataclass(frozen=True)
class Tape:
    """A sequence of T frames as the makers of questions see it.

    Attributes:
        objects: all instances of the scene.
        rooms: of the scene.
        frames: frame table.
        camera: of all frames.
        image_pixels: W * H.
        asked: frames in which questions about a view may be asked; None = all.
    """

    objects: Sequence[Instance]
    rooms: Sequence[Room]
    frames: pd.DataFrame = field(repr=False)
    camera: PinholeCamera
    image_pixels: int
    asked: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def least(self) -> int:
        """Pixels from which a thing is seen well."""
        return least_pixels(self.image_pixels)

    @cached_property
    def path(self) -> NDArray[np.float64]:
        """[T, 6] floor point x, y, z, yaw, pitch, camera height."""
        return np.stack(self.frames["state"].to_list()).astype(np.float64)

    @cached_property
    def visible(self) -> list[dict[int, int]]:
        """Pixels by instance id, of every frame."""
        columns = zip(self.frames["visible_ids"], self.frames["visible_pixels"], strict=True)
        return [dict(zip(map(int, ids), map(int, pixels), strict=True)) for ids, pixels in columns]

    @cached_property
    def motions(self) -> dict[int, NDArray[np.float64]]:
        """Rest-to-world transforms [T, 4, 4] of all that is ever away from rest."""
        return read_motions(self.frames)

    @property
    def moved(self) -> frozenset[int]:
        return frozenset(self.motions)

    @cached_property
    def scope(self) -> Scope:
        """All that is seen in the sequence."""
        return Scope(tuple(sequence_things(self.objects, self.frames)), self.least, self.moved)

    @cached_property
    def landmarks(self) -> dict[int, tuple[Thing, str]]:
        """Things at rest with names of their own, by id."""
        return landmarks(self.objects, self.frames, image_pixels=self.image_pixels)

    @cached_property
    def visits(self) -> list[tuple[int, int]]:
        """(first frame, room) of each stay in a room."""
        return room_visits(self.rooms, self.path)

    def room(self, frame: int) -> int:
        """Index of the room that the agent is in, -1 in doorways."""
        x, y, z = self.path[frame, :3]
        return room_at(self.rooms, x, z, y)

    def view(self, frame: int) -> Scope:
        """All that one frame shows."""
        things = frame_things(self.objects, self.frames.iloc[frame])
        return Scope(tuple(things), self.least, self.moved)

    def views(self, rng: np.random.Generator, *, first: int = 0) -> Iterator[int]:
        """A few frames from ``first`` on, in random order, in which to ask."""
        frames = range(len(self)) if self.asked is None else self.asked
        chosen = [int(frame) for frame in frames if frame >= first]
        yield from (chosen[k] for k in rng.permutation(len(chosen))[:_VIEWS])

    def clearly(self, frame: int) -> frozenset[int]:
        """Ids of what a frame shows well."""
        return frozenset(i for i, pixels in self.visible[frame].items() if pixels >= self.least)

    def seen(self, identity: int, *, until: int, clearly: bool = True) -> list[int]:
        """Frames before ``until`` that show a thing (well)."""
        least = self.least if clearly else 1
        return [f for f in range(until) if self.visible[f].get(identity, 0) >= least]

    def same_world(self, one: int, other: int) -> bool:
        """Whether everything is at the same place in two frames."""
        return all(np.allclose(pose[one], pose[other], atol=1e-3) for pose in self.motions.values())

    def call(self, things: Sequence[Thing]) -> str:
        """What one would call things: their own names, else what and how many they are."""
        names = self.scope.names
        others = Counter(_looks(thing) for thing in things if thing.id not in names)
        own = [names[thing.id] for thing in things if thing.id in names]
        return listed(
            [
                *own,
                *(
                    f"the {looks}"
                    if n == 1
                    else f"{NUMBERS[n] if n < len(NUMBERS) else 'many'} {plural(looks)}"
                    for looks, n in others.items()
                ),
            ]
        )

    def bearing(self, frame: int, point: NDArray[np.float64]) -> float:
        """Direction in degrees of a world point [3] from the agent's heading, left is +, in [-180, 180)."""
        x, _, z, yaw = self.path[frame, :4]
        angle = math.degrees(math.atan2(-(point[0] - x), -(point[2] - z)) - yaw)
        return (angle + 180) % 360 - 180


def _looks(thing: Thing) -> str:
    """ "red chair", whether or not there is another one."""
    colour = thing.instance.colour
    return f"{colour} {thing.instance.category}" if colour else thing.instance.category


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
