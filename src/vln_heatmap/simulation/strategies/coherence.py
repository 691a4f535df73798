"""A camera that glides: position and heading are smooth functions of time.

Invariant: velocity and turning rate are continuous and stay within the requested limits at any frame rate.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import BSpline, PchipInterpolator

from vln_heatmap.simulation.simulators.base import Simulator
from vln_heatmap.simulation.trajectories.free_motion import (
    Limits,
    free_walk,
    gentle,
    headings,
    smooth_path,
    standable,
    stands,
)
from vln_heatmap.simulation.trajectories.walks import Walk, WalkRequest, path_length

_CONTROL = (0.3, 0.15, 0.08)  # metres between control points of the spline, smoothest first
_SAMPLES = 20  # of the spline for each control point
_TRIES = 8
_SPARE = 1.02  # of the limits, for what interpolation in time adds


def temporal_coherence(sim: Simulator, rng: np.random.Generator, request: WalkRequest) -> Walk:
    """Glide along a smooth curve towards a far place, at no more than the requested speed and turning rate.

    The path is a cubic B-spline (twice continuously differentiable), the heading that of the curve ahead,
    smoothed; the speed along it follows what the limits allow, smoothed too. Where the way is short, slower.

    Returns:
        A walk of exactly ``request.length`` frames; details: metres it is long.

    Raises:
        NoNavigableFloorError: the scene has no floor to stand on.
    """
    limits, seconds = gentle(request), (request.length - 1) / request.fps
    wanted = limits.step * request.fps * seconds
    for path in _routes(sim, rng, wanted):
        for spacing in _CONTROL:
            rows = _timed(_curve(path, spacing), request.length, limits)
            if stands(sim, rows):
                return free_walk(rows, details={"metres": path_length(rows[:, :3])})
    return free_walk(_turning(sim, rng, request.length, limits), details={"metres": 0.0})


def _routes(sim: Simulator, rng: np.random.Generator, wanted: float) -> list[NDArray[np.float64]]:
    """Smooth walkable paths [N, 3] to random places, those nearest to the wanted metres or longer first."""
    start = sim.random_navigable_point(rng)
    paths = [sim.shortest_path(start, sim.random_navigable_point(rng)) for _ in range(_TRIES)]
    paths = [path for path in paths if len(path) > 1 and path_length(path) > 0.3]
    paths = sorted(paths, key=lambda path: max(0.0, wanted - path_length(path)))
    return [smooth_path(path, free=lambda point: standable(sim, point)) for path in paths]


def _curve(path: NDArray[np.float64], spacing: float) -> NDArray[np.float64]:
    """Poses [N, 6] on a uniform cubic B-spline along a path [M, 3], whose heading varies smoothly."""
    gone = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    count = max(2, math.ceil(gone[-1] / spacing)) + 1
    even = np.linspace(0, gone[-1], count)
    control = np.stack([np.interp(even, gone, column) for column in path.T], axis=1)  # [count, 3]
    control = np.pad(control, ((2, 2), (0, 0)), mode="edge")
    spline = BSpline(np.arange(len(control) + 4, dtype=float), control, 3)
    points = spline(np.linspace(3, len(control), (len(control) - 3) * _SAMPLES + 1))  # [N, 3]
    yaw = ndimage.gaussian_filter1d(headings(points), _SAMPLES, mode="nearest")
    return np.column_stack([points, yaw, np.zeros((len(points), 2))])


def _timed(rows: NDArray[np.float64], length: int, limits: Limits) -> NDArray[np.float64]:
    """Poses [length, 6] along a smooth curve [N, 6] in time: within limits, with continuous velocity.

    The time that each sample takes is smoothed after it has been widened by as much, so that it never falls
    below what the limits demand; its integral, the time of each sample, is then inverted.
    """
    step = np.diff(rows, axis=0)  # [N - 1, 6]
    need = np.maximum(np.linalg.norm(step[:, :3], axis=1) / limits.step, np.abs(step[:, 3]) / limits.turn)
    width = 2 * _SAMPLES + 1
    slow = ndimage.uniform_filter1d(
        ndimage.maximum_filter1d(need, width, mode="nearest"), width, mode="nearest"
    )
    time = np.concatenate([[0.0], np.cumsum(_SPARE * np.maximum(slow, 1e-9))])  # [N] frames
    when = np.linspace(0, min(time[-1], length - 1), length)
    return np.asarray(PchipInterpolator(time, rows)(when))


def _turning(sim: Simulator, rng: np.random.Generator, length: int, limits: Limits) -> NDArray[np.float64]:
    """Poses [length, 6] that turn evenly on the spot: for floors with no way to go."""
    rows = np.zeros((length, 6))
    rows[:, :3] = sim.random_navigable_point(rng)
    rows[:, 3] = rng.choice((-1, 1)) * limits.turn * np.arange(length)
    return rows
