"""The set of a film: where the camera may stand, what it would see from there, and how it gets around.

Invariant: nothing here is drawn but from the stage's own generator; every path keeps to floor on which a free
camera may stand and to the limits of camera motion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, wraps
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vln_heatmap.geometry.cameras import look_pose
from vln_heatmap.simulation.instructions import frame_things
from vln_heatmap.simulation.relations import Thing
from vln_heatmap.simulation.scenarios.base import Film, ScenarioNotPossibleError
from vln_heatmap.simulation.scenarios.recorded import SEEN_WELL
from vln_heatmap.simulation.scene import STRUCTURE, Instance, Scene
from vln_heatmap.simulation.simulators.base import Observation, Simulator
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories import NoRouteError, WalkRequest
from vln_heatmap.simulation.trajectories.free_motion import (
    Limits,
    brisk,
    frames_needed,
    free_walk,
    looking_at,
    paced,
    standable,
    walkable_path,
)
from vln_heatmap.simulation.trajectories.walks import forward_of, path_length
from vln_heatmap.simulation.visibility import visible_instances

Pose = NDArray[np.float64]  # [6] x, y, z, yaw, tilt, lift
Rows = NDArray[np.float64]  # [N, 6]
Accept = Callable[[Observation], bool]

SPACING = 0.35  # metres between the places that are tried
MOST_SURVEYED = 16  # views that are rendered to find a path
ROOM_ABOVE = 2.0  # metres over the floor within which a target belongs to a storey
LEAST_PATH = 1.0  # metres
_MOST_PATHS = 6  # that are tried between views
_TILT = np.radians(40)


@dataclass(frozen=True)
class Stage:
    """A loaded scene, a source of chance and what is asked for."""

    sim: Simulator
    scene: Scene
    rng: np.random.Generator
    request: WalkRequest

    @property
    def length(self) -> int:
        """Frames of the take."""
        return self.request.length

    @property
    def eye(self) -> float:
        """Height of the camera over the floor, metres."""
        return self.request.agent.camera_height

    @property
    def limits(self) -> Limits:
        return brisk(self.request)

    @cached_property
    def spots(self) -> NDArray[np.float64]:
        """Floor points [N, 3] where a free camera may stand, in random order."""
        points = self.sim.navigable_points(SPACING)
        free = points[[standable(self.sim, point) for point in points]]
        if not len(free):
            raise ScenarioNotPossibleError(f"scene {self.scene.name!r} has no room for a free camera")
        return self.rng.permutation(free)

    @cached_property
    def things(self) -> tuple[Instance, ...]:
        """All instances but the building, in random order; those in view of ``focus`` alone if it is given."""
        wanted = set(self.request.focus)
        found = [
            item
            for item in self.scene.instances
            if item.category not in STRUCTURE and (not wanted or item.id in wanted)
        ]
        return tuple(found[i] for i in self.rng.permutation(len(found)))

    @cached_property
    def boxes(self) -> NDArray[np.float64]:
        """Lower and upper corners [N, 2, 3] of all instances at rest."""
        return np.array([(item.box_min, item.box_max) for item in self.scene.instances], np.float64)

    def around(self, target: Instance | ArrayLike, near: float, far: float) -> NDArray[np.float64]:
        """Spots [N, 3] of the target's storey at a distance from it (box or point) on the floor, random order."""
        if isinstance(target, Instance):
            closest = np.clip(self.spots, target.box_min, target.box_max)
            height = float(target.centre[1])
        else:
            closest, height = np.asarray(target, float), float(np.asarray(target)[1])
        away = np.hypot(*(self.spots - closest)[:, [0, 2]].T)
        level = (self.spots[:, 1] <= height + 0.5) & (self.spots[:, 1] >= height - ROOM_ABOVE - 0.6)
        return self.spots[(away >= near) & (away <= far) & level]

    def view(self, row: NDArray[np.float64]) -> Observation:
        """What the camera sees in a pose (x, y, z, yaw, tilt, lift)."""
        x, y, z, yaw, tilt, lift = row
        return self.sim.render(look_pose((x, y + self.eye + lift, z), yaw, tilt))

    def gaze(self, points: NDArray[np.float64], target: ArrayLike) -> Rows:
        """Poses [N, 6] on points [N, 3] that look at a world point [3]; never steeper than 40 degrees."""
        if not len(points):
            return np.zeros((0, 6))
        rows = looking_at(points, target, self.eye)
        rows[:, 4] = np.clip(rows[:, 4], -_TILT, _TILT)
        return rows

    def path(self, start: ArrayLike, goal: ArrayLike) -> NDArray[np.float64]:
        """A walkable path [N, 3] with rounded corners; N = 0 if there is none."""
        try:
            return walkable_path(self.sim, start, goal)
        except NoRouteError:
            return np.zeros((0, 3))

    def fits(self, rows: Rows) -> bool:
        """Whether the camera can take all poses within the length."""
        return len(rows) > 0 and frames_needed(rows, self.limits) <= self.length

    def free_run(self, point: NDArray[np.float64], heading: float, limit: float) -> float:
        """How far a free camera can go straight on from a floor point [3], up to ``limit`` metres."""
        distances = np.arange(0.05, limit + 1e-9, 0.05)
        ahead = forward_of(heading)
        return float(next((d - 0.05 for d in distances if not standable(self.sim, point + d * ahead)), limit))

    def things_in(self, view: Observation, *, least: float = SEEN_WELL) -> dict[int, Thing]:
        """Things (without the building) that cover at least this share of a view, by id."""
        columns = visible_instances(view.instance, np.rint(view.depth * 1000).astype(np.uint16))
        pixels = least * view.instance.size
        return {t.id: t for t in frame_things(self.scene.instances, columns) if t.pixels >= pixels}

    def take(self, rows: Rows, **extra: object) -> Take:
        """A take of exactly ``length`` frames along a line of poses."""
        return Take(free_walk(paced(rows, self.length, self.limits)), **extra)  # type: ignore[arg-type]


