"""Films of the geometric foundation: how the camera moves, and what that does to one place or thing.

Invariant: free camera motion within the limits of a recording, in as many frames as were asked for.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from vln_heatmap.simulation.scenarios import measures_images, measures_motion, measures_things
from vln_heatmap.simulation.scenarios.base import Scenario
from vln_heatmap.simulation.scenarios.recorded import SEEN_WELL, angle_between
from vln_heatmap.simulation.scenarios.stage import (
    MOST_SURVEYED,
    Rows,
    Stage,
    filming,
    gazing_path,
    nearest_pairs,
    share_of,
)
from vln_heatmap.simulation.simulators.base import Observation
from vln_heatmap.simulation.take import Take
from vln_heatmap.simulation.trajectories.free_motion import (
    FRAME_METRES,
    FRAME_TURN,
    free_walk,
    looking_ahead,
    motion,
    paced,
    resampled,
)
from vln_heatmap.simulation.trajectories.walks import forward_of, path_length

PART = "geometric_foundation"
_LINE = (1.0, 3.0)  # metres of a straight line
_LIFTS = (-0.45, 0.35)  # metres by which the camera goes down and up
_OPEN = 0.9  # metres: median depth of a view that is not just a wall
_STOREY = 1.0  # metres between two floors, at least
_SHARP = (math.radians(65), math.radians(120))
_SHARP_RATE = math.radians(15)


@filming(tries=12)
def film_smooth(stage: Stage) -> Take | None:
    """Along a rounded path; the view turns more gently still."""
    path = _long_path(stage)
    if path is None:
        return None
    rows = paced(looking_ahead(path), stage.length, stage.limits)
    rows[:, 3] = gaussian_filter1d(rows[:, 3], max(3.0, stage.length / 8), mode="nearest")
    acceleration = np.abs(np.diff(rows[:, 3], 2)).max(initial=0)
    return Take(free_walk(rows)) if math.degrees(float(acceleration)) <= 2.5 else None


@filming(tries=8)
def film_sharp_turns(stage: Stage) -> Take | None:
    """Straight on, a sharp turn to where there is room, straight on again."""
    place, yaw = stage.spots[int(stage.rng.integers(len(stage.spots)))], stage.rng.uniform(-math.pi, math.pi)
    rows = [np.array([*place, yaw, 0.0, 0.0])]
    while len(rows) < stage.length:
        for _ in range(int(stage.rng.integers(1, 4))):
            if stage.free_run(rows[-1][:3], rows[-1][3], stage.limits.step) >= stage.limits.step - 0.05:
                step = (stage.limits.step - 0.05) * forward_of(rows[-1][3])
                rows.append(rows[-1] + np.array([*step, 0, 0, 0]))
        turn = _open_turn(stage, rows[-1])
        frames = math.ceil(abs(turn) / _SHARP_RATE)
        rows += [rows[-1] + np.array([0, 0, 0, (k + 1) / frames * turn, 0, 0]) for k in range(frames)]
    poses = np.array(rows[: stage.length])
    return Take(free_walk(poses)) if measures_motion.count_sharp_turns(poses[:, 3]) >= 2 else None


def _open_turn(stage: Stage, row: NDArray[np.float64]) -> float:
    """A sharp turn (radians) after which there is the most room, of six."""
    turns = stage.rng.uniform(*_SHARP, 6) * stage.rng.choice([-1, 1], 6)
    return float(max(turns, key=lambda turn: stage.free_run(row[:3], row[3] + turn, 1.5)))


@filming(tries=12)
def film_vertical_motion(stage: Stage) -> Take | None:
    """Up or down the stairs where there are any, else a slow walk of a camera that sinks and rises."""
    heights = stage.spots[:, 1]
    if np.ptp(heights) >= _STOREY:
        return _stairs(stage)
    rows = _line(stage, sideways=None)
    if rows is None:
        return None
    rows = paced(rows[: len(rows) // 2 + 1], stage.length, stage.limits)
    rows[:, 5] = _wave(stage, stage.length)
    rows[:, 4] = -0.3 * rows[:, 5]
    return Take(free_walk(rows))


def _stairs(stage: Stage) -> Take | None:
    """A walk over the stairs; it starts so near to them that at least 0.5 m of height fits."""
    low = stage.spots[stage.spots[:, 1] < stage.spots[:, 1].min() + 0.3]
    high = stage.spots[stage.spots[:, 1] > stage.spots[:, 1].max() - 0.3]
    ends = [spots[int(stage.rng.integers(len(spots)))] for spots in (low, high)]
    path = stage.path(*(ends if stage.rng.random() < 0.5 else ends[::-1]))
    if not len(path):
        return None
    slope = np.flatnonzero(np.abs(np.diff(path[:, 1])) > 1e-3)
    reach = round(0.6 * stage.limits.step * (stage.length - 1) / 0.05)  # points of the path
    start = max(0, int(slope[0]) - int(0.2 * reach))
    rows = paced(looking_ahead(path[start : start + reach]), stage.length, stage.limits)
    return Take(free_walk(rows)) if np.ptp(rows[:, 1]) >= 0.5 else None


@filming(tries=12)
def film_complex_3d(stage: Stage) -> Take | None:
    """A walk whose camera drifts sideways, rises, sinks, nods and looks about."""
    path = _long_path(stage)
    if path is None:
        return None
    rows = paced(looking_ahead(path), stage.length, stage.limits)
    t, steps = np.linspace(0, 2 * math.pi, stage.length), stage.length - 1
    phase, side = stage.rng.uniform(0, math.pi), stage.rng.choice([-1, 1])
    rows[:, 3] = gaussian_filter1d(rows[:, 3], max(3.0, stage.length / 8), mode="nearest")
    rows[:, 3] += side * min(0.9, 0.022 * steps) * np.sin(t + phase)
    rows[:, 4] = min(0.3, 0.009 * steps) * np.sin(1.5 * t + phase)
    rows[:, 5] = 0.25 * np.sin(t - phase)
    moved, turned = motion(rows)
    places = rows[:, :3] + np.outer(rows[:, 5], (0.0, 1.0, 0.0))
    free = measures_motion.count_freedoms(places, rows[:, 3], rows[:, 4])
    slow = moved.max() <= FRAME_METRES and turned.max() <= FRAME_TURN
    return Take(free_walk(rows)) if slow and free == len(measures_motion.LEAST_MOTIONS) else None


@filming(tries=8)
def film_forward(stage: Stage) -> Take | None:
    """Straight ahead."""
    rows = _line(stage, sideways=None)
    return None if rows is None else stage.take(rows)


@filming(tries=8)
def film_backward(stage: Stage) -> Take | None:
    """Straight back, looking ahead."""
    rows = _line(stage, sideways=None)
    return None if rows is None else stage.take(rows[::-1].copy())


@filming(tries=8)
def film_lateral(stage: Stage) -> Take | None:
    """Sideways along a straight line, looking across it to where there is more to see."""
    rows = _line(stage, sideways=1)
    if rows is None:
        return None
    other = rows + np.array([0, 0, 0, math.pi, 0, 0])
    middle = len(rows) // 2
    depths = [float(np.median(stage.view(side[middle]).depth)) for side in (rows, other)]
    return stage.take(rows if depths[0] >= depths[1] else other)


@filming(tries=4)
def film_rotation_in_place(stage: Stage) -> Take | None:
    """A turn on the spot, all the way round where the length permits it."""
    place = max(stage.spots[:8], key=stage.sim.clearance)
    place = place if stage.rng.random() < 0.5 else stage.spots[int(stage.rng.integers(len(stage.spots)))]
    rate = min(math.radians(18), 2 * math.pi / (stage.length - 1)) * stage.rng.choice([-1, 1])
    yaw = stage.rng.uniform(-math.pi, math.pi) + rate * np.arange(stage.length)
    rows = np.column_stack([np.tile(place, (stage.length, 1)), yaw, np.zeros((stage.length, 2))])
    return Take(free_walk(rows))


@filming(tries=40)
def film_other_angles(stage: Stage) -> Take | None:
    """Round a thing, looking at it."""
    thing = stage.things[int(stage.rng.integers(len(stage.things)))]

    def turned(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        rays = [(row[:3] - thing.centre) * (1, 0, 1) for row in (a, b)]
        angle = angle_between(*rays)
        return angle if angle >= 70 else -1.0

    rows = gazing_path(
        stage, thing, lambda view: share_of(view, thing.id) >= 1.3 * SEEN_WELL, far=2.2, prefer=turned
    )
    return None if rows is None else stage.take(rows, focus=(thing.id,))


@filming(tries=40)
def film_other_distances(stage: Stage) -> Take | None:
    """Towards a thing or away from it, looking at it."""
    thing = stage.things[int(stage.rng.integers(len(stage.things)))]

    def ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        near, far = sorted(float(np.linalg.norm(_eye(stage, row) - thing.centre)) for row in (a, b))
        return far / near if far >= 2.2 * near else -1.0

    rows = gazing_path(
        stage, thing, lambda view: share_of(view, thing.id) >= 1.3 * SEEN_WELL, near=0.25, far=5, prefer=ratio
    )
    return None if rows is None else stage.take(rows, focus=(thing.id,))


@filming(tries=40)
def film_occlusion(stage: Stage) -> Take | None:
    """From a place that shows a thing to one where something else hides it, always looking there."""
    thing = stage.things[int(stage.rng.integers(len(stage.things)))]
    rows = stage.gaze(stage.around(thing, 0.5, 4.0)[:MOST_SURVEYED], thing.centre)
    shown, hidden = [], []
    for row in rows:
        view = stage.view(row)
        share = share_of(view, thing.id)
        if share >= 2 * SEEN_WELL:
            shown.append(row)
        elif share == 0 and np.median(view.depth) >= _OPEN and _blocked(stage, row, view, thing.centre):
            hidden.append(row)
    for a, b in nearest_pairs(shown, hidden):
        path = stage.path(a[:3], b[:3])
        line = stage.gaze(path, thing.centre)
        if len(line) and path_length(path) > 0.5 and stage.fits(line):
            return stage.take(line if stage.rng.random() < 0.5 else line[::-1].copy(), focus=(thing.id,))
    return None


def _blocked(stage: Stage, row: NDArray[np.float64], view: Observation, target: NDArray[np.float64]) -> bool:
    """Whether the middle of a view shows something that is nearer than the target it looks at."""
    depth = view.depth
    height, width = depth.shape
    middle = depth[height // 2 - 1 : height // 2 + 1, width // 2 - 1 : width // 2 + 1]
    return bool(0 < middle.max() < np.linalg.norm(_eye(stage, row) - target) - 0.3)


def _eye(stage: Stage, row: NDArray[np.float64]) -> NDArray[np.float64]:
    return row[:3] + np.array([0, stage.eye + row[5], 0])


def _line(stage: Stage, *, sideways: int | None) -> Rows | None:
    """Dense poses on a straight free line, looking along it or (``sideways``) across it to the left."""
    best: tuple[float, NDArray[np.float64], float] | None = None
    longest = min(_LINE[1], 0.9 * stage.limits.step * (stage.length - 1))
    for _ in range(12):
        spot = stage.spots[int(stage.rng.integers(len(stage.spots)))]
        heading = float(stage.rng.uniform(-math.pi, math.pi))
        run = stage.free_run(spot, heading, longest)
        if best is None or run > best[0]:
            best = run, spot, heading
    if best is None or best[0] < _LINE[0]:
        return None
    run, spot, heading = best
    path = resampled(np.stack([spot, spot + run * forward_of(heading)]))
    rows = looking_ahead(path)
    rows[:, 3] = heading + (0 if sideways is None else math.pi / 2)
    return rows


def _long_path(stage: Stage) -> NDArray[np.float64] | None:
    """A walkable path [N, 3] of at least 1.2 m that a slow walk of the length can follow; the longest of some."""
    start = stage.spots[int(stage.rng.integers(len(stage.spots)))]
    reach = 0.6 * stage.limits.step * (stage.length - 1)
    away = np.linalg.norm(stage.spots - start, axis=1)
    goals = stage.spots[(away >= 1.2) & (away <= reach)]
    for goal in sorted(goals[:6], key=lambda point: -float(np.linalg.norm(point - start))):
        path = stage.path(start, goal)
        if len(path) and path_length(path) <= 1.3 * reach:
            return path
    return None


def _wave(stage: Stage, length: int) -> NDArray[np.float64]:
    """Lift [length] that goes from one extreme to the other and back, smoothly."""
    low, high = _LIFTS
    wave = 0.5 - 0.5 * np.cos(2 * math.pi * np.linspace(0, 1, length))
    return low + (high - low) * (wave if stage.rng.random() < 0.5 else 1 - wave)


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "smooth", PART, "temporal_coherence", film_smooth, measures_motion.angular_acceleration, (0.0, 3.5),
        "degrees / frame^2", "The greatest change of the turning rate of a camera that moves.",
    ),
    Scenario(
        "sharp_turns", PART, "challenge", film_sharp_turns, measures_motion.sharp_turns, (2.0, math.inf),
        "turns", "Turns that reach 60 degrees within 6 frames.",
    ),
    Scenario(
        "vertical_motion", PART, "challenge", film_vertical_motion, measures_motion.height_range,
        (0.4, math.inf), "m", "Highest less lowest camera centre.", {"storeys": 2},
    ),
    Scenario(
        "complex_3d", PART, "viewpoint_diversity", film_complex_3d, measures_motion.freedoms, (5.0, 5.0),
        "ways", "In how many of five ways (ahead, sideways, up, turn, nod) the camera moves.",
    ),
    Scenario(
        "forward", PART, "forward_backward", film_forward, measures_motion.share_forward, (0.9, 1.0),
        "share", "The share of the way that leads where the camera looks.",
    ),
    Scenario(
        "backward", PART, "forward_backward", film_backward, measures_motion.share_backward, (0.9, 1.0),
        "share", "The share of the way that leads straight back.",
    ),
    Scenario(
        "lateral", PART, "systematic_sweep", film_lateral, measures_motion.share_sideways, (0.9, 1.0),
        "share", "The share of the way that leads sideways.",
    ),
    Scenario(
        "rotation_in_place", PART, "systematic_sweep", film_rotation_in_place,
        measures_motion.turn_on_the_spot, (180.0, math.inf), "degrees",
        "How far the camera turns without leaving its place.",
    ),
    Scenario(
        "same_place_other_angles", PART, "circular_motion", film_other_angles, measures_things.widest_angle,
        (60.0, 180.0), "degrees", "The angle between two directions from which the same thing is seen well.",
    ),
    Scenario(
        "same_object_other_distances", PART, "object_focused", film_other_distances,
        measures_things.distance_ratio, (2.0, math.inf), "ratio",
        "Farthest over nearest distance from which the same thing is seen.",
    ),
    Scenario(
        "occlusion", PART, "object_focused", film_occlusion, measures_images.hidden_share, (0.5, 1.0),
        "share", "The share of a thing, seen well in one frame, that another frame has in view but hidden.",
    ),
)  # fmt: skip
