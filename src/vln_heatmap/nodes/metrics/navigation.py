"""How well an agent got where an instruction leads: the measures of VLN-CE and habitat-lab.

Invariant: every measure of every path is a number. What may be infinite is the navigation error alone, where no
way leads from where the agent stopped to a goal; then nothing else depends on it, and whoever takes a mean says
how many were left out.

Definitions: SR, SPL (Anderson et al. 2018, arXiv:1807.06757), OSR, NE and path length as habitat-lab and VLN-CE
compute them; nDTW and SDTW (Ilharco et al. 2019, arXiv:1907.05446) with an exact dynamic time warping.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
#: Walkable metres between two floor points [3], never less than the straight line; infinite if there is no way.
Distance = Callable[[Floats, Floats], float]


@dataclass(frozen=True)
class NavigationMeasures:
    """What one episode was worth.

    Attributes:
        sr: 1 if the agent said STOP less than the success distance from a goal.
        osr: 1 if it ever was that near, at the start too.
        spl: success weighted by the shortest over the walked length.
        ne: walkable metres from where it ended to the nearest goal; infinite if there is no way.
        ndtw: how well the path follows the reference, 1 = exactly; sdtw: the same if it succeeded, else 0.
        steps: actions, STOP among them.
        collisions: steps that bumped into something.
        length: metres walked.
    """

    sr: float
    osr: float
    spl: float
    ne: float
    ndtw: float
    sdtw: float
    steps: float
    collisions: float
    length: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


MEASURES = tuple(NavigationMeasures.__dataclass_fields__)


def measure_path(
    path: ArrayLike,
    reference: ArrayLike,
    goals: ArrayLike,
    distance: Distance,
    *,
    shortest: float,
    stopped: bool,
    success_distance: float,
    collisions: int = 0,
) -> NavigationMeasures:
    """Measures of one episode.

    Args:
        path: positions [T + 1, 3] in metres before and after each of T actions other than STOP, with or without
            repeats; empty if the agent was nowhere (it then failed, infinitely far away).
        reference: positions [M, 3] of the expert.
        goals: floor points [G, 3], any of which will do; without one nothing is a success.
        distance: see ``Distance``; asked only where the straight line leaves the answer open.
        shortest: walkable metres from the start to the nearest goal.
        stopped: whether the agent ended the episode by STOP.
        success_distance: metres; a distance must be less than that.
        collisions: steps that bumped.

    Raises:
        ValueError: a path that is not [N, 3], values that are no numbers, or a success distance that is not
            positive.
    """
    if not success_distance > 0:
        raise ValueError(f"success_distance must be > 0 metres, got {success_distance}")
    points, expert = as_path(path), as_path(reference)
    ends = as_path(goals)
    error = goal_distance(points[-1], ends, distance) if len(points) else math.inf
    success = float(stopped and error < success_distance)
    near = error < success_distance or _ever_near(points, ends, distance, success_distance)
    length, likeness = path_length(points), ndtw(points, expert, success_distance=success_distance)
    return NavigationMeasures(
        sr=success,
        osr=float(near),
        spl=success * path_efficiency(shortest, length),
        ne=error,
        ndtw=likeness,
        sdtw=success * likeness,
        steps=float(max(len(points) - 1, 0) + stopped),
        collisions=float(collisions),
        length=length,
    )


def as_path(points: ArrayLike) -> Floats:
    """Positions as [N, 3]; N = 0 for nothing.

    Raises:
        ValueError: another shape, or values that are not finite.
    """
    path = np.asarray(points, np.float64)
    path = path.reshape(-1, 3) if path.size == 0 else path
    if path.ndim != 2 or path.shape[1] != 3 or not np.isfinite(path).all():
        raise ValueError(f"a path must be finite positions [N, 3], got shape {path.shape}")
    return path


def path_length(path: Floats) -> float:
    """Length in metres of a path [N, 3]; 0 for fewer than two points."""
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def path_efficiency(shortest: float, walked: float) -> float:
    """l / max(l, p) in [0, 1]: 1 where there is nowhere to go, 0 where no way leads (an infinite l)."""
    if math.isinf(shortest):
        return 0.0
    longest = max(shortest, walked)
    return shortest / longest if longest > 0 else 1.0


def ndtw(path: Floats, reference: Floats, *, success_distance: float) -> float:
    """exp(-DTW / (M · success distance)) of positions [N, 3] and a reference [M, 3], repeats skipped.

    1 if they are the same; 0 if one of them is empty, as if it were infinitely far away.
    """
    walked, expert = without_repeats(path), without_repeats(reference)
    if not (len(walked) and len(expert)):
        return 0.0
    return math.exp(-dtw(walked, expert) / (len(expert) * success_distance))


def without_repeats(path: Floats) -> Floats:
    """Positions [N, 3] without those that equal the one before them."""
    if not len(path):
        return path
    moved = np.any(np.diff(path, axis=0) != 0, axis=1)
    return path[np.concatenate([[True], moved])]


def dtw(path: Floats, reference: Floats) -> float:
    """Dynamic time warping: the least sum of distances in metres over all monotonic pairings of two paths.

    Args:
        path, reference: positions [N, 3] and [M, 3], neither of them empty.

    Exact in O(N M), a row at a time: with S the running sum of a row's distances c, the recursion
    D[i, j] = c[j] + min(D[i-1, j], D[i-1, j-1], D[i, j-1]) is S[j] + min over k <= j of (above[k] - S[k-1]).
    """
    if not (len(path) and len(reference)):
        raise ValueError(f"both paths need at least one point, got {len(path)} and {len(reference)}")
    above = np.concatenate([[0.0], np.full(len(reference), np.inf)])  # [M + 1]: D[i-1, 0 .. M]
    for point in path:
        total = np.cumsum(np.linalg.norm(reference - point, axis=1))  # [M]
        before = np.concatenate([[0.0], total[:-1]])
        row = total + np.minimum.accumulate(np.minimum(above[1:], above[:-1]) - before)
        above = np.concatenate([[np.inf], row])
    return float(above[-1])


def goal_distance(point: Floats, goals: Floats, distance: Distance) -> float:
    """Walkable metres from a point [3] to the nearest of goals [G, 3]; infinite if there is none or no way."""
    straight = np.linalg.norm(goals - point, axis=1)  # [G]
    best = math.inf
    for number in np.argsort(straight):
        if straight[number] < best:
            best = min(best, float(distance(point, goals[number])))
    return best


def _ever_near(points: Floats, goals: Floats, distance: Distance, limit: float) -> bool:
    """Whether some of the positions [N, 3] is less than ``limit`` from a goal."""
    for point in np.unique(points, axis=0):
        close = goals[np.linalg.norm(goals - point, axis=1) < limit]
        if len(close) and goal_distance(point, close, distance) < limit:
            return True
    return False