Attempt = Callable[[Stage], Take | None]


def filming(tries: int) -> Callable[[Attempt], Film]:
    """A film that repeats an attempt until it gives a take, at most so many times."""

    def decorate(attempt: Attempt) -> Film:
        @wraps(attempt)
        def film(sim: Simulator, scene: Scene, rng: np.random.Generator, request: WalkRequest) -> Take:
            stage = Stage(sim, scene, rng, request)
            for _ in range(tries):
                take = attempt(stage)
                if take is not None:
                    return take
            raise ScenarioNotPossibleError(
                f"{attempt.__name__} found nothing to film in scene {scene.name!r} ({tries} tries, "
                f"{request.length} frames)"
            )

        return film

    return decorate


def share_of(view: Observation, instance: int) -> float:
    """Share of a view that shows an instance."""
    return float((view.instance == instance).mean())


def draw(stage: Stage, items: tuple[Instance, ...] | list[Instance]) -> Instance | None:
    """One of the items, None if there is none."""
    return items[int(stage.rng.integers(len(items)))] if items else None


def nearest_pairs(first: Sequence[Pose], second: Sequence[Pose]) -> list[tuple[Pose, Pose]]:
    """The few pairs of poses [6], one of each kind, that are nearest to each other."""
    pairs = [(a, b) for a in first for b in second]
    return sorted(pairs, key=lambda pair: float(np.linalg.norm(pair[0][:3] - pair[1][:3])))[:_MOST_PATHS]


def gazing_path(
    stage: Stage,
    target: Instance | NDArray[np.float64],
    accept: Accept,
    *,
    near: float = 0.5,
    far: float = 3.0,
    prefer: Callable[[Rows, Rows], float] | None = None,
    checks: int = 3,
) -> Rows | None:
    """A path between two places around a target whose camera looks at it, accepted at both ends and between.

    Args:
        target: a thing or a world point [3].
        accept: whether a view will do.
        near, far: range of the distance from the target on the floor, metres.
        prefer: how good a pair of poses [6] is; the best pairs are tried first, those below 0 never. The default
            is the distance between them.
        checks: number of views between the ends that must be accepted too.

    Returns:
        Dense poses [N, 6] that fit into the stage's length; None if none is found.
    """
    point = target.centre if isinstance(target, Instance) else target
    rows = stage.gaze(stage.around(target, near, far)[:MOST_SURVEYED], point)
    good = [row for row in rows if accept(stage.view(row))]
    value = prefer or (lambda a, b: float(np.linalg.norm(a[:3] - b[:3])))
    pairs = sorted(((value(a, b), k) for k, (a, b) in enumerate(combinations(good, 2))), reverse=True)
    chosen = list(combinations(good, 2))
    for worth, k in pairs[:_MOST_PATHS]:
        if worth < 0:
            break
        line = stage.gaze(stage.path(chosen[k][0][:3], chosen[k][1][:3]), point)
        if path_length(line[:, :3]) < LEAST_PATH or not stage.fits(line):
            continue
        if all(
            accept(stage.view(line[round(t * (len(line) - 1))])) for t in np.linspace(0, 1, checks + 2)[1:-1]
        ):
            return line if stage.rng.random() < 0.5 else line[::-1].copy()
    return None
