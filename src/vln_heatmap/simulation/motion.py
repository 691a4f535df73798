"""States and poses between two frames, so that what moves can be seen at any moment.

Invariant: at a whole frame the interpolated value is exactly the recorded one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation


def state_at(states: NDArray[np.float64], time: float) -> NDArray[np.float64]:
    """The ``state`` [6] at a moment in frames, linear between its neighbours, yaw the short way round.

    Args:
        states: [T, 6] floor point x, y, z, yaw, pitch, camera height; metres and radians.
        time: in [0, T - 1].
    """
    first, share = _between(time, len(states))
    if share == 0:
        return states[first]
    change = states[first + 1] - states[first]  # [6]
    change[3] = (change[3] + math.pi) % (2 * math.pi) - math.pi
    return states[first] + share * change


def motion_at(motion: NDArray[np.float64], time: float, centre: ArrayLike) -> NDArray[np.float64]:
    """The rigid transform [4, 4] at a moment in frames: the instance's centre moves straight, it turns evenly.

    Args:
        motion: [T, 4, 4] from rest to world.
        time: in [0, T - 1].
        centre: [3] of the instance at rest.
    """
    first, share = _between(time, len(motion))
    if share == 0:
        return motion[first]
    before, after, centre = motion[first], motion[first + 1], np.asarray(centre, np.float64)
    turn = Rotation.from_matrix(after[:3, :3] @ before[:3, :3].T).as_rotvec()  # [3]
    rotation = Rotation.from_rotvec(share * turn).as_matrix() @ before[:3, :3]
    ends = [pose[:3, :3] @ centre + pose[:3, 3] for pose in (before, after)]
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = (1 - share) * ends[0] + share * ends[1] - rotation @ centre
    return matrix


def _between(time: float, length: int) -> tuple[int, float]:
    """The frame before a moment and the share of the way to the next."""
    if not 0 <= time <= length - 1:
        raise ValueError(f"the moment must be in [0, {length - 1}], got {time}")
    first = min(math.floor(time), length - 1)
    return first, time - first
