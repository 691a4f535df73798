"""Measures of how the camera moves, from the recorded poses.

Invariant: a recording that shows nothing of the kind gets a value outside every limit that asks for it: a
camera that stands still is neither smooth nor sideways.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vln_heatmap.datasets.sequence import Sequence
from vln_heatmap.simulation.scenarios.recorded import (
    SEEN,
    angle_between,
    centres,
    eyes,
    focus_of,
    headings,
    runs,
    shares,
)

LEAST_PATH = 0.8  # metres that a moving camera must go
SHARP_TURN, SHARP_FRAMES, TURNING = math.radians(60), 6, math.radians(5)
STILL = 0.1  # metres within which a camera turns on the spot
SAME_PLACE = 0.3  # metres
LEAST_MOTIONS = (0.4, 0.4, 0.2, math.radians(60), math.radians(15))  # ahead, aside, up (m), turn, nod
HELD_FRAMES, HELD_TURN, HELD_STEP = 3, math.radians(1.0), 0.02
LEG_TOLERANCE = 0.3  # metres by which a path may leave the straight line of a leg


def path_metres(sequence: Sequence) -> float:
    """Length of the camera's path, metres."""
    return float(np.linalg.norm(np.diff(eyes(sequence), axis=0), axis=1).sum())


def angular_acceleration(sequence: Sequence) -> float:
    """Greatest change of the turning rate, degrees / frame^2; infinite if the camera goes less than
    ``LEAST_PATH``."""
    if path_metres(sequence) < LEAST_PATH:
        return math.inf
    view = sequence.poses[:, :3, 2]  # [T, 3]
    pitch = np.arcsin(np.clip(view[:, 1], -1, 1))
    rates = np.diff(np.stack([headings(sequence), pitch]), axis=1)  # [2, T - 1]
    return math.degrees(float(np.linalg.norm(np.diff(rates, axis=1), axis=0).max(initial=0)))


def sharp_turns(sequence: Sequence) -> float:
    """Number of turns that reach 60 degrees within 6 frames. A turn goes on while the camera turns to one side
    by 5 degrees or more a frame, so that one long turn counts once."""
    return float(count_sharp_turns(headings(sequence)))


def count_sharp_turns(yaw: NDArray[np.float64]) -> int:
    """``sharp_turns`` of headings [T] in radians, unwrapped."""
    rate, count = np.diff(yaw), 0  # [T - 1]
    for side in (1, -1):
        for first, last in runs(side * rate >= TURNING):
            turn = np.abs(yaw[first : last + 1] - yaw[first])
            window = min(SHARP_FRAMES, last - first)
            count += int((turn[window:] - turn[:-window]).max() >= SHARP_TURN - 1e-6)
    return count


def height_range(sequence: Sequence) -> float:
    """Highest less lowest camera centre, metres."""
    return float(np.ptp(eyes(sequence)[:, 1]))


def freedoms(sequence: Sequence) -> float:
    """In how many of five ways the camera moves: forward or back 0.4 m, sideways 0.4 m, up or down 0.2 m, turn
    60 degrees, nod 15 degrees; sums over the frames."""
    pitch = np.arcsin(np.clip(sequence.poses[:, 1, 2], -1, 1))
    return float(count_freedoms(eyes(sequence), headings(sequence), pitch))


def count_freedoms(place: NDArray[np.float64], yaw: NDArray[np.float64], pitch: NDArray[np.float64]) -> int:
    """``freedoms`` of camera centres [T, 3] in metres, headings [T] (unwrapped) and elevations [T] in radians."""
    motions = (*_local_steps(place, yaw), np.diff(yaw), np.diff(pitch))
    totals = [float(np.abs(motion).sum()) for motion in motions]
    return sum(total >= least for total, least in zip(totals, LEAST_MOTIONS, strict=True))


def share_forward(sequence: Sequence) -> float:
    """Share of the way on the floor that leads ahead, straight on where the camera looks; 0 if it is short."""
    ahead, aside, _ = _local_steps(eyes(sequence), headings(sequence))
    return _share(np.clip(ahead, 0, None), ahead, aside)


