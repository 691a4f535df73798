"""Walks through a scene, by name.

Invariant: a generator depends on nothing but its arguments: the same generator state gives the same walk.
Walks by discrete actions are the simulator's answers; walks of a free camera (action MOVE) stand on navigable
floor in every frame, within the limits of ``free_motion``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vln_heatmap.simulation.simulators.base import Simulator
from vln_heatmap.simulation.trajectories.circles import circular_motion, object_focused
from vln_heatmap.simulation.trajectories.exploring import point_to_point, random_exploration
from vln_heatmap.simulation.trajectories.lines import forward_backward, systematic_sweep
from vln_heatmap.simulation.trajectories.rooms import room_transition
from vln_heatmap.simulation.trajectories.walks import NoRouteError, Walk, WalkRequest, WalkStep, path_length

#: Trajectory generators by name.
TRAJECTORIES: dict[str, Callable[[Simulator, np.random.Generator, WalkRequest], Walk]] = {
    "random_exploration": random_exploration,
    "point_to_point": point_to_point,
    "circular_motion": circular_motion,
    "forward_backward": forward_backward,
    "systematic_sweep": systematic_sweep,
    "object_focused": object_focused,
    "room_transition": room_transition,
}

__all__ = [
    "TRAJECTORIES",
    "NoRouteError",
    "Walk",
    "WalkRequest",
    "WalkStep",
    "circular_motion",
    "forward_backward",
    "object_focused",
    "path_length",
    "point_to_point",
    "random_exploration",
    "room_transition",
    "systematic_sweep",
]
