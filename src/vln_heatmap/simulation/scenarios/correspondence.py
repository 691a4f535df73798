"""Films of cross-frame correspondence: the same things, structures and surfaces in many frames.

Invariant: what is to be seen is seen in rendered views at both ends of the way and between, before it is
filmed.
"""

from __future__ import annotations

import math

import numpy as np

from vln_heatmap.simulation.scenarios import measures_images, measures_things
from vln_heatmap.simulation.scenarios.base import Scenario
from vln_heatmap.simulation.scenarios.recorded import SEEN_WELL
from vln_heatmap.simulation.scenarios.stage import (
    Accept,
    Pose,
    Stage,
    draw,
    filming,
    gazing_path,
    share_of,
)
from vln_heatmap.simulation.scenarios.texture import periodicity, unlikeness
from vln_heatmap.simulation.scene import Instance
from vln_heatmap.simulation.simulators.base import Observation
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories.free_motion import free_walk

PART = "cross_frame_correspondence"
_TRACKED = 1.5 * SEEN_WELL
_CORNER_WAY = 1.4  # metres that the camera goes past a corner
_TOGETHER = 1.8  # metres between two things that are tracked together
_SWING_RATE = math.radians(17)  # a frame
_MARGIN = math.radians(10)  # by which a thing must be out of view
REPETITIVE, DISTINCTIVE = 0.5, 0.1


@filming(tries=40)
def film_one_thing(stage: Stage) -> Take | None:
    """Past a thing, always looking at it."""
    thing = draw(stage, stage.things)
    if thing is None:
        return None
    rows = gazing_path(stage, thing, lambda view: share_of(view, thing.id) >= _TRACKED)
    return None if rows is None else stage.take(rows, focus=(thing.id,))


@filming(tries=60)
def film_some_things(stage: Stage) -> Take | None:
    """Past two or three things that are close together, always looking at their middle."""
    first = draw(stage, stage.things)
    if first is None:
        return None
    near = [
        item
        for item in stage.things
        if item.room == first.room and 0.2 < np.linalg.norm(item.centre - first.centre) <= _TOGETHER
    ]
    group = (first, *near[: int(stage.rng.integers(1, 3))])
    if len(group) < 2:
        return None
    middle = np.mean([item.centre for item in group], axis=0)

    def all_seen(view: Observation) -> bool:
        return all(share_of(view, item.id) >= SEEN_WELL for item in group)

    rows = gazing_path(stage, middle, all_seen, far=4.0)
    return None if rows is None else stage.take(rows, focus=tuple(item.id for item in group))