def share_backward(sequence: Sequence) -> float:
    """Share of the way on the floor that leads straight back; 0 if the way is short."""
    ahead, aside, _ = _local_steps(eyes(sequence), headings(sequence))
    return _share(np.clip(-ahead, 0, None), ahead, aside)


def share_sideways(sequence: Sequence) -> float:
    """Share of the way on the floor that leads sideways; 0 if the way is short."""
    ahead, aside, _ = _local_steps(eyes(sequence), headings(sequence))
    return _share(np.abs(aside), ahead, aside)


def turn_on_the_spot(sequence: Sequence) -> float:
    """Degrees between the leftmost and rightmost heading; 0 if the camera leaves a ball of 0.1 m."""
    if np.linalg.norm(eyes(sequence) - eyes(sequence)[0], axis=1).max() > STILL:
        return 0.0
    return math.degrees(float(np.ptp(headings(sequence))))


def legs(sequence: Sequence) -> float:
    """Straight legs of the way on the floor, to 0.3 m (Douglas and Peucker)."""
    return float(count_legs(eyes(sequence)[:, [0, 2]]))


def route_legs(sequence: Sequence) -> float:
    """``legs`` of a walk that stopped at its goal by itself; 0 for any other."""
    return legs(sequence) if bool(sequence.frames["is_terminal"].iloc[-1]) else 0.0


def count_legs(path: NDArray[np.float64]) -> int:
    """Number of straight lines that come within ``LEG_TOLERANCE`` of a polyline [N, 2], metres."""
    way = path[-1] - path[0]
    length = float(way @ way)
    t = np.clip((path - path[0]) @ way / length, 0, 1) if length > 0 else np.zeros(len(path))
    off = np.linalg.norm(path - (path[0] + t[:, None] * way), axis=1)  # [N]
    split = int(off.argmax())
    if off[split] <= LEG_TOLERANCE:
        return int(length > 0)
    return count_legs(path[: split + 1]) + count_legs(path[split:])


def held_view_change(sequence: Sequence) -> float:
    """Greatest change in degrees between two views that are each held for 3 frames or more: between their
    headings if they are from one place (within 0.3 m), else between the directions from which they see the
    focus; 0 if there are no two."""
    views, yaw, place = held_views(sequence), headings(sequence), eyes(sequence)
    changes = [0.0]
    for first, second in combinations(views, 2):
        if np.linalg.norm(place[first] - place[second]) <= SAME_PLACE:
            turned = (yaw[second] - yaw[first] + math.pi) % (2 * math.pi) - math.pi
            changes.append(abs(math.degrees(turned)))
        for thing in focus_of(sequence):
            seen, middle = shares(sequence, thing), centres(sequence, thing)
            if min(seen[first], seen[second]) >= SEEN:
                sides = (place[[first, second]] - middle[[first, second]]) * (1.0, 0.0, 1.0)
                changes.append(angle_between(sides[0], sides[1]))
    return max(changes)


def held_views(sequence: Sequence) -> list[int]:
    """The middle frame of every stretch of 3 frames or more in which the camera rests."""
    steps = np.linalg.norm(np.diff(eyes(sequence), axis=0), axis=1)
    still = (np.abs(np.diff(headings(sequence))) <= HELD_TURN) & (steps <= HELD_STEP)  # [T - 1]
    return [(first + last) // 2 for first, last in runs(still) if last - first + 1 >= HELD_FRAMES]


def _local_steps(
    place: NDArray[np.float64], yaw: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Steps [T - 1] ahead, to the left and up, metres."""
    step, yaw = np.diff(place, axis=0), yaw[:-1]
    ahead = -np.sin(yaw) * step[:, 0] - np.cos(yaw) * step[:, 2]
    return ahead, -np.cos(yaw) * step[:, 0] + np.sin(yaw) * step[:, 2], step[:, 1]


def _share(part: NDArray[np.float64], ahead: NDArray[np.float64], aside: NDArray[np.float64]) -> float:
    whole = float(np.hypot(ahead, aside).sum())
    return float(part.sum()) / whole if whole >= LEAST_PATH else 0.0
