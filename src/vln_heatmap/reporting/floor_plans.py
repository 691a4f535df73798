"""A house from above, with the ways through it: what happened in an episode, at a glance.

Invariant: one scale for both axes, north (-Z) up, +X to the right; what is drawn at a pixel is what lies there in
the world, on the storey that is shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vln_heatmap.simulation.scene import STOREY, STRUCTURE, Scene

Colour = tuple[int, int, int]
Point = Sequence[float] | NDArray[np.float64]
OUTSIDE, FLOOR, WALKABLE, WALL, THING, EDGE = (
    (226, 227, 231),
    (246, 245, 242),
    (222, 233, 240),
    (92, 96, 105),
    (205, 196, 183),
    (151, 141, 127),
)
PATH, REFERENCE, GOAL, AGENT, BUMP = (
    (36, 99, 196),
    (44, 150, 84),
    (226, 133, 24),
    (200, 40, 60),
    (200, 40, 60),
)
_MARGIN = 0.3  # metres
_FLAT = 0.15  # metres that do not stand in the way
_SHARP = 2  # pictures are drawn larger and then made smaller, for smooth lines


@dataclass(frozen=True)
class Way:
    """What is drawn over a plan.

    Attributes:
        reference: of the expert [M, 3].
        path: positions so far [N, 3], the last one where the agent is.
        yaw: where it looks, radians.
        goals: [G, 3].
        bumps: where it bumped [B, 3].
        hfov: its field of view in degrees.
    """

    reference: NDArray[np.float64]
    path: NDArray[np.float64]
    yaw: float
    goals: NDArray[np.float64]
    bumps: NDArray[np.float64]
    hfov: float = 90.0


class FloorPlan:
    """Plans of all storeys of a scene, drawn once.

    Args:
        scene: what is drawn.
        walkable: floor points [N, 3] on a regular grid, ``spacing`` metres apart.
        size: width and height of the picture in pixels.
        target: centre [3] of the thing that the episode is about, which is marked; None = no mark.
    """

    def __init__(
        self,
        scene: Scene,
        walkable: NDArray[np.float64],
        *,
        spacing: float,
        size: int,
        target: Point | None = None,
    ) -> None:
        self.scene, self.walkable, self.spacing, self.size = scene, walkable, spacing, size
        self.target = None if target is None else np.asarray(target, np.float64)
        corners = [np.reshape(room.rectangle, (2, 2)) for room in scene.rooms]
        plan = np.concatenate([walkable[:, [0, 2]], *corners])
        self._low, high = plan.min(0) - _MARGIN, plan.max(0) + _MARGIN
        self._scale = _SHARP * size / float((high - self._low).max())
        self._shift = (_SHARP * size - self._scale * (high - self._low)) / 2  # in the middle
        self._levels = sorted({room.floor for room in scene.rooms} or {float(walkable[:, 1].min())})
        self._plans: dict[float, Image.Image] = {}

    def draw(self, way: Way) -> NDArray[np.uint8]:
        """The storey where the agent is, with its way [size, size, 3] uint8."""
        level = self.level(float(way.path[-1][1]))
        if level not in self._plans:
            self._plans[level] = self._plan(level)
        picture = self._plans[level].copy()
        draw = ImageDraw.Draw(picture)
        self._dashes(draw, self._here(way.reference, level))
        for goal in self._here(way.goals, level):
            _dot(draw, goal, 4 * _SHARP, GOAL)
        path = self._here(way.path, level)
        if len(path) > 1:
            draw.line([*map(tuple, path)], fill=PATH, width=3 * _SHARP, joint="curve")
        _dot(draw, path[0], 4 * _SHARP, PATH)
        for x, y in self._here(way.bumps, level):
            r = 3 * _SHARP
            draw.line([(x - r, y - r), (x + r, y + r)], fill=BUMP, width=2 * _SHARP)
            draw.line([(x - r, y + r), (x + r, y - r)], fill=BUMP, width=2 * _SHARP)
        _agent(draw, path[-1], way.yaw, way.hfov)
        return np.asarray(picture.resize((self.size, self.size), Image.Resampling.LANCZOS))

    def level(self, y: float) -> float:
        """The floor of the storey on which somebody at height ``y`` is."""
        return max((floor for floor in self._levels if floor <= y + 0.5), default=self._levels[0])

    def pixel(self, point: Point) -> NDArray[np.float64]:
        """Column and row of a world point [3] in the finished picture."""
        return self._to_pixels(np.asarray(point, np.float64)[None])[0] / _SHARP

    def _to_pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return (points[:, [0, 2]] - self._low) * self._scale + self._shift  # [N, 2]

    def _here(self, points: NDArray[np.float64], level: float) -> NDArray[np.float64]:
        """Pixels of those of the points [N, 3] that are on a storey, half way up its stairs at most."""
        points = np.asarray(points, np.float64).reshape(-1, 3)
        return self._to_pixels(points[np.abs(points[:, 1] - level) < STOREY])

    def _box(self, low: Point, high: Point) -> list[tuple[float, float]]:
        corners = self._to_pixels(np.array([[low[0], 0, low[-1]], [high[0], 0, high[-1]]]))
        return [tuple(corner) for corner in corners.tolist()]  # type: ignore[misc]

    def _plan(self, level: float) -> Image.Image:
        picture = Image.new("RGB", (_SHARP * self.size,) * 2, OUTSIDE)
        draw = ImageDraw.Draw(picture)
        rooms = [room for room in self.scene.rooms if abs(room.floor - level) < 0.1]
        for room in rooms:
            x0, z0, x1, z1 = room.rectangle
            draw.rectangle(self._box((x0, z0), (x1, z1)), fill=FLOOR, outline=WALL, width=2 * _SHARP)
        half = self.spacing * self._scale / 2 + 0.5
        for x, y in self._here(self.walkable, level):
            draw.rectangle([x - half, y - half, x + half, y + half], fill=WALKABLE)
        self._things(draw, level)
        font = ImageFont.load_default(11 * _SHARP)
        for room in rooms:
            x0, z0, x1, z1 = room.rectangle
            middle = self._to_pixels(np.array([[(x0 + x1) / 2, 0, (z0 + z1) / 2]]))[0]
            draw.text(tuple(middle), room.name, fill=WALL, font=font, anchor="mm")
        return picture

    def _things(self, draw: ImageDraw.ImageDraw, level: float) -> None:
        """Footprints of what stands on the floor, the target's marked."""
        for thing in sorted(self.scene.instances, key=lambda each: each.box_max[1]):
            low, high = np.array(thing.box_min), np.array(thing.box_max)
            if thing.category in STRUCTURE or not level - 0.1 <= low[1] < level + 1.8:
                continue
            meant = self.target is not None and np.allclose(thing.centre, self.target, atol=1e-3)
            outline, width = (GOAL, 3 * _SHARP) if meant else (EDGE, 1)
            fill = None if high[1] < level + _FLAT else THING  # one walks over a rug
            draw.rectangle(self._box(low, high), fill=fill, outline=outline, width=width)

    def _dashes(self, draw: ImageDraw.ImageDraw, path: NDArray[np.float64]) -> None:
        """A dashed line through pixels [N, 2]: 6 drawn, 4 left out."""
        if len(path) < 2:
            return
        lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
        for start in np.arange(0, lengths[-1], 10 * _SHARP):
            ends = np.clip([start, start + 6 * _SHARP], 0, lengths[-1])
            dash = np.stack([np.interp(ends, lengths, path[:, k]) for k in (0, 1)], axis=1)
            draw.line([*map(tuple, dash)], fill=REFERENCE, width=3 * _SHARP)


def _dot(draw: ImageDraw.ImageDraw, at: NDArray[np.float64], radius: float, colour: Colour) -> None:
    x, y = at
    draw.ellipse(
        [x - radius, y - radius, x + radius, y + radius], fill=colour, outline=(255, 255, 255), width=2
    )


def _agent(draw: ImageDraw.ImageDraw, at: NDArray[np.float64], yaw: float, hfov: float) -> None:
    """A dot with two rays that bound what it sees."""
    x, y = at
    for side in (-1, 1):
        angle = yaw + side * math.radians(hfov) / 2
        ray = 22 * _SHARP * np.array([-math.sin(angle), -math.cos(angle)])
        draw.line([(x, y), (x + ray[0], y + ray[1])], fill=AGENT, width=_SHARP)
    ahead = 11 * _SHARP * np.array([-math.sin(yaw), -math.cos(yaw)])
    draw.line([(x, y), (x + ahead[0], y + ahead[1])], fill=AGENT, width=3 * _SHARP)
    _dot(draw, at, 6 * _SHARP, AGENT)
