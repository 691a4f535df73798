"""A listener that was not told how questions are made: it reads the text and looks at boxes, poses and columns.

It shares no code with the makers: nouns are matched word by word, relations are the plain sense of the words
without margins, and wherever a text leaves a choice the reader fails.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from vln_heatmap.simulation.scene import Instance, Room

BUILDING = {"wall", "floor", "ceiling", "skirting", "door frame", "window frame"}
RELATIONS = (
    "left of|right of|behind|in front of|next to|on|above|below|in|outside|nearest to|farthest from|between"
)
NOUN_PHRASE = re.compile(rf"the (?P<head>.+?) (?P<words>{RELATIONS}) (?P<rest>.+)")
VERBS = r"(?:first )?(?:find|show me|look for|point out) "
NUMBERS = [
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
]
DIRECTIONS = {
    "ahead of you": (1, 0),
    "behind you": (-1, 0),
    "to your left": (0, 1),
    "to your right": (0, -1),
    "ahead of you to the left": (1, 1),
    "ahead of you to the right": (1, -1),
    "behind you to the left": (-1, 1),
    "behind you to the right": (-1, -1),
}


@dataclass(frozen=True)
class Reader:
    """Reads the instructions of one sequence."""

    objects: tuple[Instance, ...]
    rooms: tuple[Room, ...]
    frames: pd.DataFrame = field(repr=False)

    @cached_property
    def by_id(self) -> dict[int, Instance]:
        return {thing.id: thing for thing in self.objects if thing.category not in BUILDING}

    @cached_property
    def poses(self) -> np.ndarray:
        return np.stack(self.frames["camera_to_world"].to_list()).reshape(-1, 4, 4)

    def shown(self, frame: int) -> dict[int, tuple[int, float, float]]:
        """Pixels, u and depth of what a frame shows."""
        row = self.frames.iloc[frame]
        columns = (row.visible_ids, row.visible_pixels, row.visible_u, row.visible_depth)
        rows = zip(*columns, strict=True)
        return {int(i): (int(n), float(u), float(d)) for i, n, u, d in rows if int(i) in self.by_id}

    @cached_property
    def ever(self) -> set[int]:
        return set().union(*(self.shown(f) for f in range(len(self.frames))))

    # --- noun phrases -----------------------------------------------------------------------------------

    def read(self, text: str, frame: int | None) -> set[int]:
        """Ids that a referring text means, asked in a frame or of the whole sequence."""
        scope = self.ever if frame is None else set(self.shown(frame))
        if found := re.fullmatch(r"in the (.+?), (.+)", text):
            scope = self.in_room(found[1], scope)
            text = found[2]
        if found := re.fullmatch(r"go past (the .+?), then (.+)", text):
            assert frame is not None
            passed = self.one(found[1], self.ever, None)
            assert any(when < frame for when, _ in self.passings(passed, frame)), text
            text = found[2]
        if found := re.fullmatch(r"what is (.+)\?", text):
            relation, rest = re.fullmatch(rf"({RELATIONS}) (.+)", found[1]).groups()
            return self.related(scope, relation, rest, scope, frame, None)
        if found := re.fullmatch(rf"{VERBS}(the .+), then {VERBS}(the .+)", text):
            return self.phrase(found[2], scope, frame, it=self.one(found[1], scope, frame))
        return self.phrase(re.fullmatch(rf"{VERBS}(the .+)", text)[1], scope, frame)

    def one(self, text: str, scope: set[int], frame: int | None) -> int:
        """The only thing that a phrase means."""
        meant = self.phrase(text, scope, frame)
        assert len(meant) == 1, f"{text!r} could be {sorted(meant)}"
        return next(iter(meant))

    def phrase(self, text: str, scope: set[int], frame: int | None, it: int | None = None) -> set[int]:
        found = NOUN_PHRASE.fullmatch(text)
        if not found:
            return self.fitting(text.removeprefix("the "), scope)
        return self.related(
            self.fitting(found["head"], scope), found["words"], found["rest"], scope, frame, it
        )

    def fitting(self, head: str, scope: set[int]) -> set[int]:
        """Everything in a scope that a colour and a noun could name, one or many."""
        colours = {thing.colour for thing in self.objects if thing.colour}
        first, _, others = head.partition(" ")
        colour, noun = (first, others) if first in colours and others else ("", head)
        nouns = {noun, noun.removesuffix("s"), noun.removesuffix("es"), re.sub("ves$", "f", noun)}
        nouns.add(re.sub("ies$", "y", noun))
        return {
            i
            for i in scope
            if any(self.by_id[i].category.endswith(word) for word in nouns)
            and (not colour or self.by_id[i].colour in (colour, ""))
        }

    # --- relations --------------------------------------------------------------------------------------

    def related(
        self, things: set[int], words: str, rest: str, scope: set[int], frame: int | None, it: int | None
    ) -> set[int]:
        if words in ("in", "outside") and rest.removeprefix("the ") in [room.name for room in self.rooms]:
            inside = self.in_room(rest.removeprefix("the "), things)
            return inside if words == "in" else things - inside
        if rest == "you":
            order = sorted(things, key=lambda i: self.shown(frame)[i][2])
            return {order[0] if words == "nearest to" else order[-1]}
        parts = rest.split(" and ") if words == "between" else [rest]
        anchors = [it if part in ("it", "them") else self.one(part, scope, frame) for part in parts]
        if words in ("nearest to", "farthest from"):
            order = sorted(things, key=lambda i: math.dist(self.centre(i), self.centre(anchors[0])))
            return {order[0] if words == "nearest to" else order[-1]}
        return {i for i in things - set(anchors) if self.holds(words, i, anchors, frame)}

    def holds(self, words: str, i: int, anchors: list[int], frame: int | None) -> bool:
        if words in ("left of", "right of", "behind", "in front of"):
            (_, u, depth), (_, v, other) = self.shown(frame)[i], self.shown(frame)[anchors[0]]
            column = abs(u - v) < 0.22
            plain = {
                "left of": u < v,
                "right of": u > v,
                "behind": depth > other and column,
                "in front of": depth < other and column,
            }
            return plain[words]
        a, b = self.by_id[i], self.by_id[anchors[0]]
        gap, rise = self.gap(a, b), a.box_min[1] - b.box_max[1]
        level = min(a.box_max[1], b.box_max[1]) > max(a.box_min[1], b.box_min[1])
        centre = self.centre(i)
        plain = {
            "next to": gap < 0.6 and level and a.room == b.room,
            "on": gap < 0.01 and abs(rise) < 0.06 and a.box_max[1] > b.box_max[1],
            "above": gap < 0.15 and rise > 0.05,
            "below": gap < 0.15 and b.box_min[1] - a.box_max[1] > 0.05,
            "in": all(b.box_min[k] <= centre[k] <= b.box_max[k] for k in range(3)),
            "between": len(anchors) > 1 and self.between(a, b, self.by_id[anchors[-1]]),
        }
        return plain[words]

    def between(self, a: Instance, b: Instance, c: Instance) -> bool:
        """Whether no straight line has a's centre on one side and both footprints on the other."""
        if a.room != b.room or self.gap(a, b) == 0 or self.gap(a, c) == 0:
            return False
        angles = np.radians(np.arange(0, 360, 0.5))
        ways = np.stack([np.cos(angles), np.sin(angles)], axis=1)  # [A, 2]
        corners = [
            (x, z) for t in (b, c) for x in (t.box_min[0], t.box_max[0]) for z in (t.box_min[2], t.box_max[2])
        ]
        centre = (np.array(a.box_min) + np.array(a.box_max))[[0, 2]] / 2
        return bool((ways @ centre <= (ways @ np.array(corners).T).max(1)).all())

    def centre(self, i: int) -> np.ndarray:
        return (np.array(self.by_id[i].box_min) + np.array(self.by_id[i].box_max)) / 2

    @staticmethod
    def gap(a: Instance, b: Instance) -> float:
        """Distance of two boxes from above."""
        sides = [max(a.box_min[k] - b.box_max[k], b.box_min[k] - a.box_max[k], 0.0) for k in (0, 2)]
        return math.hypot(*sides)

    def in_room(self, name: str, things: set[int]) -> set[int]:
        """What is nearest to the room, by its rectangle and its floor."""
        if name == "room where you started":
            wanted = self.room_at(self.poses[0, :3, 3])
        else:
            (wanted,) = [k for k, room in enumerate(self.rooms) if room.name == name]
        return {i for i in things if self.room_at(self.centre(i)) == wanted}

    def room_at(self, point: np.ndarray) -> int:
        def away(room: Room) -> float:
            x0, z0, x1, z1 = room.rectangle
            below = room.floor > point[1] + 0.1
            return (
                math.hypot(max(x0 - point[0], point[0] - x1, 0), max(z0 - point[2], point[2] - z1, 0))
                + 100 * below
                + 0.01 * abs(point[1] - room.floor)
            )

        return min(range(len(self.rooms)), key=lambda k: away(self.rooms[k]))

    # --- ways -------------------------------------------------------------------------------------------

    def in_camera(self, frame: int, point: np.ndarray) -> tuple[float, float]:
        """Metres ahead and to the left of the camera, on the floor."""
        ahead, right = self.poses[frame, :3, 2], self.poses[frame, :3, 0]
        offset = (np.asarray(point) - self.poses[frame, :3, 3])[[0, 2]]
        ahead, right = ahead[[0, 2]] / np.linalg.norm(ahead[[0, 2]]), right[[0, 2]]
        return float(offset @ ahead), float(-(offset @ right))

    def passings(self, i: int, until: int) -> list[tuple[int, str]]:
        """(frame, side) of each change of a thing's centre from ahead to behind by a step."""
        found = []
        for frame in range(until):
            moved = np.linalg.norm((self.poses[frame + 1] - self.poses[frame])[[0, 2], 3])
            ahead, left = self.in_camera(frame, self.centre(i))
            step, _ = self.in_camera(frame, self.poses[frame + 1, :3, 3])
            if moved > 0.01 and ahead > 0 >= ahead - step:
                found.append((frame, "left" if left > 0 else "right"))
        return found

    def where(self, i: int, frame: int, *, turned: float = 0.0, nearer: float = 0.0) -> str:
        """Direction and distance in words, as plainly as a person would put them, who may be turned to the left
        by some degrees and some metres nearer."""
        ahead, left = self.in_camera(frame, self.centre(i))
        heading = complex(ahead, left) * np.exp(-1j * math.radians(turned))
        ahead, left = heading.real, heading.imag
        cosine = {
            words: (ahead * x + left * y) / math.hypot(ahead, left) / math.hypot(x, y)
            for words, (x, y) in DIRECTIONS.items()
        }
        box, eye = self.by_id[i], self.poses[frame, :3, 3]
        xs, zs = (np.linspace(box.box_min[k], box.box_max[k], 60) for k in (0, 2))
        metres = min(math.hypot(x - eye[0], z - eye[2]) for x, z in itertools.product(xs, zs))
        number = NUMBERS[round(metres - nearer)]
        plural = "" if number == "one" else "s"
        return f"{max(cosine, key=cosine.__getitem__)}, about {number} metre{plural} away"


def check_reference(reader: Reader, entry: dict[str, Any]) -> None:
    """A text about relations means its instances; the similar things that it does not mean are distractors."""
    meant = reader.read(entry["text"], entry["frame"])
    assert meant == set(entry["instances"]), f"{entry['text']!r} means {sorted(meant)}: {entry}"
    scope = reader.ever if entry["frame"] is None else set(reader.shown(entry["frame"]))
    heads = {reader.by_id[i].category.split()[-1] for i in meant}
    similar = {i for i in scope if reader.by_id[i].category.split()[-1] in heads}
    assert set(entry["distractors"]) == similar - meant