@filming(tries=40)
def film_appearing(stage: Stage) -> Take | None:
    """Swinging the view so that a thing leaves it and comes back, again and again."""
    thing = draw(stage, stage.things)
    spots = stage.around(thing, 0.6, 3.5) if thing is not None else np.zeros((0, 3))
    if thing is None or not len(spots):
        return None
    row = stage.gaze(spots[:1], thing.centre)[0]
    if share_of(stage.view(row), thing.id) < _TRACKED:
        return None
    away = math.hypot(*(thing.centre - row[:3])[[0, 2]])
    half = math.atan2(float(np.hypot(*np.subtract(thing.box_max, thing.box_min)[[0, 2]])) / 2, away)
    swing = math.radians(stage.sim.camera.hfov) / 2 + half + _MARGIN
    period = max(2 * math.ceil(swing / _SWING_RATE), stage.length // int(stage.rng.integers(3, 7)))
    phase = (np.arange(stage.length) % period) / period
    rows = np.tile(row, (stage.length, 1))
    rows[:, 3] += stage.rng.choice([-1, 1]) * swing * (1 - np.abs(2 * phase - 1))
    gone = rows[int(np.abs(rows[:, 3] - row[3]).argmax())]
    if share_of(stage.view(gone), thing.id) > 0 or 1.5 * period > stage.length - 1:
        return None
    return Take(free_walk(rows), focus=(thing.id,))


@filming(tries=30)
def film_wall_corners(stage: Stage) -> Take | None:
    """Through a room, always looking at one of its corners."""
    walls = [item.id for item in stage.scene.instances if item.category == "wall"]
    if not stage.scene.rooms:
        return None
    room = stage.scene.rooms[int(stage.rng.integers(len(stage.scene.rooms)))]
    x, z = (float(room.rectangle[k + 2 * int(stage.rng.integers(2))]) for k in (0, 1))
    corner = np.array([x, room.floor + stage.rng.uniform(1.2, 1.8), z])

    def shown(view: Observation) -> bool:
        return measures_images.shows_corner(view.instance, view.depth, walls)

    def short(a: Pose, b: Pose) -> float:  # on a long way something hides the corner
        return 1 / (1 + abs(float(np.linalg.norm(a[:3] - b[:3])) - _CORNER_WAY))

    rows = gazing_path(stage, corner, shown, near=0.8, far=4.5, checks=9, prefer=short)
    return None if rows is None else stage.take(rows)


@filming(tries=30)
def film_openings(stage: Stage) -> Take | None:
    """Past a door or a window, always looking at it."""
    wanted = [item for item in stage.scene.instances if item.category in measures_things.OPENINGS]
    return _looking_at_any(stage, wanted, _covers([item.id for item in wanted], 0.03))


@filming(tries=30)
def film_furniture(stage: Stage) -> Take | None:
    """Past furniture, always looking at it."""
    wanted = [item for item in stage.things if measures_things.is_furniture(item)]
    return _looking_at_any(stage, wanted, _covers([item.id for item in wanted], 0.22))


@filming(tries=24)
def film_distinctive(stage: Stage) -> Take | None:
    """Past things among walls and floors that differ in colour."""
    surfaces = measures_images.surface_ids(stage.scene.instances)
    return _looking_at_any(
        stage, list(stage.things), lambda v: unlikeness(v.rgb, v.instance, surfaces) >= 1.3 * DISTINCTIVE
    )


@filming(tries=24)
def film_repetitive(stage: Stage) -> Take | None:
    """Along a wall or over a floor that repeats itself."""
    surfaces = measures_images.surface_ids(stage.scene.instances)
    rooms = stage.scene.rooms
    if not rooms:
        return None
    room = rooms[int(stage.rng.integers(len(rooms)))]
    x0, z0, x1, z1 = room.rectangle
    x, z = stage.rng.uniform((x0, z0), (x1, z1))
    walls = ((x0, 1.2, z), (x1, 1.2, z), (x, 1.2, z0), (x, 1.2, z1), (x, 0.0, z))
    point = np.array(walls[int(stage.rng.integers(5))]) + (0.0, room.floor, 0.0)

    def repeats(view: Observation) -> bool:
        mask = measures_images.largest(view.instance, surfaces)
        return periodicity(view.rgb, view.depth, mask, stage.sim.camera) >= REPETITIVE + 0.06

    rows = gazing_path(stage, point, repeats, near=0.4, far=2.5)
    return None if rows is None else stage.take(rows)


def _covers(ids: list[int], least: float) -> Accept:
    return lambda view: float(np.isin(view.instance, ids).mean()) >= least


def _looking_at_any(stage: Stage, wanted: list[Instance], accept: Accept) -> Take | None:
    """Past one of the wanted instances, always looking at it."""
    item = draw(stage, wanted)
    rows = None if item is None else gazing_path(stage, item, accept, far=4.0)
    return None if rows is None or item is None else stage.take(rows, focus=(item.id,))


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "single_object_tracking", PART, "object_focused", film_one_thing, measures_things.seen_share,
        (0.9, 1.0), "share of frames", "The share of the frames in which one thing is seen.",
    ),
    Scenario(
        "multi_object_tracking", PART, "object_focused", film_some_things, measures_things.tracked_together,
        (0.8, 1.0), "share of frames", "The share of the frames in which two things or more are all seen.",
    ),
    Scenario(
        "appearing_disappearing", PART, "challenge", film_appearing, measures_things.appearances,
        (3.0, math.inf), "changes", "How often a thing comes into view or leaves it entirely.",
    ),
    Scenario(
        "wall_corners", PART, "systematic_sweep", film_wall_corners, measures_images.corner_share, (0.7, 1.0),
        "share of frames", "The share of the frames that show an upright edge in which two walls meet.",
    ),
    Scenario(
        "doors_and_windows", PART, "room_transition", film_openings, measures_things.opening_share,
        (0.8, 1.0), "share of frames", "The share of the frames in which doors and windows cover 2 % or more.",
    ),
    Scenario(
        "furniture", PART, "circular_motion", film_furniture, measures_things.furniture_share, (0.8, 1.0),
        "share of frames", "The share of the frames in which furniture covers 15 % or more.",
    ),
    Scenario(
        "distinctive_texture", PART, "viewpoint_diversity", film_distinctive,
        measures_images.surface_difference, (DISTINCTIVE, math.inf), "log-chromaticity",
        "How much the colours of walls and floors differ from the most similar one's.",
        {"pattern": "distinctive"},
    ),
    Scenario(
        "repetitive_texture", PART, "systematic_sweep", film_repetitive, measures_images.repetition,
        (REPETITIVE, 1.0), "correlation",
        "The second peak of the autocorrelation of the largest surface, in its own plane.",
        {"pattern": "repetitive"},
    ),
)  # fmt: skip
